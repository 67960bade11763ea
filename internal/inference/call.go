package inference

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/route"
	"ollama-mcp/internal/share"
	"ollama-mcp/pool"
)

// Call is one call while it is under way.
type Call struct {
	CallInfo
	parent   *Call    // that this one is a part of, and whose progress it makes; nil for none
	observer Observer // nil if there is none
	watcher  Watcher  // the observer, if it is told of events; else nil
	wants    Wants    // of the watcher
	texts    bool     // the observer is told the texts of prompts and answers
	live     *live    // that the call is part of; nil if calls cannot be listed
	ended    atomic.Bool

	mu       sync.Mutex // guards what follows
	tracker  *tracker   // of the answer that the call waits for; nil before there is one
	partial  func() string
	servedBy Served
	cache    CacheVerdict
	saved    time.Duration
	asked    Asked
	status   int
	history  *History                // nil before there is something to tell
	stop     context.CancelCauseFunc // ends the work; nil if nobody can
	vectors  *share.Part             // what its vectors take; nil for nothing
}

// Begin begins a call that is to be observed. Its End must be called. The engine does
// this by itself for a request that has no Call.
func (e *Engine) Begin(info CallInfo) *Call {
	if info.Began.IsZero() {
		info.Began = time.Now()
	}
	info.ID = e.calls.Add(1)
	c := &Call{CallInfo: info, observer: e.opts.Observer, watcher: e.watcher, texts: e.opts.Texts}
	if e.opts.Live {
		c.live = &e.live
		c.live.add(c)
	}
	if c.watcher != nil {
		c.wants = c.watcher.Begin(&c.CallInfo)
	}
	return c
}

// live are the calls that are under way.
type live struct {
	mu  sync.Mutex // guards all; nothing else is called under it
	all map[uint64]*Call
}

func (l *live) add(c *Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = make(map[uint64]*Call)
	}
	l.all[c.ID] = c
}

func (l *live) remove(c *Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.all, c.ID)
}

// LiveCall is a call that is under way, as far as it had come when it was asked for.
type LiveCall struct {
	CallInfo
	Requested   string // model, as the caller named it; "" for a call that has asked none yet
	Progress    Progress
	Rung        int      // of the model's ladder, from 1; 0 before the first is tried
	Passed      []string // the rungs before, and why they did not answer
	History     History
	Cancellable bool
	Partial     string // of the answer, as far as it may be shown; "" without Options.Texts
}

// Calls are the calls under way, the oldest first, most at most; more is how many others there
// are. There are none without Options.Live.
func (e *Engine) Calls(most int) (calls []LiveCall, more int) {
	e.live.mu.Lock()
	all := slices.Collect(maps.Values(e.live.all))
	e.live.mu.Unlock()
	slices.SortFunc(all, func(a, b *Call) int { return cmp.Compare(a.ID, b.ID) })
	if len(all) > most {
		all, more = all[:most], len(all)-most
	}
	for _, c := range all {
		calls = append(calls, c.now())
	}
	return calls, more
}

func (c *Call) now() LiveCall {
	c.mu.Lock()
	tracker := c.tracker
	l := LiveCall{CallInfo: c.CallInfo, Requested: c.servedBy.Requested, Cancellable: c.stop != nil}
	if c.history != nil {
		l.History = c.history.clone()
	}
	c.mu.Unlock()
	if tracker != nil {
		l.Progress = tracker.progress()
		l.Rung, l.Passed = tracker.climbed()
	}
	if c.texts {
		l.Partial = c.Partial()
	}
	return l
}

// Cancellable is a context for the work of a call, which Cancel ends; stop frees what it takes.
// Without Options.Live it is ctx itself.
func (c *Call) Cancellable(ctx context.Context) (own context.Context, stop func()) {
	if c.live == nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	c.CancelledBy(cancel)
	return ctx, func() { cancel(nil) }
}

// CancelledBy says how Cancel ends the work of a call whose context can be ended anyway.
func (c *Call) CancelledBy(cancel context.CancelCauseFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stop = cancel
}

// Cancel ends a call, given by its number, for a reason of an operator's, of which its caller
// is told. It reports whether there is such a call, and its work can be ended.
func (e *Engine) Cancel(number uint64) bool {
	e.live.mu.Lock()
	c := e.live.all[number]
	e.live.mu.Unlock()
	if c == nil {
		return false
	}
	c.mu.Lock()
	stop := c.stop
	c.mu.Unlock()
	if stop == nil {
		return false
	}
	stop(errByOperator)
	return true
}

// errByOperator is the cause with which a call ends that an operator has cancelled.
var errByOperator = errors.New("an administrator of the server has cancelled it")

// Answered notes with which status of HTTP the call is answered. It is called before End.
func (c *Call) Answered(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = status
}

// End reports that the call is over, and how. Only the first End of a call counts.
func (c *Call) End(err error) {
	if !c.ended.CompareAndSwap(false, true) {
		return
	}
	if c.live != nil {
		c.live.remove(c)
	}
	c.mu.Lock()
	c.vectors.Give()
	c.mu.Unlock()
	if c.observer == nil {
		return
	}
	r := Record{
		Call: c.ID, Trace: c.Trace, RequestID: c.RequestID, Tool: c.Tool, HTTP: c.HTTP, Caller: c.Caller.ID, Began: c.Began, Took: time.Since(c.Began),
	}
	c.mu.Lock()
	r.Served, r.Cache, r.Saved, r.Asked, r.Status, r.History = c.servedBy, c.cache, c.saved, c.asked, c.status, c.history
	c.mu.Unlock()
	if !c.texts {
		r.Asked = r.Asked.WithoutTexts()
	}
	if err != nil {
		e := fault.Of(err)
		r.Code, r.Err = e.Code, cmp.Or(e.ForLogs, e.Message)
		if c.texts {
			r.Asked.Partial = e.Partial
		}
	}
	c.observer.Done(r)
}

