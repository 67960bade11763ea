// Package config holds every option, declared once, and reads the file.
//
// It promises that a flag beats the environment, the environment the file and the
// file the default, that whatever is wrong is named by where it came from, down to
// the line of a file, and that the page of options in docs is printed from the
// declarations themselves. What a setting does is left to the package that it is
// for, and reading anew when a file changes to package reload.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/spf13/pflag"
)

// Config is what the program runs with.
type Config struct {
	File string // the configuration file; "" for none

	CAFile        string        // PEM file, of hosts that name none; "" for the system's authorities
	Slots         int           // requests at once, of hosts that name none; 0 = learned
	MaxInFlight   int           // requests at once on all hosts together; 0 = no limit
	Queue         int           // requests that may wait
	MaxPassedOver time.Duration // for which others may go first
	Route         string        // policy
	RunnerOptions string        // "pinned" or "caller"
	FallbackAfter time.Duration // of waiting; 0 = when the call's time would run out
	HedgeAfter    time.Duration // of silence from one host; 0 = never
	NoCloud       bool
	ContextGuard  string        // "next-rung-or-refuse", "warn" or "off"
	Timeout       time.Duration // of a call that brings none; 0 = none
	DrainTimeout  time.Duration
	Cache         string // "all", "deterministic" or "off"
	CacheSize     int    // MiB
	CacheTTL      time.Duration
	SemanticCache string  // "off", "shadow" or "on"
	SemanticModel string  // that embeds questions
	SemanticAlike float64 // least similarity, 0 to 1
	InlineBytes   int
	MaxMessage    int // MiB
	LogLevel      slog.Level

	Listen         []string // where to serve HTTP; none to serve stdio
	AllowedHosts   []string
	AllowedOrigins []string
	TLSCert        string // PEM files; "" for none
	TLSKey         string
	TLSClientCA    string
	TokenFile      string
	OAuthIssuer    string
	OAuthAudience  string
	OAuthResource  string // URL; "" for OAuthAudience, which then is one
	Insecure       bool

	// Host is the URL of the first of Hosts.
	Host string
	// APIKey comes from OLLAMA_API_KEY alone: a flag could be read by everybody
	// on the machine.
	APIKey string

	// What follows is a list of things rather than a value; see file.go.

	Hosts     []Host              // at least one
	Models    map[string]Model    // by canonical name
	Fallback  []string            // what may stand in for any model; names as in Model.Try
	Providers map[string]Provider // by name
	Keys      []Key               // of the file and of TokenFile; nil: callers need none
	Scopes    map[string]Grant    // of OAuth tokens; nil: each token may everything

	Filter []Rule // what answers are held against
	Guard  Guard  // and the model that is asked about them

	// Warnings are what is allowed and should be put right, a line each.
	Warnings []string
	// Files are the SHA-256 sums of the files that were read, by name; zero for
	// one that could not be read. They are told even if what is in them is refused.
	Files map[string][32]byte

	addresses []string          // of --host
	options   map[string]string // the options as text, to be compared
}

