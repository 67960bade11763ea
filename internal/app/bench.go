package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/ollama"
	"ollama-mcp/internal/config"
	"ollama-mcp/internal/loadtest"
	"ollama-mcp/internal/route"
	"ollama-mcp/internal/terminal"
	"ollama-mcp/pool"
)

// benchOptions are the options that only the command bench has.
type benchOptions struct {
	loadtest.Options
	embed, compare, json bool
	svg                  string // file for the plot; "" for none
}

func (o *benchOptions) flags(fs *config.FlagSet) {
	fs.StringSliceVar(&o.Models, "model", nil, "`models` to call in turn; default: one that is in memory, or else the smallest, rather for chats than for code")
	fs.IntSliceVar(&o.Callers, "callers", []int{1, 2, 4, 8, 16}, "`numbers` of concurrent callers, one after another")
	fs.DurationVar(&o.Duration, "duration", 0, "time for each number of callers (default 10s, or as long as --calls takes)")
	fs.IntVar(&o.Calls, "calls", 0, "calls for each number of callers")
	fs.IntSliceVar(&o.PromptTokens, "prompt-tokens", []int{64}, "approximate `sizes` of prompts, in turn")
	fs.IntVar(&o.OutputTokens, "output-tokens", 64, "maximum tokens of an answer")
	fs.BoolVar(&o.embed, "embed", false, "request embeddings instead of text")
	fs.BoolVar(&o.compare, "compare", false, "compare the pool with a single connection and with Go's default client")
	fs.BoolVar(&o.json, "json", false, "print JSON instead of a table")
	fs.StringVar(&o.svg, "svg", "", "`file` to write a plot to")
}

// check refuses values in terms of the options, and not of the fields of package loadtest.
func (o *benchOptions) check() error {
	for _, v := range []struct {
		option string
		values []int
		least  int
	}{
		{"callers", o.Callers, 1}, {"prompt-tokens", o.PromptTokens, 1}, {"calls", []int{o.Calls}, 0}, {"output-tokens", []int{o.OutputTokens}, 1},
	} {
		if len(v.values) > 0 && slices.Min(v.values) < v.least {
			return fmt.Errorf("--%s: must be at least %d", v.option, v.least)
		}
	}
	if o.Duration < 0 {
		return errors.New("--duration: must not be negative")
	}
	return nil
}

// bench puts load on the configured hosts and prints how they perform.
func bench(ctx context.Context, args []string, std Stdio) int {
	var c config.Config
	var o benchOptions
	fs := config.Flags(&c)
	o.flags(fs)
	if done, status := parse("bench", fs, &c, args, std); done {
		return status
	}
	if fs.NArg() > 0 {
		return complain(std, fmt.Errorf("unexpected argument %q", fs.Arg(0)))
	}
	o.Out, o.Rounds = std.Out, 1
	if o.json {
		o.Out, o.JSON = nil, std.Out
	}
	if terminal.Is(std.Err) {
		o.Progress = std.Err
	}
	if o.embed {
		o.Kind = loadtest.Embed
	}
	if err := o.check(); err != nil {
		return complain(std, err)
	}
	if len(o.Callers) > 0 {
		c.Queue = max(c.Queue, slices.Max(o.Callers)) // a rejected call would not be measured
	}
	c.Listen = nil // over HTTP one caller would get only a part of the queue
	hosts, err := newHosts(c, 0, nil, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		return complain(std, err)
	}
	stop := hosts.watch()
	defer stop()
	hosts.refresh(ctx)
	if err := o.run(ctx, c, hosts); err != nil {
		return fail(std, err)
	}
	return ok
}

func (o *benchOptions) run(ctx context.Context, c config.Config, hosts *hosts) error {
	if o.compare {
		direct, closeDirect, err := directly(c)
		if err != nil {
			return err
		}
		defer closeDirect()
		o.Rounds, o.Contestants = 3, direct
	}
	o.Contestants = append(o.Contestants, loadtest.Contestant{Name: "pool", Do: hosts.ask})
	if len(o.Models) == 0 {
		model, err := hosts.pickModel(ctx, o.embed)
		if err != nil {
			return err
		}
		o.Models = []string{model}
	}
	if err := hosts.keepsLocal(ctx, o.Models); err != nil {
		return err
	}
	if o.svg == "" {
		return loadtest.Run(ctx, o.Options)
	}
	return writing(o.svg, func(w io.Writer) error {
		o.SVG = w
		return loadtest.Run(ctx, o.Options)
	})
}

