package pool_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/pool"
)

// oneByOne works on one call at a time, holds one model, and takes a minute to load one.
func oneByOne(name string) *machine {
	m := coldMachine(name, 1)
	m.parallel = 1
	return m
}

// keepAsking has callers ask for a model until an end, each again some time after it was
// answered. An answer takes a second.
func keepAsking(t *testing.T, p *pool.Pool, callers int, model string, end time.Time, pause time.Duration) (all *sync.WaitGroup) {
	all = new(sync.WaitGroup)
	for range callers {
		all.Go(func() {
			for time.Now().Before(end) {
				if err := ask(t.Context(), p, model, 100); err != nil {
					t.Error(err)
				}
				time.Sleep(pause)
			}
		})
	}
	return all
}

func loadsOf(hosts []*machine) (all int) {
	for _, m := range hosts {
		m.mu.Lock()
		all += m.loads
		m.mu.Unlock()
	}
	return all
}

func TestQueueThatLastsAsLongAsALoadTakesBringsInOneColdHostAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, backends := machines(oneByOne("gpu-1"), oneByOne("gpu-2"), oneByOne("gpu-3"))
		p := newPool(t, pool.Options{Hosts: backends, Slots: 1})
		if err := ask(t.Context(), p, "m:latest", 100); err != nil {
			t.Fatal(err)
		}
		all := keepAsking(t, p, 20, "m:latest", time.Now().Add(5*time.Minute), 0) // never 20 s of them
		for _, step := range []struct{ pause, loads int }{
			{59, 1},
			{2, 2},   // a minute of queue is worth a load
			{117, 2}, // but not another one before that is done
			{4, 3},
		} {
			time.Sleep(time.Duration(step.pause) * time.Second)
			if loads := loadsOf(hosts); loads != step.loads {
				t.Errorf("%d loads, want %d", loads, step.loads)
			}
		}
		all.Wait()
	})
}

func TestQueueThatComesAndGoesBringsInNoColdHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, backends := machines(oneByOne("gpu-1"), oneByOne("gpu-2"))
		p := newPool(t, pool.Options{Hosts: backends, Slots: 1})
		if err := ask(t.Context(), p, "m:latest", 100); err != nil {
			t.Fatal(err)
		}
		for range 20 { // half of the time, all in all ten minutes
			keepAsking(t, p, 30, "m:latest", time.Now().Add(time.Nanosecond), 0).Wait()
			time.Sleep(30 * time.Second)
		}
		if hosts[0].calls != 601 || hosts[1].loads != 0 {
			t.Errorf("%d calls, and %d loads of the second host, want 601 and none", hosts[0].calls, hosts[1].loads)
		}
	})
}

func TestSlowHostIsSpareHoweverLongTheQueueLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &machine{name: "slow", parallel: 1, perToken: 400 * time.Millisecond, load: 10 * time.Second}
		fast := &machine{name: "fast", parallel: 1, perToken: 10 * time.Millisecond, load: 10 * time.Second}
		_, backends := machines(fast, slow)
		p := newPool(t, pool.Options{Hosts: backends, Slots: 1})
		keepAsking(t, p, 2, "m:latest", time.Now().Add(time.Nanosecond), 0).Wait() // 40 s on the slow one
		slow.loaded = nil
		p.Know("slow", pool.Facts{Up: true, Loaded: []pool.Loaded{}})
		keepAsking(t, p, 20, "m:latest", time.Now().Add(35*time.Second), 0).Wait()
		if slow.calls != 1 {
			t.Errorf("a host on which a call takes 40 s was given %d calls that took 20 s elsewhere", slow.calls-1)
		}
	})
}
