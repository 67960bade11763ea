// Package config holds every option, declared once, and reads the file.
//
// It promises that a flag overrides the environment, the environment the file, and the file
// the default; that errors say where the bad value came from, down to the line of a file;
// and that the page of options in docs is generated from the declarations. What an option
// does is left to the package that it is for, and noticing that a file has changed to
// package reload.
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

	CAFile          string        // PEM file, for hosts without one of their own; "" for the system's authorities
	Slots           int           // concurrent requests, for hosts without a number of their own; 0 = learned
	MaxInFlight     int           // concurrent requests on all hosts together; 0 = no limit
	Queue           int           // requests that may wait
	MaxPassedOver   time.Duration // how long other requests may overtake one
	Route           string        // policy
	Affinity        bool          // prefer hosts that have read the beginning of a prompt
	RunnerOptions   string        // "pinned" or "caller"
	FallbackAfter   time.Duration // time in the queue; 0 = as long as the deadline allows
	HedgeAfter      time.Duration // time without output from the first host; 0 = never
	MergeWindow     time.Duration // that a single text to embed waits for others; 0 = off
	NoCloud         bool
	ContextGuard    string        // "next-rung-or-refuse", "warn" or "off"
	Timeout         time.Duration // of a call without timeout_seconds; 0 = none
	Wait            time.Duration // for the result of a call without wait_seconds
	JobTTL          time.Duration
	DrainTimeout    time.Duration
	Cache           string // "auto", "all", "deterministic" or "off"
	CacheSize       int    // MiB
	Memory          Size   // bytes; 0 if it is not given
	CacheTTL        time.Duration
	SemanticCache   string  // "off", "shadow" or "on"
	SemanticModel   string  // embedding model
	SemanticAlike   float64 // lowest similarity, 0 to 1
	InlineBytes     int
	ResultMeta      string   // "short", "full" or "off"
	Tools           []string // names of tools, or their beginnings with * behind; nil for all
	NoTools         []string
	ReadOnly        bool
	ToolNames       string   // "kebab" or "snake"
	MaxMessage      int      // MiB
	AllowManage     bool     // tools that install and remove models are offered
	AllowRegistries []string // that models may be pulled from, besides Ollama's own
	AllowDir        []string // directories that callers may have read; none for nothing
	AllowWrite      []string // likewise, written
	LogLevel        slog.Level

	Redis         string // URL; "" for none
	RedisPassword string // from REDIS_PASSWORD, or RedisPasswordFile; "" for none
	// RedisPasswordFile and RedisSealKey are files; "" for none.
	RedisPasswordFile, RedisSealKey string
	RedisPrefix                     string
	RedisTTL                        time.Duration

	Listen         []string // addresses to serve HTTP at; none to serve stdio
	Gateway        bool     // the APIs of Ollama and OpenAI are served at Listen too
	AllowedHosts   []string
	AllowedOrigins []string
	TrustedProxies []string // addresses, networks, or "unix"
	TLSCert        string   // PEM files; "" for none
	TLSKey         string
	TLSClientCA    string
	TokenFile      string
	SessionKeyFile string // "" for one that the program makes and keeps
	StateDir       string // "" to keep nothing over a restart
	OAuthIssuer    string
	OAuthAudience  string
	OAuthResource  string // URL; "" if OAuthAudience is that URL
	Insecure       bool
	MetricsAddress string // to serve metrics at; "" for none but those of Listen
	Dashboard      string // to serve the dashboard at, beside that of Listen; "off" for none anywhere
	CallLog        string // file; "" for none
	CallLogSize    int    // MiB, at which it is rotated
	CallLogAge     time.Duration
	CallLogKeep    int  // rotated files; 0 = all
	LogContent     bool // prompts and answers may be logged
	TraceContent   bool // prompts and answers may be sent with traces

	// Host is the URL of the first of Hosts.
	Host string
	// APIKey comes from OLLAMA_API_KEY alone: a flag could be read by everybody
	// on the machine.
	APIKey string

	// These are lists and tables, most of which only a file can hold; see file.go.

	Hosts     []Host              // at least one
	HostsFrom string              // where Hosts are from: a flag, a variable or a file; "" for the default
	Models    map[string]Model    // by canonical name
	Fallback  []string            // models that may replace any other; names as in Model.Try
	Providers map[string]Provider // by name
	Keys      []Key               // of File and of TokenFile; nil if callers need none
	Scopes    map[string]Grant    // by OAuth scope; nil if every token has full access

	// KeyFiles are the Keys by the file that lists them, without the files whose keys could
	// not be read. ScopesRead says that Scopes were read, if only to find that there are
	// none. Parse fills both as far as it can even if it fails: a key that is taken out of a
	// file is to be revoked whatever is wrong elsewhere.
	KeyFiles   map[string][]Key
	ScopesRead bool

	Alerts []Alert // webhooks that are told of trouble

	Filter []Rule // checks of answers
	Guard  Guard  // moderation model, asked about each answer

	// Warnings are about settings that are accepted but unwise, one line each.
	Warnings []string
	// Files are the SHA-256 sums of the files that were read, by name; zero for a file that
	// could not be read. Parse fills it even if it fails.
	Files map[string][32]byte

	addresses []string          // of --host
	options   map[string]string // values of the options as text, for comparison
	set       map[string]bool   // whether the options were given
}

