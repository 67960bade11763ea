package redis

import (
	"context"
	"flag"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"pgregory.net/rapid"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/quota"
	"ollama-mcp/internal/tally"
)

// counting is a replica that counts calls.
type counting struct {
	*Client
	quota *quota.Quota
	tally *tally.Tally
	die   func()
	ends  []func() // of the calls in flight
}

// counting starts replicas.
func (w *world) counting(n int) (all []*counting) {
	for range n {
		c, stop := w.replica()
		life, cancel := context.WithCancel(context.Background())
		r := &counting{Client: c, quota: &quota.Quota{Shared: c}, tally: tally.New(c)}
		var work sync.WaitGroup
		work.Go(func() { r.quota.Run(life) })
		r.die = sync.OnceFunc(func() { // without a word
			stop()
			cancel()
			work.Wait()
		})
		w.t.Cleanup(r.die)
		all = append(all, r)
	}
	time.Sleep(3 * time.Second) // until all have heard of each other
	return all
}

// fewChecks has properties of many replicas be checked less often than is usual.
func fewChecks(t *testing.T) {
	checks := flag.Lookup("rapid.checks")
	if before := checks.Value.String(); before == checks.DefValue {
		_ = checks.Value.Set("10")
		t.Cleanup(func() { _ = checks.Value.Set(before) })
	}
}

func limited(l caller.Limits) caller.Caller { return caller.Caller{ID: "ci", Limits: l} }

// bucket is what a limit of calls per second would allow a single server.
type bucket struct {
	rate, burst, tokens float64
	at                  time.Time
}

func (b *bucket) fill() float64 {
	now := time.Now()
	b.tokens = min(b.burst, b.tokens+now.Sub(b.at).Seconds()*b.rate)
	b.at = now
	return b.tokens
}

// TestLimitsOfAllReplicasAreThoseOfOne has callers at random replicas, some of which die, and
// compares each verdict with that of one server.
func TestLimitsOfAllReplicasAreThoseOfOne(t *testing.T) {
	fewChecks(t)
	rapid.Check(t, func(r *rapid.T) {
		perSecond := rapid.SampledFrom([]float64{0, 0.5, 3, 40}).Draw(r, "per second")
		l := caller.Limits{PerSecond: perSecond, Burst: rapid.IntRange(0, 10).Draw(r, "burst"), InFlight: rapid.SampledFrom([]int{1, 3, 30}).Draw(r, "in flight")}
		replicas := rapid.SampledFrom([]int{1, 3, 20}).Draw(r, "replicas")
		type step struct{ pause, replica, do int }
		steps := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) step {
			return step{rapid.IntRange(0, 300).Draw(r, "ms"), rapid.IntRange(0, replicas-1).Draw(r, "replica"), rapid.IntRange(0, 9).Draw(r, "do")}
		}), 1, 60).Draw(r, "steps")
		inWorld(t, func(t *testing.T, w *world) {
			all := w.counting(replicas)
			one := bucket{rate: l.PerSecond, burst: float64(l.Burst), at: time.Now()}
			if l.Burst == 0 {
				one.burst = math.Ceil(l.PerSecond)
			}
			one.tokens = one.burst
			flying := 0
			died := make(map[time.Time]int) // calls in flight on replicas that died, by when
			for _, s := range steps {
				time.Sleep(time.Duration(s.pause) * time.Millisecond)
				c := all[s.replica]
				switch {
				case c == nil:
				case s.do == 0 && s.replica > 0: // it dies
					died[time.Now()] += len(c.ends)
					flying -= len(c.ends)
					c.die()
					all[s.replica] = nil
				case s.do <= 4 && len(c.ends) > 0:
					c.ends[0]()
					c.ends = c.ends[1:]
					flying--
				default:
					lost := 0
					for when, n := range died {
						if time.Since(when) <= leaseTime {
							lost += n
						}
					}
					full, slack := flying+lost >= l.InFlight, one.rate*0.002+1e-6
					tokens := one.fill()
					end, err := c.quota.Begin(limited(l))
					switch {
					case err == nil && flying >= l.InFlight:
						t.Fatalf("%d calls are in flight, and the limit is %d", flying+1, l.InFlight)
					case err == nil && one.rate > 0 && tokens < 1-slack:
						t.Fatalf("a call begins with %.3f left of its rate", tokens)
					case err != nil && !full && (one.rate == 0 || tokens >= 1+slack):
						t.Fatalf("refused with %d of %d in flight and %.3f left of the rate: %v", flying, l.InFlight, tokens, err)
					}
					if err == nil {
						c.ends = append(c.ends, end)
						flying++
						one.tokens--
					}
				}
			}
			for _, c := range all {
				if c != nil {
					for _, end := range c.ends {
						end()
					}
				}
			}
		})
	})
}

