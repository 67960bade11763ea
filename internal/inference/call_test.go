package inference

import (
	"errors"
	"testing"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

func TestEventCostsNoMemory(t *testing.T) {
	told := 0
	e := engine(t)
	e.watcher = counting{&told}
	call := e.Begin(CallInfo{Trace: "a", Tool: "generate"})
	if n := testing.AllocsPerRun(1000, func() {
		call.part(Event{Kind: RungBegan, Rung: 1, Model: "tiny:latest"})
	}); n != 0 || told == 0 {
		t.Errorf("%v allocations for an event, and %d were told", n, told)
	}
}

// counting counts events.
type counting struct{ events *int }

func (counting) Begin(*CallInfo) Wants { return AllEvents }
func (c counting) Event(Event)         { *c.events++ }
func (c counting) Done(Record)         {}

// The text of a piece is shared with the backend, and nothing is copied.
func TestPieceIsTakenInWithoutAllocation(t *testing.T) {
	a := &attempt{host: backendtest.New("gpu-1").Open(t)}
	new(tracker).begins(a, Progress{State: Reading}, false)
	if n := testing.AllocsPerRun(1000, func() { a.add(backend.Piece{Text: "word "}) }); n != 0 {
		t.Errorf("%v allocations for a piece", n)
	}
}

// Most programs have observers that want to know of a call when it is over, and nobody who looks on.
func TestCallThatNobodyWatchesPaysForNoWatcher(t *testing.T) {
	hosts, err := pool.New(pool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(Options{Hosts: hosts, Observer: over{}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	call := e.Begin(CallInfo{Trace: "a", Tool: "generate"})
	var need route.Need
	call.watch(&need, leg{}, new(tracker))
	failed := route.Retry{Host: "gpu-1", Attempt: 1, Err: errors.New("out of memory")}
	if need.OnGrant != nil || need.OnFirst != nil {
		t.Error("the pool is to tell of hosts and first tokens")
	}
	ctx := t.Context()
	if n := testing.AllocsPerRun(1000, func() {
		own, stop := call.Cancellable(ctx)
		if e.propagate(own, call, leg{}, nil) != ctx {
			t.Error("the work has another context than its request")
		}
		call.part(Event{Kind: RungBegan, Rung: 1, Model: "tiny:latest"})
		need.OnRetry(failed)
		call.attempted(leg{}, nil, nil, nil)
		stop()
	}); n != 0 {
		t.Errorf("%v allocations for what is off", n)
	}
}

// over is told of calls when they are over.
type over struct{}

func (over) Done(Record) {}
