package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ollama/ollama/api"

	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

// A host is a real Ollama behind a proxy.
type host struct {
	name string
	*ollamatest.Server
	proxy *proxy
}

var (
	releases   = []ollamatest.Release{ollamatest.Usual, ollamatest.Oldest, ollamatest.Newest}
	hostModels = []tinymodels.Model{tinymodels.Says, tinymodels.Loops, tinymodels.JSON, tinymodels.ToolCall, tinymodels.Words}
)

// startHosts starts one Ollama of each release. Models of the newest have no weights, so it
// embeds nothing and pays no attention to formats: it has the others.
func startHosts(ctx context.Context) (hosts []*host, err error) {
	for i, release := range releases {
		models := hostModels
		if release == ollamatest.Newest {
			models = []tinymodels.Model{tinymodels.Says, tinymodels.Loops, tinymodels.ToolCall}
		}
		s, err := ollamatest.Launch(ctx, ollamatest.Options{Release: release, Models: models, Env: []string{"OLLAMA_MAX_LOADED_MODELS=5"}})
		if err != nil {
			return hosts, err
		}
		h := &host{name: string(rune('a' + i)), Server: s}
		hosts = append(hosts, h)
		if h.proxy, err = startProxy(strings.TrimPrefix(s.URL(), "http://")); err != nil {
			return hosts, err
		}
		if i == len(releases)-1 {
			if err := h.proxy.listenToo(secondAddress); err != nil {
				return hosts, err
			}
		}
	}
	return hosts, nil
}

func closeHosts(hosts []*host) error {
	var all []error
	for _, h := range hosts {
		if h.proxy != nil {
			h.proxy.close()
		}
		all = append(all, h.Close())
	}
	return errors.Join(all...)
}

// vectorsOf embeds texts past the program.
func vectorsOf(ctx context.Context, h *host, texts []string) (map[string][]float64, error) {
	vectors := make(map[string][]float64)
	for _, text := range texts {
		got, err := h.Client().Embed(ctx, &api.EmbedRequest{Model: tinymodels.Words.Name, Input: text})
		if err != nil {
			return nil, err
		}
		for _, x := range got.Embeddings[0] {
			vectors[text] = append(vectors[text], float64(x))
		}
	}
	return vectors, nil
}

// A fault is something that goes wrong for a while.
type fault struct {
	name string
	run  func(ctx context.Context, s *soak, h *host, hold time.Duration) error
}

// faults leave everything as it was before.
var faults = slices.Concat(faultsOfHosts, faultsOfWorld)

var faultsOfHosts = []fault{
	{"killed", func(ctx context.Context, _ *soak, h *host, hold time.Duration) error {
		h.Kill()
		pause(ctx, hold)
		return h.Restart(ctx)
	}},
	{"frozen", func(ctx context.Context, _ *soak, h *host, hold time.Duration) error {
		return heldBetween(ctx, hold, h.Freeze, h.Thaw)
	}},
	{"crashed", func(_ context.Context, _ *soak, h *host, _ time.Duration) error {
		_, err := h.Crash()
		return err
	}},
	{"hung", func(ctx context.Context, _ *soak, h *host, hold time.Duration) error {
		return heldBetween(ctx, hold, ignoring(h.Hang), ignoring(h.Resume))
	}},
	{"full", func(ctx context.Context, _ *soak, h *host, hold time.Duration) error {
		h.fill(ctx, hold)
		return nil
	}},
	{"slow", inWeather(slow)},
	{"cutting", inWeather(cutting)},
	{"garbage", inWeather(garbage)},
	{"silent", inWeather(silent)},
	{"refusing", inWeather(closed)},
	{"without a model", func(ctx context.Context, _ *soak, h *host, hold time.Duration) error {
		const kept = "kept-away"
		client := h.Client()
		if err := client.Copy(ctx, &api.CopyRequest{Source: tinymodels.Says.Name, Destination: kept}); err != nil {
			return err
		}
		if err := client.Delete(ctx, &api.DeleteRequest{Model: tinymodels.Says.Name}); err != nil {
			return err
		}
		pause(ctx, hold)
		return errors.Join(
			client.Copy(ctx, &api.CopyRequest{Source: kept, Destination: tinymodels.Says.Name}),
			client.Delete(ctx, &api.DeleteRequest{Model: kept}))
	}},
	{"removed from the configuration", func(ctx context.Context, s *soak, h *host, hold time.Duration) error {
		if err := s.writeConfig(h.name); err != nil {
			return err
		}
		pause(ctx, hold)
		return s.writeConfig()
	}},
	{"asked with a revoked key", func(ctx context.Context, s *soak, _ *host, _ time.Duration) error { return s.revoke(ctx) }},
}

func inWeather(w weather) func(context.Context, *soak, *host, time.Duration) error {
	return func(ctx context.Context, _ *soak, h *host, hold time.Duration) error {
		h.proxy.set(w)
		pause(ctx, hold)
		h.proxy.set(fair)
		return nil
	}
}

func heldBetween(ctx context.Context, hold time.Duration, begin, end func() error) error {
	if err := begin(); err != nil {
		return err
	}
	pause(ctx, hold)
	return end()
}

// ignoring leaves out how many runners there were.
func ignoring(signal func() (int, error)) func() error {
	return func() error {
		_, err := signal()
		return err
	}
}

// fill keeps a host busy with requests that do not go through the program.
func (h *host) fill(ctx context.Context, hold time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, hold)
	defer cancel()
	var busy sync.WaitGroup
	for range 16 {
		busy.Go(func() {
			req := &api.GenerateRequest{Model: tinymodels.Loops.Name, Prompt: "hi", Options: map[string]any{"num_predict": 1 << 20}}
			_ = h.Client().Generate(ctx, req, func(api.GenerateResponse) error { return nil }) // until ctx ends
		})
	}
	busy.Wait()
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// rage has one thing after the other go wrong, each as often as the others, until ctx ends.
// Now and then two hosts are in trouble at once.
func (s *soak) rage(ctx context.Context, random *rand.Rand) {
	var deck []int
	next := func() fault {
		if len(deck) == 0 {
			deck = random.Perm(len(faults))
		}
		f := faults[deck[0]]
		deck = deck[1:]
		return f
	}
	for ctx.Err() == nil {
		var together sync.WaitGroup
		hosts := random.Perm(len(s.hosts))
		for i := range 1 + random.IntN(5)/4 {
			f, h, hold := next(), s.hosts[hosts[i]], time.Duration(1000+random.IntN(4000))*time.Millisecond
			together.Go(func() {
				s.say("host %s is %s", h.name, f.name)
				defer s.begin("host " + h.name + " is " + f.name)()
				// What was begun is ended even if the time is over meanwhile.
				if err := f.run(context.WithoutCancel(ctx), s, h, hold); err != nil {
					s.violate("the fault %q of host %s could not be made: %v", f.name, h.name, err)
				}
				s.faulted(f.name)
			})
		}
		together.Wait()
		pause(ctx, time.Duration(random.IntN(3000))*time.Millisecond)
	}
}
