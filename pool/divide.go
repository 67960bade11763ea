package pool

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"time"

	"ollama-mcp/internal/fairqueue"
	"ollama-mcp/internal/limiter"
)

// Claim says what this pool would use of a host that pools of other processes use too.
type Claim struct {
	Host  string
	Slots int            // calls that the host takes at once from all pools, as far as is known
	Busy  map[string]int // calls on the host, by model
	// Waits is the host's part of the calls that wait: each counts one in all, divided among the hosts that
	// serve it now.
	Waits float64
	// Learned are the slots that were learned, by model; nil if they are configured, or if nothing
	// was learned yet.
	Learned map[string]int
	Ill     string // why the host is sent no calls; "" if it is
	Loading []Load // models that it is loading for calls of this pool
	Loaded  []Load // models that it has loaded for them lately

	Loads bool // the host would have to load a model for each of these calls

	read  bool          // the host has read the beginning of one of these calls
	index int           // of the host, in Pool.hosts
	cost  time.Duration // least that one of them takes there
}

// Calls is how many calls of this pool are on the host.
func (c *Claim) Calls() (n int) {
	for _, calls := range c.Busy {
		n += calls
	}
	return n
}

// Load is a model that a host loads, or has loaded.
type Load struct {
	Model  string        // canonical
	NumCtx int           // tokens of context that were requested; 0 if the host chooses
	Others string        // other runner options, in a form that pools compare
	Age    time.Duration // since loading began, or ended
	// Takes is what loading the model takes, and Holds for how long a call of the model then holds a
	// slot, as far as is known; 0 if it is not.
	Takes, Holds time.Duration
}

func (l Load) key() modelKey { return modelKey{model: l.Model, numCtx: l.NumCtx, others: l.Others} }

const (
	// toldFor is how long other pools are told of a load that is over.
	toldFor = 3 * time.Second
	// newsAge is how old news of other pools may be.
	newsAge = time.Second
)

// Part says what this pool may use of a host, and what others do.
type Part struct {
	Slots     int            // calls that this pool may have on the host; 0 for none at the moment
	Elsewhere map[string]int // calls of other pools on the host, by model
	Learned   map[string]int // slots that other pools have learned, by model
	Ill       string         // why another pool sends the host no calls; "" if all do
	Loading   []Load         // models that the host is loading for calls of other pools
	Loaded    []Load         // models that it has loaded for them lately
}

// Claims returns what the pool would use of each host. Hosts that serve calls which wait come first, and of
// those the hosts that have a model in memory, that have read the beginnings of these calls, and that are fast.
func (p *Pool) Claims() []*Claim {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	all := make([]*Claim, len(p.hosts))
	for i, h := range p.hosts {
		all[i] = p.claim(h, now)
	}
	var serving []*host
	for _, class := range []fairqueue.Class{fairqueue.Interactive, fairqueue.Batch} {
		for k, calls := range p.queue.Keys(class) {
			serving = serving[:0]
			for _, h := range p.hosts {
				if !h.isCloudPart && p.serves(h, k, now) {
					serving = append(serving, h)
				}
			}
			common := cmp.Or(known(&p.models, k.model.model), new(modelTimes))
			for _, h := range serving {
				c, loads, cost := all[h.index], !h.inMemory && !h.memory.holds(k.model) && !h.isLoadedElsewhere(k.model), h.cost(k.model, common, now)
				if c.Waits == 0 || c.Loads && !loads || c.Loads == loads && cost < c.cost {
					c.Loads, c.cost = loads, cost
				}
				c.Waits += float64(calls) / float64(len(serving))
			}
		}
	}
	p.claimRead(all)
	all = slices.DeleteFunc(all, func(c *Claim) bool { return p.hosts[c.index].isCloudPart })
	slices.SortStableFunc(all, func(a, b *Claim) int { return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.cost, b.cost)) })
	return all
}

func (c *Claim) rank() int {
	switch {
	case c.Waits == 0:
		return 3
	case c.Loads:
		return 2
	case !c.read:
		return 1
	}
	return 0
}

// maxClaimRead is how many calls may wait for the hosts to be asked about that have read them. If more do, they take any
// slot.
const maxClaimRead = 16

// claimRead marks for each call that waits the hosts that have read its longest beginning, unless they are busier than
// another by more than a call.
func (p *Pool) claimRead(all []*Claim) {
	if p.queue.Len() > maxClaimRead {
		return
	}
	least := math.MaxInt
	for _, c := range all {
		if c.Waits > 0 {
			least = min(least, p.hosts[c.index].inUse())
		}
	}
	for _, t := range p.queue.WithKey(func(groupKey) bool { return true }) {
		for readers := range p.read.Readers(t.Value.prefixes) {
			found := false
			for _, c := range all {
				if c.Waits > 0 && slices.Contains(readers, c.Host) && p.hosts[c.index].inUse() <= least+1 {
					c.read, found = true, true
				}
			}
			if found {
				break
			}
		}
	}
}

// inUse is how many calls of all pools are on the host.
func (h *host) inUse() int {
	n := len(h.lent)
	for _, calls := range h.elsewhere {
		n += calls
	}
	return n
}

