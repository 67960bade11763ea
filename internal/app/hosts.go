package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/ollama"
	"ollama-mcp/internal/backend/remote"
	"ollama-mcp/internal/config"
	"ollama-mcp/internal/fleet"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// hosts are the Ollama hosts as the tools and the load test see them: a pool that lends
// them out, and a fleet that keeps the pool informed.
type hosts struct {
	*pool.Pool
	fleet   *fleet.Fleet
	noCloud bool // no request may leave for a cloud
}

// idleAfter is how long after the last call a server on stdio stops polling its hosts: many
// MCP hosts start a server and never use it.
const idleAfter = 5 * time.Minute

// newHosts opens the hosts. queue is how many bytes of requests may wait for one; 0 means what the
// pool has by default. changed is told when a host fares worse or better; nil tells nobody.
func newHosts(c config.Config, queue int64, answers *remote.Memory, changed func(pool.Change), log *slog.Logger) (*hosts, error) {
	policy, err := route.ByName(c.Route)
	if err != nil {
		return nil, err
	}
	share := 0 // of the queue, for each of many callers
	if len(c.Listen) == 0 {
		share = c.Queue
	}
	p, err := pool.New(pool.Options{
		Queue: c.Queue, QueueBytes: queue, PerCaller: share, MaxInFlight: c.MaxInFlight, MaxPassedOver: c.MaxPassedOver,
		Policy: policy, Runner: pinned(c), OnChange: changed, Log: log,
	})
	if err != nil {
		return nil, err
	}
	o := fleet.Options{Pool: informed{p}, Open: opener{answers}.open, Log: log}
	if c.NoCloud {
		o.Open = opener{answers}.openSealed
	}
	if len(c.Listen) == 0 {
		o.IdleAfter = idleAfter
	}
	f, err := fleet.New(o)
	if err != nil {
		return nil, err
	}
	h := &hosts{Pool: p, fleet: f, noCloud: c.NoCloud}
	return h, h.set(c)
}

// watch keeps the pool informed until stop is called, which then closes the hosts. No calls
// may be left by then.
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

// With lends out a host, as pool.Pool.With does. A model that no host is known to have may
// have been pulled a moment ago, so the hosts are asked for it first.
func (h *hosts) With(ctx context.Context, need route.Need, use func(context.Context, *pool.Lease) error) error {
	h.fleet.Touch()
	need.LocalOnly = need.LocalOnly || h.noCloud
	if !h.fleet.MayHave(need.Model, need.Host) {
		h.fleet.Find(ctx, need.Model, need.Host)
		return h.Pool.With(ctx, need, use)
	}
	err := h.Pool.With(ctx, need, use)
	if errors.Is(err, backend.ModelMissing) && h.fleet.Find(ctx, need.Model, need.Host) {
		return h.Pool.With(ctx, need, use) // the model has moved to another host since the last poll
	}
	return err
}

// refresh waits until all hosts have been polled once, but for no more than a second.
func (h *hosts) refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = h.fleet.Ready(ctx) // hosts that take longer stay unknown
}

// set replaces the hosts with those of a configuration. If it fails, they stay as they were.
func (h *hosts) set(c config.Config) error { return h.fleet.Set(specs(c)) }

// specs are the configured hosts.
func specs(c config.Config) []fleet.Spec {
	all := make([]fleet.Spec, len(c.Hosts))
	for i, h := range c.Hosts {
		all[i] = fleet.Spec(h)
	}
	return all
}

// pinned are the runner options that no caller can change, by model.
func pinned(c config.Config) map[string]map[string]any {
	all := make(map[string]map[string]any)
	for name, m := range c.Models {
		if len(m.Runner) > 0 {
			all[name] = m.Runner
		}
	}
	return all
}

// maxConns bounds the answers that a host whose slots are learned is asked for at a time:
// as many as its slots may become.
const maxConns = 64

// connsFor bounds the answers that a host with so many slots is asked for at a time; 0 means that its
// slots are learned.
func connsFor(slots int) int {
	if slots == 0 {
		return maxConns
	}
	return slots + pool.CloudSlots
}

// opener makes hosts.
type opener struct {
	answers *remote.Memory // bounds those that are arriving; nil for a bound of each host's own
}

// open makes a host. If dial is valid, connections go to that address instead of the
// addresses of the name in the URL.
func (o opener) open(s fleet.Spec, dial netip.Addr) (fleet.Host, error) {
	opts := ollama.Options{Name: s.Name, URL: s.URL, APIKey: s.APIKey, CAFile: s.CAFile, Conns: connsFor(s.Slots), Memory: o.answers}
	if dial.IsValid() {
		opts.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(dial.String(), port))
		}
	}
	return ollama.New(opts)
}

// openSealed makes a host that is asked nothing at all if it is Ollama's cloud.
func (o opener) openSealed(s fleet.Spec, dial netip.Addr) (fleet.Host, error) {
	host, err := o.open(s, dial)
	if err == nil && backend.IsCloud(host) {
		return sealed{host}, nil
	}
	return host, err
}

// sealed is a cloud where no request may leave for one, not even to ask how it is.
type sealed struct{ fleet.Host }

func (sealed) IsCloud() bool { return true }

func (s sealed) refusal() error {
	return &backend.Error{Host: s.Name(), Class: backend.Forbidden, Message: "it is Ollama's cloud, which this server may not use (--no-cloud)"}
}

func (s sealed) Generate(context.Context, *backend.GenerateRequest, func(backend.Piece)) (*backend.Answer, error) {
	return nil, s.refusal()
}

func (s sealed) Chat(context.Context, *backend.ChatRequest, func(backend.Piece)) (*backend.Answer, error) {
	return nil, s.refusal()
}

func (s sealed) Embed(context.Context, *backend.EmbedRequest) (*backend.EmbedResponse, error) {
	return nil, s.refusal()
}

func (s sealed) Models(context.Context) ([]backend.Model, error)         { return nil, s.refusal() }
func (s sealed) Running(context.Context) ([]backend.RunningModel, error) { return nil, s.refusal() }
func (s sealed) Version(context.Context) (string, error)                 { return "", s.refusal() }

func (s sealed) Show(context.Context, string) (*backend.ModelInfo, error) {
	return nil, s.refusal()
}

// informed is the pool as the fleet keeps it informed.
type informed struct{ pool *pool.Pool }

func (i informed) Add(host backend.Backend, slots int, weight float64) (replaced <-chan struct{}) {
	replaced, err := i.pool.Add(host, pool.Slots{Given: slots, Weight: weight})
	if err != nil {
		panic(err) // package config allows no slots or weight that the pool refuses
	}
	return replaced
}

func (i informed) Resize(host backend.Backend, slots int, weight float64) {
	if h, ok := host.(*ollama.Host); ok { // or a cloud that is asked nothing
		h.SetConns(connsFor(slots))
	}
	if err := i.pool.Resize(host.Name(), pool.Slots{Given: slots, Weight: weight}); err != nil {
		panic(err) // package config allows no slots or weight that the pool refuses
	}
}

func (i informed) Remove(name string) (drained <-chan struct{}) { return i.pool.Remove(name) }

func (i informed) Know(name string, f fleet.Facts) {
	facts := pool.Facts{Up: f.Up, Err: f.Err, Version: f.Version, Installed: f.Installed, Cloud: f.Cloud, Replaced: f.Replaced}
	if f.Loaded != nil {
		facts.Loaded = make([]pool.Loaded, len(f.Loaded))
	}
	for k, m := range f.Loaded {
		facts.Loaded[k] = pool.Loaded(m)
	}
	i.pool.Know(name, facts)
}
