package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/rueidis"
	"pgregory.net/rapid"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// gpu is a host of which only the name is used.
type gpu struct {
	backend.Backend
	name string
}

func (g gpu) Name() string { return g.name }

// machineRoom are the hosts, and how many calls of all replicas are on each.
type machineRoom struct {
	mu   sync.Mutex
	on   map[string]int
	most map[string]int
}

func (m *machineRoom) enter(host string, by int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.on == nil {
		m.on, m.most = make(map[string]int), make(map[string]int)
	}
	m.on[host] += by
	m.most[host] = max(m.most[host], m.on[host])
}

// sharer is a replica with a pool of hosts that it shares.
type sharer struct {
	*Client
	pool *pool.Pool
	room *machineRoom
	life context.Context
	die  func()
}

// sharing starts replicas, which share some hosts with so many slots each.
func (w *world) sharing(replicas, hosts, slots int) (room *machineRoom, all []*sharer) {
	room = new(machineRoom)
	for range replicas {
		c, stop := w.replica()
		var backends []backend.Backend
		for i := range hosts {
			backends = append(backends, gpu{name: fmt.Sprint("gpu-", i)})
		}
		p, err := pool.New(pool.Options{Hosts: backends, Slots: slots, Queue: 1000, PerCaller: 1000})
		if err != nil {
			w.t.Fatal(err)
		}
		life, cancel := context.WithCancel(context.Background())
		var work sync.WaitGroup
		work.Go(func() { c.ShareHosts(life, p) })
		s := &sharer{Client: c, pool: p, room: room, life: life}
		s.die = sync.OnceFunc(func() {
			cancel()
			work.Wait()
			stop()
		})
		w.t.Cleanup(s.die)
		all = append(all, s)
	}
	synctest.Wait()
	return room, all
}

// call has a replica make a call that takes some time, unless the replica dies.
func (s *sharer) call(takes time.Duration) error {
	return s.pool.With(s.life, route.Need{}, func(ctx context.Context, l *pool.Lease) error {
		s.room.enter(l.Host.Name(), 1)
		defer s.room.enter(l.Host.Name(), -1)
		timer := time.NewTimer(takes)
		defer timer.Stop()
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// TestReplicasOfferAHostNoMoreThanItsSlots has random calls at random replicas, some of which die.
func TestReplicasOfferAHostNoMoreThanItsSlots(t *testing.T) {
	fewChecks(t)
	rapid.Check(t, func(r *rapid.T) {
		replicas := rapid.SampledFrom([]int{1, 3, 10}).Draw(r, "replicas")
		hosts, slots := rapid.IntRange(1, 3).Draw(r, "hosts"), rapid.SampledFrom([]int{1, 2, 4, 30}).Draw(r, "slots")
		type step struct{ pause, replica, calls, takes, dies int }
		steps := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) step {
			return step{
				rapid.IntRange(0, 1500).Draw(r, "pause in ms"), rapid.IntRange(0, replicas-1).Draw(r, "replica"), rapid.IntRange(0, 6).Draw(r, "calls"),
				rapid.SampledFrom([]int{1, 300, 4000}).Draw(r, "takes ms"), rapid.IntRange(0, 15).Draw(r, "dies if 0"),
			}
		}), 1, 15).Draw(r, "steps")
		inWorld(t, func(t *testing.T, w *world) {
			room, all := w.sharing(replicas, hosts, slots)
			var calls sync.WaitGroup
			for _, s := range steps {
				time.Sleep(time.Duration(s.pause) * time.Millisecond)
				c := all[s.replica]
				if s.dies == 0 && s.replica > 0 {
					c.die()
				}
				for range s.calls {
					calls.Go(func() {
						if err := c.call(time.Duration(s.takes) * time.Millisecond); err != nil && c.life.Err() == nil {
							t.Errorf("a call failed: %v", err)
						} else if err != nil && !errors.Is(err, context.Canceled) {
							t.Errorf("a call of a replica that died: %v", err)
						}
					})
				}
			}
			calls.Wait()
			for host, most := range room.most {
				if most > slots {
					t.Errorf("%s had %d calls at once, and it has %d slots", host, most, slots)
				}
			}
		})
	})
}