// declare is the one place where options are declared. The name of an option is its flag, its
// key in the file and, as OLLAMA_MCP_NAME, its environment variable; its usage line is its
// documentation.
func declare(fs *FlagSet, c *Config) {
	fs.StringVar(&c.File, "config", "", "YAML `file` with any of these options, and with settings that only a file can hold; no file is read by default")
	fs.StringSliceVar(&c.addresses, "host", []string{defaultHost}, "`address` of an Ollama server: host, host:port or URL; repeatable; OLLAMA_HOST is honoured too")
	fs.StringVar(&c.CAFile, "ca-file", "", "PEM `file` of the authority that signed the hosts' certificates, if the system does not trust it already")
	fs.IntVar(&c.Slots, "slots", 0, "concurrent requests per host; 0 = learned from its response times")
	fs.IntVar(&c.MaxInFlight, "max-in-flight", 0, "concurrent requests on all hosts together; 0 = no limit")
	fs.IntVar(&c.Queue, "queue", 256, "requests for one model that may wait for a slot, and a quarter of those for all models; further ones are rejected at once")
	fs.DurationVar(&c.MaxPassedOver, "max-passed-over", 10*time.Second, "how long requests whose model is loaded may overtake one whose model is not")
	oneOf(fs, &c.Route, "route", "`policy` that chooses among the hosts with a free slot",
		"warmest: a host that has the model in memory; among several the least busy",
		"least-busy: the host with the smallest share of its slots in use",
		"fastest: the host with the lowest latency multiplied by its calls in progress",
		"round-robin: each host in turn, in proportion to the weights of the hosts")
	fs.BoolVar(&c.Affinity, "affinity", true, "among hosts that --route finds equal, prefer one that has read the same system prompt or the earlier messages of a conversation, since Ollama keeps them in its prompt cache")
	oneOf(fs, &c.RunnerOptions, "runner-options", "`source` of num_ctx and the other options whose change makes Ollama reload a model", "pinned", "caller")
	fs.DurationVar(&c.FallbackAfter, "fallback-after", 0, "how long a call waits for a slot before the next model of its ladder is tried; 0 = as long as its deadline allows")
	fs.DurationVar(&c.HedgeAfter, "hedge-after", 0, "time without output from a host after which another free host gets the same request, and the first answer wins; 0 = never")
	fs.DurationVar(&c.MergeWindow, "merge-window", 0, "how long a call that embeds a single text waits for other such calls, of any caller, to send their texts to a host in one request, such as 5ms; 0 = not at all")
	fs.BoolVar(&c.NoCloud, "no-cloud", false, "never send anything to a cloud, whatever the file says: neither to a provider that is not local, nor to Ollama's cloud through a host")
	oneOf(fs, &c.ContextGuard, "context-guard", "`reaction` to a prompt that exceeds the model's context", "next-rung-or-refuse", "warn", "off")
	fs.DurationVar(&c.Timeout, "timeout", 5*time.Minute, "timeout of calls without timeout_seconds; 0 = none")
	fs.DurationVar(&c.Wait, "wait", 50*time.Second, "how long a call without wait_seconds waits for its result before it returns a job, and goes on; less than the 60 s after which many MCP hosts give up")
	fs.DurationVar(&c.JobTTL, "job-ttl", time.Hour, "how long the result of a job is kept")
	fs.DurationVar(&c.DrainTimeout, "drain-timeout", 10*time.Second, "time that calls have to finish after SIGTERM or SIGINT; a second signal ends the server at once")
	oneOf(fs, &c.Cache, "cache", "`answers` to cache",
		"auto: all but those of calls that ask for random answers: with a temperature above 0, top_p, top_k, min_p or mirostat, and no seed",
		"all: those too", "deterministic: only those of calls with temperature 0 or a seed", "off: none")
	fs.Var(&c.Memory, "memory", "`size` of the memory that the server may use, such as 512MiB or 2GiB, from which all bounds of memory follow that are not set; by default nine tenths of the limit of its container, less if that is below 320MiB, and 2GiB at most")
	fs.IntVar(&c.CacheSize, "cache-size", 256, "memory for cached answers, in `MiB`; by default an eighth of what --memory says")
	fs.DurationVar(&c.CacheTTL, "cache-ttl", 10*time.Minute, "how long an answer stays cached")
	oneOf(fs, &c.SemanticCache, "semantic-cache", "`use` of cached answers to paraphrases of a prompt",
		"off: never", "shadow: only count how often one could be used", "on: reuse an answer if both prompts mean the same")
	fs.StringVar(&c.SemanticModel, "semantic-model", "nomic-embed-text", "embedding `model` for the comparison of prompts")
	fs.Float64Var(&c.SemanticAlike, "semantic-threshold", 0.95, "lowest `similarity`, up to 1, at which an answer is reused for a paraphrase; the right value depends on the embedding model")
	fs.StringVar(&c.Redis, "redis", "", "`URL` of the Redis or Valkey through which replicas share answers, such as redis://redis.example.com:6379/0; rediss:// for TLS; further nodes of a cluster as ?addr=HOST:PORT; a password in REDIS_PASSWORD")
	fs.StringVar(&c.RedisPasswordFile, "redis-password-file", "", "`file` with the password for Redis")
	fs.StringVar(&c.RedisPrefix, "redis-prefix", "ollama-mcp", "`beginning` of all keys in Redis; replicas with another one share nothing with these")
	fs.DurationVar(&c.RedisTTL, "redis-ttl", time.Hour, "how long Redis keeps an answer")
	fs.StringVar(&c.RedisSealKey, "redis-seal-key", "", "`file` with a secret of at least 32 bytes, the same for all replicas, with which what is in Redis is encrypted")
	fs.Var((*ruleLines)(&c.Filter), "output-filter", "`rule` for answers: mask:REGEX removes each match, refuse:REGEX withholds an answer with a match; repeatable")
	fs.IntVar(&c.InlineBytes, "inline-bytes", 16<<10, "largest size in `bytes` of embeddings that are returned in the result rather than as a resource")
	oneOf(fs, &c.ResultMeta, "result-meta", "`amount` of detail in the _meta of a result about how it was served",
		"short: model, host, source and trace ID", "full: also tokens, times, retries and the models that did not answer", "off: nothing")
	fs.StringSliceVar(&c.Tools, "tools", nil, "`names` of the tools to offer, such as generate,chat,list-models, or their beginnings with *; all by default")
	fs.StringSliceVar(&c.NoTools, "no-tools", nil, "`names` of tools not to offer")
	fs.BoolVar(&c.ReadOnly, "read-only", false, "offer only tools that change nothing: not clear-cache, and no files are written")
	fs.BoolVar(&c.AllowManage, "allow-manage", false, "offer administrators the tools that pull, copy, delete and create models")
	fs.StringSliceVar(&c.AllowRegistries, "allow-registry", nil, "`registry` that pull-model may use besides Ollama's own, such as hf.co, or http://localhost:5000 for plain HTTP; repeatable")
	oneOf(fs, &c.ToolNames, "tool-names", "`spelling` of the names of tools; both are accepted in calls", "kebab: list-models", "snake: list_models, for hosts that refuse hyphens")
	fs.IntVar(&c.MaxMessage, "max-message", 32, "largest message accepted from a client, in `MiB`; less by default where --memory, or the limit of a container, is less than 1GiB")
	fs.StringSliceVar(&c.AllowDir, "allow-dir", nil, "`directory` whose files tools may read for callers, with all below it; repeatable; by default no file is read")
	fs.StringSliceVar(&c.AllowWrite, "allow-write", nil, "`directory` in which tools may write answers to files, with all below it; repeatable; by default no file is written")
	fs.StringSliceVar(&c.Listen, "listen", nil, "`address` to serve HTTP at, instead of stdio: host:port, or unix:PATH; repeatable")
	fs.BoolVar(&c.Gateway, "gateway", false, "serve the APIs of Ollama (/api) and of OpenAI (/v1) at the addresses of --listen too, so that other programs share queue, cache, keys and limits")
	fs.StringSliceVar(&c.AllowedHosts, "allowed-host", nil, "host `name` that HTTP clients may use for the server, besides localhost and its addresses")
	fs.StringSliceVar(&c.AllowedOrigins, "allowed-origin", nil, "web `site`, such as https://example.com, whose pages may call the server over HTTP")
	fs.StringSliceVar(&c.TrustedProxies, "trust-proxy", nil, "`address` or network, such as 10.0.0.0/8, of a proxy whose X-Forwarded-For header is trusted, or unix for a proxy that connects through a Unix socket; repeatable")
	fs.StringVar(&c.TLSCert, "tls-cert", "", "PEM `file` of the certificate for HTTPS")
	fs.StringVar(&c.TLSKey, "tls-key", "", "PEM `file` of that certificate's private key")
	fs.StringVar(&c.TLSClientCA, "tls-client-ca", "", "PEM `file` of the authority that must have signed the certificates of clients")
	fs.StringVar(&c.TokenFile, "token-file", "", "YAML `file` with the keys of callers: a list like keys in the configuration file")
	fs.StringVar(&c.SessionKeyFile, "session-key-file", "", "`file` with the secret that signs session ids, at least 32 bytes, the same for all replicas; by default a random one is kept in session.key in the user's configuration directory")
	fs.StringVar(&c.StateDir, "state-dir", "", "`directory` for what outlasts a restart, such as the results of jobs; it is created if it does not exist, and several servers may share it")
	fs.StringVar(&c.OAuthIssuer, "oauth-issuer", "", "`URL` of the authorization server whose access tokens are accepted")
	fs.StringVar(&c.OAuthAudience, "oauth-audience", "", "`audience` that access tokens must have been issued for; usually the URL of this server")
	fs.StringVar(&c.OAuthResource, "oauth-resource", "", "`URL` of this server as clients know it; needed if oauth-audience is not that URL")
	fs.BoolVar(&c.Insecure, "insecure", false, "accept connections from other machines without authentication")
	fs.StringVar(&c.MetricsAddress, "metrics-address", "", "`address` to serve /metrics at for Prometheus, beside stdio or --listen, which has /metrics too: host:port, or unix:PATH")
	fs.StringVar(&c.Dashboard, "dashboard", "", "`address` to serve the dashboard at, beside stdio or --listen, which has it at / too: host:port, where the next free port is taken if that one is in use, or unix:PATH; off for no dashboard")
	fs.StringVar(&c.CallLog, "call-log", "", "`file` to which a line of JSON is appended for each call: who asked which model, what answered, how long each step took, and why it failed")
	fs.IntVar(&c.CallLogSize, "call-log-size", 100, "size of the call log at which it is rotated, in `MiB`")
	fs.DurationVar(&c.CallLogAge, "call-log-age", 24*time.Hour, "age of the call log at which it is rotated")
	fs.IntVar(&c.CallLogKeep, "call-log-keep", 7, "rotated call logs to keep; 0 = all")
	fs.BoolVar(&c.LogContent, "log-content", false, "write prompts and answers to the call log too")
	fs.BoolVar(&c.TraceContent, "trace-content", false, "send prompts and answers with traces too, if the variables OTEL_... ask for traces")
	fs.TextVar(&c.LogLevel, "log-level", slog.LevelInfo, "lowest `level` that is logged to stderr: debug, info, warn or error")
}