// Progress tells how far the call has come.
func (c *Call) Progress() Progress {
	c.mu.Lock()
	tracker := c.tracker
	c.mu.Unlock()
	if tracker == nil {
		return Progress{State: Starting}
	}
	return tracker.progress()
}

// Partial is what has arrived of the text that the call waits for, as far as it may be shown
// before it is complete.
func (c *Call) Partial() string {
	c.mu.Lock()
	partial := c.partial
	c.mu.Unlock()
	if partial == nil {
		return ""
	}
	return partial()
}

// callOf is the call that a request is part of. end ends it if it began here.
func (e *Engine) callOf(c *Common, tool string) (call *Call, end func(error)) {
	if c.Call != nil {
		return c.Call, func(error) {}
	}
	call = e.Begin(CallInfo{Tool: tool, Caller: c.Caller})
	return call, call.End
}

// follow makes the progress of the call that of an answer.
func (c *Call) follow(t *tracker) {
	if c.parent != nil {
		c.parent.follow(t)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tracker = t
}

// shows sets the function that returns what has arrived of the answer.
func (c *Call) shows(partial func() string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.partial = partial
}

// asks records what a model is asked for.
func (c *Call) asks(what Asked) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = what
}

// answered records the answer that the call gets.
func (c *Call) answered(with *Response) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.servedBy, c.asked.Response = with.Served, with
}

// served records what answered the call, or how far the call came.
func (c *Call) served(by Served) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.servedBy = by
}

// cacheSaid records what the cache did for the call, and the time that this saved.
func (c *Call) cacheSaid(v CacheVerdict, saved time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cache, c.saved = v, saved
}

// event tells the watcher what happens to the call. Who calls it has looked whether it wants that.
func (c *Call) event(ev Event) {
	ev.Call, ev.Trace, ev.Tool = c.ID, c.Trace, c.Tool
	c.watcher.Event(ev)
}

// part tells the watcher of a look-up in the cache, a fill or a rung, if it wants to know.
func (c *Call) part(ev Event) {
	if c.wants == AllEvents {
		c.event(ev)
	}
}

// leg is a request of a fill to the pool.
type leg struct {
	fill  uint64
	api   string
	batch int // of texts to embed; 0 for none
	rung  route.Rung
}

// event is an event of the leg.
func (l leg) event(kind EventKind) Event {
	return Event{Kind: kind, Fill: l.fill, API: l.api, Batch: l.batch, Model: l.rung.Model, Provider: l.rung.Provider}
}

// watch has a request to the pool tell the tracker, and who watches the call, when it is queued,
// gets a host, receives the first token, and is retried.
func (c *Call) watch(need *route.Need, at leg, tr *tracker) {
	need.OnWait = func(now route.Standing, later func() route.Standing) {
		tr.queued(now, later)
		c.note(func(h *History) { h.queued(now) })
		if c.wants == AllEvents {
			ev := at.event(Queued)
			ev.Place, ev.Wait = now.Place, now.Expect
			c.event(ev)
		}
	}
	need.OnRetry = func(r route.Retry) {
		tr.retrying(r)
		c.note(func(h *History) { h.retried(r) })
		if c.wants >= Attempts {
			ev := at.event(Retried)
			ev.Host, ev.Attempt, ev.Err, ev.Wait = r.Host, r.Attempt, r.Err, r.In
			c.event(ev)
		}
	}
	if c.wants == NoEvents && c.live == nil {
		return
	}
	need.OnGrant = func(g route.Grant) {
		c.note(func(h *History) { h.granted(time.Since(c.Began), at.rung.Model, &g) })
		if c.wants >= Attempts {
			ev := at.event(Granted)
			ev.Host, ev.Attempt, ev.Hedge, ev.Wait = g.Host, g.Attempt, g.Hedge, g.Waited
			c.event(ev)
		}
	}
	need.OnFirst = func(f route.First) {
		c.note(func(h *History) { h.firstToken(time.Since(c.Began), f.Host, f.Attempt) })
		if c.wants == AllEvents {
			ev := at.event(FirstToken)
			ev.Host, ev.Attempt, ev.Hedge, ev.Wait = f.Host, f.Attempt, f.Hedge, f.After
			c.event(ev)
		}
	}
}

// propagate is the context in which the host of a lease is asked on behalf of a call.
func (e *Engine) propagate(ctx context.Context, c *Call, at leg, lease *pool.Lease) context.Context {
	if e.opts.Propagate == nil {
		return ctx
	}
	ev := at.event(Granted)
	ev.Call, ev.Trace, ev.Host, ev.Attempt, ev.Hedge = c.ID, c.Trace, lease.Host.Name(), lease.Attempt, lease.Hedge
	return e.opts.Propagate(ctx, ev)
}

// attempted tells who watches the call that an attempt has ended, and what there is of its answer.
func (c *Call) attempted(at leg, lease *pool.Lease, a *backend.Answer, err error) {
	c.note(func(h *History) { h.ended(time.Since(c.Began), lease.Host.Name(), lease.Attempt, err) })
	if c.wants < AllEvents {
		return
	}
	ev := at.event(AttemptEnded)
	ev.Host, ev.Attempt, ev.Hedge, ev.Err = lease.Host.Name(), lease.Attempt, lease.Hedge, err
	if a != nil {
		ev.TokensIn, ev.Tokens, ev.Load, ev.DoneReason = a.PromptTokens, a.Tokens, a.Load, string(a.DoneReason)
	}
	c.event(ev)
}
