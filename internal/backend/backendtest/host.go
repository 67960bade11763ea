// Package backendtest is a pretend Ollama host for tests and benchmarks, and
// the checks that every kind of backend passes.
//
// It promises to speak Ollama's HTTP API as a real server does, word for word
// where callers depend on the words, and below /v1 the OpenAI API, with slots, loads and speed that can be set
// and faults that can be ordered, all of it also while it runs. It computes
// nothing: the test decides what a model answers.
//
// A Host is reached through real sockets (Listen, Start) or, without a network
// and thus inside a synctest bubble, through its Dial method.
package backendtest

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/ollama/ollama/api"

	"ollama-mcp/internal/backend"
)

// Tiny is the model that every new Host has.
const Tiny = "tiny:latest"

// Host pretends to be an Ollama server. Its methods may be called at any time
// from any goroutine; those that change it return it, so that they can be
// chained:
//
//	backendtest.New("gpu-1").Slots(2).TokenTime(20 * time.Millisecond).Fail(3, backendtest.Busy)
type Host struct {
	name   string
	slots  turns
	wiring *wiring

	mu        sync.Mutex    // guards what follows; held for moments only
	changed   chan struct{} // closed at the next change; nil if nobody waits for one
	version   string
	models    map[string]*resident // by canonical name
	maxLoaded int
	loading   bool
	loadTime  time.Duration
	tokenTime time.Duration
	firstWait time.Duration
	reply     func(Call) Reply
	faults    faults
	calls     []Call
	stats     Stats
	conns     map[net.Conn]bool // that are open
	pulls     []PullStep
	pulled    int
	created   []api.CreateRequest
	blobs     map[string][]byte // by digest
}

// New returns a host called name that has the model Tiny, answers a prompt with
// the prompt, at once, and as many requests at a time as come.
func New(name string) *Host {
	h := &Host{
		name:    name,
		version: "0.17.4",
		models:  map[string]*resident{},
		conns:   map[net.Conn]bool{},
		reply:   func(c Call) Reply { return Reply{Text: c.Prompt} },
	}
	h.wiring = newWiring(h)
	return h.Install(Model{Name: Tiny})
}

// Name is the name of the host.
func (h *Host) Name() string { return h.name }

// Reply is the answer of a model.
type Reply struct {
	Text       string             // sent word by word, one token each
	Thinking   string             // sent before the text, likewise
	ToolCalls  []backend.ToolCall // sent after the text, in one piece
	Logprobs   []backend.Logprob  // of the tokens, sent with the first of them if they were requested
	DoneReason string             // empty: "stop", or "length" if num_predict cut the text
}

// keptCalls is how many calls a host remembers: enough for a test, and no leak in a
// benchmark.
const keptCalls = 1000

// Calls are the latest calls that arrived, oldest first.
func (h *Host) Calls() []Call {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.calls)
}

// Forget drops the calls so far, for tests that measure memory.
func (h *Host) Forget() *Host { return h.change(func() { h.calls = nil }) }

// Stats are counts since the start. But for the connections, they count calls:
// requests for an answer or vectors.
type Stats struct {
	Calls       int // that arrived
	InFlight    int // that arrived and have not ended, waiting or not
	MaxInFlight int
	Working     int // of those in flight, that have a slot
	Finished    int // ended by the host, well or badly
	Left        int // ended because the client disconnected
	Loads       int // of a model into memory
	Opened      int // connections
	Open        int // connections still open

	// Held is the total time for which finished calls had slots. Late timers make it longer
	// than the times that were set.
	Held time.Duration
}

// Stats says how the host is doing.
func (h *Host) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stats
}

// Wait returns when the statistics fulfil the condition, or with the context's
// error.
func (h *Host) Wait(ctx context.Context, until func(Stats) bool) error {
	return h.wait(ctx, func() bool { return until(h.stats) })
}

// wait returns when ready returns true. It is called under the lock after every change.
func (h *Host) wait(ctx context.Context, ready func() bool) error {
	for {
		h.mu.Lock()
		if ready() {
			h.mu.Unlock()
			return nil
		}
		if h.changed == nil {
			h.changed = make(chan struct{})
		}
		changed := h.changed
		h.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// change changes the host under its lock and wakes all waiters.
func (h *Host) change(f func()) *Host {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	if h.changed != nil {
		close(h.changed)
		h.changed = nil
	}
	return h
}

// Answer makes the host answer everything with text.
func (h *Host) Answer(text string) *Host {
	return h.AnswerWith(func(Call) Reply { return Reply{Text: text} })
}

// AnswerWith makes the host answer with the result of reply, which may be called from many
// goroutines.
func (h *Host) AnswerWith(reply func(Call) Reply) *Host {
	return h.change(func() { h.reply = reply })
}

// Slots sets how many calls are worked on at a time; the others wait, in order
// and without bound, as they do at Ollama. 0 means any number.
func (h *Host) Slots(n int) *Host {
	h.slots.setLimit(n)
	return h
}

// TokenTime sets how long a model takes for each token of an answer. Embedding
// takes as long for each input.
func (h *Host) TokenTime(d time.Duration) *Host {
	return h.change(func() { h.tokenTime = d })
}

// FirstTokenTime sets how much longer the first token takes.
func (h *Host) FirstTokenTime(d time.Duration) *Host {
	return h.change(func() { h.firstWait = d })
}

// LoadTime sets how long it takes to load a model whose LoadTime is 0.
func (h *Host) LoadTime(d time.Duration) *Host {
	return h.change(func() { h.loadTime = d })
}

// MaxLoaded sets how many models fit in memory; 0 means any number. Beyond it, the least
// recently used idle model is unloaded.
func (h *Host) MaxLoaded(n int) *Host {
	return h.change(func() { h.maxLoaded = n })
}

// Version sets the version of the server.
func (h *Host) Version(v string) *Host {
	return h.change(func() { h.version = v })
}

// Install adds models, or replaces those of the same name.
func (h *Host) Install(models ...Model) *Host {
	return h.change(func() {
		for _, m := range models {
			m.Name = backend.CanonicalModel(m.Name)
			h.models[m.Name] = &resident{Model: m.withDefaults()}
		}
	})
}

// Remove deletes a model.
func (h *Host) Remove(model string) *Host {
	return h.change(func() { delete(h.models, backend.CanonicalModel(model)) })
}

// Unload takes a model out of memory.
func (h *Host) Unload(model string) *Host {
	return h.change(func() {
		if m := h.models[backend.CanonicalModel(model)]; m != nil {
			m.loaded = false
		}
	})
}