// declare is the one place where an option exists. Its name is the flag, the key
// in the file and, as OLLAMA_MCP_NAME, the environment variable; its usage line is
// the documentation.
func declare(fs *FlagSet, c *Config) {
	fs.StringVar(&c.File, "config", "", "YAML `file` with any of these options and what only a file can say; none is read unasked")
	fs.StringSliceVar(&c.addresses, "host", []string{defaultHost}, "`address` of an Ollama server: host, host:port or URL; may be given more than once; OLLAMA_HOST is honoured too")
	fs.StringVar(&c.CAFile, "ca-file", "", "PEM `file` of the authority that signed the hosts' certificates, if the system does not know it")
	fs.IntVar(&c.Slots, "slots", 0, "how many requests a host is given at once; 0 = learned from how it answers")
	fs.IntVar(&c.MaxInFlight, "max-in-flight", 0, "how many requests all hosts together are given at once; 0 = no limit")
	fs.IntVar(&c.Queue, "queue", 256, "how many requests may wait for a slot; one more is refused at once")
	fs.DurationVar(&c.MaxPassedOver, "max-passed-over", 10*time.Second, "how long a request may be passed over for others whose model is loaded already")
	oneOf(fs, &c.Route, "route", "`policy` that says which host is asked first",
		"warmest: holds the model in memory; then least busy",
		"least-busy: the smallest part of its slots is taken",
		"fastest: the least latency times calls in progress",
		"round-robin: its turn is next, by the weights of the hosts")
	oneOf(fs, &c.RunnerOptions, "runner-options", "`source` of num_ctx and the other options that make Ollama load a model anew", "pinned", "caller")
	fs.DurationVar(&c.FallbackAfter, "fallback-after", 0, "how long a call waits for a slot before the next model of its ladder is tried; 0 = while its time lasts")
	fs.DurationVar(&c.HedgeAfter, "hedge-after", 0, "how long a host may take to begin an answer before another that is free is asked too; 0 = never")
	fs.BoolVar(&c.NoCloud, "no-cloud", false, "send nothing to a provider that is not local, whatever the file says")
	oneOf(fs, &c.ContextGuard, "context-guard", "`reaction` to a prompt that the model's context cannot hold", "next-rung-or-refuse", "warn", "off")
	fs.DurationVar(&c.Timeout, "timeout", 55*time.Second, "time limit of a call that brings no timeout_seconds; below the 60 s after which many MCP hosts give up; 0 = none")
	fs.DurationVar(&c.DrainTimeout, "drain-timeout", 10*time.Second, "how long calls may go on after SIGTERM or SIGINT; a second signal ends at once")
	oneOf(fs, &c.Cache, "cache", "`answers` that are kept and given again", "all", "deterministic", "off")
	fs.IntVar(&c.CacheSize, "cache-size", 256, "memory for kept answers, in `MiB`")
	fs.DurationVar(&c.CacheTTL, "cache-ttl", 10*time.Minute, "how long an answer is kept")
	oneOf(fs, &c.SemanticCache, "semantic-cache", "`use` of an answer that is kept for a question in other words",
		"off: none", "shadow: count how often it could be given", "on: give it where the questions mean the same")
	fs.StringVar(&c.SemanticModel, "semantic-model", "nomic-embed-text", "embedding `model` that questions are compared by")
	fs.Float64Var(&c.SemanticAlike, "semantic-threshold", 0.95, "least `similarity` of questions that share an answer, to 1; what is right depends on the embedding model")
	fs.Var((*ruleLines)(&c.Filter), "output-filter", "`rule` that answers are held against before they leave: mask:REGEX removes what is found, refuse:REGEX withholds the answer; may be given more than once")
	fs.IntVar(&c.InlineBytes, "inline-bytes", 16<<10, "size in `bytes` up to which embeddings are returned in the result rather than as a resource")
	fs.IntVar(&c.MaxMessage, "max-message", 32, "largest message accepted from a client, in `MiB`")
	fs.StringSliceVar(&c.Listen, "listen", nil, "`address` to serve HTTP at, instead of stdio: host:port, or unix:PATH; may be given more than once")
	fs.StringSliceVar(&c.AllowedHosts, "allowed-host", nil, "`name` by which HTTP clients may call the server, besides localhost and the address that they reach")
	fs.StringSliceVar(&c.AllowedOrigins, "allowed-origin", nil, "web `site`, such as https://example.com, whose pages may use the server over HTTP")
	fs.StringVar(&c.TLSCert, "tls-cert", "", "PEM `file` of the certificate to serve HTTPS with")
	fs.StringVar(&c.TLSKey, "tls-key", "", "PEM `file` of that certificate's private key")
	fs.StringVar(&c.TLSClientCA, "tls-client-ca", "", "PEM `file` of the authority whose certificates clients must show")
	fs.StringVar(&c.TokenFile, "token-file", "", "YAML `file` of the keys that clients may call with: a list like keys in the configuration file")
	fs.StringVar(&c.OAuthIssuer, "oauth-issuer", "", "`URL` of the authorization server whose access tokens are accepted")
	fs.StringVar(&c.OAuthAudience, "oauth-audience", "", "`name` of this server that access tokens must have been issued for, mostly its URL")
	fs.StringVar(&c.OAuthResource, "oauth-resource", "", "`URL` of this server as clients know it; needed where oauth-audience is a name and not that URL")
	fs.BoolVar(&c.Insecure, "insecure", false, "allow to listen where other machines can connect, and use the models unasked")
	fs.TextVar(&c.LogLevel, "log-level", slog.LevelInfo, "least `level` that is logged to stderr: debug, info, warn or error")
}

