package pool

import (
	"context"
	"errors"
	"maps"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/breaker"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/route"
)

// Lease is a host with a slot, lent for one attempt of a request.
type Lease struct {
	// Host is the host. The pool observes the requests that are sent to it, and learns from
	// them how the host does.
	Host    backend.Backend
	Attempt int           // 1 for the first attempt
	Waited  time.Duration // in the queue, for this attempt; 0 for a hedge
	Failed  []Failure     // earlier attempts
	Hedge   bool          // another host is at work on the request, and late
	Cloud   bool          // the host passes the request on to Ollama's cloud, or is that cloud

	// Runner holds the runner options to send: those that are pinned for the model or with which
	// it is loaded, and otherwise those of the caller. It must not be modified.
	Runner map[string]any
	// Overridden names the options of the caller that have other values in Runner.
	Overridden []string
	// Context is the size of the context, in tokens, that the host chose for the model when it
	// was loaded, according to the last check; 0 if the request sets num_ctx, or if the size is
	// not known.
	Context int

	choice   route.Choice // why the host was chosen
	ticket   ticket
	place    int            // expected place in the queue; guarded by the survey
	first    route.Standing // when it joined the queue
	deadline deadline
	maxPause time.Duration     // longest wait for a host that has asked to be left alone
	onFirst  func(route.First) // see route.Need
	prefixes []uint64          // see route.Need

	// The fields below are guarded by the pool's mutex.
	host    *host         // nil until there is a slot
	own     *hostModel    // what is known of the model there
	ready   chan struct{} // closed when the wait is over; nil for a call that was not queued
	queued  time.Time     // when the wait began; the zero Time for a call that was not queued
	refused error         // why the call gets no slot
	began   time.Time
	pass    breaker.Pass // of the host
	ownPass breaker.Pass // of the model there
	verdict verdict
	over    bool      // the slot was given back
	cold    bool      // the model was not known to be in memory
	joins   bool      // the host was loading it for a call of another pool already
	loading bool      // the host is believed to be loading it for this call
	heard   time.Time // when the first piece came; the zero Time before
	seen    observation
	end     context.CancelCauseFunc // cancels the last request to the host; nil before the first

	measured measured
}

func (l *Lease) key() modelKey { return l.ticket.Key.model }

// Interrupt ends the request that the host is working on, which fails then. The cause is that of its
// context. The lease goes on.
func (l *Lease) Interrupt(cause error) {
	l.measured.pool.mu.Lock()
	end := l.end
	l.measured.pool.mu.Unlock()
	if end != nil {
		end(cause)
	}
}

// observation is what was seen of the requests of a lease.
type observation struct {
	answered   bool // with a complete answer
	pieces     bool // an answer has begun
	crashed    bool // the model crashed, perhaps because of this request
	load       time.Duration
	firstToken time.Duration // time to the first token, loading excluded
	perToken   time.Duration
	tokens     int
	vectors    bool // the answer is vectors, and firstToken the time for each of them
}

// measured is a backend whose requests the pool observes.
type measured struct {
	backend.Backend
	pool  *Pool
	lease *Lease
}

func (m *measured) Generate(ctx context.Context, req *backend.GenerateRequest, onPiece func(backend.Piece)) (*backend.Answer, error) {
	if err := m.checkOrigin(ctx, req.Model); err != nil {
		return nil, err
	}
	ctx, end := m.starts(ctx)
	defer end(nil)
	sent := *req
	sent.Options = m.options(req.Options)
	answer, err := m.Backend.Generate(ctx, &sent, m.first(onPiece))
	return m.judged(ctx, answer, err)
}

func (m *measured) Chat(ctx context.Context, req *backend.ChatRequest, onPiece func(backend.Piece)) (*backend.Answer, error) {
	if err := m.checkOrigin(ctx, req.Model); err != nil {
		return nil, err
	}
	ctx, end := m.starts(ctx)
	defer end(nil)
	sent := *req
	sent.Options = m.options(req.Options)
	answer, err := m.Backend.Chat(ctx, &sent, m.first(onPiece))
	return m.judged(ctx, answer, err)
}

// judged records an answer, or the part of one that came before an error.
func (m *measured) judged(ctx context.Context, answer *backend.Answer, err error) (*backend.Answer, error) {
	m.answered(answer, err)
	if answer != nil {
		if left := m.checkRemote(answer.Remote); left != nil {
			return nil, left
		}
	}
	return answer, m.lease.ofCloud(causeOf(ctx, err))
}

func (m *measured) Embed(ctx context.Context, req *backend.EmbedRequest) (*backend.EmbedResponse, error) {
	if err := m.checkOrigin(ctx, req.Model); err != nil {
		return nil, err
	}
	began := time.Now()
	sent := *req
	sent.Options = m.options(req.Options)
	ctx, end := m.starts(ctx)
	defer end(nil)
	got, err := m.Backend.Embed(ctx, &sent)
	if err != nil {
		m.pool.answerFailed(m.lease, errors.Is(err, backend.Crashed))
	} else {
		texts := max(1, len(got.Embeddings))
		m.pool.answerEnded(m.lease, observation{
			answered: true, pieces: true, vectors: true, load: got.LoadDuration,
			firstToken: max(0, time.Since(began)-got.LoadDuration) / time.Duration(texts),
		})
	}
	return got, m.lease.ofCloud(causeOf(ctx, err))
}

// options returns the options of a request as they are sent to the host.
func (m *measured) options(asked map[string]any) map[string]any {
	if m.lease.Context == 0 {
		return asked
	}
	sent := maps.Clone(asked)
	delete(sent, numCtx)
	return sent
}

// starts tells the pool that a request is sent, and how to cancel it.
func (m *measured) starts(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, end := context.WithCancelCause(m.ofCaller(ctx))
	m.pool.requestStarts(m.lease, end)
	return ctx, end
}

// ofCaller adds the caller to whom the backend charges the memory of an answer. The context of a
// request that several callers share has none.
func (m *measured) ofCaller(ctx context.Context) context.Context {
	return caller.NewContext(ctx, caller.Caller{ID: m.lease.ticket.Caller})
}

// first tells the pool when the first piece arrives: the model is in memory then.
func (m *measured) first(onPiece func(backend.Piece)) func(backend.Piece) {
	come := false
	return func(piece backend.Piece) {
		m.lease.own.silence.hear(time.Now())
		if !come {
			come = true
			m.pool.answerBegan(m.lease)
			if l := m.lease; l.onFirst != nil {
				l.onFirst(route.First{Host: m.Name(), Attempt: l.Attempt, Hedge: l.Hedge, After: time.Since(l.began)})
			}
		}
		if onPiece != nil {
			onPiece(piece)
		}
	}
}

func (m *measured) answered(a *backend.Answer, err error) {
	if a == nil {
		m.pool.answerFailed(m.lease, errors.Is(err, backend.Crashed))
		return
	}
	if errors.Is(err, backend.Crashed) {
		m.pool.answerFailed(m.lease, true)
	}
	s := observation{answered: err == nil, pieces: true, load: a.Load, tokens: a.Tokens}
	if m.lease.Cloud {
		s.load = 0 // our calls never wait for it
	}
	if err == nil {
		s.firstToken = max(0, a.FirstPiece-a.Load)
	}
	if a.Tokens > 0 {
		s.perToken = a.Eval / time.Duration(a.Tokens)
	}
	m.pool.answerEnded(m.lease, s)
}