// TestSlotsGoToTheReplicasThatHaveWorkForThem counts what each replica has on a host.
func TestSlotsGoToTheReplicasThatHaveWorkForThem(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		_, all := w.sharing(3, 1, 12)
		time.Sleep(3 * time.Second)
		have := func(what string, want ...int) {
			t.Helper()
			synctest.Wait()
			for i, s := range all {
				if busy := s.pool.Stats().Hosts[0].Busy; busy != want[i] {
					t.Errorf("%s: replica %d has %d calls on the host, want %d", what, i, busy, want[i])
				}
			}
		}
		load := func(s *sharer, calls int) {
			for range calls {
				go func() {
					for s.call(200*time.Millisecond) == nil {
					}
				}()
			}
		}
		load(all[0], 30)
		time.Sleep(5 * time.Second)
		have("one has work", 12, 0, 0)
		load(all[1], 30)
		load(all[2], 2)
		time.Sleep(5 * time.Second)
		have("all have work", 5, 5, 2)
		all[0].die()
		time.Sleep(leaseTime + 5*time.Second)
		all = all[1:]
		have("one died", 10, 2)
		w.swallows.Store(true)
		time.Sleep(10 * time.Second)
		have("without a server", 6, 2)
		w.swallows.Store(false)
		time.Sleep(10 * time.Second)
		have("afterwards", 10, 2)
		all[0].die()
		all[1].die()
	})
}

// TestReplicasHaveTheirShareOfAHostWhileTheKeyOfSlotsIsInUse has another program's value under it for a while.
func TestReplicasHaveTheirShareOfAHostWhileTheKeyOfSlotsIsInUse(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		_, all := w.sharing(2, 1, 4)
		w.server.Del(all[0].keyOfSlots())
		if err := w.server.Set(all[0].keyOfSlots(), "another program's"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		var calls sync.WaitGroup
		for range 4 {
			calls.Go(func() {
				if err := all[0].call(4 * time.Second); err != nil {
					t.Error(err)
				}
			})
		}
		busy := func(want int) {
			t.Helper()
			synctest.Wait()
			if got := all[0].pool.Stats().Hosts[0].Busy; got != want {
				t.Errorf("%d calls are on the host, want %d", got, want)
			}
		}
		busy(2)
		if s := all[0].State(); !s.Up || !strings.Contains(s.Reason, "not shared") {
			t.Errorf("got the state %+v, want that it says what is not shared", s)
		}
		w.server.Del(all[0].keyOfSlots())
		time.Sleep(3 * time.Second)
		busy(4)
		if s := all[0].State(); s.Reason != "" {
			t.Errorf("got the state %+v afterwards", s)
		}
		calls.Wait()
	})
}

