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

// A load is what callers ask of a host that is full.
type load struct {
	slots   int           // of the host, and of the pool for it
	service time.Duration // that a pretend host takes for a call
	callers int
	calls   int // of all callers together
	oneIn   int // calls that one connection makes only one of, being slow
	rounds  int
}

// A field is who takes on a load: one connection, Go's default client and our pool,
// all of them in this process.
type field struct {
	load
	url, model string
}

// measure has the three take on the load, in turns, and prints the table.
// The rows of the report are in that order, unless it was stopped.
func (f field) measure(ctx context.Context, table, progress io.Writer) (*loadtest.Report, error) {
	ours, closePool, err := f.pool()
	if err != nil {
		return nil, err
	}
	defer closePool()
	contestants, closeDirect := loadtest.Direct(loadtest.Target{URL: f.url})
	defer closeDirect()
	contestants[0].Calls = max(f.callers, f.calls/f.oneIn)
	report, err := loadtest.Measure(ctx, loadtest.Options{
		Contestants: append(contestants, ours), Models: []string{f.model},
		PromptTokens: []int{16}, OutputTokens: 8,
		Callers: []int{f.callers}, Calls: f.calls, Rounds: f.rounds, Progress: progress,
	})
	if err != nil {
		return nil, err
	}
	return report, report.WriteTable(table)
}

// pool is the way of the product, less what is there for many hosts and callers.
func (f field) pool() (_ loadtest.Contestant, end func(), err error) {
	var opened atomic.Int64
	host, err := ollama.New(ollama.Options{
		URL: f.url, Conns: f.slots,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			opened.Add(1)
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	})
	if err != nil {
		return loadtest.Contestant{}, nil, err
	}
	hosts, err := pool.New(pool.Options{
		Hosts: []backend.Backend{host}, Slots: f.slots, Queue: f.callers, PerCaller: f.callers,
	})
	if err != nil {
		return loadtest.Contestant{}, nil, err
	}
	ask := func(ctx context.Context, q loadtest.Question) (a loadtest.Answer, err error) {
		need := route.Need{Model: backend.CanonicalModel(q.Model)}
		err = hosts.With(ctx, need, func(ctx context.Context, l *pool.Lease) (err error) {
			a, err = q.On(ctx, l.Host, l.Runner)
			return err
		})
		return a, err
	}
	return loadtest.Contestant{Name: "pool", Ask: ask, Opened: func() int { return int(opened.Load()) }}, host.Close, nil
}

// ollamaQueue is how many requests wait at Ollama, by default, before it refuses more.
const ollamaQueue = 512

// slotted is a pretend host with slots that take so long for each call.
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

// measureSlots is the field on a pretend host. What its slots could do at most is
// known, and what the pool makes of them is printed as a ratio.
func measureSlots(ctx context.Context, l load, table, progress io.Writer) error {
	host := slotted(l.slots, l.service)
	url, err := host.Start("127.0.0.1:0")
	if err != nil {
		return err
	}
	defer host.Close()
	fmt.Fprintf(table, "\na pretend host: %d slots, %v for each call, at most %d waiting\n", l.slots, l.service, ollamaQueue)
	report, err := field{l, url, model}.measure(ctx, table, progress)
	if err != nil || report.Stopped {
		return cmp.Or(err, ctx.Err())
	}
	// The default client keeps the host's own queue filled, so what it gets is what
	// the host could give on this machine.
	given, ours, most := report.Rows[1].Requests, report.Rows[2].Requests, float64(l.slots)/l.service.Seconds()
	fmt.Fprintf(table, "The pool makes %.3f of the %.0f requests a second that the slots can serve,\nand %.3f of what the default client makes.\n",
		ours/most, most, ours/given)
	return nil
}

// measureOllama is the field on a real Ollama.
func measureOllama(ctx context.Context, l load, p plan, table io.Writer) error {
	base, err := ollama.ParseHost(p.ollama)
	if err != nil {
		return err
	}
	fmt.Fprint(table, "\na real Ollama\n")
	_, err = field{l, base.String(), p.model}.measure(ctx, table, p.progress)
	return err
}
