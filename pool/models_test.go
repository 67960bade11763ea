package pool_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

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
