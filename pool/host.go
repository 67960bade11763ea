package pool

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/limiter"
	"ollama-mcp/internal/lru"
	"ollama-mcp/internal/route"
)

// Slots say how many calls a host is given at once, and how many beside other hosts.
type Slots struct {
	Given int // 0 means that the number is learned
	Max   int // most that are learned; 0 means 64
	// Weight is what part of the calls the host is given beside others, as far as the
	// policy of the pool allows; 0 means 1.
	Weight float64
}

// maxSlots is more than any host serves at once, and guards against a slip.
const maxSlots = 4096

// mostLearned is up to how many slots are learned where no bound is given.
const mostLearned = 64

// host is one host of the pool.
type host struct {
	name    string
	backend backend.Backend

	// permits bounds the calls on the host: to the slots that were given, or to the most that
	// may be learned of all models together. Of how many calls of one model pay see hasSlot.
	permits *semaphore.Weighted
	most    int      // permits in all
	learned bool     // how many slots there are
	lent    []*Lease // that are out, one for each permit taken

	health
	latency   route.EWMA // of answered calls, for the policies; see latencyFor
	took      pace       // by answered calls, less the time for loading
	full      pace       // from one answered call to the next while all slots are taken
	models    lru.Map[string, *hostModel]
	lastModel string // of the last call
	turn      int    // of its last call
	weight    float64
	// turns is where the next call of the host is in the order of weighted turns, if it has
	// not fallen behind the pool's clock: start-time fair queueing, with calls of one over
	// the weight.
	turns float64
	rest  rest // that it asked for, with calls for any model

	down      bool // by the last check
	version   string
	installed map[string]bool // canonical models, by the last list of them; nil if not known
	origins   *origins        // of the models; nil where all run in one place, as at a provider
	loaded    []Loaded        // by the last check
	memory    memory
	noRoom    map[modelKey]refusal
	loading   []*Lease // calls that the host loads a model for, as far as is known

	inMemory    bool  // the host loads no models, as far as the pool is concerned
	isAllCloud  bool  // the host is Ollama's cloud itself
	isCloudPart bool  // the part of a host that is in the cloud
	part        *host // that part of a host, or the host of that part; nil if there is none

	removed bool
	drained chan struct{} // shared with the part
}

func newHost(b backend.Backend, s Slots) (*host, error) {
	if min(s.Given, s.Max) < 0 || max(s.Given, s.Max) > maxSlots {
		return nil, fmt.Errorf("pool: %s: slots: want 0 to %d", b.Name(), maxSlots)
	}
	if !(s.Weight >= 0) || math.IsInf(s.Weight, 0) {
		return nil, fmt.Errorf("pool: %s: weight: want a number above 0", b.Name())
	}
	h := &host{
		name: b.Name(), backend: b, most: s.Given, weight: cmp.Or(s.Weight, 1), isAllCloud: backend.IsCloud(b),
		health: newHealth(), memory: make(memory),
		noRoom: make(map[modelKey]refusal), drained: make(chan struct{}),
	}
	if s.Given == 0 {
		h.most, h.learned = cmp.Or(s.Max, mostLearned), true
	}
	h.permits = newPermits(h.most)
	return h, nil
}

func newPermits(most int) *semaphore.Weighted { return semaphore.NewWeighted(int64(most)) }

// firstSlots is how many calls of a model a host is given at once while nothing is known.
// Ollama works on one by default. With more, few callers would all wait on the host that
// has their model, while others that could help idle.
const firstSlots = 2

func newLimit(most int) *limiter.Limiter {
	return limiter.New(limiter.Options{Initial: firstSlots, Max: most})
}

// learnSlots forgets what is known of how many calls pay, if that is learned.
func (h *host) learnSlots() {
	if h.learned {
		for _, own := range h.models.All() {
			own.limit = newLimit(h.most)
		}
	}
}

