package fleet_test

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ollama-mcp/internal/fleet"
)

// step is something that happens to a fleet, and the time until the next.
type step struct {
	set   map[string]string   // if not nil, the API keys of the specs that shall be, by name
	finds map[string][]string // what lookups of these names find from now on; nothing is an error
	ends  int                 // how many removed hosts have their last call end
	pause time.Duration
}

var (
	urls = map[string]string{"a": "http://a", "b": "http://b", "x": "dns+http://x.svc", "y": "dns+https://y.svc"}

	// Pauses are long, so that lookups fall in between, or short, so that they do not.
	anyPause = rapid.SampledFrom([]time.Duration{0, time.Second, 10 * time.Second, nextLookup})
	someKeys = rapid.MapOf(rapid.SampledFrom([]string{"a", "b", "x", "y"}), rapid.SampledFrom([]string{"key 1", "key 2"}))
	someIPs  = rapid.SliceOfDistinct(rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}), rapid.ID[string])
	finding  = rapid.MapOf(rapid.SampledFrom([]string{"x.svc", "y.svc"}), someIPs)

	anyStep = rapid.Custom(func(r *rapid.T) step {
		s := step{pause: anyPause.Draw(r, "pause")}
		switch rapid.IntRange(0, 2).Draw(r, "kind") {
		case 0:
			s.set = someKeys.Draw(r, "set")
		case 1:
			s.finds = finding.Draw(r, "finds")
		case 2:
			s.ends = rapid.IntRange(1, 3).Draw(r, "ends")
		}
		return s
	})
)

// Whatever is set and found, in whatever order and however fast, the pool ends up
// with exactly the hosts that are wanted, and every host that was taken away is
// closed once, when its calls have ended. world checks the rest as it goes.
func TestPoolEndsUpWithExactlyTheHostsThatAreWanted(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		steps := rapid.SliceOfN(anyStep, 1, 30).Draw(r, "steps")
		wanted := someKeys.Draw(r, "wanted in the end")
		finds := map[string][]string{
			"x.svc": rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2"}), 1, 2, rapid.ID[string]).Draw(r, "x in the end"),
			"y.svc": {"fd00::1"},
		}
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, fleet.Options{})
			for _, s := range append(steps, step{set: wanted, finds: finds, pause: nextLookup}) {
				w.do(s)
			}
			w.endCalls(math.MaxInt)
			synctest.Wait()
			w.checkHosts(expected(wanted, finds))
		})
	})
}

func (w *world) do(s step) {
	for name, addrs := range s.finds {
		if len(addrs) == 0 {
			w.setLookup(name, errors.New("server misbehaving"))
			continue
		}
		w.resolves(name, addrs...)
	}
	if s.set != nil {
		var specs []fleet.Spec
		for name, key := range s.set {
			specs = append(specs, fleet.Spec{Name: name, URL: urls[name], APIKey: key})
		}
		w.set(specs...)
	}
	w.endCalls(s.ends)
	time.Sleep(s.pause)
}

// endCalls ends the calls of the first n hosts that were removed.
func (w *world) endCalls(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.opened {
		if n > 0 && h.isBusy() {
			close(h.drained)
			n--
		}
	}
}

// expected are the API keys of the hosts that there should be, by name.
func expected(specs map[string]string, finds map[string][]string) map[string]string {
	want := map[string]string{}
	for name, key := range specs {
		addrs, dns := finds[name+".svc"]
		if !dns {
			want[name] = key
		}
		for _, addr := range addrs {
			want[fmt.Sprintf("%s@%s", name, addr)] = key
		}
	}
	return want
}

// checkHosts checks that there are the wanted hosts and that all others have
// been closed.
func (w *world) checkHosts(want map[string]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	got := map[string]string{}
	for name, h := range w.hosts {
		got[name] = h.spec.APIKey
		if len(w.news[name]) == 0 {
			w.t.Errorf("the pool was told nothing of %s", name)
		}
	}
	if !maps.Equal(got, want) {
		w.t.Errorf("the pool has %q, want %q", got, want)
	}
	for _, h := range w.opened {
		if w.hosts[h.spec.Name] != h && h.closed != 1 {
			w.t.Errorf("%s has no calls and was closed %d times", h.spec.Name, h.closed)
		}
	}
}