// TestNewsOfAHostAreReadByReplicasWithTheSameSecretOnly tries what may be in the server.
func TestNewsOfAHostAreReadByReplicasWithTheSameSecretOnly(t *testing.T) {
	with := func(secret string) *Client {
		o := Options{URL: "redis://redis.test"}
		if secret != "" {
			o.SealKey = []byte(strings.Repeat(secret, 32))
		}
		c, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	open, sealed, another := with(""), with("a"), with("b")
	said := map[string]news{"gpu": {
		Busy: map[string]int{"m:latest": 2}, Learned: map[string]int{"m:latest": 5}, Ill: "ejected",
		Loading: []loadNews{{Model: "m:latest", NumCtx: 8192, Others: "num_gpu=1\x00", Age: time.Second, Takes: time.Minute, Holds: 3 * time.Second}},
		Loaded:  []loadNews{{Model: "other:latest", Age: time.Second}},
	}}
	for _, c := range []struct {
		name     string
		from, to *Client
		reads    bool
	}{
		{"without a secret", open, open, true},
		{"with the same", sealed, sealed, true},
		{"with another", sealed, another, false},
		{"without one, to one that has it", open, sealed, false},
		{"with one, to one without", sealed, open, false},
	} {
		got := c.to.decodeNews(c.from.encodeNews(said))
		if c.reads && !reflect.DeepEqual(got, said) || !c.reads && len(got) > 0 {
			t.Errorf("%s: read %+v", c.name, got)
		}
	}
	for _, text := range []string{"", "nonsense", "\x01\x00"} {
		if got := open.decodeNews(text); len(got) > 0 {
			t.Errorf("of %q was read %+v", text, got)
		}
	}
}

// TestReplicasHearWithinASecondWhatAHostIsLoadingAndHasLoaded has one of two replicas load a model.
func TestReplicasHearWithinASecondWhatAHostIsLoadingAndHasLoaded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		_, all := w.sharing(2, 2, 4)
		time.Sleep(3*time.Second + 300*time.Millisecond)
		at := func(s *sharer) (name string) {
			err := s.pool.With(t.Context(), route.Need{Model: "m:latest"}, func(_ context.Context, l *pool.Lease) error {
				name = l.Host.Name()
				time.Sleep(10 * time.Millisecond) // and nothing is heard of the model
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			return name
		}
		var loading sync.WaitGroup
		first := make(chan string, 1)
		loading.Go(func() {
			err := all[0].pool.With(t.Context(), route.Need{Model: "m:latest"}, func(_ context.Context, l *pool.Lease) error {
				first <- l.Host.Name()
				time.Sleep(20 * time.Second)
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
		host := <-first
		time.Sleep(2 * hurryInterval)
		if told := all[1].decodeNews(w.server.HGet(all[0].keyOfNews(), all[0].id))[host]; len(told.Loading) != 1 || told.Loading[0].Model != "m:latest" {
			t.Errorf("soon afterwards the others are told %+v", told)
		}
		time.Sleep(time.Second - hurryInterval)
		for range 6 {
			if got := at(all[1]); got != host {
				t.Fatalf("a call goes to %s, while %s is loading its model for another replica", got, host)
			}
		}
		w.swallows.Store(true) // then nobody knows whether that goes on
		time.Sleep(10 * time.Second)
		elsewhere := false
		for range 6 {
			elsewhere = elsewhere || at(all[1]) != host
		}
		if !elsewhere {
			t.Error("without Redis all calls go to the host of which was last heard that it loads their model")
		}
		w.swallows.Store(false)
		loading.Wait()
	})
}

// TestNewsThatMakeNoSenseAreLeftOut has a replica hear of loads that cannot be.
func TestNewsThatMakeNoSenseAreLeftOut(t *testing.T) {
	var all []loadNews
	text := `[{"m":""},{"m":"a","a":-1},{"m":"b","t":-1},{"m":"c","h":-5},{"m":"d","c":-1},{"m":"e","a":7}]`
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatal(err)
	}
	if got := hearLoads(all); len(got) != 1 || got[0] != (pool.Load{Model: "e", Age: 7}) {
		t.Errorf("got %+v", got)
	}
}

// TestEachReplicaHasItsTurnOnAHostWithOneSlot has more replicas than slots.
func TestEachReplicaHasItsTurnOnAHostWithOneSlot(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		room, all := w.sharing(3, 1, 1)
		served := make([]int, len(all))
		var work sync.WaitGroup
		for i, s := range all {
			work.Go(func() {
				for s.call(300*time.Millisecond) == nil {
					served[i]++
				}
			})
		}
		time.Sleep(10 * time.Second)
		for _, s := range all {
			s.die()
		}
		work.Wait()
		sum := 0
		for i, n := range served {
			sum += n
			if n < 5 {
				t.Errorf("replica %d was served %d times in 10 s", i, n)
			}
		}
		if room.most["gpu-0"] != 1 || sum < 20 {
			t.Errorf("%d calls were served, and there were %d at once on a host with one slot", sum, room.most["gpu-0"])
		}
	})
}

// TestSlotsThatOneReplicaDoesNotUseServeTheCallsOfAnotherAtOnce has two that use all slots in turn.
func TestSlotsThatOneReplicaDoesNotUseServeTheCallsOfAnotherAtOnce(t *testing.T) {
	const takes = 300 * time.Millisecond
	for _, hosts := range []int{1, 5} {
		inWorld(t, func(t *testing.T, w *world) {
			_, all := w.sharing(2, hosts, 4)
			for turn := range 6 {
				time.Sleep(takes)
				began := time.Now()
				var calls sync.WaitGroup
				for range 4 * hosts {
					calls.Go(func() {
						if err := all[turn%2].call(takes); err != nil {
							t.Error(err)
						}
					})
				}
				calls.Wait()
				if d := time.Since(began); d > takes+3*hurryInterval {
					t.Errorf("with %d hosts, turn %d took %v, want hardly more than %v", hosts, turn, d, takes)
				}
			}
		})
	}
}

// TestSlotsThatAnotherTookMeanwhileAreNotTakenToo has two replicas read the leases before either writes its own.
func TestSlotsThatAnotherTookMeanwhileAreNotTakenToo(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.replicas(2)
		ask := func(c *Client) (s *sharing, r request, read rueidis.RedisResult) {
			s = &sharing{Client: c}
			results, ok := s.run(leaseScript, s.keysOfSlots(), nil, nil)
			if !ok {
				t.Fatal("the leases cannot be read")
			}
			return s, request{id: s.id, waits: 3, ready: 1, serving: 1, hosts: []hostRequest{{name: "gpu", wants: 3, slots: 4}}}, results[0]
		}
		first, r1, read1 := ask(all[0])
		second, r2, read2 := ask(all[1])
		got1, ok1 := first.take(r1, read1)
		got2, ok2 := second.take(r2, read2)
		if !ok1 || !ok2 || got1.granted[0] != 3 || got2.granted[0] != 1 {
			t.Errorf("got %v and %v of 4 slots, want 3 and the other one", got1.granted, got2.granted)
		}
	})
}

