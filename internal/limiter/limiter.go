// Package limiter learns how many calls of one model a host should be given at once.
//
// It promises to find the fewest calls that keep a host as busy as more would, to stay
// within its bounds, and to try more only while calls wait for this limit. It goes by the
// rate that follows from how long calls take, never by the length of answers. It has no
// lock, clock or goroutine; counting calls and holding them back is left to package pool.
package limiter

import "time"

// Options describe a limiter. Zero fields take the defaults given with them.
type Options struct {
	Min     int // fewest calls at once; 0 means 1
	Initial int // where to begin, as long as nothing is known; 0 means 4
	Max     int // most calls at once; 0 means 64
}

// Sample is what one call, answered in full, tells about its host.
type Sample struct {
	// FirstToken is from being given a slot to the first token, less the time that the
	// host says went into loading the model, and what the slot was held for afterwards.
	// For embeddings it is the time per text.
	FirstToken time.Duration
	PerToken   time.Duration // mean time from one token to the next; 0 if there were none
	Tokens     int           // of the answer; 0 if there were none, or nobody counted them
	Took       time.Duration // that the slot was held, loading aside; 0: what follows from the above
	InFlight   int           // calls of the model on the host when this one ended, itself included
	Backlog    bool          // other calls waited because the limit was reached
	Overload   bool          // the host refused for load; the times mean nothing
}

const (
	// How much of a change of the limit has to show in the rate of a host. Less cannot be
	// told from noise, or is not worth the wait on the host: twice as many calls at once
	// must bring a quarter more, half as many again a twentieth, and a third fewer may cost
	// a thirtieth. The latter two are little, so they have to show in two rounds. Where
	// calls are brief it is less in proportion, since then so is the wait.
	double = 0.25
	more   = 0.10
	fewer  = 0.10
	// lenient is what two rounds may be wrong by. Of the briefest calls, more at once get
	// the benefit of that doubt, until they are not brief any more for waiting on the host.
	lenient = 0.05
	// brief is how long calls take whose wait on the host is still worth looking at. Shorter
	// ones gain more by it: a call more than the host works on closes the gap between an
	// answer and the next request, which may otherwise miss a batch of tokens that begins then.
	brief = 200 * time.Millisecond
	// slower is the part of its former rate below which a host has changed.
	slower = 0.5
	// mostPause is how many rounds lie between trials when none has paid of late.
	mostPause = 24
	// afterOverload is how many do after the host refused calls.
	afterOverload = 4
	// bearable is the part of calls that a host may refuse whatever the limit: more cannot be retried.
	bearable = 0.2
	// idleTime is how long a model has no calls before what was measured counts no more.
	idleTime = time.Minute
)

// Limiter learns the limit of one model on one host by trials: a round of calls at another limit,
// which is kept if the host did more, or as much with fewer calls at once. Use New to make
// one; it is not safe for concurrent use.
type Limiter struct {
	opts  Options
	limit int
	why   change
	last  time.Time // of the last sample, or of forgetting
	idled int       // the limit before the model was idle; 0 if that has not lowered it

	usual usual
	took  time.Duration // by a call of late; 0 if there were none
	skip  int           // samples to leave out: their calls began under another limit
	round round         // samples at the present limit

	refused refused // calls at the present limit
	own     float64 // part of calls that the host refuses even one at a time; 0 if none or not known

	base  speed // at the limit that is not on trial; of no rounds if unknown
	first speed // of the first round of a trial that has a second; else of no rounds
	trial bool  // limit is on trial, against base
	found bool  // a trial has failed, so that the best is near
	down  bool  // direction of the present trial, or of the next
	pause int   // rounds that the last trial was followed by
	rest  int   // rounds until the next
}

// New makes a limiter. An Initial outside the bounds is moved to the nearer one.
func New(o Options) *Limiter {
	if o.Min == 0 {
		o.Min = 1
	}
	if o.Max == 0 {
		o.Max = 64
	}
	if o.Initial == 0 {
		o.Initial = 4
	}
	o.Max = max(o.Max, o.Min)
	o.Initial = min(max(o.Initial, o.Min), o.Max)
	return &Limiter{opts: o, limit: o.Initial, why: change{to: o.Initial}}
}

// Limit is how many calls to give the host at once.
func (l *Limiter) Limit() int { return l.limit }

// Bounds are the fewest and the most calls that Limit may come to.
func (l *Limiter) Bounds() (fewest, most int) { return l.opts.Min, l.opts.Max }

// Reason says in a few words why the limit was last changed.
func (l *Limiter) Reason() string { return l.why.String() }

// Observe takes in one call.
func (l *Limiter) Observe(now time.Time, s Sample) {
	l.last = now
	if l.skip > 0 {
		l.skip--
		return
	}
	l.refused.add(s.Overload)
	if s.Overload && l.isOwn() {
		return
	}
	if s.Overload {
		l.own = 0
		l.forget()
		l.found, l.idled = true, 0
		l.pause, l.rest = afterOverload, afterOverload
		l.move(l.limit/2, overloaded)
		return
	}
	if !s.Backlog || s.InFlight > l.limit {
		return // the limit is not what held this call back
	}
	if !l.trial || l.usual.samples < known {
		l.usual.learn(s)
	}
	if l.usual.samples < known {
		return
	}
	if l.took == 0 {
		l.took = s.took()
	}
	l.took += (s.took() - l.took) / memory
	if l.round.add(l.usual.slowness(s)); l.round.full(l.limit) {
		l.decide(speed{l.limit, l.round.end(), 1})
	}
}

// isOwn reports whether calls are refused for reasons that have nothing to do with how many there are at
// once. A host refuses as many then that come one at a time, to which refusals lower the limit at first.
func (l *Limiter) isOwn() bool {
	if part, known := l.refused.part(); known && l.limit == l.opts.Min && part <= bearable {
		l.own = part
	}
	return l.own > 0 && float64(l.refused.of) <= 2*l.own*float64(l.refused.calls)+refusedByChance
}

// Idle says that the host has no call of the model to work on. It may be told at any time,
// and as often as one likes. After a minute without calls a limit above Initial falls back
// to that, until Wanted says that more is needed.
func (l *Limiter) Idle(now time.Time) {
	if now.Sub(l.last) < idleTime {
		return
	}
	l.last = now
	best := l.limit
	if l.trial {
		best = l.base.limit
	}
	l.forget()
	if l.limit > l.opts.Initial {
		l.idled = max(l.idled, best)
		l.move(l.opts.Initial, idle)
		l.skip = 0
	}
}

// Wanted says that calls wait because the limit is reached. Then a limit that was lowered
// because the model was idle is at once what it was: how many calls a host works on does
// not change with time.
func (l *Limiter) Wanted() {
	if l.idled == 0 {
		return
	}
	began := l.limit // at most so many calls
	l.forget()
	l.move(l.idled, wanted)
	l.skip, l.idled = began, 0
}
