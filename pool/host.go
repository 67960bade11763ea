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

// Slots configure how many calls a host is given at once, and its share beside other hosts.
type Slots struct {
	Given int // 0 means that the number is learned
	Max   int // limit of what is learned; 0 means 64
	// Weight is the host's share of the calls, relative to the other hosts, as far as the policy
	// of the pool allows; 0 means 1.
	Weight float64
}

// maxSlots is more than any host can use, and catches mistyped numbers.
const maxSlots = 4096

// mostLearned limits the slots that are learned, unless the options do.
const mostLearned = 64

// host is one host of the pool.
type host struct {
	name    string
	backend backend.Backend

	// permits bounds the calls on the host to its slots, if they are configured, or else to the
	// most that may be learned for all models together. For the limit of one model see hasSlot.
	permits *semaphore.Weighted
	most    int      // permits in all
	owed    int      // calls beyond them, since the host was resized while it had them
	learned bool     // the number of slots is learned
	lent    []*Lease // that have not ended, one for each permit taken, in the order in which they came

	// slotless says that the host has no slot for any call that waits, so that nobody needs to look.
	// It holds until a call on the host ends, or its slots, its memory or the groups that wait change.
	slotless bool
	// uneasy says that a circuit breaker of the host, or of a model there, may be open, or that one
	// of them may have asked to be left alone.
	uneasy bool
	// shunned is what Pool.changes was when the host served none of the groups that wait. That holds
	// until it changes, the host is well, or a rest there ends at shunnedUntil.
	shunned      int
	shunnedUntil time.Time // the zero Time if nothing rests
	index        int       // in Pool.hosts

	divided   bool           // pools of other processes use the host too; see Divide
	allotted  int            // slots of this pool then
	elsewhere map[string]int // calls of the other pools, by model; nil if there are none
	answered  time.Time      // when the host last answered a call of this pool
	// loadsElsewhere are the models that the host is loading for calls of the other pools. It has none of
	// them in memory.
	loadsElsewhere []load

	health
	latency   route.EWMA // of answered calls, for the policies; see latencyFor
	took      pace       // time of answered calls, loading excluded
	full      pace       // time between answered calls while all slots are taken
	models    lru.Map[string, *hostModel]
	lastModel string // of the last call
	turn      int    // of its last call
	weight    float64
	// turns is the position of the host's next call in the order of weighted turns, unless it is
	// behind the pool's clock. This is start-time fair queueing, in which a call has the length
	// of one over the weight.
	turns float64
	rest  rest // that the host has asked for, for calls of all models

	down      bool      // according to the last check
	unreached time.Time // when the last check failed; the zero Time after a good one
	version   string
	installed map[string]bool // canonical models, according to the last list; nil if not known
	origins   *origins        // of the models; nil where all run in one place, as at a provider
	loaded    []Loaded        // according to the last check
	memory    memory
	memoryAt  time.Time // of the last check or load that memory is known by; the zero Time before
	lastLoads []load    // that ended lately, with when they did
	noRoom    map[modelKey]lackOfRoom
	loading   []*Lease // calls for which the host is believed to be loading a model

	inMemory    bool  // calls never wait for a model to be loaded
	isAllCloud  bool  // the host is Ollama's cloud itself
	isCloudPart bool  // the part of a host that is in the cloud
	part        *host // the cloud part of a host, or the host of a cloud part; nil if there is none

	removed bool
	drained chan struct{} // shared with the part
}

// check returns an error that names the host for slots that no host can have.
func (s Slots) check(name string) error {
	if min(s.Given, s.Max) < 0 || max(s.Given, s.Max) > maxSlots {
		return fmt.Errorf("pool: %s: slots: want 0 to %d", name, maxSlots)
	}
	if !(s.Weight >= 0) || math.IsInf(s.Weight, 0) {
		return fmt.Errorf("pool: %s: weight: want a number above 0", name)
	}
	return nil
}

// most is how many calls the host may have at once.
func (s Slots) most() int { return cmp.Or(s.Given, s.Max, mostLearned) }

func newHost(b backend.Backend, s Slots) (*host, error) {
	if err := s.check(b.Name()); err != nil {
		return nil, err
	}
	h := &host{
		name: b.Name(), backend: b, most: s.most(), learned: s.Given == 0, weight: cmp.Or(s.Weight, 1), isAllCloud: backend.IsCloud(b),
		health: newHealth(), memory: make(memory),
		noRoom: make(map[modelKey]lackOfRoom), drained: make(chan struct{}),
	}
	h.permits = newPermits(h.most)
	return h, nil
}

// newPermits makes a semaphore of which so many permits are free. It could have up to maxSlots: the
// others are taken for good, or until the host is resized.
func newPermits(most int) *semaphore.Weighted {
	permits := semaphore.NewWeighted(maxSlots)
	permits.TryAcquire(maxSlots - int64(most))
	return permits
}

// resize changes the slots of the host. Calls beyond fewer slots go on, and their permits are taken
// away as they end.
func (h *host) resize(s Slots) {
	before := h.room()
	h.slotless = false
	h.most, h.learned, h.weight = s.most(), s.Given == 0, cmp.Or(s.Weight, 1)
	h.adjust(before)
	if !h.learned {
		return // what was learned is of use again if they are learned again
	}
	for _, own := range h.models.All() {
		learned := firstSlots
		if own.limit != nil {
			learned = own.limit.Limit()
			if _, most := own.limit.Bounds(); most == h.most {
				continue
			}
		}
		own.limit = limiter.New(limiter.Options{Initial: learned, Max: h.most})
	}
}

