// Package doctor finds problems with the hosts and says how to solve them.
//
// It sends each host only requests that any client may send, and loads no model. It promises
// plain text in a stable order, for people and for scripts: a line for each finding, which
// begins with ok, warn or fail, below a problem an indented line with the solution, and a
// summary in the last line.
package doctor

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"ollama-mcp/internal/backend"
)

// Options say what to examine.
type Options struct {
	Hosts []backend.Backend // at least one
	Out   io.Writer
	// Timeout limits each request to a host; 0 means 10 s. It should be longer than the
	// timeout of connecting, or the two cannot be told apart.
	Timeout time.Duration
}

// Run prints the findings. It returns false if there is a host whose models cannot be used;
// warnings alone do not count.
func Run(ctx context.Context, o Options) (ok bool) {
	o.Timeout = cmp.Or(o.Timeout, 10*time.Second)
	var warnings, failures int
	for _, host := range o.Hosts {
		e := &examination{Options: o, host: host, shown: map[string]*backend.ModelInfo{}}
		e.examine(ctx)
		warnings += e.warnings
		failures += e.failures
	}
	switch {
	case failures > 0:
		fmt.Fprintf(o.Out, "\nThis does not work yet: %s.\n", count(failures, "problem"))
	case warnings > 0:
		fmt.Fprintf(o.Out, "\nThis works, but could be better: %s.\n", count(warnings, "warning"))
	default:
		fmt.Fprint(o.Out, "\nAll is well.\n")
	}
	return failures == 0
}

// examination is the examination of one host.
type examination struct {
	Options
	host               backend.Backend
	shown              map[string]*backend.ModelInfo // results of Show by name; nil for a model that Show failed on
	warnings, failures int
}

func (e *examination) ok(format string, args ...any) { e.print("ok", fmt.Sprintf(format, args...)) }

func (e *examination) warn(todo, format string, args ...any) {
	e.warnings++
	e.print("warn", fmt.Sprintf(format, args...))
	e.print("", todo)
}

func (e *examination) fail(todo, format string, args ...any) {
	e.failures++
	e.print("fail", fmt.Sprintf(format, args...))
	e.print("", todo)
}

// print prints a finding, or, without a level, the solution. It removes control characters,
// since texts from a host must not control the terminal.
func (e *examination) print(level, text string) {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
	if level == "" {
		fmt.Fprintf(e.Out, "      -> %s\n", text)
		return
	}
	fmt.Fprintf(e.Out, "%-4s  %s: %s\n", level, e.host.Name(), text)
}

func (e *examination) examine(ctx context.Context) {
	version, err := request(ctx, e, e.host.Version)
	if err != nil {
		e.unreachable(err)
		return
	}
	e.version(version)
	models, err := request(ctx, e, e.host.Models)
	if err != nil {
		e.unreachable(err)
		return
	}
	if len(models) == 0 {
		e.fail("ollama pull llama3.2", "no model is installed")
		return
	}
	e.models(ctx, models)
	running, err := request(ctx, e, e.host.Running)
	if err != nil {
		e.unreachable(err)
		return
	}
	e.memory(ctx, running)
}

// request sends a request to the host, with the timeout.
func request[T any](ctx context.Context, e *examination, send func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	return send(ctx)
}

// faults are those of versions of Ollama that users should know of, from the first version
// that has it to the first that does not.
var faults = []struct {
	from, before backend.Version
	fault, todo  string
}{
	{
		backend.Version{},
		backend.Version{0, 12, 6},
		"truncates prompts that are too long without saying so",
		"update Ollama: from 0.12.6 on, a prompt that is too long can be refused",
	},
	{
		// Fixed by #17883 of github.com/ollama/ollama.
		backend.Version{0, 30, 0},
		backend.Version{0, 32, 15},
		"can hang at the call after an answer that it could not parse, such as a bad tool call",
		"update Ollama to 0.32.15 or later",
	},
}

func (e *examination) version(version string) {
	v, ok := backend.ParseVersion(version)
	if !ok {
		e.ok("reachable, Ollama of unknown version (%s)", version)
		return
	}
	for _, f := range faults {
		if !v.Before(f.from) && v.Before(f.before) {
			e.warn(f.todo, "reachable, Ollama %s, which %s", version, f.fault)
			return
		}
	}
	e.ok("reachable, Ollama %s", version)
}

func (e *examination) models(ctx context.Context, models []backend.Model) {
	e.ok("%s installed", count(len(models), "model"))
	for _, need := range []struct{ capability, lack, example string }{
		{"completion", "no model that answers in text", "llama3.2"},
		{"embedding", "no embedding model, which the tool embed needs", "nomic-embed-text"},
	} {
		if e.lack(ctx, models, need.capability) {
			e.warn("ollama pull "+need.example, "%s", need.lack)
		}
	}
}

// lack reports whether none of the models has a capability. It returns false if the host
// does not list capabilities, as Ollama did not before 0.6.4.
func (e *examination) lack(ctx context.Context, models []backend.Model, capability string) bool {
	for _, m := range models {
		can := m.Capabilities // listed since 0.30.0
		if len(can) == 0 {
			if info := e.show(ctx, m.Name); info != nil {
				can = info.Capabilities
			}
		}
		if len(can) == 0 {
			return false
		}
		for _, c := range can {
			if string(c) == capability {
				return false
			}
		}
	}
	return true
}

// show returns the description of a model; nil if the host does not give one.
func (e *examination) show(ctx context.Context, model string) *backend.ModelInfo {
	if info, ok := e.shown[model]; ok {
		return info
	}
	info, err := request(ctx, e, func(ctx context.Context) (*backend.ModelInfo, error) {
		return e.host.Show(ctx, model)
	})
	if err != nil {
		info = nil
	}
	e.shown[model] = info
	return info
}

func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
