// Package tally counts what is spent of daily budgets by all replicas of the program together.
//
// It promises that calls of all replicas never exceed a budget, and use it but for a hundredth,
// as long as the replicas can share their counts, and that few calls wait for that. While they
// cannot, each replica has its part of what was left. Days are those of UTC. What has a budget,
// and what a call is, is left to the caller, as are counts of one process alone.
package tally

import (
	"maps"
	"sync"
	"time"

	"ollama-mcp/internal/combine"
)

// Count is what was spent.
type Count struct {
	Calls, Tokens int
}

func (c Count) plus(more Count) Count { return Count{c.Calls + more.Calls, c.Tokens + more.Tokens} }

// Limits are the most that may be spent in a day. A zero field sets no limit.
type Limits struct {
	Calls  int
	Tokens int // may be exceeded by the calls that are under way
}

// Shared keeps the counts of all replicas. Its methods return within a short time.
type Shared interface {
	// Spend says what this replica has spent of something, and asks for calls. It is not ok if
	// that cannot be told now.
	Spend(s Spending) (got Spent, ok bool)
	// Replicas is how many replicas there are, this one included, or were when that could last
	// be told. It is at least 1.
	Replicas() int
}

// Spending is what a replica says.
type Spending struct {
	Day    string // as 2006-01-02
	Name   string // of what has the budget
	Limits Limits
	Own    Count // of this replica, on that day
	Want   int   // calls that it would make
	// Others are the counts of other replicas that this one has heard of, for a store that has
	// lost its memory.
	Others map[string]Count
}

// Spent is what a replica hears.
type Spent struct {
	Granted  int // calls that may be made, of those that were wanted
	Reserved int // calls that it may make besides without asking
	Others   map[string]Count
}

// Tally is what is spent today. Make one with New. Its methods are safe for concurrent use, and
// may be called on nil, which counts nothing and refuses nothing.
type Tally struct {
	shared Shared

	mu      sync.Mutex // guards what follows; nothing is shared under it
	day     string
	budgets map[string]*budget // those of today, by name
}

// budget is what is spent of one budget on one day.
type budget struct {
	day, name string
	turns     combine.Group[*asking]

	// What follows is guarded by the mutex of the Tally.
	limits   Limits
	own      Count
	others   map[string]Count // by replica
	heard    time.Time        // when others were last heard of
	reserved int              // calls that may be made without asking, for as long as that is fresh
	telling  bool             // the others will be told of such calls
	left     Count            // of the limits, when others were last heard of
	since    Count            // spent here since then
}

// asking is a call that would be made, or, without want, news of what has been spent.
type asking struct {
	want    bool
	verdict Verdict
}

const (
	// fresh is for how long what was heard of other replicas is believed, and what they have
	// reserved is used. The store gives it to others after twice that time.
	fresh = time.Second
	// nearly is the part of a budget of tokens beyond which every call asks: tokens are counted
	// when a call ends, so they cannot be reserved.
	nearly = 0.9
)

// New makes a tally that is shared; nil for a nil store.
func New(shared Shared) *Tally {
	if shared == nil {
		return nil
	}
	return &Tally{shared: shared, budgets: make(map[string]*budget)}
}

// Verdict says whether a call may be made.
type Verdict int

// The verdicts.
const (
	UsedUp     Verdict = iota // the budget is
	UsedUpHere                // the part of a replica is, which cannot ask the others at the moment
	Admitted
)

// Admit counts a call, if it is admitted.
func (t *Tally) Admit(name string, l Limits) Verdict {
	if t == nil || l == (Limits{}) {
		return Admitted
	}
	t.mu.Lock()
	b := t.budget(name, l)
	if b.needNotAsk(time.Now()) {
		b.reserved--
		b.spend(Count{Calls: 1})
		if !b.telling { // it is reserved only for a while
			b.telling = true
			time.AfterFunc(fresh, func() { t.tell(b) })
		}
		t.mu.Unlock()
		return Admitted
	}
	t.mu.Unlock()
	own := &asking{want: true}
	b.turns.Do(own, func(all []*asking) { t.ask(b, all) })
	return own.verdict
}

