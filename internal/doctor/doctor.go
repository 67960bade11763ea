// Package doctor says what is wrong with the hosts, and what to do about it.
//
// It asks each host what any client may ask, and loads no model. It promises
// plain text in a stable order, for people and for scripts: a line for each
// finding, that begins with ok, warn or fail, under it an indented one that says
// what to do, and a last line that sums up.
package doctor

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"ollama-mcp/internal/backend"
)

// Options say what to examine.
type Options struct {
	Hosts []backend.Backend // at least one
	Out   io.Writer
	// Timeout is that of each question to a host; 0: 10 s. It should be longer
	// than connecting may take, or the two cannot be told apart.
	Timeout time.Duration
}

// Run prints the findings. It reports whether models on all hosts could be used,
// whatever else could be better.
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
		fmt.Fprintf(o.Out, "\nThis works, and could be better: %s.\n", count(warnings, "warning"))
	default:
		fmt.Fprint(o.Out, "\nAll is well.\n")
	}
	return failures == 0
}

// examination is that of one host.
type examination struct {
	Options
	host               backend.Backend
	shown              map[string]*backend.ModelInfo // what Show said, by name; nil if it said nothing
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

// print prints a finding, or, without a level, what to do about it. What a host
// says of itself must not reach the terminal as it is.
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
	version, err := ask(ctx, e, e.host.Version)
	if err != nil {
		e.unreachable(err)
		return
	}
	e.version(version)
	models, err := ask(ctx, e, e.host.Models)
	if err != nil {
		e.unreachable(err)
		return
	}
	if len(models) == 0 {
		e.fail("ollama pull llama3.2", "no model is installed")
		return
	}
	e.models(ctx, models)
	running, err := ask(ctx, e, e.host.Running)
	if err != nil {
		e.unreachable(err)
		return
	}
	e.memory(ctx, running)
}

// ask asks a question, for as long as questions may take.
func ask[T any](ctx context.Context, e *examination, question func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	return question(ctx)
}

// obeysTruncate is the first version of Ollama that can be told not to cut a
// prompt which exceeds the context. Those before it cut it and do not say so.
var obeysTruncate = [3]int{0, 12, 6}

func (e *examination) version(version string) {
	var v [3]int
	if _, err := fmt.Sscanf(version, "%d.%d.%d", &v[0], &v[1], &v[2]); err != nil || v == [3]int{} {
		e.ok("reachable, Ollama of unknown version (%s)", version) // 0.0.0: somebody's own build
		return
	}
	if slices.Compare(v[:], obeysTruncate[:]) < 0 {
		e.warn("update Ollama: from 0.12.6 on, answers say when the prompt was cut",
			"reachable, Ollama %s, which cuts prompts that are too long without a word", version)
		return
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

// lack reports whether none of the models is capable of something. It says no
// if a host does not tell, as those before 0.6.4 do not.
func (e *examination) lack(ctx context.Context, models []backend.Model, capability string) bool {
	for _, m := range models {
		info := e.show(ctx, m.Name)
		if info == nil || len(info.Capabilities) == 0 {
			return false
		}
		for _, c := range info.Capabilities {
			if string(c) == capability {
				return false
			}
		}
	}
	return true
}

// show describes a model; nil if the host does not.
func (e *examination) show(ctx context.Context, model string) *backend.ModelInfo {
	if info, ok := e.shown[model]; ok {
		return info
	}
	info, err := ask(ctx, e, func(ctx context.Context) (*backend.ModelInfo, error) {
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
