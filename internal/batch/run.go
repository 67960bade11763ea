package batch

import (
	"context"
	"slices"
	"time"

	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/inference"
)

const (
	// outage is for how long a batch waits for hosts to come back, once nothing is answered.
	outage = 5 * time.Minute
	// longestPause bounds a single pause, after which the hosts may have recovered sooner than
	// they said.
	longestPause = 30 * time.Second
	// mostAlike is how many inputs may fail in the same way before any is answered.
	mostAlike = 8
	// slotsFor is how long the number of slots is taken for what it was.
	slotsFor = 100 * time.Millisecond
)

// run is the state of Run.
type run struct {
	*Batch
	ctx      context.Context
	pending  []int // inputs to ask for, in their order
	inFlight int
	done     chan outcome

	slots    int
	slotsAt  time.Time
	most     int       // in flight, since more had no room in the queue; 0 for no such bound
	resume   time.Time // before which nothing is begun
	failing  time.Time // since when hosts have been failing; the zero Time if they are not
	pause    time.Duration
	answered int
	alike    int    // inputs that have failed in the same way, while none was answered
	failure  string // of these
}

// outcome is what asking for an input came to.
type outcome struct {
	input int
	row   Row
	err   error
}

// Run asks for all that is missing, and returns when nothing is in flight. It may be called
// once. Summary and Item have the results.
func (b *Batch) Run(ctx context.Context) {
	r := &run{Batch: b, ctx: ctx, done: make(chan outcome)}
	for i, first := range b.first {
		switch {
		case b.journal.has(b.keys[i], b.digests):
			b.reused++
		case i == first:
			r.pending = append(r.pending, i)
		}
	}
	b.mu.Lock()
	b.began, b.todo, b.ended = time.Now(), len(r.pending), b.reused
	b.mu.Unlock()
	copies := make(map[int]int)
	for _, first := range b.first {
		copies[first]++
	}
	for r.inFlight > 0 || len(r.pending) > 0 && b.stopped == nil {
		wait := r.begin()
		if r.inFlight == 0 && b.stopped != nil {
			break
		}
		var timer <-chan time.Time
		if wait > 0 {
			timer = time.After(wait)
		}
		over := ctx.Done()
		if b.stopped != nil {
			over = nil // what is in flight ends by itself
		}
		select {
		case o := <-r.done:
			r.inFlight--
			if r.take(o) {
				b.mu.Lock()
				b.asked++
				b.ended += copies[o.input]
				b.mu.Unlock()
			}
		case <-timer:
		case <-over:
			b.stop(why(ctx))
		}
	}
	b.say("")
}

// stop has nothing more be begun.
func (b *Batch) stop(e *fault.Error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped == nil {
		b.stopped = e
	}
}

// say notes what the batch waits for.
func (b *Batch) say(waits string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waits = waits
}

// begin asks for as much as there is room for. It returns after what time there may be room for
// more, 0 if that is when something in flight has ended.
func (r *run) begin() (wait time.Duration) {
	for r.stopped == nil && len(r.pending) > 0 && r.inFlight < r.limit() {
		if wait = time.Until(r.resume); wait > 0 {
			return wait
		}
		end := func() {}
		if r.Admit != nil {
			if end, wait = r.Admit(r.inFlight); wait > 0 {
				r.say("waiting for the caller's rate limit")
				return wait
			}
		}
		r.say("")
		i := r.pending[0]
		r.pending = r.pending[1:]
		r.inFlight++
		go func() {
			row, err := r.ask(r.ctx, i)
			end()
			r.done <- outcome{i, row, err}
		}()
	}
	return 0
}

// limit is how many may be in flight: as many as the hosts work on, the same again so that each
// slot finds its next, and two so that slots which are learned are seen to be short.
func (r *run) limit() int {
	if now := time.Now(); r.slotsAt.IsZero() || now.Sub(r.slotsAt) > slotsFor {
		r.slots, r.slotsAt = r.Engine.Slots(r.Request.Model), now
	}
	limit := 2*r.slots + 2
	if r.most > 0 {
		limit = min(limit, r.most)
	}
	return limit
}

