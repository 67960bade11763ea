package pool

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// This file tells a host that hangs from one that is slow. A host that hangs sends nothing,
// neither a header nor a piece of an answer, for much longer than it usually takes. One call
// alone may have too little time to see that, so the silences of calls add up until the host
// sends something again.

const (
	// suspiciousFactor is how many times longer than usual a silence has to be.
	suspiciousFactor = 4
	// suspiciousLeast is the shortest silence that counts, since a host may be busy with
	// calls of others.
	suspiciousLeast = 10 * time.Second
	// suspiciousUnmeasured is the silence that counts of a host that has answered no call
	// for the model yet.
	suspiciousUnmeasured = 30 * time.Second
)

// silence is how long a model on a host has sent nothing to the calls that it had. Times
// during which there was no call for it are left out, and times during which there were
// several count once.
type silence struct {
	first pace      // from the start of a call until something came, loading left out
	size  mean[int] // bytes of the prompts of those calls

	heard   atomic.Pointer[time.Time] // when something last came; nil if nothing has
	counted time.Time                 // up to when calls that got nothing are part of total
	total   time.Duration             // silence of calls that have ended, since something last came
}

// heardEvery is how old the time of the last piece may be, which is taken for each piece.
const heardEvery = time.Second

// hear notes that something has come from the model. It needs no lock, since it is called for
// each piece of an answer.
func (s *silence) hear(now time.Time) {
	if last := s.heard.Load(); last == nil || now.Sub(*last) >= heardEvery {
		s.heard.Store(&now)
	}
}

// since returns how long the model has been silent if a call that began at some time has
// got nothing until now.
func (s *silence) since(began, now time.Time) time.Duration {
	total, from := s.total, began
	if s.counted.After(from) {
		from = s.counted
	}
	if heard := s.heard.Load(); heard != nil {
		if heard.After(s.counted) {
			total = 0
		}
		if heard.After(from) {
			from = *heard
		}
	}
	return total + max(0, now.Sub(from))
}

// add takes in that a call which began at some time has ended without anything.
func (s *silence) add(began, now time.Time) {
	s.total, s.counted = s.since(began, now), now
}

// observe takes in how long it took until something came of a call, by the size of its prompt.
func (s *silence) observe(first time.Duration, size int64) {
	s.first.observe(first)
	s.size.observe(int(size))
}

// suspicious returns the silence that says that the host hangs, while it works on a prompt of
// so many bytes. Hosts read a prompt before they answer, so a longer one takes longer.
func (s *silence) suspicious(size int64) time.Duration {
	if s.first.samples == 0 {
		return suspiciousUnmeasured
	}
	usual := float64(s.first.mean) * max(1, float64(size)/float64(max(1, s.size.mean)))
	return max(suspiciousLeast, time.Duration(suspiciousFactor*usual))
}

// mayHang reports whether the calls of a model that are on the host wait for so long that the
// host probably hangs.
func (h *host) mayHang(model string, now time.Time) bool {
	silent := h.silenceOf(model, now)
	return silent >= suspiciousLeast && silent >= known(&h.models, model).silence.suspicious(h.largest(model))
}

// largest is the size of the largest prompt that the host has not begun to answer, of those
// for a model.
func (h *host) largest(model string) (size int64) {
	for _, l := range h.lent {
		if l.key().model == model && !l.seen.pieces {
			size = max(size, l.ticket.Size)
		}
	}
	return size
}

// hangs takes in that a lease has ended, and reports whether the reason is that its host
// hangs. The model may be working on another call first, so the largest prompt counts.
func (l *Lease) hangs(ctx context.Context, now time.Time) bool {
	if l.seen.pieces || !timedOut(ctx) && !errors.Is(context.Cause(ctx), ErrTooSlow) {
		return false
	}
	if l.loading {
		return l.loadsInVain(now)
	}
	l.own.silence.add(l.began, now)
	return l.own.silence.total >= l.own.silence.suspicious(l.host.largest(l.key().model))
}

// isSilent reports whether a lease has got nothing yet, though its model is in memory.
func (l *Lease) isSilent() bool { return !l.seen.pieces && !l.loading }

// silenceOf returns for how long a model has sent nothing, though calls wait for it; 0 if
// none do.
func (h *host) silenceOf(model string, now time.Time) (longest time.Duration) {
	own := known(&h.models, model)
	if own == nil {
		return 0
	}
	for _, l := range h.lent {
		if l.own == own && l.isSilent() {
			longest = max(longest, own.silence.since(l.began, now))
		}
	}
	return longest
}