// writing creates a file and has write fill it.
func writing(name string, write func(io.Writer) error) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}

// keepsLocal refuses models in Ollama's cloud where no request may leave: the contestants
// without a pool would send them there.
func (h *hosts) keepsLocal(ctx context.Context, models []string) error {
	if !h.noCloud {
		return nil
	}
	for _, host := range h.Hosts() {
		for _, model := range models {
			if inCloud, _ := backend.RunsInCloud(ctx, host, model); inCloud { // of a host that does not answer the test will tell
				return fmt.Errorf("%s runs in Ollama's cloud on %s, and --no-cloud forbids that", model, host.Name())
			}
		}
	}
	return nil
}

// ask sends a request through the pool as the tools do, but without cache and ladders.
func (h *hosts) ask(ctx context.Context, q loadtest.Request) (a loadtest.Result, err error) {
	need := route.Need{Model: backend.CanonicalModel(q.Model), Bytes: int64(len(q.Prompt))}
	err = h.With(ctx, need, func(ctx context.Context, l *pool.Lease) (err error) {
		a, err = q.On(ctx, l.Host, l.Runner)
		return err
	})
	return a, err
}

// directly returns the contestants without a pool.
func directly(c config.Config) (contestants []loadtest.Contestant, stop func(), err error) {
	targets := make([]loadtest.Target, len(c.Hosts))
	for i, h := range specs(c) {
		h, _ = h.Fixed()
		base, err := ollama.ParseHost(h.URL)
		if err != nil {
			return nil, nil, err
		}
		targets[i] = loadtest.Target{URL: base.String(), APIKey: h.APIKey}
	}
	contestants, stop = loadtest.Direct(targets...)
	return contestants, stop, nil
}

// candidate is a model that bench can call.
type candidate struct {
	name            string
	loaded, inserts bool // it is in memory; it fills gaps in code, so is not for chats alone
	cloud           bool
	size            int64
}

// pickModel returns the model to measure where none is named: one that is in memory, or else
// the smallest, and rather one for chats than one that fills gaps in code.
func (h *hosts) pickModel(ctx context.Context, embeds bool) (string, error) {
	wanted := "completion"
	if embeds {
		wanted = "embedding"
	}
	hosts := h.Hosts()
	if len(hosts) == 0 {
		return "", errors.New("no host was found; `ollama-mcp doctor` says why")
	}
	failed := fmt.Errorf("no installed model has the capability %s: pull one, or name one with --model", wanted)
	var all []candidate
	for _, host := range hosts {
		models, err := host.Models(ctx)
		if err != nil {
			failed = err
			continue
		}
		loaded := make(map[string]bool)
		if running, err := host.Running(ctx); err == nil {
			for _, m := range running {
				loaded[backend.CanonicalModel(m.Name)] = true
			}
		}
		for _, m := range models {
			info, err := host.Show(ctx, m.Name)
			if err != nil {
				continue
			}
			var can []string
			for _, c := range info.Capabilities {
				can = append(can, string(c))
			}
			if slices.Contains(can, wanted) {
				all = append(all, candidate{
					name: m.Name, loaded: loaded[backend.CanonicalModel(m.Name)], inserts: slices.Contains(can, "insert"),
					cloud: backend.IsListedInCloud(m), size: m.Size,
				})
			}
		}
	}
	if len(all) == 0 {
		return "", failed
	}
	return slices.MinFunc(all, candidate.compare).name, nil
}

// compare puts the model first that is the better choice.
func (c candidate) compare(other candidate) int {
	last := func(a, b bool) int { // false before true
		switch {
		case a == b:
			return 0
		case a:
			return 1
		}
		return -1
	}
	return cmp.Or(last(c.cloud, other.cloud), last(c.inserts, other.inserts), last(other.loaded, c.loaded),
		cmp.Compare(c.size, other.size), strings.Compare(c.name, other.name))
}
