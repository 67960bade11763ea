package cache

import (
	"crypto/sha256"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/ristretto/v2"
)

const (
	// overhead is what an entry takes beside its value: in three maps of ristretto, which
	// counts 56 bytes itself, in kept, and in what the allocator rounds up. Measured with
	// values of 10 bytes, it is about 330 bytes an entry with these 56.
	overhead = 288
	// typical is the size of an entry for which ristretto's counters are laid out,
	// one per entry. It advises ten, but halves its counts only after as many
	// look-ups as there are counters: old entries that were read twice would keep
	// out the new ones, which are the likeliest to be requested again. Set up as
	// advised, a full cache hit 46 % of the requests that came again within twenty
	// and 69 % of the popular ones; like this it hits 99 % and 62 %.
	typical = 4 << 10
	// largest is the share of the cache that one entry may take: a tenth, so that
	// a single answer does not throw out most others.
	largest = 10
	// tries is how often an entry is offered to a full cache. Each time ristretto
	// compares it with five entries, picked at random, and admits it if it has been
	// looked up as often as one of them. Eight tries find an entry that is worth less
	// in 98 cases of 100 if a tenth of the entries are.
	tries = 8
	// mostScopes is how many scopes are remembered for entries to share: more than tenants,
	// tools and models usually make.
	mostScopes = 1 << 10
)

// store keeps entries in ristretto, and adds what ristretto leaves to its users. The
// zero store keeps nothing.
type store struct {
	size int64
	ttl  time.Duration
	now  func() time.Time // the wall clock

	entries                                        atomic.Int64
	sets, tooLarge, crowdedOut, evicted, outOfDate atomic.Uint64

	// mu is held for reading around every call of ristretto, and for writing to close
	// or clear it, since it panics or hangs when these run at once. Callbacks of
	// ristretto, on a goroutine that such calls wait for, take no lock.
	mu sync.RWMutex
	db *ristretto.Cache[uint64, *kept] // nil if nothing is kept

	// write is held to change an entry: ristretto would drop a second Set of a key
	// while the first is not yet applied.
	write  sync.Mutex
	scopes map[Scope]*Scope // guarded by write: those that entries share, at most mostScopes
}

// kept is an entry in ristretto, which itself knows only a hash of the key.
type kept struct {
	sum     [sha256.Size]byte // of the key
	scope   *Scope            // of the key
	entry   Entry
	refused bool // written by ristretto's goroutine while set waits for it
}

// open starts ristretto.
func (s *store) open(o Options) (err error) {
	s.size, s.ttl = o.Size, o.TTL
	s.now = func() time.Time { return wall(time.Now()) }
	s.db, err = ristretto.NewCache(&ristretto.Config[uint64, *kept]{
		NumCounters: o.Size / typical,
		MaxCost:     o.Size,
		// Look-ups are counted at once. In batches of 64, as advised, those of a quiet
		// server are counted too late or never, and nobody seems to want a new entry.
		BufferItems: 1,
		OnReject:    func(item *ristretto.Item[*kept]) { item.Value.refused = true },
		OnEvict:     s.onEvict,
		OnExit:      s.onExit,
	})
	return err
}

// onEvict counts entries that made room for others or expired.
func (s *store) onEvict(item *ristretto.Item[*kept]) {
	switch {
	case item.Value == nil: // deleted a moment ago
	case !item.Expiration.IsZero():
		s.outOfDate.Add(1)
	case item.Cost > 0: // 0 when all is cleared
		s.evicted.Add(1)
	}
}

// onExit counts every entry that leaves. It gets nil for a deleted key that was not
// there.
func (s *store) onExit(k *kept) {
	if k != nil && !k.refused {
		s.entries.Add(-1)
	}
}

func (s *store) get(key Key) (Entry, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return Entry{}, false
	}
	return s.find(key)
}

// getAgain is get for a look-up that has been counted before. It finds as good as nothing, and
// ristretto counts on a goroutine of its own, which costs more than to look.
func (s *store) getAgain(key Key) (Entry, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return Entry{}, false
	}
	if !s.holds(key) {
		return Entry{}, false
	}
	return s.find(key)
}

