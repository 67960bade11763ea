package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/ollama"
	"ollama-mcp/internal/config"
	"ollama-mcp/internal/fleet"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// hosts are the hosts that there are, and the pool that lends them out.
type hosts struct {
	*pool.Pool
	fleet  *fleet.Fleet
	looked atomic.Int64 // when they were last asked for a model, in Unix nanoseconds
}

// idleAfter is how long after the last call the hosts of a server on stdio are left
// in peace: many a host starts one and never uses it.
const idleAfter = 5 * time.Minute

func newHosts(c config.Config, log *slog.Logger) (*hosts, error) {
	policy, err := route.ByName(c.Route)
	if err != nil {
		return nil, err
	}
	share := 0 // of the queue, for each of many callers
	if len(c.Listen) == 0 {
		share = c.Queue
	}
	p, err := pool.New(pool.Options{
		Queue: c.Queue, PerCaller: share, MaxInFlight: c.MaxInFlight, MaxPassedOver: c.MaxPassedOver,
		Policy: policy, Runner: pinned(c), Log: log,
	})
	if err != nil {
		return nil, err
	}
	o := fleet.Options{Pool: lender{p, log}, Open: open, Log: log}
	if len(c.Listen) == 0 {
		o.IdleAfter = idleAfter
	}
	f, err := fleet.New(o)
	if err != nil {
		return nil, err
	}
	return &hosts{Pool: p, fleet: f}, f.Set(specs(c))
}

// watch looks after the hosts until stop is called, which then lets go of them. No
// calls may be left by then.
func (h *hosts) watch() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() { h.fleet.Watch(ctx) })
	return func() {
		cancel()
		watching.Wait()
		h.fleet.Close()
	}
}

// With lends out a host, and keeps the news of hosts coming. A model that no host is
// known to have may have been installed since they were asked last, so they are asked.
func (h *hosts) With(ctx context.Context, need route.Need, use func(context.Context, *pool.Lease) error) error {
	h.fleet.Touch()
	err := h.Pool.With(ctx, need, use)
	if errors.Is(err, backend.ModelMissing) && h.lookFor(ctx, need.Model) {
		return h.Pool.With(ctx, need, use)
	}
	return err
}

// Stats tell how the hosts do. Hosts that nobody has asked for a while are asked first.
func (h *hosts) Stats() pool.Stats {
	h.lookAt(context.Background())
	return h.Pool.Stats()
}

// lookAt waits until all hosts were asked how they are, but for no more than a second.
func (h *hosts) lookAt(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = h.fleet.Ready(ctx) // what takes longer stays unknown
}

// digest is that of the fleet, which before the first call knows of no model.
func (h *hosts) digest(ctx context.Context, model string) string {
	if digest := h.fleet.Digest(model); digest != "" {
		return digest
	}
	h.lookAt(ctx)
	return h.fleet.Digest(model)
}

// lookEvery bounds how often calls for models that are nowhere make all hosts be asked.
const lookEvery = time.Second

// lookFor asks all hosts what is installed, and reports whether one has the model.
func (h *hosts) lookFor(ctx context.Context, model string) (found bool) {
	last := h.looked.Load()
	if now := time.Now().UnixNano(); now-last < int64(lookEvery) || !h.looked.CompareAndSwap(last, now) {
		return false
	}
	for _, host := range h.Hosts() {
		models, err := host.Models(ctx)
		if err != nil {
			continue
		}
		installed := backend.CanonicalNames(models)
		h.Know(host.Name(), pool.Facts{Up: true, Installed: installed})
		found = found || slices.Contains(installed, model)
	}
	return found
}

// reload takes over the hosts, and what is pinned on them, from a configuration that
// has changed.
func (h *hosts) reload(c config.Config) error {
	h.Pin(pinned(c))
	return h.fleet.Set(specs(c))
}

// specs are the hosts as they are configured.
func specs(c config.Config) []fleet.Spec {
	all := make([]fleet.Spec, len(c.Hosts))
	for i, h := range c.Hosts {
		all[i] = fleet.Spec(h)
	}
	return all
}

// pinned are the runner options that no caller changes, by model.
func pinned(c config.Config) map[string]map[string]any {
	all := make(map[string]map[string]any)
	for name, m := range c.Models {
		if len(m.Runner) > 0 {
			all[name] = m.Runner
		}
	}
	return all
}

// mostConns is how many connections are kept open to a host whose slots are learned:
// as many as those may come to be.
const mostConns = 64

// open makes a host. Where dial is valid, connections go there, whatever the host's
// name stands for.
func open(s fleet.Spec, dial netip.Addr) (fleet.Host, error) {
	o := ollama.Options{Name: s.Name, URL: s.URL, APIKey: s.APIKey, CAFile: s.CAFile, Conns: s.Slots}
	if o.Conns == 0 {
		o.Conns = mostConns
	}
	if dial.IsValid() {
		o.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(dial.String(), port))
		}
	}
	return ollama.New(o)
}

// lender is a pool as a fleet drives it.
type lender struct {
	pool *pool.Pool
	log  *slog.Logger
}

func (l lender) Add(host backend.Backend, slots int, weight float64) (replaced <-chan struct{}) {
	replaced, err := l.pool.Add(host, pool.Slots{Given: slots, Weight: weight})
	if err != nil {
		l.log.Error("a host is not used", "host", host.Name(), "error", err)
	}
	return replaced
}

func (l lender) Remove(name string) (drained <-chan struct{}) { return l.pool.Remove(name) }

func (l lender) Know(name string, f fleet.Facts) {
	facts := pool.Facts{Up: f.Up, Err: f.Err, Version: f.Version, Installed: f.Installed}
	for _, m := range f.Loaded {
		facts.Loaded = append(facts.Loaded, pool.Loaded(m))
	}
	if f.Loaded != nil && facts.Loaded == nil {
		facts.Loaded = []pool.Loaded{}
	}
	l.pool.Know(name, facts)
}
