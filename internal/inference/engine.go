// Package inference is how a request to a model gets its answer.
//
// It promises that every request ends, within its time limit, in one complete answer
// that says what served it, in what there was of an answer when the time was over, or
// in a coded error with a next step; and that each call leaves one Record. On the way a
// request passes the cache, the ladder of models that may answer it, and the pool of
// hosts. What a client sees of requests and responses, and by which protocol, is left to
// the packages that use the Engine.
//
// Start reading at Engine.Do: it names the steps in their order.
package inference

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ollama-mcp/cache"
	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/route"
	"ollama-mcp/internal/share"
	"ollama-mcp/internal/workers"
	"ollama-mcp/pool"
)

// Lender lends out hosts that can serve a model.
type Lender interface {
	// With lends a host that meets the need to use, and takes it back. It may call use
	// again when a host fails, and twice at once if the need says HedgeAfter.
	With(ctx context.Context, need route.Need, use func(context.Context, *pool.Lease) error) error
}

// Hosts are the configured hosts; *pool.Pool implements it.
type Hosts interface {
	Lender
	// Hosts returns all hosts, for requests that need no slot.
	Hosts() []backend.Backend
	// Stats returns the state of the hosts and of the queue. It does no input or output.
	Stats() pool.Stats
}

// Options describe an engine. Only Hosts is required.
type Options struct {
	Hosts Hosts
	// Settings returns the settings that hold at the moment. Each request takes one
	// snapshot of them. nil means that there are none.
	Settings func() *Settings
	// Digest returns the digest by which models of the same name are told apart, or "" if
	// no host is known to have the model, whose answers are then not cached. nil makes
	// models of one name equal.
	Digest func(ctx context.Context, model string) string
	// Listed returns a model as a host last listed it; not ok if it has not. It asks nobody. nil
	// knows of no lists, so that hosts are asked to describe their models.
	Listed func(host, model string) (m backend.Model, ok bool)
	// Defaults tells apart what hosts do with options of the model that a request leaves
	// open, which differs by their versions; nil makes all hosts equal.
	Defaults func(model string) string

	// Timeout bounds a request that has none of its own; 0 means no limit.
	Timeout time.Duration
	// Patience is how long the rungs of a request without a time limit of its own may together
	// take to begin an answer, the last one excepted; 0 means as long as the request may take.
	Patience time.Duration
	// FallbackAfter is how long a request waits for a slot before the next model of its
	// ladder is tried; 0 means as long as its share of the time lasts.
	FallbackAfter time.Duration
	// HedgeAfter is how long a host may take to begin an answer before a second one is
	// asked too; the first to answer is taken. 0 means never.
	HedgeAfter time.Duration
	// MergeWindow is how long a request to embed a single text waits for others, of any caller, that
	// can go to a host in the same batch; 0 means that each goes alone.
	MergeWindow time.Duration
	NoCloud     bool // no request may leave for a cloud
	// Affinity has requests prefer hosts that have read the beginning of their prompt, where the
	// policy of the pool finds hosts equal.
	Affinity bool
	// ContextGuard says what happens to a prompt that exceeds the context: "warn" has it
	// truncated with a note, "off" has it truncated without asking first, and anything
	// else leaves it to the next model of the ladder, or refuses it.
	ContextGuard string
	// RawRunner sends the options that a model is loaded with as each caller wants them,
	// even if the model has to be reloaded for that.
	RawRunner bool

	// VectorBytes bounds the vectors of all calls under way, from the first of a call until the call has
	// ended, with what results are made of them; 0 means 256 MiB.
	VectorBytes int64

	// Cache bounds the answers that are cached, and says with whom they are shared; the zero
	// Options cache none. The engine sets how answers are encoded.
	Cache cache.Options
	// CacheMode says which requests may use the cache: "off" none, "deterministic" those
	// that would get the same answer again, "auto" those that do not themselves ask for
	// chance, and anything else all.
	CacheMode string
	// Semantic configures answers to paraphrased questions; nil turns them off.
	Semantic *SemanticOptions

	// Admit returns an error for a request whose caller may ask no model now; nil admits all.
	Admit func(caller.Caller) error

	// Propagate returns the context in which a host is asked, for an attempt that is described by
	// an event: a copy of ctx with what names the attempt's span. nil returns ctx.
	Propagate func(ctx context.Context, attempt Event) context.Context

	Observer Observer     // is told of calls, and of events if it is a Watcher; nil means nobody is
	Live     bool         // calls under way can be listed and cancelled, and calls have a History
	Texts    bool         // the observer is also told the texts of prompts and answers
	Log      *slog.Logger // nil discards
}

