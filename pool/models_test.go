package pool_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// sharedHosts has callers of two models share hosts that have room for one model each, and
// returns how long a thousand calls take and how many loads they cost.
func sharedHosts(t *testing.T, hosts, slots, parallel, callers int, seed uint64) (took time.Duration, loads int) {
	synctest.Test(t, func(t *testing.T) {
		var ms []*machine
		for i := range hosts {
			ms = append(ms, &machine{name: fmt.Sprint("gpu-", i+1), parallel: parallel, perToken: 10 * time.Millisecond, load: 5 * time.Second, holds: 1})
		}
		all, backends := machines(ms...)
		p := newPool(t, pool.Options{Hosts: backends, Slots: slots, Queue: 1000, PerCaller: 1000})
		var next atomic.Int64
		var group sync.WaitGroup
		began := time.Now()
		for i := range callers {
			model := []string{"a:latest", "b:latest"}[i%2]
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			group.Go(func() {
				for next.Add(1) <= 1000 {
					if err := ask(t.Context(), p, model, 1+int(random.ExpFloat64()*20)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		took, loads = time.Since(began), loadsOf(all)
	})
	return took, loads
}

// Each host has room for one of two models, so that calls of the other cost a load.
func TestLearnedSlotsCostHardlyMoreLoadsAndTimeThanTheRightOnes(t *testing.T) {
	var given, learned time.Duration
	var givenLoads, learnedLoads, all int
	for _, parallel := range []int{1, 4} { // calls that a host works on at once
		for _, hosts := range []int{2, 4} {
			for _, callers := range []int{8, 16} {
				const seed = 0
				took, loads := sharedHosts(t, hosts, parallel, parallel, callers, seed)
				all += hosts
				given, givenLoads = given+took, givenLoads+loads
				took, loads = sharedHosts(t, hosts, 0, parallel, callers, seed)
				learned, learnedLoads = learned+took, learnedLoads+loads
			}
		}
	}
	t.Logf("%d hosts: with given slots %.0f s and %d loads, with learned ones %.0f s and %d loads",
		all, given.Seconds(), givenLoads, learned.Seconds(), learnedLoads)
	// One load for each host is the least. The time includes that for learning. Which calls
	// meet is a matter of chance, so only the sum over all runs is judged.
	if float64(learned) > 1.3*float64(given) || learnedLoads > 2*all {
		t.Errorf("%v with learned slots and %v with given ones, %d and %d loads on %d hosts", learned, given, learnedLoads, givenLoads, all)
	}
}

func TestIdleHostHasFewSlotsAfterAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, backends := machines(&machine{name: "gpu", parallel: 16, perToken: 10 * time.Millisecond})
		p := newPool(t, pool.Options{Hosts: backends})
		keepAsking(t, p, 32, "m:latest", time.Now().Add(2*time.Minute), 0).Wait()
		if slots := p.Stats().Hosts[0].Slots; slots < 8 {
			t.Fatalf("%d slots of a host that works on 16 calls at once", slots)
		}
		time.Sleep(time.Minute) // in which nobody asks for the host, or how it is
		if slots := p.Stats().Hosts[0].Slots; slots != 2 {
			t.Errorf("%d slots after a minute without calls, want 2", slots)
		}
	})
}

func TestSlotsAreLearnedOfEachModelByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, backends := machines(&machine{name: "gpu", parallel: 16, perToken: 10 * time.Millisecond})
		p := newPool(t, pool.Options{Hosts: backends})
		if err := ask(t.Context(), p, "b:latest", 1); err != nil {
			t.Fatal(err)
		}
		end := time.Now().Add(time.Minute)
		crowd := keepAsking(t, p, 32, "a:latest", end, 0)
		others := keepAsking(t, p, 1, "b:latest", end, time.Second)
		time.Sleep(50 * time.Second)
		slots := make(map[string]int)
		for _, m := range p.Stats().Hosts[0].Models {
			slots[m.Model] = m.Slots
		}
		if slots["a:latest"] < 8 || slots["b:latest"] != 2 {
			t.Errorf("learned %v, want many of a, for which calls wait, and two of b", slots)
		}
		crowd.Wait()
		others.Wait()
	})
}

func TestModelsThatAreRememberedAreForgottenOneByOne(t *testing.T) {
	p := newPool(t, pool.Options{Slots: 1})
	const models = 1000
	for i := range models {
		if err := p.With(t.Context(), route.Need{Model: fmt.Sprint(i)}, hold(0)); err != nil {
			t.Fatal(err)
		}
	}
	if pools, hosts := pool.Remembered(p); pools != 256 || hosts != 256 {
		t.Errorf("%d and %d models of %d are remembered, want 256", pools, hosts, models)
	}
	for i := models - 256; i < models; i++ {
		if !pool.Remembers(p, fmt.Sprint(i)) {
			t.Fatalf("model %d of %d is forgotten before those that were used earlier", i, models)
		}
	}
}