// TestReplicaThatEndsGivesItsSlotsBackAtOnce does not wait for its leases to end.
func TestReplicaThatEndsGivesItsSlotsBackAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		_, all := w.sharing(2, 1, 4)
		time.Sleep(2 * time.Second)
		if err := all[0].call(time.Second); err != nil { // after which it has slots for more
			t.Fatal(err)
		}
		if !strings.Contains(w.server.HGet(all[0].keyOfSlots(), all[0].id), "gpu-0") {
			t.Fatal("it has no slots that it could give back")
		}
		all[0].die()
		began := time.Now()
		var calls sync.WaitGroup
		for range 4 {
			calls.Go(func() {
				if err := all[1].call(time.Second); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		if d := time.Since(began); d > time.Second+hurryInterval {
			t.Errorf("four calls on four slots took %v", d)
		}
	})
}

// TestReplicaWithoutCallsAsksForLittle counts the commands of one that has had a call.
func TestReplicaWithoutCallsAsksForLittle(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		_, all := w.sharing(1, 3, 4)
		time.Sleep(2 * time.Second)
		if err := all[0].call(time.Second); err != nil {
			t.Fatal(err)
		}
		time.Sleep(quietAfter + 2*shareInterval)
		before := w.server.CommandCount()
		time.Sleep(10 * shareInterval)
		// In a second there is a beat of four commands, and a renewal of two scripts with six, and two for the news.
		if n := w.server.CommandCount() - before; n > 11*(4+2+6+2) {
			t.Errorf("it has sent %d commands in ten seconds without calls", n)
		}
		if text := w.server.HGet(all[0].keyOfSlots(), all[0].id); strings.Contains(text, "gpu") {
			t.Errorf("it keeps the leases %q", text)
		}
	})
}

// TestScriptsAreSentAnewToAServerThatHasForgottenThem empties the server's store of scripts.
func TestScriptsAreSentAnewToAServerThatHasForgottenThem(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, _ := w.replica()
		for range 2 {
			if results, ok := c.run(leaseScript, []string{c.keyOfSlots(), c.keyOfLack()}, nil, nil); !ok || refusal(results[0]) != nil {
				t.Errorf("a script failed")
			}
			if _, ok := c.do(t.Context(), func(b rueidis.Builder) rueidis.Commands {
				return rueidis.Commands{b.Arbitrary("SCRIPT", "FLUSH").Build()}
			}); !ok {
				t.Fatal("the server has forgotten nothing")
			}
		}
	})
}

// TestCallAfterAQuietTimeGoesToTheHostThatHasReadItsPrompt has each of three hosts read another prompt.
func TestCallAfterAQuietTimeGoesToTheHostThatHasReadItsPrompt(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var hosts []backend.Backend
		for i := range 3 {
			hosts = append(hosts, &engine{name: fmt.Sprint("gpu-", i), perToken: 10 * time.Millisecond, slots: make(chan struct{}, 4)})
		}
		p, err := pool.New(pool.Options{Hosts: hosts, Slots: 4})
		if err != nil {
			t.Fatal(err)
		}
		c, _ := w.replica()
		ctx, cancel := context.WithCancel(context.Background())
		var sharing sync.WaitGroup
		sharing.Go(func() { c.ShareHosts(ctx, p) })
		defer sharing.Wait()
		defer cancel()
		at := func(prompt uint64, host string) (name string) {
			err := p.With(t.Context(), route.Need{Model: "m:latest", Host: host, Prefixes: []uint64{prompt}}, func(ctx context.Context, l *pool.Lease) error {
				name = l.Host.Name()
				_, err := l.Host.Generate(ctx, &backend.GenerateRequest{Model: "m:latest", Prompt: strings.Repeat("x", 100)}, nil)
				return err
			})
			if err != nil {
				t.Error(err)
			}
			return name
		}
		for i := range 3 {
			at(uint64(i), fmt.Sprint("gpu-", i))
		}
		for i := range 3 {
			time.Sleep(quietAfter + 2*shareInterval)
			if got, want := at(uint64(i), ""), fmt.Sprint("gpu-", i); got != want {
				t.Errorf("the call goes to %s, want %s", got, want)
			}
		}
	})
}