// maxSlots is the most that the pool allows for a host.
const maxSlots = 4096

var (
	errTooManySlots = fmt.Errorf("must be 0 to %d", maxSlots)
	errNegative     = errors.New("must be 0 or more")
)

// check refuses values that are out of range, or that need another option.
func (c *Config) check(fs *FlagSet) error {
	for _, o := range []struct {
		name string
		bad  bool
		want string
	}{
		{"slots", c.Slots < 0 || c.Slots > maxSlots, errTooManySlots.Error()},
		{"max-in-flight", c.MaxInFlight < 0, errNegative.Error()},
		{"queue", c.Queue < 1, "must be at least 1"},
		{"max-passed-over", c.MaxPassedOver < 0, errNegative.Error()},
		{"fallback-after", c.FallbackAfter < 0, errNegative.Error()},
		{"hedge-after", c.HedgeAfter < 0, errNegative.Error()},
		{"merge-window", c.MergeWindow < 0 || c.MergeWindow > time.Second, "must be 0 to 1s"},
		{"timeout", c.Timeout < 0, errNegative.Error()},
		{"wait", c.Wait <= 0, "must be more than 0"},
		{"job-ttl", c.JobTTL <= 0, "must be more than 0"},
		{"drain-timeout", c.DrainTimeout <= 0, "must be more than 0"},
		{"cache-size", c.CacheSize < 1 || c.CacheSize > 1<<20, "must be 1 to 1048576"},
		{"memory", c.Memory != 0 && c.Memory < 64<<20, "must be at least 64MiB"},
		{"cache-size", c.Memory != 0 && c.set["cache-size"] && int64(c.CacheSize)<<20 > int64(c.Memory)/2, "must be at most half of memory"},
		{"max-message", c.Memory != 0 && c.set["max-message"] && int64(c.MaxMessage)<<20 > int64(c.Memory)/8, "must be at most an eighth of memory"},
		{"cache-ttl", c.CacheTTL <= 0, "must be more than 0"},
		{"redis", c.Redis != "" && isNoRedis(c.Redis), "must be of the form redis://[user@]host[:port][/database], rediss:// for TLS, or unix:///path, without a password"},
		{"redis-password-file", c.RedisPasswordFile != "" && c.Redis == "", "needs redis"},
		{"redis-seal-key", c.RedisSealKey != "" && c.Redis == "", "needs redis"},
		{"redis-prefix", isNoPrefix(c.RedisPrefix), "must have letters, digits, and any of :_.- only"},
		{"redis-ttl", c.RedisTTL < time.Second, "must be at least 1s"},
		{"semantic-model", c.SemanticModel == "", "must name a model"},
		{"semantic-threshold", !(c.SemanticAlike > 0.5 && c.SemanticAlike <= 1), "must be more than 0.5, and at most 1"},
		{"inline-bytes", c.InlineBytes < 0, errNegative.Error()},
		{"max-message", c.MaxMessage < 1 || c.MaxMessage > 1024, "must be 1 to 1024"},
		{"call-log-size", c.CallLogSize < 1 || c.CallLogSize > 1<<20, "must be 1 to 1048576"},
		{"call-log-age", c.CallLogAge <= 0, "must be more than 0"},
		{"call-log-keep", c.CallLogKeep < 0, errNegative.Error()},
		{"allow-registry", slices.ContainsFunc(c.AllowRegistries, isNoRegistry), "must be of the form hf.co or http://localhost:5000, without a path"},
		{"allowed-origin", slices.ContainsFunc(c.AllowedOrigins, isNoOrigin), "must be of the form https://example.com, without a path or *"},
		{"trust-proxy", slices.ContainsFunc(c.TrustedProxies, isNoProxy), "must be an address, a network such as 10.0.0.0/8, or unix"},
		{"gateway", c.Gateway && len(c.Listen) == 0, "needs listen"},
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

// FlagSet is that of the flag library, which no other package imports.
type FlagSet = pflag.FlagSet

// ErrHelp is what Parse returns for --help and -h.
var ErrHelp = pflag.ErrHelp

// Flags returns a flag set with every option, which fills c when it is parsed.
func Flags(c *Config) *FlagSet {
	fs := NoFlags()
	declare(fs, c)
	return fs
}

// NoFlags returns a flag set that is empty, for a command that has only options of its own.
func NoFlags() *FlagSet {
	fs := pflag.NewFlagSet("ollama-mcp", pflag.ContinueOnError)
	fs.SortFlags = false
	fs.Usage = func() {} // the caller prints help
	return fs
}