// mostSlots is as many as the pool allows a host.
const mostSlots = 4096

var (
	errTooManySlots = fmt.Errorf("must be 0 to %d", mostSlots)
	errNegative     = errors.New("must be 0 or more")
)

// check refuses what no value of its type can say by itself.
func (c *Config) check(fs *FlagSet) error {
	for _, o := range []struct {
		name string
		bad  bool
		want string
	}{
		{"slots", c.Slots < 0 || c.Slots > mostSlots, errTooManySlots.Error()},
		{"max-in-flight", c.MaxInFlight < 0, errNegative.Error()},
		{"queue", c.Queue < 1, "must be at least 1"},
		{"max-passed-over", c.MaxPassedOver < 0, errNegative.Error()},
		{"fallback-after", c.FallbackAfter < 0, errNegative.Error()},
		{"hedge-after", c.HedgeAfter < 0, errNegative.Error()},
		{"timeout", c.Timeout < 0, errNegative.Error()},
		{"drain-timeout", c.DrainTimeout <= 0, "must be more than 0"},
		{"cache-size", c.CacheSize < 1 || c.CacheSize > 1<<20, "must be 1 to 1048576"},
		{"cache-ttl", c.CacheTTL <= 0, "must be more than 0"},
		{"semantic-model", c.SemanticModel == "", "must name a model"},
		{"semantic-threshold", !(c.SemanticAlike > 0.5 && c.SemanticAlike <= 1), "must be more than 0.5, and at most 1"},
		{"inline-bytes", c.InlineBytes < 0, errNegative.Error()},
		{"max-message", c.MaxMessage < 1 || c.MaxMessage > 1024, "must be 1 to 1024"},
		{"allowed-origin", slices.ContainsFunc(c.AllowedOrigins, isNoOrigin), "must be of the form https://example.com, without a path or *"},
		{"tls-cert", c.TLSCert != "" && c.TLSKey == "", "needs tls-key"},
		{"tls-key", c.TLSKey != "" && c.TLSCert == "", "needs tls-cert"},
		{"tls-client-ca", c.TLSClientCA != "" && c.TLSCert == "", "needs tls-cert"},
		{"oauth-issuer", c.OAuthIssuer != "" && c.OAuthAudience == "", "needs oauth-audience"},
		{"oauth-resource", c.OAuthResource != "" && c.OAuthIssuer == "", "needs oauth-issuer"},
		{"oauth-audience", c.OAuthAudience != "" && c.OAuthIssuer == "", "needs oauth-issuer"},
	} {
		if o.bad {
			return wrong(fs.Lookup(o.name), o.want)
		}
	}
	return nil
}

// FlagSet is the library's, which is known to this package alone.
type FlagSet = pflag.FlagSet

// ErrHelp is what Parse returns for --help and -h.
var ErrHelp = pflag.ErrHelp

// Flags is a flag set with every option, which fills c when it is parsed.
func Flags(c *Config) *FlagSet {
	fs := pflag.NewFlagSet("ollama-mcp", pflag.ContinueOnError)
	fs.SortFlags = false
	fs.Usage = func() {} // the caller prints help
	declare(fs, c)
	return fs
}