// has reports whether there may be an entry for a key, without counting a look-up.
func (s *store) has(key Key) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.db != nil && s.holds(key)
}

// holds is has where mu is held.
func (s *store) holds(key Key) bool {
	_, there := s.db.GetTTL(key.hash()) // Get would count as a look-up
	return there
}

// find finds an entry. mu is held.
func (s *store) find(key Key) (Entry, bool) {
	k, ok := s.db.Get(key.hash())
	if !ok || k.sum != key.sum || s.expired(k.entry) {
		return Entry{}, false
	}
	return k.entry, true
}

// expired reports whether an entry has outlived its TTL by the wall clock. ristretto
// goes by the monotonic clock, which stands still while a laptop sleeps, and removes it
// later.
func (s *store) expired(e Entry) bool { return s.now().Sub(e.Stored) > e.TTL }

// wall is a time without its monotonic reading, so that differences of such times go by
// the wall clock.
func wall(t time.Time) time.Time { return t.Round(0) }

// set stores an entry, if there is room, and drops the one before it. When it returns,
// get finds the entry. But one whose fill began before that of the present entry is older
// than it, such as one that was under way when a call asked for a new answer.
func (s *store) set(key Key, e Entry) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return
	}
	s.write.Lock()
	defer s.write.Unlock()
	if s.holds(key) {
		if s.isNewer(key, e) {
			return
		}
		s.db.Del(key.hash()) // ristretto makes no room for a replacement
	}
	if e.TTL == 0 {
		e.TTL = s.ttl
	}
	cost := int64(e.Value.Size()) + overhead
	switch {
	case e.TTL < 0:
	case cost > s.size/largest:
		s.tooLarge.Add(1)
	case s.admit(key, e, cost):
		s.sets.Add(1)
	default:
		s.crowdedOut.Add(1)
	}
}

// isNewer reports whether the entry under a key, if it is there, is newer than another. write is
// held.
func (s *store) isNewer(key Key, than Entry) bool {
	if than.began.IsZero() {
		return false
	}
	k, ok := s.db.Get(key.hash())
	return ok && k.sum == key.sum && !s.expired(k.entry) && k.entry.began.After(than.began)
}

// shared returns a scope for entries to have in common: it takes more than some answers. write is
// held.
func (s *store) shared(scope Scope) *Scope {
	if p := s.scopes[scope]; p != nil {
		return p
	}
	if len(s.scopes) >= mostScopes || s.scopes == nil {
		s.scopes = make(map[Scope]*Scope) // entries keep theirs
	}
	p := &Scope{strings.Clone(scope.Tenant), strings.Clone(scope.Tool), strings.Clone(scope.Model), strings.Clone(scope.Digest)}
	s.scopes[*p] = p
	return p
}

// admit reports whether ristretto has admitted an entry. write is held.
func (s *store) admit(key Key, e Entry, cost int64) bool {
	k := &kept{sum: key.sum, scope: s.shared(key.scope), entry: e}
	for range tries {
		k.refused = false
		queued := s.db.SetWithTTL(key.hash(), k, cost, e.TTL)
		s.db.Wait()
		if queued && !k.refused {
			s.entries.Add(1)
			return true
		}
	}
	return false
}

// remove removes the entries whose scope matches, and returns their number.
func (s *store) remove(match func(Scope) bool) int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return 0
	}
	s.write.Lock()
	defer s.write.Unlock()
	var hashes []uint64
	s.db.IterValues(func(k *kept) (stop bool) {
		if match(*k.scope) {
			hashes = append(hashes, Key{sum: k.sum}.hash())
		}
		return false
	})
	for _, hash := range hashes {
		s.db.Del(hash)
	}
	s.db.Wait()
	return len(hashes)
}

func (s *store) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.db.Clear()
}

func (s *store) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.db.Close()
	s.db = nil
}

// bytes is the memory of the entries, as set computes it.
func (s *store) bytes() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return 0
	}
	return s.size - s.db.RemainingCost()
}