// freePermit returns a permit, unless the host has more calls than slots.
func (h *host) freePermit() {
	if h.owed > 0 {
		h.owed--
		return
	}
	h.permits.Release(1)
}

// firstSlots is the number of slots of a model on a host of which nothing is known. Ollama works
// on one request at a time by default. With more slots, a few callers would all wait for the host
// that has their model, while others idle.
const firstSlots = 2

func newLimit(most int) *limiter.Limiter {
	return limiter.New(limiter.Options{Initial: firstSlots, Max: most})
}

// resetSlots forgets the slots that were learned.
func (h *host) resetSlots() {
	if h.learned {
		h.slotless = false
		for _, own := range h.models.All() {
			own.limit = newLimit(h.most)
		}
	}
}

// hasSlot reports whether the host has a slot for another call of a model. If its slots are
// configured, the permits alone decide.
func (h *host) hasSlot(model string, now time.Time) bool {
	if !h.learned {
		return true
	}
	if h.crowds(model, now) {
		return false
	}
	own := known(&h.models, model)
	if own.hasSlot(h.elsewhere[model], now) {
		return true
	}
	own.limit.Wanted()
	return own.hasSlot(h.elsewhere[model], now)
}

// crowds reports whether a call of a model would evict a model that is in full use, or slow it down.
func (h *host) crowds(model string, now time.Time) bool {
	_, loaded := h.memory[model]
	return !loaded && len(h.memory) > 0 && len(h.lent) >= h.slots(now)
}

// freeFor returns how many slots the host has at once for calls of a group. It changes nothing.
func (h *host) freeFor(k groupKey, now time.Time) int {
	model, free := k.model.model, h.room()-len(h.lent)
	switch {
	case free <= 0, h.isLoadingBefore(k), h.learned && h.crowds(model, now):
		return 0
	case !h.learned:
		return free
	}
	learned := firstSlots
	if own := known(&h.models, model); own != nil {
		learned = own.slots(now) - own.lent
	}
	return min(free, max(0, learned-h.elsewhere[model]))
}

// slotsOf returns the number of slots for a model.
func (h *host) slotsOf(model string, now time.Time) int {
	slots := min(firstSlots, h.most)
	if own := known(&h.models, model); !h.learned {
		slots = h.most
	} else if own != nil {
		slots = own.slots(now)
	}
	return h.ofPool(slots)
}

// ofPool returns how many of the host's slots this pool has, if others use the host too. A pool that has
// none for a moment has one soon.
func (h *host) ofPool(slots int) int {
	if h.divided {
		return min(slots, max(1, h.allotted))
	}
	return slots
}

// lentOf returns how many of these slots are taken.
func (h *host) lentOf(model string) int {
	if !h.learned {
		return len(h.lent)
	}
	if own := known(&h.models, model); own != nil {
		return own.lent
	}
	return 0
}

// slots returns the number of slots of the host. If they are learned, it is the sum over the models
// in memory or, if there is none, the number for the model that was used last.
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

// drain closes drained once the host has been removed and its last call has ended.
func (h *host) drain() {
	if h.removed && len(h.lent) == 0 && (h.part == nil || len(h.part.lent) == 0) {
		close(h.drained)
	}
}

// mayHave reports whether the host has a model, or may have it for all that is known.
func (h *host) mayHave(model string) bool {
	if model == "" || h.installed == nil || h.installed[model] || backend.IsCloudName(model) {
		return true
	}
	local, ok := backend.WithoutLocal(model)
	return ok && h.installed[local]
}

// could reports whether the host can serve a group, provided that it is well.
func (h *host) could(k groupKey, now time.Time) bool {
	isCloud := h.isCloud(k.model.model)
	return k.allows(h) && h.mayHave(k.model.model) && h.hasNoRoom(k.model, now) == nil &&
		isCloud == (h.isCloudPart || h.isAllCloud) && !(isCloud && k.localOnly)
}

// wasTried reports whether attempts of the group's calls have failed here.
func (h *host) wasTried(k groupKey) bool {
	return k.tried != "" && strings.Contains("\x00"+k.tried, "\x00"+h.name+"\x00")
}

// well reports whether the host as such takes calls.
func (h *host) well(now time.Time) bool {
	return !h.down && !now.Before(h.rest.until()) && h.breaker.Ready(now)
}

// wellFor reports whether the host takes calls of a model.
func (h *host) wellFor(model string, now time.Time) bool {
	own := known(&h.models, model)
	return h.well(now) && (own == nil || own.breaker.Ready(now)) && !h.isResting(model, now)
}

// latencyFor returns the latency by which policies and hedges choose among hosts for a model.
// Failures count as long calls.
func (h *host) latencyFor(model string, now time.Time) time.Duration {
	longest := max(h.latency.Value(now), h.penalty.Value(now))
	if own := known(&h.models, model); own != nil {
		longest = max(longest, own.penalty.Value(now))
	}
	return longest
}

// doubtfulFor reports whether the host, or the model there, has failed recently.
func (h *host) doubtfulFor(model string, now time.Time) bool {
	own := known(&h.models, model)
	return h.doubtful(now) || own != nil && own.doubtful(now)
}

// unreachable reports whether nothing answers at the host's address. A host that was ejected
// because it returned errors is reachable.
func (h *host) unreachable() bool {
	return h.down || errors.Is(h.trouble, backend.Transport)
}

// why returns why the host is not well, or still on trial; nil if it is well.
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
