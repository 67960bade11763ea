// Package share divides among callers what they use together, such as memory or places for
// requests.
//
// It promises that the total is never exceeded, and that something is always left for the next
// caller: a caller may have as much as is still free. So one caller alone gets half of the
// total, and n callers get 1/(n+1) each. The caller with the ID "", the client of stdio, has no
// others beside it and may use everything. What is divided is up to the user of the package.
package share

import (
	"fmt"
	"sync"
)

// Limit is a total that callers share. Use New to make one. It may be used concurrently.
type Limit struct {
	max int64

	// mu guards what follows; nothing blocks under it.
	mu       sync.Mutex
	taken    int64
	byCaller map[string]int64 // by the caller's ID; callers that have nothing are absent
}

// New makes a limit of max units, such as bytes.
func New(max int64) *Limit { return &Limit{max: max, byCaller: make(map[string]int64)} }

// Over is the error for what would exceed a limit.
type Over struct {
	Max      int64 // of all callers together
	Taken    int64 // by the caller if OfCaller, else by all
	OfCaller bool  // the caller's share is exceeded, and others may still take something
}

func (o *Over) Error() string {
	if o.OfCaller {
		return fmt.Sprintf("over the caller's share, of which %d are taken", o.Taken)
	}
	return fmt.Sprintf("over the limit of %d, of which %d are taken", o.Max, o.Taken)
}

// Max is the total.
func (l *Limit) Max() int64 { return l.max }

// Most is what one caller alone gets of the total: half of it, rounded down, or all for the caller "".
// Work that needs more is never done, however long it waits for others to give something back.
func (l *Limit) Most(caller string) int64 {
	if caller == "" {
		return l.max
	}
	return l.max / 2
}

// Taken is how much all callers have.
func (l *Limit) Taken() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.taken
}

// Callers is how many callers have something.
func (l *Limit) Callers() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.byCaller)
}

// Take gives a caller n units more, to be returned with Give, or none and an *Over.
func (l *Limit) Take(caller string, n int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.over(caller, n); err != nil {
		return err
	}
	if n != 0 {
		l.taken += n
		l.byCaller[caller] += n
	}
	return nil
}

// Check is Take without taking anything: it saves work on what Take would refuse.
func (l *Limit) Check(caller string, n int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over(caller, n)
}

// over needs mu to be held.
func (l *Limit) over(caller string, n int64) error {
	free, mine := l.max-l.taken, l.byCaller[caller]
	switch {
	case n > free:
		return &Over{l.max, l.taken, false}
	case caller != "" && mine+n > free:
		return &Over{l.max, mine, true}
	}
	return nil
}

// Give returns n units that a caller has taken.
func (l *Limit) Give(caller string, n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken -= n
	if l.byCaller[caller] -= n; l.byCaller[caller] == 0 {
		delete(l.byCaller, caller)
	}
}

// Part is what one piece of a caller's work has taken of a limit. It belongs to one goroutine
// at a time. A nil Part has taken nothing, and has nothing to give.
type Part struct {
	limit  *Limit
	caller string
	n      int64
}

// Part makes a part of the limit, for work of a caller, that has taken nothing yet.
func (l *Limit) Part(caller string) *Part { return &Part{limit: l, caller: caller} }

// Take takes n units more, or none and returns an *Over.
func (p *Part) Take(n int64) error {
	if err := p.limit.Take(p.caller, n); err != nil {
		return err
	}
	p.n += n
	return nil
}

// Taken is how much the part has taken.
func (p *Part) Taken() int64 { return p.n }

// Most is what the part may have taken at most: all that its caller alone gets of the limit.
func (p *Part) Most() int64 { return p.limit.Most(p.caller) }

// Give returns all that the part has taken. It may be called more than once.
func (p *Part) Give() {
	if p == nil || p.n == 0 {
		return
	}
	p.limit.Give(p.caller, p.n)
	p.n = 0
}
