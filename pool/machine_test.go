package pool_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"ollama-mcp/internal/backend"
)

// machine is a model of a host: it works on a few calls at once and queues the
// rest, as Ollama does, holds some models in memory and loads the others.
type machine struct {
	backend.Backend
	name     string
	parallel int           // calls that it works on at once
	perToken time.Duration // for each token of an answer, which is as many as the prompt has bytes
	load     time.Duration // of a model
	holds    int           // models in memory; 0 means all that there are
	streams  bool          // each token is a piece, and not only the first
	fails    func(now time.Time) *fault

	mu      sync.Mutex
	change  *sync.Cond // of what follows
	loaded  []string   // the last used comes last
	loading bool
	pending []int            // calls that were not yet given to a runner, in their order
	inUse   map[string]int   // calls that a runner has, by model: such a model is not unloaded
	active  map[string]int   // those of them that it works on
	lines   map[string][]int // the others: each is served in turn
	// counts
	calls, loads, mostAtOnce, inside, numbers int

	asked *backend.GenerateRequest // last
}

// fault is how a call fails.
type fault struct {
	pieces bool // something of the answer comes before
	after  time.Duration
	class  backend.Class
	hangs  bool // until its caller leaves
}

func newMachine(m *machine) *machine {
	m.change = sync.NewCond(&m.mu)
	m.active, m.inUse, m.lines = make(map[string]int), make(map[string]int), make(map[string][]int)
	return m
}

func (m *machine) Name() string { return m.name }

func (m *machine) Generate(ctx context.Context, req *backend.GenerateRequest, onPiece func(backend.Piece)) (*backend.Answer, error) {
	began := time.Now()
	m.enter(req)
	defer m.leave()
	if m.fails != nil {
		if f := m.fails(began); f != nil {
			if f.pieces {
				onPiece(backend.Piece{Text: "x"})
			}
			return nil, m.fail(ctx, f)
		}
	}
	stop := context.AfterFunc(ctx, func() { m.mu.Lock(); m.change.Broadcast(); m.mu.Unlock() })
	defer stop()
	loading, err := m.begin(ctx, req.Model)
	if err != nil {
		return nil, err
	}
	defer m.end(req.Model)
	first := time.Since(began)
	eval := time.Duration(len(req.Prompt)) * m.perToken
	if err := m.wait(ctx, m.perToken); err != nil {
		return nil, err
	}
	if onPiece != nil {
		onPiece(backend.Piece{Text: "x"})
	}
	for pieces := 1; m.streams && pieces < len(req.Prompt)-1; pieces++ {
		if err := m.wait(ctx, m.perToken); err != nil {
			return nil, err
		}
		onPiece(backend.Piece{Text: "x"})
	}
	if err := m.wait(ctx, eval-time.Since(began.Add(first))); err != nil {
		return nil, err
	}
	return &backend.Answer{
		Text: "done", DoneReason: "stop", Tokens: len(req.Prompt), Eval: eval,
		FirstPiece: first + m.perToken, Load: loading, Total: time.Since(began),
	}, nil
}

// Embed takes as long as an answer of as many tokens as the text has bytes.
func (m *machine) Embed(ctx context.Context, req *backend.EmbedRequest) (*backend.EmbedResponse, error) {
	answer, err := m.Generate(ctx, &backend.GenerateRequest{Model: req.Model, Prompt: fmt.Sprint(req.Input)}, func(backend.Piece) {})
	if err != nil {
		return nil, err
	}
	return &backend.EmbedResponse{Embeddings: [][]float32{{1}}, LoadDuration: answer.Load}, nil
}

func (m *machine) enter(req *backend.GenerateRequest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = req
	m.calls++
	m.inside++
	m.mostAtOnce = max(m.mostAtOnce, m.inside)
}

func (m *machine) leave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inside--
}

// begin has a call scheduled as Ollama does, and waits until the runner of its model works on
// it. Calls are looked at in their order. One for a model in memory goes to its runner at
// once, and keeps it there from then on; one for another has it loaded, and lets those behind
// it wait until there is room for that.
func (m *machine) begin(ctx context.Context, model string) (loading time.Duration, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if loading, err = m.schedule(ctx, model); err != nil {
		return 0, err
	}
	id := m.number()
	m.lines[model] = append(m.lines[model], id)
	defer func() {
		m.lines[model] = slices.DeleteFunc(m.lines[model], func(other int) bool { return other == id })
		m.change.Broadcast()
	}()
	for m.lines[model][0] != id || m.running() >= m.parallel {
		if ctx.Err() != nil {
			m.inUse[model]--
			return 0, m.gone(ctx)
		}
		m.change.Wait()
	}
	m.active[model]++
	return loading, nil
}

// schedule waits until a call's turn has come and its model is in memory.
func (m *machine) schedule(ctx context.Context, model string) (loading time.Duration, err error) {
	arrived, id, missed := time.Now(), m.number(), false
	m.pending = append(m.pending, id)
	defer func() {
		m.pending = slices.DeleteFunc(m.pending, func(other int) bool { return other == id })
		m.change.Broadcast()
	}()
	for {
		inMemory := slices.Contains(m.loaded, model)
		missed = missed || !inMemory
		switch {
		case ctx.Err() != nil:
			return 0, m.gone(ctx)
		case m.pending[0] != id && !(m.loading && inMemory):
		case inMemory:
			m.inUse[model]++
			m.loaded = append(slices.DeleteFunc(m.loaded, func(s string) bool { return s == model }), model)
			if missed { // as Ollama tells, of calls that waited for another's load too
				loading = time.Since(arrived)
			}
			return loading, nil
		case m.makeRoom():
			m.loads++
			m.loading = true
			m.mu.Unlock()
			err := m.wait(ctx, m.load)
			m.mu.Lock()
			m.loading = false
			if err != nil {
				return 0, err
			}
			m.loaded = append(m.loaded, model)
			continue
		}
		m.change.Wait()
	}
}

func (m *machine) number() int {
	m.numbers++
	return m.numbers
}

func (m *machine) running() (n int) {
	for _, calls := range m.active {
		n += calls
	}
	return n
}

// makeRoom drops a model that nobody uses, if one has to go.
func (m *machine) makeRoom() bool {
	if m.holds == 0 || len(m.loaded) < m.holds {
		return true
	}
	for i, model := range m.loaded {
		if m.inUse[model] == 0 {
			m.loaded = slices.Delete(m.loaded, i, i+1)
			return true
		}
	}
	return false
}

func (m *machine) end(model string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.active[model]--
	m.inUse[model]--
	m.change.Broadcast()
}

func (m *machine) wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return m.gone(ctx)
	}
}

func (m *machine) gone(ctx context.Context) error {
	return &backend.Error{Host: m.name, Class: backend.Caller, Err: ctx.Err()}
}

func (m *machine) fail(ctx context.Context, f *fault) error {
	if f.hangs {
		<-ctx.Done()
		return m.gone(ctx)
	}
	if err := m.wait(ctx, f.after); err != nil {
		return err
	}
	return &backend.Error{Host: m.name, Class: f.class, Message: "broken", Err: errors.New("broken")}
}