// TestBudgetOfAllReplicasIsNeitherExceededNorWasted has callers at random replicas, some of which
// die, spend a budget.
func TestBudgetOfAllReplicasIsNeitherExceededNorWasted(t *testing.T) {
	fewChecks(t)
	rapid.Check(t, func(r *rapid.T) {
		limit := rapid.SampledFrom([]int{1, 20, 250}).Draw(r, "limit")
		replicas := rapid.SampledFrom([]int{1, 2, 3, 20}).Draw(r, "replicas")
		order := rapid.SliceOfN(rapid.IntRange(0, replicas-1), 1, 30).Draw(r, "who calls, again and again")
		dies := rapid.IntRange(0, 2*limit).Draw(r, "when the last one dies")
		pause := rapid.SampledFrom([]time.Duration{0, time.Millisecond, 10 * time.Millisecond}).Draw(r, "pause")
		inWorld(t, func(t *testing.T, w *world) {
			all := w.counting(replicas)
			admitted := 0
			for i := range limit + limit/2 {
				if i == dies && replicas > 1 {
					all[replicas-1].die()
					all[replicas-1] = all[0]
				}
				c := all[order[i%len(order)]]
				if c.tally.Admit("key ci", tally.Limits{Calls: limit}) == tally.Admitted {
					admitted++
				}
				time.Sleep(pause)
			}
			time.Sleep(3 * time.Second) // until nothing is reserved by others
			for all[0].tally.Admit("key ci", tally.Limits{Calls: limit}) == tally.Admitted {
				admitted++
			}
			if admitted < limit || admitted > limit+limit/100 { // what one had reserved when it died may have been spent
				t.Errorf("%d calls were admitted in all, and the limit is %d", admitted, limit)
			}
		})
	})
}

func TestServerThatLostItsMemoryHearsAgainWhatWasSpent(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.counting(3)
		l := tally.Limits{Calls: 30}
		admit := func(c *counting, times int) (n int) {
			for range times {
				if c.tally.Admit("key ci", l) == tally.Admitted {
					n++
				}
			}
			return n
		}
		if n := admit(all[0], 10) + admit(all[1], 10); n != 20 {
			t.Fatalf("%d of 20 calls were admitted", n)
		}
		all[0].die()
		w.server.FlushAll()
		if n := admit(all[1], 20) + admit(all[2], 20); n != 10 {
			t.Errorf("%d calls were admitted after 20 of 30", n)
		}
	})
}

func TestTokensOfOneReplicaCountOnTheOthers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		time.Sleep(24*time.Hour - 10*time.Second) // until the day is about to end
		all := w.counting(2)
		l := tally.Limits{Tokens: 1000}
		for range 9 {
			for _, c := range all {
				if c.tally.Admit("key ci", l) != tally.Admitted {
					t.Fatalf("refused with %+v spent", c.tally.Spent("key ci"))
				}
			}
			all[0].tally.Add("key ci", tally.Count{Tokens: 100})
			time.Sleep(time.Millisecond)
		}
		all[1].tally.Add("key ci", tally.Count{Tokens: 100})
		time.Sleep(time.Millisecond)
		for i, c := range all {
			if got := c.tally.Admit("key ci", l); got != tally.UsedUp {
				t.Errorf("replica %d: got the verdict %v, want that all is used up", i, got)
			}
			if got := c.tally.Spent("key ci"); got != (tally.Count{Calls: 18, Tokens: 1000}) {
				t.Errorf("replica %d knows of %+v", i, got)
			}
		}
		time.Sleep(10 * time.Second)
		if got := all[1].tally.Admit("key ci", l); got != tally.Admitted {
			t.Errorf("on the next day: got the verdict %v", got)
		}
	})
}

