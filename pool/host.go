package pool

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/breaker"
	"ollama-mcp/internal/limiter"
	"ollama-mcp/internal/route"
)

// Slots say how many calls a host is given at once.
type Slots struct {
	Given int // 0 means that the number is learned
	Max   int // most that are learned; 0 means 64
}

// maxSlots is more than any host serves at once, and guards against a slip.
const maxSlots = 4096

// mostLearned is up to how many slots are learned where no bound is given.
const mostLearned = 64

// host is one host of the pool.
type host struct {
	name    string
	backend backend.Backend

	// permits bounds the calls on the host. Its size is fixed, so where fewer are
	// learned to pay the others are parked: taken, one at a time, as they come free.
	permits *semaphore.Weighted
	most    int
	parked  int
	limit   *limiter.Limiter // nil if the slots are given
	lent    []*Lease         // that are out, one for each permit taken

	breaker *breaker.Breaker
	latency route.EWMA        // for the policies
	took    pace              // by answered calls, less the time for loading
	full    pace              // by those of them that ended while all slots were taken
	habits  map[string]*habit // by model
	turn    int               // of its last call
	rest    time.Time         // until when it asked to be left alone
	trouble error             // of the last call or check, if it failed by the host's fault
	failure time.Time         // when a call last failed so

	down      bool // by the last check
	version   string
	installed map[string]bool // canonical models, by the last list of them; nil if not known
	loaded    []Loaded        // by the last check
	memory    memory
	noRoom    map[modelKey]refusal
	loading   []*Lease // calls that the host loads a model for, as far as is known

	removed bool
	drained chan struct{}
}

func newHost(b backend.Backend, s Slots) (*host, error) {
	if min(s.Given, s.Max) < 0 || max(s.Given, s.Max) > maxSlots {
		return nil, fmt.Errorf("pool: %s: slots: want 0 to %d", b.Name(), maxSlots)
	}
	h := &host{
		name: b.Name(), backend: b, most: s.Given,
		breaker: breaker.New(breaker.Options{}), habits: make(map[string]*habit), memory: make(memory),
		noRoom: make(map[modelKey]refusal), drained: make(chan struct{}),
	}
	if s.Given == 0 {
		h.most = cmp.Or(s.Max, mostLearned)
		h.limit = newLimit(h.most)
	}
	h.permits = semaphore.NewWeighted(int64(h.most))
	h.resize()
	return h, nil
}

func newLimit(most int) *limiter.Limiter { return limiter.New(limiter.Options{Max: most}) }

// learnSlots forgets what is known of how many calls pay, if that is learned.
func (h *host) learnSlots() {
	if h.limit != nil {
		h.limit = newLimit(h.most)
		h.resize()
	}
}

// wanted takes in that calls wait for a slot.
func (h *host) wanted() {
	if h.limit != nil {
		h.limit.Wanted()
		h.resize()
	}
}

// slots is how many calls the host is given at once.
func (h *host) slots() int {
	if h.limit == nil {
		return h.most
	}
	return h.limit.Limit()
}

// resize parks permits, or frees parked ones, until there are as many as slots.
// Those that are out are parked when they come back.
func (h *host) resize() {
	park := h.most - h.slots()
	for ; h.parked > park; h.parked-- {
		h.permits.Release(1)
	}
	for h.parked < park && h.permits.TryAcquire(1) {
		h.parked++
	}
}

// drain tells who removed the host when it has nothing left to do.
func (h *host) drain() {
	if h.removed && len(h.lent) == 0 {
		close(h.drained)
	}
}

// mayHave reports whether the host has a model, as far as is known.
func (h *host) mayHave(model string) bool {
	return model == "" || h.installed == nil || h.installed[model]
}

// could reports whether the host is one that could serve a group, were it well.
func (h *host) could(k groupKey, now time.Time) bool {
	return k.allows(h) && h.mayHave(k.model.model) && h.hasNoRoom(k.model, now) == nil
}

// wasTried reports whether a call of the group has failed here.
func (h *host) wasTried(k groupKey) bool {
	return k.tried != "" && strings.Contains("\x00"+k.tried, "\x00"+h.name+"\x00")
}

// well reports whether the host would take a call.
func (h *host) well(now time.Time) bool {
	return !h.down && !now.Before(h.rest) && h.breaker.Ready(now)
}

// doubtFor is how long a host that failed is asked only when no other is free. One that
// fails at once is always free, and would draw the calls until it is ejected.
const doubtFor = 10 * time.Second

func (h *host) doubtful(now time.Time) bool {
	return h.trouble != nil && now.Sub(h.failure) < doubtFor
}

// unreachable reports whether nobody answers at the host's address. A host that is
// out because its answers were errors is reachable.
func (h *host) unreachable() bool {
	return h.down || errors.Is(h.trouble, backend.Transport)
}

// why is the reason for which the host is not well, or has to prove that it is; else nil.
func (h *host) why(now time.Time) error {
	state := h.breaker.State(now)
	switch {
	case h.down && h.trouble != nil:
		return h.trouble
	case h.down:
		return errors.New("not reachable")
	case now.Before(h.rest):
		return fmt.Errorf("asked to be left alone for %v", roundUp(h.rest.Sub(now)))
	case state == breaker.Closed:
		return nil
	}
	out := errors.New("being tried again")
	if state == breaker.Open {
		out = fmt.Errorf("ejected for %v", roundUp(h.breaker.Until().Sub(now)))
	}
	if h.trouble != nil {
		out = fmt.Errorf("%w after %w", out, h.trouble)
	}
	return out
}

func roundUp(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}
