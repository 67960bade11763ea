package fleet_test

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/fleet"
)

var gpus = fleet.Spec{Name: "gpu", URL: "dns+https://gpus.svc:1234", Slots: 2, APIKey: "key"}

// nextLookup is longer than the time between two lookups can be.
const nextLookup = 37 * time.Second

func TestEveryAddressBehindANameIsAHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		w.resolves("gpus.svc", "10.0.0.2", "10.0.0.1", "10.0.0.2")
		w.set(gpus, spec("a"))
		w.has("a", "gpu@10.0.0.1", "gpu@10.0.0.2")
		h := w.hosts["gpu@10.0.0.1"]
		want := fleet.Spec{Name: "gpu@10.0.0.1", URL: "https://gpus.svc:1234", Slots: 2, APIKey: "key"}
		if h.spec != want || h.dial != netip.MustParseAddr("10.0.0.1") || h.slots != 2 {
			t.Errorf("opened as %+v at %v with %d slots, want %+v", h.spec, h.dial, h.slots, want)
		}
	})
}

func TestHostsComeAndGoWithTheirAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		w.resolves("gpus.svc", "10.0.0.1", "10.0.0.2")
		w.set(gpus)
		w.has("gpu@10.0.0.1", "gpu@10.0.0.2")
		kept, gone := w.hosts["gpu@10.0.0.2"], w.hosts["gpu@10.0.0.1"]

		w.resolves("gpus.svc", "10.0.0.2", "10.0.0.3")
		time.Sleep(23 * time.Second)
		w.has("gpu@10.0.0.1", "gpu@10.0.0.2") // it is not time yet
		time.Sleep(nextLookup - 23*time.Second)
		w.has("gpu@10.0.0.2", "gpu@10.0.0.3")
		if w.hosts["gpu@10.0.0.2"] != kept {
			t.Error("the host that stayed was replaced")
		}

		w.resolves("gpus.svc", "10.0.0.1", "10.0.0.2") // back, while its calls go on
		time.Sleep(nextLookup)
		w.has("gpu@10.0.0.1", "gpu@10.0.0.2")
		back := w.hosts["gpu@10.0.0.1"]
		close(gone.drained)
		synctest.Wait()
		if gone.closed != 1 || back == gone || back.closed != 0 {
			t.Errorf("what went was closed %d times, what came back %d times", gone.closed, back.closed)
		}
	})
}

func TestLookupThatFindsNothingTakesNoHostAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		w.resolves("gpus.svc", "10.0.0.1")
		w.set(gpus)
		w.has("gpu@10.0.0.1")
		for _, nothing := range []any{errors.New("server misbehaving"), []string{}} {
			w.setLookup("gpus.svc", nothing)
			time.Sleep(3 * nextLookup)
			w.has("gpu@10.0.0.1")
		}
		w.resolves("gpus.svc", "10.0.0.2")
		time.Sleep(nextLookup)
		w.has("gpu@10.0.0.2")
	})
}

func TestLookupThatFailedIsTriedAgainSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		w.set(gpus)
		w.has()
		w.resolves("gpus.svc", "10.0.0.1")
		time.Sleep(6 * time.Second)
		w.has("gpu@10.0.0.1")
	})
}

func TestLookupThatHangsIsGivenUpAndTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lookups := 0
		w := newWorld(t, fleet.Options{Resolve: func(ctx context.Context, _ string) ([]netip.Addr, error) {
			if lookups++; lookups == 1 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return []netip.Addr{netip.MustParseAddr("10.0.0.1")}, nil
		}})
		w.set(gpus, spec("a"))
		time.Sleep(4 * time.Second)
		w.has("a")
		if len(w.told("a")) == 0 {
			t.Error("a lookup that hangs kept another host from being asked")
		}
		time.Sleep(7 * time.Second)
		w.has("a", "gpu@10.0.0.1")
	})
}

func TestMachineWithBothKindsOfAddressIsOneHost(t *testing.T) {
	for _, c := range []struct{ found, want []string }{
		{[]string{"10.0.0.1", "fd00::1"}, []string{"gpu@10.0.0.1"}},
		{[]string{"fd00::1", "10.0.0.1", "fd00::2"}, []string{"gpu@fd00::1", "gpu@fd00::2"}},
		{[]string{"fd00::1"}, []string{"gpu@fd00::1"}},
		{[]string{"fe80::1%eth0", "fe80::1%eth1"}, []string{"gpu@fe80::1%eth0", "gpu@fe80::1%eth1"}},
		{[]string{"::ffff:10.0.0.1", "10.0.0.1", "fd00::1"}, []string{"gpu@10.0.0.1"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, fleet.Options{})
			w.resolves("gpus.svc", c.found...)
			w.set(gpus)
			w.has(c.want...)
		})
	}
}