// TestReplicasWithoutARedisHaveTheirShareOfEachLimit counts what all replicas admit together while
// the server swallows, and once it is back.
func TestReplicasWithoutARedisHaveTheirShareOfEachLimit(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.counting(4)
		who := limited(caller.Limits{PerSecond: 4, Burst: 8, InFlight: 20})
		budget := tally.Limits{Calls: 1000}
		all[0].tally.Admit("key ci", budget)
		flying, begun, spent := 0, 0, 1
		var ends []func()
		try := func(times int) {
			for range times {
				for _, c := range all {
					began := time.Now()
					end, err := c.quota.Begin(who)
					if d := time.Since(began); d > commandTime {
						t.Errorf("a call waited %v", d)
					}
					if err == nil {
						ends, flying, begun = append(ends, end), flying+1, begun+1
					} else if shares := strings.Contains(err.Error(), "share"); shares != !c.usable.Load() {
						t.Errorf("the error of a call is %q", err)
					}
					if c.tally.Admit("key ci", budget) == tally.Admitted {
						spent++
					}
				}
			}
		}
		w.swallows.Store(true)
		try(10)
		time.Sleep(time.Minute)
		try(10)
		if begun > 16+1 || begun < 12 {
			t.Errorf("%d calls have begun in two rounds, want the burst of 8 twice at most", begun)
		}
		for range 60 {
			time.Sleep(time.Second)
			try(2)
		}
		if flying != 20 {
			t.Errorf("%d calls are in flight, want the limit of 20", flying)
		}
		for range 200 {
			try(2)
		}
		if spent < 900 || spent > 1000+3 {
			t.Errorf("%d calls of the budget are spent, want all 1000, but for what one had not heard of", spent)
		}
		if n := w.log.count("with its share of each limit"); n != 4 {
			t.Errorf("the log says so %d times, want once for each replica", n)
		}
		if s := all[0].State(); s.Up || s.Replicas != 4 {
			t.Errorf("got the state %+v, want 4 replicas", s)
		}
		w.swallows.Store(false)
		time.Sleep(5 * time.Second)
		if _, err := all[0].quota.Begin(who); err == nil || !strings.Contains(err.Error(), "20 calls in flight") {
			t.Errorf("got %v, want that all 20 calls in flight are known again", err)
		}
		ends[0]()
		end, err := all[3].quota.Begin(who)
		if err != nil {
			t.Errorf("a call that has ended on one replica counts on another: %v", err)
		} else {
			end()
		}
		for _, end := range ends[1:] {
			end()
		}
	})
}

// TestOtherValuesUnderKeysOfLimitsRefuseNobody has the keys in use for something else.
func TestOtherValuesUnderKeysOfLimitsRefuseNobody(t *testing.T) {
	for _, put := range []func(*miniredis.Miniredis, string){
		func(s *miniredis.Miniredis, key string) { _ = s.Set(key, "another program's") },
		func(s *miniredis.Miniredis, key string) { s.HSet(key, "bucket", "nonsense") },
		func(s *miniredis.Miniredis, key string) { s.HSet(key, "r another", "-7 x", "another", "17") },
		func(s *miniredis.Miniredis, key string) { s.HSet(key, "r another", "9999 99999999999999") },
	} {
		inWorld(t, func(t *testing.T, w *world) {
			c := w.counting(1)[0]
			put(w.server, c.keyOfLimit("limit", "ci"))
			put(w.server, c.keyOfLimit("spent:"+time.Now().UTC().Format(time.DateOnly), "key ci"))
			end, err := c.quota.Begin(limited(caller.Limits{PerSecond: 2, InFlight: 2}))
			if err != nil {
				t.Fatal(err)
			}
			end()
			if got := c.tally.Admit("key ci", tally.Limits{Calls: 3, Tokens: 100}); got != tally.Admitted {
				t.Errorf("got the verdict %v", got)
			}
		})
	}
}

func TestUsageOfOneReplicaIsSeenByTheOthers(t *testing.T) {
	for name, key := range map[string][]byte{"open": nil, "sealed": []byte("a secret of more than 32 bytes, for a test")} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				var all []*Client
				for range 3 {
					c, _ := w.replica(func(o *Options) { o.SealKey = key })
					all = append(all, c)
				}
				for i, c := range all {
					for _, text := range []string{"older", fmt.Sprint("rows of ", i)} {
						if !c.Publish("2000-01-01", []byte(text)) {
							t.Fatal("not published")
						}
					}
				}
				w.server.HSet(all[0].keyOfLimit("usage", "2000-01-01"), "another", "nonsense")
				got := all[0].Published([]string{"2000-01-01", "2000-01-02"})
				texts := make(map[string]bool)
				for _, data := range got["2000-01-01"] {
					texts[string(data)] = true
				}
				if len(got) != 1 || len(texts) != 2 || !texts["rows of 1"] || !texts["rows of 2"] {
					t.Errorf("got %q, want the rows of the two others", got)
				}
			})
		})
	}
}