// claim returns what the pool uses of a host.
func (p *Pool) claim(h *host, now time.Time) *Claim {
	c := &Claim{Host: h.name, Slots: h.inAll(now), Busy: make(map[string]int), index: h.index}
	if why := h.why(now); why != nil && !h.well(now) {
		c.Ill = why.Error()
	}
	for _, l := range h.lent {
		c.Busy[l.key().model]++
	}
	c.Loading, c.Loaded = p.loadsOn(h, now)
	for model, own := range h.models.All() {
		if h.learned && own.limit.Limit() != firstSlots {
			if c.Learned == nil {
				c.Learned = make(map[string]int)
			}
			c.Learned[model] = own.limit.Limit()
		}
	}
	return c
}

// Short receives, while hosts are divided, when a call has arrived that has to wait: this pool may lack
// slots that others have.
func (p *Pool) Short() <-chan struct{} { return p.short }

// Divide has the pool use only its part of the hosts that are named, and all slots of the others.
// Calls beyond a part go on, and their slots are taken away as they end.
func (p *Pool) Divide(parts map[string]Part) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.divided = len(parts) > 0
	for _, h := range p.hosts {
		if h.isCloudPart {
			continue
		}
		before := h.room()
		part, divided := parts[h.name]
		h.divided, h.allotted, h.elsewhere = divided, max(0, part.Slots), part.Elsewhere
		h.slotless = false
		h.adjust(before)
		if h.learned {
			h.adopt(part.Learned)
		}
		h.hear(part.Ill, now)
		p.hearLoads(h, part, now)
	}
	p.match()
}

// loadsOn returns the models that a host is loading for calls of this pool, and those that it has loaded
// lately.
func (p *Pool) loadsOn(h *host, now time.Time) (loading, loaded []Load) {
	tell := func(k modelKey, at time.Time) Load {
		return Load{Model: k.model, NumCtx: k.numCtx, Others: k.others, Age: now.Sub(at), Takes: p.loadOf(k.model), Holds: p.heldBy(k.model)}
	}
	for i, l := range h.loading {
		if !slices.ContainsFunc(h.loading[:i], func(first *Lease) bool { return first.key() == l.key() }) {
			loading = append(loading, tell(l.key(), l.began))
		}
	}
	h.forgetLoads(now)
	for _, l := range h.lastLoads {
		loaded = append(loaded, tell(l.key, l.at))
	}
	return loading, loaded
}

// hearLoads takes note of what a host loads and has loaded for calls of other pools, unless this pool
// has learned of its memory since.
func (p *Pool) hearLoads(h *host, part Part, now time.Time) {
	for _, l := range part.Loaded {
		p.adoptTimes(l)
		if at := now.Add(-l.Age - newsAge); at.After(h.memoryAt) && !h.memory.holds(l.key()) {
			h.nowHolds(l.key(), true, at)
		}
	}
	h.loadsElsewhere = nil
	for _, l := range part.Loading {
		p.adoptTimes(l)
		h.hearLoad(load{l.key(), now.Add(-l.Age)})
	}
}

// hearLoad takes note of a load for a call of another pool, unless the model is in memory. Of several of
// one model the first counts.
func (h *host) hearLoad(l load) {
	if h.memory.holds(l.key) {
		return
	}
	for i := range h.loadsElsewhere {
		if first := &h.loadsElsewhere[i]; first.key == l.key {
			if l.at.Before(first.at) {
				first.at = l.at
			}
			return
		}
	}
	h.loadsElsewhere = append(h.loadsElsewhere, l)
}

// adoptTimes takes over the times of a model from another pool, where this one has measured none.
func (p *Pool) adoptTimes(l Load) {
	if l.Takes == 0 && l.Holds == 0 {
		return
	}
	times := p.timesOf(l.Model)
	if times.load.samples == 0 && l.Takes > 0 {
		times.load.observe(l.Takes)
	}
	if times.held.samples == 0 && l.Holds > 0 {
		times.held.observe(l.Holds)
	}
}

// inAll is how many calls the host takes at once from all pools.
func (h *host) inAll(now time.Time) int {
	divided := h.divided
	h.divided = false
	defer func() { h.divided = divided }()
	return h.slots(now)
}

// adopt takes over slots that other pools have learned, where this one has learned nothing.
func (h *host) adopt(learned map[string]int) {
	for model, slots := range learned {
		if own := h.model(model); own.limit.Limit() == firstSlots && slots != firstSlots {
			own.limit = limiter.New(limiter.Options{Initial: max(1, slots), Max: h.most})
		}
	}
}

// hear takes note of what another pool says against the host, which is then used only if no other
// is free: what this pool has seen of the host lately counts more.
func (h *host) hear(ill string, now time.Time) {
	if ill == "" || now.Sub(h.answered) < doubtFor {
		return
	}
	h.failure = now
	if h.trouble == nil {
		h.trouble = errors.New("according to another server: " + ill)
	}
}

// room is how many calls this pool may have on the host.
func (h *host) room() int {
	if h.divided {
		return min(h.most, h.allotted)
	}
	return h.most
}

// adjust adds or takes away permits after the host has had room for so many calls before.
func (h *host) adjust(before int) {
	for range max(0, h.room()-before) {
		h.freePermit()
	}
	for range max(0, before-h.room()) {
		if !h.permits.TryAcquire(1) {
			h.owed++
		}
	}
}
