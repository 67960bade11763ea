// Package config holds every option, declared once.
//
// It promises that a flag beats the environment, the environment beats the
// default, that a bad value is named by where it came from, and that the page of
// options in docs is printed from the declarations themselves. What an option
// does is left to the package that it is for.
package config

import (
	"cmp"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Config is what the program runs with.
type Config struct {
	Host         string        // as OLLAMA_HOST spells it
	CAFile       string        // PEM file; "" for the system's authorities
	Slots        int           // requests per host at once
	Queue        int           // requests that may wait
	Timeout      time.Duration // of a call that brings none; 0 = none
	DrainTimeout time.Duration
	InlineBytes  int
	MaxMessage   int // MiB
	LogLevel     slog.Level

	Listen         []string // where to serve HTTP; none to serve stdio
	AllowedHosts   []string
	AllowedOrigins []string
	Insecure       bool

	// APIKey comes from OLLAMA_API_KEY alone: a flag could be read by everybody
	// on the machine.
	APIKey string
}

// declare is the one place where an option exists. Its name is the flag and, as
// OLLAMA_MCP_NAME, the environment variable; its usage line is the documentation.
func declare(fs *FlagSet, c *Config) {
	fs.StringVar(&c.Host, "host", "127.0.0.1:11434", "`address` of the Ollama server: host, host:port or URL; OLLAMA_HOST is honoured too")
	fs.StringVar(&c.CAFile, "ca-file", "", "PEM `file` of the authority that signed the host's certificate, if the system does not know it")
	fs.IntVar(&c.Slots, "slots", 4, "how many requests the host is given at once")
	fs.IntVar(&c.Queue, "queue", 256, "how many requests may wait for a slot; one more is refused at once")
	fs.DurationVar(&c.Timeout, "timeout", 55*time.Second, "time limit of a call that brings no timeout_seconds; below the 60 s after which many MCP hosts give up; 0 = none")
	fs.DurationVar(&c.DrainTimeout, "drain-timeout", 10*time.Second, "how long calls may go on after SIGTERM or SIGINT; a second signal ends at once")
	fs.IntVar(&c.InlineBytes, "inline-bytes", 16<<10, "size in `bytes` up to which embeddings are returned in the result rather than as a resource")
	fs.IntVar(&c.MaxMessage, "max-message", 32, "largest message accepted from a client, in `MiB`")
	fs.StringSliceVar(&c.Listen, "listen", nil, "`address` to serve HTTP at, instead of stdio: host:port, or unix:PATH; may be given more than once")
	fs.StringSliceVar(&c.AllowedHosts, "allowed-host", nil, "`name` by which HTTP clients may call the server, besides localhost and the address that they reach")
	fs.StringSliceVar(&c.AllowedOrigins, "allowed-origin", nil, "web `site`, such as https://example.com, whose pages may use the server over HTTP")
	fs.BoolVar(&c.Insecure, "insecure", false, "allow to listen where other machines can connect, and use the models unasked")
	fs.TextVar(&c.LogLevel, "log-level", slog.LevelInfo, "least `level` that is logged to stderr: debug, info, warn or error")
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

// Parse reads args and then, for the options that they leave out, the
// environment. fs is what Flags returned, with any flags that a command adds.
func Parse(fs *FlagSet, c *Config, args []string, getenv func(string) string) error {
	if err := fs.Parse(args); err != nil {
		return err
	}
	var bad error
	fs.VisitAll(func(f *pflag.Flag) {
		value := getenv(Variable(f.Name))
		if f.Changed || value == "" || bad != nil {
			return
		}
		if err := f.Value.Set(value); err != nil {
			bad = fmt.Errorf("%s: %q: %w", Variable(f.Name), value, err)
		}
		f.Changed = true
	})
	if bad != nil {
		return bad
	}
	if host := getenv("OLLAMA_HOST"); host != "" && !fs.Changed("host") {
		c.Host = host
	}
	c.APIKey = getenv("OLLAMA_API_KEY")
	return c.check()
}

// Given are the options that were set, as flags for another start of the program,
// which is to serve stdio whatever the environment says.
func Given(fs *FlagSet) (args []string) {
	args = []string{"--listen="}
	known := Flags(new(Config))
	fs.Visit(func(f *pflag.Flag) {
		_, isList := f.Value.(pflag.SliceValue) // as only options for HTTP are
		if known.Lookup(f.Name) != nil && !isList {
			args = append(args, "--"+f.Name+"="+f.Value.String())
		}
	})
	return args
}

// check refuses what no value of its type can say by itself.
func (c *Config) check() error {
	for _, o := range []struct {
		name string
		bad  bool
		want string
	}{
		{"slots", c.Slots < 1, "at least 1"},
		{"queue", c.Queue < 1, "at least 1"},
		{"timeout", c.Timeout < 0, "0 or more"},
		{"drain-timeout", c.DrainTimeout <= 0, "more than 0"},
		{"inline-bytes", c.InlineBytes < 0, "0 or more"},
		{"max-message", c.MaxMessage < 1 || c.MaxMessage > 1024, "1 to 1024"},
	} {
		if o.bad {
			return fmt.Errorf("--%s or %s: must be %s", o.name, Variable(o.name), o.want)
		}
	}
	return nil
}

// Variable is the environment variable of an option.
func Variable(option string) string {
	return "OLLAMA_MCP_" + strings.ToUpper(strings.ReplaceAll(option, "-", "_"))
}

// Page is the documentation of all options in Markdown.
func Page() string {
	var b strings.Builder
	b.WriteString(pageHead)
	Flags(new(Config)).VisitAll(func(f *pflag.Flag) {
		kind, usage := pflag.UnquoteUsage(f)
		def := "`" + f.DefValue + "`"
		if f.DefValue == "" || f.DefValue == "[]" {
			def = "none"
		}
		fmt.Fprintf(&b, "| `--%s` | `%s` | %s | %s | %s |\n", f.Name, Variable(f.Name), cmp.Or(kind, f.Value.Type()), def, usage)
	})
	b.WriteString(pageTail)
	return b.String()
}

const pageHead = `# Options

Printed from the program's own declarations; ` + "`make docs`" + ` renews it.

A flag beats the environment variable, and that beats the default.

| flag | environment | value | default | what it does |
|---|---|---|---|---|
`

const pageTail = `
Two variables of Ollama's own are honoured:

- ` + "`OLLAMA_HOST`" + `: the address of the server, where neither ` + "`--host` nor `OLLAMA_MCP_HOST`" + ` is given.
- ` + "`OLLAMA_API_KEY`" + `: sent to that server as a bearer token, and to nobody else. There is no flag for it, since
  other users of a machine can read a program's flags.
`
