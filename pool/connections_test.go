package pool_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/backend/ollama"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

func TestConnectionsAreAsManyAsSlotsAndChecksAndCallsThatLeft(t *testing.T) {
	const slots, callers, calls = 8, 100, 240
	const conns = slots + 1 // as the transport is bounded to: one may be on its way back
	for name, c := range map[string]struct {
		leave   int  // so many calls leave while they are answered, each at the cost of a connection
		check   bool // the host is checked once a second
		most    int  // connections that are kept
		closing int  // of those who left, at the same time
	}{
		"all are answered":       {most: conns},
		"some leave":             {most: conns, leave: 20, closing: slots},
		"the host is checked":    {most: conns + 1, check: true},
		"both, at the same time": {most: conns + 1, check: true, leave: 20, closing: slots},
	} {
		synctest.Test(t, func(t *testing.T) {
			fake := backendtest.New("gpu").Answer("1 2").TokenTime(500 * time.Millisecond)
			var wires wires
			host, err := ollama.New(ollama.Options{Name: fake.Name(), Conns: slots, DialContext: wires.count(fake.Dial)})
			if err != nil {
				t.Fatal(err)
			}
			p := newPool(t, pool.Options{Hosts: []backend.Backend{host}, Slots: slots, Queue: callers, PerCaller: callers})
			ctx, stop := context.WithCancel(t.Context())
			var checks sync.WaitGroup
			if c.check {
				checks.Go(func() { check(ctx, t, host) })
			}
			askAll(t, p, callers, calls, c.leave)
			stop()
			checks.Wait()
			if opened := wires.opened.Load(); opened > int64(c.most+c.leave) {
				t.Errorf("%s: %d connections were opened for %d calls on %d slots", name, opened, calls, slots)
			}
			if open := wires.most.Load(); open > int64(c.most+c.closing) {
				t.Errorf("%s: %d connections were open at once, want at most %d", name, open, c.most+c.closing)
			}
			host.Close()
			fake.Close()
			synctest.Wait()
			if left := wires.open.Load(); left != 0 {
				t.Errorf("%s: %d connections are open in the end", name, left)
			}
		})
	}
}

// Slots of a host change while calls go on: connections follow, and are never more than slots plus one.
func TestConnectionsFollowTheSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const callers, calls = 40, 160
		fake := backendtest.New("gpu").Answer("1 2").TokenTime(500 * time.Millisecond)
		var wires wires
		host, err := ollama.New(ollama.Options{Name: fake.Name(), Conns: 4, DialContext: wires.count(fake.Dial)})
		if err != nil {
			t.Fatal(err)
		}
		p := newPool(t, pool.Options{Hosts: []backend.Backend{host}, Slots: 4, Queue: callers, PerCaller: callers})
		for _, slots := range []int{4, 8, 2, 16} {
			var all sync.WaitGroup
			all.Go(func() { askAll(t, p, callers, calls, 0) })
			time.Sleep(700 * time.Millisecond) // calls are under way
			host.SetConns(slots)
			if err := p.Resize("gpu", pool.Slots{Given: slots}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Second) // calls that were beyond fewer slots have ended
			synctest.Wait()
			opened := wires.opened.Load()
			wires.most.Store(0)
			if open := wires.open.Load(); open > int64(slots+1) {
				t.Errorf("%d slots: %d connections are open", slots, open)
			}
			all.Wait()
			if most, more := wires.most.Load(), wires.opened.Load()-opened; most > int64(slots+1) || more > int64(slots+1) {
				t.Errorf("%d slots: %d connections are open at once, and %d were opened for %d calls", slots, most, more, calls)
			}
			if busy := fake.Stats().MaxInFlight; slots == 16 && busy != 16 {
				t.Errorf("the host got %d calls at once on 16 slots", busy)
			}
		}
		host.Close()
		fake.Close()
	})
}

// askAll has callers make n calls, and every so many of them leave half-way.
func askAll(t testing.TB, p *pool.Pool, callers, n, leave int) {
	t.Helper()
	var next atomic.Int64
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				leaves := leave > 0 && i%int64(n/leave) == 0
				err := p.With(t.Context(), route.Need{}, func(ctx context.Context, l *pool.Lease) error {
					if leaves {
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, 700*time.Millisecond)
						defer cancel()
					}
					_, err := l.Host.Generate(ctx, &backend.GenerateRequest{Model: backendtest.Tiny, Prompt: "hi"}, nil)
					return err
				})
				if (err != nil) != leaves {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// check asks a host each second how it is, beside its calls.
func check(ctx context.Context, t *testing.T, host *ollama.Host) {
	time.Sleep(50 * time.Millisecond) // or it might come in the moment in which calls begin
	for ctx.Err() == nil {
		if _, err := host.Version(ctx); err != nil && ctx.Err() == nil {
			t.Error(err)
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

// wires counts connections.
type wires struct{ opened, open, most atomic.Int64 }

type dial = func(ctx context.Context, network, addr string) (net.Conn, error)

func (w *wires) count(dial dial) dial {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		w.opened.Add(1)
		open := w.open.Add(1)
		for most := w.most.Load(); open > most && !w.most.CompareAndSwap(most, open); most = w.most.Load() {
		}
		return &wire{Conn: conn, closed: func() { w.open.Add(-1) }}, nil
	}
}

// wire is a connection that tells when it is closed.
type wire struct {
	net.Conn
	once   sync.Once
	closed func()
}

func (w *wire) Close() error {
	w.once.Do(w.closed)
	return w.Conn.Close()
}

// The host answers at once, so a starved machine opens some more: net/http gives up a
// connection whose writer it has not heard of within 50 ms of the answer.
func BenchmarkHundredThousandCallsOverSockets(b *testing.B) {
	const slots, callers, calls = 8, 500, 100_000
	fake := backendtest.New("gpu")
	var wires wires
	host, err := ollama.New(ollama.Options{
		Name: fake.Name(), URL: fake.Listen(b), Conns: slots, DialContext: wires.count(new(net.Dialer).DialContext),
	})
	if err != nil {
		b.Fatal(err)
	}
	defer host.Close()
	p := newPool(b, pool.Options{Hosts: []backend.Backend{host}, Slots: slots, Queue: callers, PerCaller: callers})
	for b.Loop() {
		askAll(b, p, callers, calls, 0)
	}
	b.ReportMetric(float64(wires.opened.Load()), "connections")
	b.ReportMetric(float64(wires.most.Load()), "at-once")
	b.ReportMetric(calls*float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}