func TestChangedSpecKeepsTheAddressesThatAreKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		w.resolves("gpus.svc", "10.0.0.1", "10.0.0.2")
		w.set(gpus)
		w.has("gpu@10.0.0.1", "gpu@10.0.0.2")
		w.setLookup("gpus.svc", errors.New("server misbehaving"))
		other := gpus
		other.APIKey = "new"
		w.set(other)
		w.has("gpu@10.0.0.1", "gpu@10.0.0.2")
		if got := w.hosts["gpu@10.0.0.1"].spec.APIKey; got != "new" {
			t.Errorf("the key is %q, want the new one", got)
		}

		other.URL = "dns+http://elsewhere"
		w.set(other)
		w.has() // the hosts known are not behind that name
	})
}

func TestSetThatFailsKeepsTheHostsAtKnownAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		w.resolves("gpus.svc", "10.0.0.1", "10.0.0.2", "10.0.0.3")
		w.set(gpus)
		hosts := []string{"gpu@10.0.0.1", "gpu@10.0.0.2", "gpu@10.0.0.3"}
		w.has(hosts...)
		before := maps.Clone(w.hosts)
		other := gpus
		other.APIKey = "new"
		for i := range 10 * len(hosts) { // the order in which they are opened varies
			w.breaks(hosts[i%len(hosts)])
			if err := w.Set([]fleet.Spec{other}); err == nil {
				t.Error("accepted a spec one of whose hosts cannot be opened")
			}
		}
		w.has(hosts...)
		if !maps.Equal(w.hosts, before) {
			t.Error("a host was replaced all the same")
		}
	})
}

func TestHostsBehindANameAreResizedWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		w.resolves("gpus.svc", "10.0.0.1", "10.0.0.2")
		w.set(gpus)
		w.has("gpu@10.0.0.1", "gpu@10.0.0.2")
		before := maps.Clone(w.hosts)
		more := gpus
		more.Slots = 7
		w.set(more)
		if !maps.Equal(w.hosts, before) {
			t.Error("a host was replaced")
		}
		w.resolves("gpus.svc", "10.0.0.1", "10.0.0.2", "10.0.0.3")
		time.Sleep(time.Minute)
		w.has("gpu@10.0.0.1", "gpu@10.0.0.2", "gpu@10.0.0.3")
		for name, h := range w.hosts {
			if h.slots != 7 {
				t.Errorf("%s has %d slots, want 7", name, h.slots)
			}
		}
	})
}

// The fleet may hear that a name is not wanted while it looks it up.
func TestWhatALookupFindsTooLateIsNoHost(t *testing.T) {
	for range 50 { // the lookup may end just before or after it is told to
		synctest.Test(t, func(t *testing.T) {
			var w *world
			w = newWorld(t, fleet.Options{Resolve: func(context.Context, string) ([]netip.Addr, error) {
				w.set(spec("a"))
				return []netip.Addr{netip.MustParseAddr("10.0.0.1")}, nil
			}})
			w.set(gpus)
			w.has("a")
		})
	}
}

// An address needs no name server, so this asks the system's resolver for real.
func TestAddressInPlaceOfANameIsAHost(t *testing.T) {
	for url, want := range map[string]string{
		"dns+http://10.0.0.1:1234":    "gpu@10.0.0.1",
		"dns+https://[fd00::1]:1234/": "gpu@fd00::1",
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newUnwatchedWorld(t, fleet.Options{})
			var err error
			if w.Fleet, err = fleet.New(fleet.Options{Pool: w, Open: w.open}); err != nil {
				t.Fatal(err)
			}
			w.watch()
			w.set(fleet.Spec{Name: "gpu", URL: url})
			w.has(want)
		})
	}
}

func TestHostThatCannotBeOpenedIsTriedAgainAfterTheNextLookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{LookupEvery: time.Minute})
		w.breaks("gpu@10.0.0.2")
		w.resolves("gpus.svc", "10.0.0.1", "10.0.0.2")
		w.set(gpus)
		w.has("gpu@10.0.0.1")
		w.breaks("")
		time.Sleep(73 * time.Second)
		w.has("gpu@10.0.0.1", "gpu@10.0.0.2")
	})
}