// ask asks for an input, in a call of its own.
func (b *Batch) ask(ctx context.Context, i int) (row Row, err error) {
	info := inference.CallInfo{Tool: b.Request.Kind.String(), Caller: b.Request.Caller}
	if whole := b.Request.Call; whole != nil {
		info.PartOf, info.Trace, info.RequestID = whole.ID, whole.Trace, whole.RequestID
	}
	call := b.Engine.Begin(info)
	defer func() { call.End(err) }()
	req, give, err := b.request(ctx, i)
	defer give()
	if err != nil {
		return row, err
	}
	if key, err := b.key(req); err != nil || key != b.keys[i] {
		return row, &fault.Error{
			Code: fault.InvalidArgument, Message: b.Inputs.Name(i) + " has changed since the batch began", Retryable: true,
			Hint: "call again when nothing writes to it",
		}
	}
	req.Call = call
	resp, err := b.Engine.Do(ctx, req)
	if err != nil {
		return row, err
	}
	return rowOf(resp)
}

// take takes in an outcome, and reports whether the input has ended. Otherwise it is asked for
// again, or not any more.
func (r *run) take(o outcome) bool {
	if o.err == nil {
		o.row.Digests = r.digests
		o.err = r.journal.put(r.keys[o.input], o.row)
		if o.err != nil {
			r.stop(fault.Of(o.err))
			return false
		}
		r.answered++
		r.in, r.out = r.in+o.row.TokensIn, r.out+o.row.TokensOut
		r.failing, r.pause = time.Time{}, 0
		if r.most > 0 && r.answered%(4*r.most) == 0 { // there may be more room by now
			r.most++
		}
		return true
	}
	if deadline, ok := r.ctx.Deadline(); ok && !time.Now().Before(deadline) {
		<-r.ctx.Done() // a request has the same deadline, and may notice it a moment earlier
	}
	if r.ctx.Err() != nil {
		r.stop(why(r.ctx))
		return false
	}
	e := fault.Of(o.err)
	switch {
	case isFinal(e):
		r.stop(e)
		return false
	case isFull(e):
		r.hold(o.input, e, "waiting for room in the queue")
		return false
	case e.Code == fault.NoHost && e.Retryable:
		return r.holdForHost(o.input, e)
	}
	r.fail(o.input, e)
	return true
}

// fail notes that an input has failed. If the first inputs all fail in the same way, it is not
// the inputs, and the others are not asked.
func (r *run) fail(input int, e *fault.Error) {
	r.mu.Lock()
	r.failed[input] = e
	r.mu.Unlock()
	if r.answered > 0 || r.reused > 0 {
		return
	}
	if r.failure != e.Message {
		r.failure, r.alike = e.Message, 0
	}
	if r.alike++; r.alike == mostAlike {
		r.stop(e)
	}
}

// isFinal reports whether an error is about no input: each would end the same way.
func isFinal(e *fault.Error) bool {
	switch e.Code {
	case fault.ModelNotFound, fault.Unauthorized:
		return true
	case fault.NoHost:
		return !e.Retryable
	}
	return false
}

// isFull reports whether a request found no room, and may find it later.
func isFull(e *fault.Error) bool {
	switch e.Code {
	case fault.Overloaded, fault.QueueTimeout, fault.RateLimited:
		return e.Retryable
	}
	return false
}

// hold puts an input back that found no room. Fewer are in flight from now on; if none is, or if
// the time to come back is known, nothing is begun before that.
func (r *run) hold(input int, e *fault.Error, waits string) {
	r.putBack(input)
	r.most = max(1, min(r.inFlight, r.limit()-1))
	if r.inFlight == 0 || e.Code == fault.RateLimited {
		r.rest(e, waits)
	}
}

// holdForHost puts an input back that no host could answer, and ends the batch once that has
// lasted. It reports false, since the input has not ended.
func (r *run) holdForHost(input int, e *fault.Error) bool {
	r.putBack(input)
	if r.failing.IsZero() {
		r.failing = time.Now()
	}
	if time.Since(r.failing) >= outage {
		r.stop(e)
		return false
	}
	r.rest(e, "waiting for a host")
	return false
}

func (r *run) putBack(input int) {
	at, _ := slices.BinarySearch(r.pending, input)
	r.pending = slices.Insert(r.pending, at, input)
}

// rest has nothing be begun for as long as an error says, or for longer each time. An error that
// says longer than there is time for ends the batch.
func (r *run) rest(e *fault.Error, waits string) {
	if now := time.Now(); now.Before(r.resume) { // of which others in flight have told already
		return
	}
	r.pause = min(max(2*r.pause, time.Second), longestPause)
	wait := max(e.RetryAfter, r.pause)
	if deadline, ok := r.ctx.Deadline(); wait > outage || ok && time.Until(deadline) < wait {
		r.stop(e)
		return
	}
	r.resume = time.Now().Add(wait)
	r.say(waits)
}
