package pool

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
)

// idleHost is a host that is never asked.
type idleHost struct {
	backend.Backend
	name string
}

func (h idleHost) Name() string { return h.name }

// crowd is a pool of a hundred hosts, all of whose slots are taken, before which ten thousand calls
// of two hundred callers wait for some models, without goroutines of their own.
type crowd struct {
	*Pool
	random *rand.Rand
	models int
	number int
}

func newCrowd(b *testing.B, models int, slots Slots) *crowd {
	p, err := New(Options{Queue: 20_000, PerCaller: 20_000})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 100 {
		if _, err := p.Add(idleHost{name: fmt.Sprint("gpu-", i)}, slots); err != nil {
			b.Fatal(err)
		}
	}
	c := &crowd{Pool: p, random: rand.New(rand.NewPCG(1, 1)), models: models}
	for p.queue.Len() < 10_000 {
		c.arrive(b)
	}
	return c
}

// arrive lets a call arrive that waits for a slot unless there is one.
func (c *crowd) arrive(b *testing.B) {
	need := route.Need{Model: fmt.Sprint("model-", c.number%c.models, ":latest"), Caller: fmt.Sprint("caller-", c.number%200)}
	c.number++
	l := &Lease{Attempt: 1}
	l.ticket = ticket{Key: groupKey{model: keyOf(need.Model, nil)}, Caller: need.Caller, Value: l}
	if err := c.enter(b.Context(), need, l); err != nil {
		b.Fatal(err)
	}
}

// end ends a call that has a slot, so that the next one gets it.
func (c *crowd) end(ctx context.Context) {
	var l *Lease
	for l == nil {
		h := c.hosts[c.random.IntN(len(c.hosts))]
		if len(h.lent) > 0 {
			l = h.lent[c.random.IntN(len(h.lent))]
		}
	}
	c.answerBegan(l)
	c.record(ctx, l, nil)
}

// BenchmarkTurn is how long it takes to give the slot of a call that has ended to the next of ten
// thousand (ns/turn), and to put another call into the queue besides (ns/op).
func BenchmarkTurn(b *testing.B) {
	for _, bench := range []struct {
		name   string
		models int
		slots  Slots
	}{{"one model", 1, Slots{Given: 4}}, {"one model, slots learned", 1, Slots{}}, {"20 models", 20, Slots{Given: 4}}, {"20 models, slots learned", 20, Slots{}}} {
		b.Run(bench.name, func(b *testing.B) {
			c := newCrowd(b, bench.models, bench.slots)
			for range 200 {
				c.end(b.Context())
				c.arrive(b)
			}
			b.ReportAllocs()
			var turns []time.Duration
			for b.Loop() {
				began := time.Now()
				c.end(b.Context())
				turns = append(turns, time.Since(began))
				c.arrive(b)
			}
			slices.Sort(turns) // on a busy machine, some take much longer
			b.ReportMetric(float64(turns[len(turns)/2].Nanoseconds()), "ns/turn")
		})
	}
}
