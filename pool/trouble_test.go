package pool_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

func TestHostsThatDieHangAndReturnLoseNoCallAndNoSlot(t *testing.T) {
	const hedgeAfter = 5 * time.Second
	theirs, n := hourOfTrouble(t, true, 0, cacheOff)
	for name, c := range map[string]struct {
		hedgeAfter time.Duration
		mode       deadlineMode
	}{
		"alone":                     {0, cacheOff},
		"alone, with the cache":     {0, cacheOn},
		"with hedges and the cache": {hedgeAfter, cacheOn},
	} {
		ends, all := hourOfTrouble(t, false, c.hedgeAfter, c.mode)
		t.Logf("an hour of %d calls %s: %v; round robin: %v", all, name, ends, theirs)
		if fault := ends["no host"] + ends["other"]; fault > n/500 {
			t.Errorf("%s: %d of %d calls failed by the fault of hosts that answer", name, fault, n)
		}
		if ends["served"] <= theirs["served"] {
			t.Errorf("%s: %d calls were served, and %d with round robin", name, ends["served"], theirs["served"])
		}
	}
}

// hourOfTrouble is four hosts under load, three of which now and then refuse connections,
// hang, or refuse calls. It returns how the calls ended, and how many there were.
func hourOfTrouble(t *testing.T, naively bool, hedgeAfter time.Duration, mode deadlineMode) (ends map[string]int, n int) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(6, 6))
		var ms []*machine
		for _, name := range []string{"a", "b", "c", "d"} {
			m := good(name)
			if name != "d" { // which stays
				m.fails = trouble(rand.New(rand.NewPCG(random.Uint64(), 6)))
			}
			ms = append(ms, m)
		}
		l := newLender(t, naively, pool.Options{Slots: 2, MaxInFlight: 7}, ms...)
		calls := poisson(5400, 1.5, 100, 6) // what the one that stays could serve
		for i := range calls {
			calls[i].patience, calls[i].mode = 55*time.Second, mode
			calls[i].need.Caller = string(rune('a' + i%5))
			calls[i].need.Priority = route.Priority(i % 2)
			calls[i].need.HedgeAfter = hedgeAfter
		}
		got := simulate(t, l, calls)
		ends, n = make(map[string]int), len(got)
		for _, e := range got {
			ends[kindOf(e.err)]++
		}
		if p, ok := l.(*pool.Pool); ok {
			assertAllIsWellAfter(t, p, ms)
			if hedges := p.Stats().Hedged; hedges > 0 != (hedgeAfter > 0) {
				t.Errorf("%d hedges, which are due after %v", hedges, hedgeAfter)
			}
		}
	})
	return ends, n
}

// trouble is a host that is well most of the time.
func trouble(random *rand.Rand) func(time.Time) *fault {
	var mu sync.Mutex
	var until time.Time
	var current *fault
	return func(now time.Time) *fault {
		mu.Lock()
		defer mu.Unlock()
		if now.After(until) {
			until = now.Add(time.Duration(random.ExpFloat64() * float64(2*time.Minute)))
			switch random.IntN(12) {
			case 0:
				current = &fault{class: backend.Transport}
			case 1:
				current = &fault{hangs: true}
			case 2:
				current = &fault{after: 2 * time.Millisecond, class: backend.Overload}
			default:
				current = nil
			}
		}
		return current
	}
}

// assertAllIsWellAfter wants each call to have ended once, and all slots to be there and
// to be used when the hosts are well again.
func assertAllIsWellAfter(t *testing.T, p *pool.Pool, ms []*machine) {
	t.Helper()
	s := p.Stats()
	if s.InFlight != 0 || s.Open != 0 || s.Queue.Waiting != 0 || s.Queue.Bytes != 0 {
		t.Errorf("after all is over: %+v", s)
	}
	assertEachIsCountedOnce(t, s)
	for _, m := range ms {
		m.fails = nil
		if m.mostAtOnce > 2 {
			t.Errorf("%s was asked for %d at once", m.name, m.mostAtOnce)
		}
	}
	time.Sleep(10 * time.Minute) // longer than anybody is ejected
	if after := simulate(t, p, poisson(100, 2, 100, 7)); failures(after) > 0 {
		t.Errorf("%d of 100 calls failed when all hosts were well again", failures(after))
	}
	assertAllSlots(t, p, "", 7)
}
