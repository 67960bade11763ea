package pool

import (
	"fmt"
	"testing"
	"time"

	"ollama-mcp/internal/backend"
)

type nameOnly struct {
	backend.Backend
	name string
}

func (n nameOnly) Name() string { return n.name }

// A slot comes back and goes to one of ten thousand that wait, of twenty models and
// two hundred callers; four hosts hold five of the models each.
func BenchmarkHandOverWithTenThousandWaiting(b *testing.B) {
	p, err := New(Options{Queue: 20_000, Slots: 1, Hosts: []backend.Backend{
		nameOnly{name: "a"}, nameOnly{name: "b"}, nameOnly{name: "c"}, nameOnly{name: "d"},
	}})
	if err != nil {
		b.Fatal(err)
	}
	for i, h := range p.hosts {
		var held []Loaded
		for m := range 5 {
			held = append(held, Loaded{Model: fmt.Sprint("model-", 5*i+m)})
		}
		h.memory = h.memory.saw(held)
	}
	for m := range 20 {
		known := habitOf(p.habits, fmt.Sprint("model-", m))
		known.held.observe(time.Second)
		known.load.observe(20 * time.Second)
	}
	enter := func(l *Lease) {
		*l = Lease{ticket: ticket{group: l.ticket.group, caller: l.ticket.caller, lease: l}, ready: make(chan struct{})}
		p.queue.push(&l.ticket, false)
	}
	var leases []*Lease
	for i := range 10_004 {
		l := new(Lease)
		l.ticket.group.model = modelKey{model: fmt.Sprint("model-", i%20)}
		l.ticket.caller = fmt.Sprint("caller-", i%200)
		leases = append(leases, l)
		enter(l)
	}
	p.match()
	b.ReportAllocs()
	at := 0
	for b.Loop() {
		for leases[at].host == nil { // the next that has a slot
			at = (at + 1) % len(leases)
		}
		l := leases[at]
		p.release(l)
		enter(l)
	}
}