// Engine answers requests. Use New to make one, and Close it when no calls are left.
// Its methods are safe for concurrent use.
type Engine struct {
	opts     Options
	answers  *cache.Cache[*tracker]
	semantic *semanticCache // nil if it is off
	watcher  Watcher        // the observer, if it is one; else nil

	calls, fills atomic.Uint64 // that have begun, which names them

	vectors *share.Limit // bytes
	merges  merges
	details details
	loads   loads
	ladders ladders
	tokens  tokenCounts
	live    live

	// life is the context of work that outlives the call which began it.
	life       context.Context
	end        context.CancelFunc
	background sync.WaitGroup
	streams    workers.Group // give callers answers in pieces
}

// spareStreams is how many goroutines are kept for later streams. To send a piece takes a deep
// stack, which a new goroutine would have to grow.
const spareStreams = 64

// New makes an engine. It starts no work but the maintenance of the cache.
func New(o Options) (*Engine, error) {
	if o.Hosts == nil {
		return nil, fmt.Errorf("inference: Hosts: must be set")
	}
	if o.Settings == nil {
		none := new(Settings)
		o.Settings = func() *Settings { return none }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Cache.Codec = codec{}
	answers, err := cache.New[*tracker](o.Cache)
	if err != nil {
		return nil, fmt.Errorf("inference: %w", err)
	}
	e := &Engine{opts: o, answers: answers, vectors: share.New(cmp.Or(o.VectorBytes, 256<<20))}
	e.watcher, _ = o.Observer.(Watcher)
	if o.Semantic != nil {
		if e.semantic, err = newSemanticCache(*o.Semantic); err != nil {
			answers.Close()
			return nil, fmt.Errorf("inference: %w", err)
		}
		if o.Cache.Shared != nil {
			o.Cache.Shared.OnClear(e.semantic.forget)
		}
	}
	e.life, e.end = context.WithCancel(context.Background())
	e.streams.Keep(spareStreams, e.life.Done())
	return e, nil
}

// Close ends all work that is under way, whose callers get an error, and returns when it
// has ended.
func (e *Engine) Close() {
	e.answers.Close()
	e.merges.flights.Close()
	e.end()
	e.background.Wait()
	e.streams.Wait()
}

// Do answers a request for text. The error is a *fault.Error.
//
// The way of a request: it is checked, looked up in the cache, and joined with an
// identical one that is in flight. Otherwise a cached answer to a paraphrase may serve,
// and else the models of its ladder are tried in turn, each on a host that the pool
// lends. The answer is cached if it may be, and filtered.
func (e *Engine) Do(ctx context.Context, req Request) (_ *Response, err error) {
	call, end := e.callOf(&req.Common, req.Kind.String())
	defer func() { end(err) }()
	t, err := e.newTask(req, call)
	if err != nil {
		return nil, err
	}
	if t.Stream != nil {
		return t.streamed(ctx)
	}
	return t.do(ctx)
}

// do answers a request that has been checked.
func (t *task) do(ctx context.Context) (*Response, error) {
	got, err := t.fetch(ctx)
	if err != nil {
		return nil, t.filterError(err)
	}
	resp, err := t.respond(got)
	if err != nil {
		return nil, t.filterError(err)
	}
	if t.only != nil { // the caller sees none of its text
		return resp, nil
	}
	if err := t.filter(ctx, resp); err != nil {
		return nil, err
	}
	t.call.answered(resp)
	return resp, nil
}

// errNotReady tells callers who may not know the hosts no more than this.
var errNotReady = errors.New("no host and no provider can answer")

// Ready returns an error if no host and no provider can answer, as far as is known without
// asking them: all are down or ejected, or their models are, or they are clouds while requests may not leave. It does
// no input or output.
func (e *Engine) Ready() error {
	hosts := e.opts.Hosts.Hosts()
	for _, h := range e.opts.Hosts.Stats().Hosts {
		isUsable := func(b backend.Backend) bool { return b.Name() == h.Name && !(e.opts.NoCloud && backend.IsCloud(b)) }
		if h.Answers && slices.ContainsFunc(hosts, isUsable) {
			return nil
		}
	}
	settings := e.opts.Settings()
	for name, lender := range settings.Providers {
		provider, ok := lender.(interface{ Stats() pool.Stats })
		if e.opts.NoCloud && settings.ladders().IsCloud(name) || !ok {
			continue
		}
		if slices.ContainsFunc(provider.Stats().Hosts, func(h pool.HostStats) bool { return h.Answers }) {
			return nil
		}
	}
	return errNotReady
}

// Forget removes cached answers, those of one model or, for "", all. It returns the number of
// those in memory, and whether the other replicas have been told, if there are any: otherwise
// they are told when that is possible. It fails if model cannot be a model's name.
func (e *Engine) Forget(ctx context.Context, model string) (removed int, told bool, err error) {
	if err := checkName("model", model); err != nil {
		return 0, false, err
	}
	name := backend.CanonicalModel(model)
	removed = e.answers.Delete(func(s cache.Scope) bool { return model == "" || s.Model == name })
	e.semantic.forget(func(of string) bool { return model == "" || of == name })
	if e.opts.Cache.Shared == nil {
		return removed, true, nil
	}
	if model == "" {
		name = ""
	}
	return removed, e.opts.Cache.Shared.Clear(ctx, name), nil
}

// Status is the state of an engine, and of the hosts that it uses.
type Status struct {
	Hosts    pool.Stats
	Cache    cache.Stats
	Shared   *cache.SharedState // nil if answers are not shared with other replicas
	Semantic *SemanticStats     // nil if the semantic cache is off
	Ladders  []LadderStatus     // those in trouble, of models that the caller may use
}

// Status returns the state of the engine, as far as a caller may see it. It does no input
// or output.
func (e *Engine) Status(who caller.Caller) Status {
	s := Status{Hosts: e.opts.Hosts.Stats(), Cache: e.answers.Stats(), Semantic: e.semantic.stats(), Ladders: e.ladders.status(who)}
	if e.opts.Cache.Shared != nil {
		s.Shared = new(e.opts.Cache.Shared.State())
	}
	return s
}

// learnedSlots is how many slots a host has for a model at first, if their number is learned.
const learnedSlots = 2

// Slots is how many requests for a model its hosts work on at once: for an alias or a model of a
// provider, those of its first rung. It is 0 if none is well.
func (e *Engine) Slots(model string) (n int) {
	settings := e.opts.Settings()
	rungs, err := settings.ladders().Of(settings.spell(model))
	if err != nil {
		return 0
	}
	hosts, ok := settings.lender(e.opts.Hosts, rungs[0]).(interface{ Stats() pool.Stats })
	if !ok {
		return 0
	}
	for _, h := range hosts.Stats().Hosts {
		if h.Well {
			n += slotsOf(h, rungs[0].Model)
		}
	}
	return n
}

// slotsOf is how many requests for a model a host works on at once.
func slotsOf(h pool.HostStats, model string) int {
	if !h.Learned {
		return h.Slots
	}
	for _, m := range h.Models {
		if m.Model == model {
			return m.Slots
		}
	}
	return learnedSlots
}