// Add counts what was spent of a budget that has admitted calls today. Calls that were not made
// after all are negative. The other replicas are told soon.
func (t *Tally) Add(name string, more Count) {
	if t == nil || more == (Count{}) {
		return
	}
	t.mu.Lock()
	b, known := t.today()[name]
	if known {
		more.Calls = max(more.Calls, -b.own.Calls)
		b.spend(more)
	}
	t.mu.Unlock()
	if known {
		go t.tell(b)
	}
}

// tell tells the other replicas what was spent of a budget.
func (t *Tally) tell(b *budget) {
	b.turns.Do(new(asking), func(all []*asking) { t.ask(b, all) })
}

// Spent is what all replicas have spent of a budget, as far as this one has heard.
func (t *Tally) Spent(name string) (all Count) {
	if t == nil {
		return all
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if b := t.today()[name]; b != nil {
		all = b.all()
	}
	return all
}

// today are the budgets of today. The mutex is held.
func (t *Tally) today() map[string]*budget {
	if day := time.Now().UTC().Format(time.DateOnly); day != t.day {
		t.day, t.budgets = day, make(map[string]*budget)
	}
	return t.budgets
}

// budget finds a budget of today, by the limits that hold now. The mutex is held.
func (t *Tally) budget(name string, l Limits) *budget {
	all := t.today()
	b := all[name]
	if b == nil {
		b = &budget{day: t.day, name: name, limits: l, left: Count(l), others: make(map[string]Count)}
		all[name] = b
	}
	if b.limits != l {
		b.left = b.left.plus(Count{l.Calls - b.limits.Calls, l.Tokens - b.limits.Tokens})
		b.limits, b.reserved = l, 0
	}
	return b
}

// needNotAsk reports whether a call may be made without asking the other replicas.
func (b *budget) needNotAsk(now time.Time) bool {
	return now.Sub(b.heard) < fresh &&
		(b.limits.Calls == 0 || b.reserved > 0) &&
		(b.limits.Tokens == 0 || float64(b.all().Tokens) < nearly*float64(b.limits.Tokens))
}

func (b *budget) spend(more Count) {
	b.own, b.since = b.own.plus(more), b.since.plus(more)
}

// all is what all replicas have spent, as far as is known.
func (b *budget) all() Count {
	sum := b.own
	for _, n := range b.others {
		sum = sum.plus(n)
	}
	return sum
}

// ask tells what was spent of a budget, and asks for the calls that would be made.
func (t *Tally) ask(b *budget, all []*asking) {
	t.mu.Lock()
	b.reserved, b.telling = 0, false // since what was spent, and is still reserved, is told anew
	s := Spending{Day: b.day, Name: b.name, Limits: b.limits, Own: b.own, Others: maps.Clone(b.others)}
	t.mu.Unlock()
	for _, a := range all {
		if a.want {
			s.Want++
		}
	}
	got, ok := t.shared.Spend(s)
	replicas := t.shared.Replicas()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range all {
		switch {
		case !a.want:
		case !ok && !b.hasLeft(replicas):
			a.verdict = UsedUpHere
		case !ok:
			a.verdict = Admitted
			b.spend(Count{Calls: 1})
		case got.Granted > 0:
			got.Granted--
			a.verdict = Admitted
			b.own.Calls++
		}
	}
	if ok {
		b.heard, b.reserved = time.Now(), got.Reserved
		maps.Copy(b.others, got.Others)
		sum := b.all()
		b.since, b.left = Count{}, Count{b.limits.Calls - sum.Calls, b.limits.Tokens - sum.Tokens}
	}
}

// hasLeft reports whether a replica that cannot ask the others may make a call: it has its part
// of what was left when it could.
func (b *budget) hasLeft(replicas int) bool {
	part := func(n int) int { return (max(0, n) + replicas - 1) / replicas }
	return (b.limits.Calls == 0 || b.since.Calls < part(b.left.Calls)) &&
		(b.limits.Tokens == 0 || b.since.Tokens < part(b.left.Tokens))
}