// hasSlot reports whether another call of a model pays beside those of it that are on the
// host. Where the slots are given, it does as long as there is a permit.
func (h *host) hasSlot(model string, now time.Time) bool {
	if !h.learned {
		return true
	}
	if _, loaded := h.memory[model]; !loaded && len(h.memory) > 0 && len(h.lent) >= h.slots(now) {
		return false // it would drive out one that is in full use, or slow it down
	}
	own := known(&h.models, model)
	if own == nil || own.lent < own.slots(now) {
		return true
	}
	own.limit.Wanted()
	return own.lent < own.slots(now)
}

// slotsOf is how many calls of a model the host is given at once.
func (h *host) slotsOf(model string, now time.Time) int {
	if !h.learned {
		return h.most
	}
	if own := known(&h.models, model); own != nil {
		return own.slots(now)
	}
	return min(firstSlots, h.most)
}

// lentOf is how many of those slots are taken.
func (h *host) lentOf(model string) int {
	if !h.learned {
		return len(h.lent)
	}
	if own := known(&h.models, model); own != nil {
		return own.lent
	}
	return 0
}

// slots is how many calls the host is given at once: where that is learned, of the models in
// memory or, if there is none, of the one that was used last.
func (h *host) slots(now time.Time) int {
	if len(h.memory) == 0 || !h.learned {
		return h.slotsOf(h.lastModel, now)
	}
	all := 0
	for model := range h.memory {
		all += h.slotsOf(model, now)
	}
	return min(all, h.most)
}

// drain tells who removed the host when it has nothing left to do.
func (h *host) drain() {
	if h.removed && len(h.lent) == 0 && (h.part == nil || len(h.part.lent) == 0) {
		close(h.drained)
	}
}

// mayHave reports whether the host has a model, as far as is known.
func (h *host) mayHave(model string) bool {
	if model == "" || h.installed == nil || h.installed[model] || backend.IsCloudName(model) {
		return true
	}
	local, ok := backend.WithoutLocal(model)
	return ok && h.installed[local]
}

// could reports whether the host is one that could serve a group, were it well.
func (h *host) could(k groupKey, now time.Time) bool {
	isCloud := h.isCloud(k.model.model)
	return k.allows(h) && h.mayHave(k.model.model) && h.hasNoRoom(k.model, now) == nil &&
		isCloud == (h.isCloudPart || h.isAllCloud) && !(isCloud && k.localOnly)
}

// wasTried reports whether a call of the group has failed here.
func (h *host) wasTried(k groupKey) bool {
	return k.tried != "" && strings.Contains("\x00"+k.tried, "\x00"+h.name+"\x00")
}

// well reports whether the host would take a call of a model that does well there.
func (h *host) well(now time.Time) bool {
	return !h.down && !now.Before(h.rest.until()) && h.breaker.Ready(now)
}

// wellFor reports whether the host would take a call of a model.
func (h *host) wellFor(model string, now time.Time) bool {
	own := known(&h.models, model)
	return h.well(now) && (own == nil || own.breaker.Ready(now)) && !h.isResting(model, now)
}

// latencyFor is the latency of the host for a call of a model, by which policies and hedges
// choose. Failures count as long calls.
func (h *host) latencyFor(model string, now time.Time) time.Duration {
	longest := max(h.latency.Value(now), h.penalty.Value(now))
	if own := known(&h.models, model); own != nil {
		longest = max(longest, own.penalty.Value(now))
	}
	return longest
}

// doubtfulFor reports whether the host, or the model there, has failed a moment ago.
func (h *host) doubtfulFor(model string, now time.Time) bool {
	own := known(&h.models, model)
	return h.doubtful(now) || own != nil && own.doubtful(now)
}

// unreachable reports whether nobody answers at the host's address. A host that is
// out because its answers were errors is reachable.
func (h *host) unreachable() bool {
	return h.down || errors.Is(h.trouble, backend.Transport)
}

// why is the reason for which the host is not well, or has to prove that it is; else nil.
func (h *host) why(now time.Time) error {
	switch {
	case h.down && h.trouble != nil:
		return h.trouble
	case h.down:
		return errors.New("not reachable")
	case now.Before(h.rest.until()):
		return errors.New(h.rest.words(h.rest.until().Sub(now)))
	}
	return h.health.why(now)
}

func roundUp(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}
