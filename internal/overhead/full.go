package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/backend/ollama"
	"ollama-mcp/internal/loadtest"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// A load is the calls that are made to a host that is full.
type load struct {
	slots   int           // of the host, and of the pool for it
	service time.Duration // of the pretend host, for one call
	callers int
	calls   int // of all callers together
	rounds  int

	// Some contestants make only a part of the calls: one connection is slow, and the pools
	// with other slots are of less interest.
	singlePart int // one connection makes a call for so many of the others
	otherPart  int // the same for the pools with other slots
}

// A contest has several contestants make the same load. All of them are in this process
// except the servers that are given to measure.
type contest struct {
	load
	url, model string
}

// The rows of a contest's report, in order; those of the servers follow.
const (
	oneConnection = iota
	defaultClient
	pooled
	tripleSlots  // three times the host's: most requests wait at the host
	learnedSlots // the pool is not told how many there are
	firstServer  // the control
)

// measure has all contestants make the load, in turns, and prints the table.
func (f contest) measure(ctx context.Context, table, progress io.Writer, servers ...loadtest.Contestant) (*loadtest.Report, error) {
	contestants, closeDirect := loadtest.Direct(loadtest.Target{URL: f.url})
	defer closeDirect()
	contestants[oneConnection].Calls = max(f.callers, f.calls/f.singlePart)
	aside := f.calls / f.otherPart
	for _, p := range []struct {
		name         string
		slots, calls int
	}{{"pool", f.slots, 0}, {"pool, three times the slots", 3 * f.slots, aside}, {"pool, learned slots", 0, aside}} {
		c, closePool, err := f.pool(p.name, p.slots)
		if err != nil {
			return nil, err
		}
		defer closePool()
		c.Calls = p.calls
		contestants = append(contestants, c)
	}
	report, err := loadtest.Measure(ctx, loadtest.Options{
		Contestants: append(contestants, servers...), Models: []string{f.model}, PromptTokens: []int{16},
		Callers: []int{f.callers}, Calls: f.calls, Rounds: f.rounds, Progress: progress,
	})
	if err != nil {
		return nil, err
	}
	return report, report.WriteTable(table)
}

// pool is the product's pool and backend. With no slots given, it learns how many there
// are.
func (f contest) pool(name string, slots int) (_ loadtest.Contestant, end func(), err error) {
	var opened atomic.Int64
	host, err := ollama.New(ollama.Options{
		URL: f.url, Conns: cmp.Or(slots, f.callers),
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			opened.Add(1)
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	})
	if err != nil {
		return loadtest.Contestant{}, nil, err
	}
	hosts, err := pool.New(pool.Options{
		Hosts: []backend.Backend{host}, Slots: slots, Queue: f.callers, PerCaller: f.callers,
	})
	if err != nil {
		return loadtest.Contestant{}, nil, err
	}
	ask := func(ctx context.Context, q loadtest.Request) (a loadtest.Result, err error) {
		need := route.Need{Model: backend.CanonicalModel(q.Model)}
		err = hosts.With(ctx, need, func(ctx context.Context, l *pool.Lease) (err error) {
			a, err = q.On(ctx, l.Host, l.Runner)
			return err
		})
		return a, err
	}
	return loadtest.Contestant{Name: name, Do: ask, Opened: func() int { return int(opened.Load()) }}, host.Close, nil
}

// ollamaQueue is how many requests wait at Ollama, by default, before it refuses more.
const ollamaQueue = 512

// slotted is a pretend host with slots, each of which takes the time of service for a call.
func slotted(slots int, service time.Duration) *backendtest.Host {
	var inside atomic.Int64
	bounded := func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
		defer inside.Add(-1)
		if inside.Add(1) > int64(slots+ollamaQueue) {
			serve = func(w http.ResponseWriter, r *http.Request) { backendtest.Busy(w, r, nil) }
		}
		serve(w, r)
	}
	return backendtest.New("bench").Install(backendtest.Model{Name: model}).Answer("Scattering.").
		Slots(slots).FirstTokenTime(service).
		FailWhen(func(backendtest.Call) backendtest.Fault { return bounded })
}

// measureSlots runs the contest on a pretend host. The rate of the pool is also printed as
// a share of the most that its slots can serve.
func measureSlots(ctx context.Context, l load, table, progress io.Writer) error {
	host := slotted(l.slots, l.service)
	url, err := host.Start("127.0.0.1:0")
	if err != nil {
		return err
	}
	defer host.Close()
	fmt.Fprintf(table, "\na pretend host: %d slots, %v for each call, at most %d waiting\n", l.slots, l.service, ollamaQueue)
	report, err := contest{l, url, model}.measure(ctx, table, progress)
	if err != nil || report.Stopped {
		return cmp.Or(err, ctx.Err())
	}
	stats := host.Stats()
	held := stats.Held / time.Duration(stats.Finished)
	most := func(service time.Duration) float64 { return float64(l.slots) / service.Seconds() }
	rate := report.Rows[pooled].Requests
	fmt.Fprintf(table, "\nThe pool makes %.3f of the %.1f requests a second that the slots can serve at %v each,\n"+
		"%.3f of %.1f at the %v that calls really held them (timers are late),\n"+
		// It keeps the host's own queue filled, which leaves no gap between calls.
		"and %.3f of what the default client makes.\n",
		rate/most(l.service), most(l.service), l.service,
		rate/most(held), most(held), held.Round(10*time.Microsecond),
		rate/report.Rows[defaultClient].Requests)
	return nil
}

// measureOllama runs the contest on a real Ollama, with the control and our server in it,
// whose callers share one connection on stdio. The model has to end its answers by itself,
// for the control sets no limit.
func measureOllama(ctx context.Context, l load, commands [contenders][]string, p plan, table io.Writer) error {
	base, err := ollama.ParseHost(p.ollama)
	if err != nil {
		return err
	}
	var asked []loadtest.Contestant
	for _, who := range []int{posts, ours} {
		server, err := start(ctx, commands[who], base.String())
		if err != nil {
			return err
		}
		defer server.close()
		asked = append(asked, loadtest.Contestant{Name: serverNames[who], Do: server.ask})
	}
	fmt.Fprint(table, "\na real Ollama\n")
	report, err := contest{l, base.String(), p.model}.measure(ctx, table, p.progress, asked...)
	if err != nil || report.Stopped {
		return cmp.Or(err, ctx.Err())
	}
	fmt.Fprintf(table, "\nAs a share of the control's rate, medians of %d rounds:\n", l.rounds)
	for _, r := range report.Rows[pooled:] {
		fmt.Fprintf(table, "%-27s %.3f\n", r.Contestant, medianRatio(r.Turns, report.Rows[firstServer].Turns))
	}
	return nil
}

// serverNames are the names of the servers in the contest.
var serverNames = [contenders]string{posts: "server: control", ours: "server: ours"}
