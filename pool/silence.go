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
	// suspiciousUnmeasured is the shortest silence that counts for a host that has not answered
	// any call for the model yet.
	suspiciousUnmeasured = 30 * time.Second
)

// silence measures for how long a model on a host has sent nothing although it had calls. Periods
// without a call do not count, and periods with several calls count once.
type silence struct {
	first pace      // time from the start of a call to its first piece, loading excluded
	size  mean[int] // prompt sizes of those calls, in bytes

	heard   atomic.Pointer[time.Time] // when a piece last arrived; nil if none has
	counted time.Time                 // total includes unanswered calls up to this time
	total   time.Duration             // silence of calls that have ended, since the last piece
}

// heardEvery is the resolution of silence.heard, which is updated for pieces of answers.
const heardEvery = time.Second

// hear records that a piece has arrived from the model. It takes no lock, since it is called for
// each piece of each answer.
func (s *silence) hear(now time.Time) {
	if last := s.heard.Load(); last == nil || now.Sub(*last) >= heardEvery {
		stored := now // on the heap, where now need not be for each piece
		s.heard.Store(&stored)
	}
}

// since returns how long the model has been silent, given a call that began at some time and has
// received nothing.
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

// add counts a call that ended without having received anything.
func (s *silence) add(began, now time.Time) {
	s.total, s.counted = s.since(began, now), now
}

// observe records the time to the first piece of a call with a prompt of some size.
func (s *silence) observe(first time.Duration, size int64) {
	s.first.observe(first)
	s.size.observe(int(size))
}

// suspicious returns how long a silence has to be to show that the host hangs, while it works on a
// prompt of some size in bytes. Hosts process a prompt before they answer, so a longer prompt
// allows for a longer silence.
func (s *silence) suspicious(size int64) time.Duration {
	if s.first.samples == 0 {
		return suspiciousUnmeasured
	}
	usual := float64(s.first.mean) * max(1, float64(size)/float64(max(1, s.size.mean)))
	return max(suspiciousLeast, time.Duration(suspiciousFactor*usual))
}

// mayHang reports whether calls of a model have waited on the host for so long that it probably
// hangs.
func (h *host) mayHang(model string, now time.Time) bool {
	silent := h.silenceOf(model, now)
	return silent >= suspiciousLeast && silent >= known(&h.models, model).silence.suspicious(h.largest(model))
}

// largest returns the size of the largest prompt for a model that the host has not begun to answer.
func (h *host) largest(model string) (size int64) {
	for _, l := range h.lent {
		if l.key().model == model && !l.seen.pieces {
			size = max(size, l.ticket.Size)
		}
	}
	return size
}

// hangs reports whether a lease ended because its host hangs, and counts its silence. The model may
// be working on another call, so the largest prompt decides.
func (l *Lease) hangs(ctx context.Context, now time.Time) bool {
	if l.seen.pieces || !timedOut(ctx) && !errors.Is(context.Cause(ctx), ErrTooSlow) {
		return false
	}
	if l.loading {
		return l.isLoadStuck(now)
	}
	l.own.silence.add(l.began, now)
	return l.own.silence.total >= l.own.silence.suspicious(l.host.largest(l.key().model))
}

// isSilent reports whether a lease has received nothing yet although its model is in memory.
func (l *Lease) isSilent() bool { return !l.seen.pieces && !l.loading }

// silenceOf returns how long a model has been silent although calls wait for it; 0 if none do.
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
