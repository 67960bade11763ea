package fleet_test

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/backend/ollama"
	"ollama-mcp/internal/fleet"
)

// world is a fleet, the machines that there are, and a pool that checks what it
// is told.
type world struct {
	*fleet.Fleet
	t *testing.T

	mu        sync.Mutex
	machines  map[string]*backendtest.Host // by the names of hosts
	addresses map[string]any               // behind a name: []string, or an error
	hosts     map[string]*host             // that the pool has, by name
	opened    []*host                      // all that ever were
	removed   []string                     // names, in order, but for hosts that were replaced
	news      map[string][]news            // of each host, oldest first
	broken    string                       // name of a host that cannot be opened
	over      bool                         // hosts may be closed while they are in use
}

// host is a host as it was opened.
type host struct {
	backend.Backend
	world   *world
	spec    fleet.Spec
	dial    netip.Addr
	slots   int
	weight  float64
	drained chan struct{} // nil until it is removed
	closed  int
}

// news is what the pool was told of a host.
type news struct {
	fleet.Facts
	at time.Time
}

// newWorld makes one whose fleet is watched until the test ends. It is for bubbles.
func newWorld(t *testing.T, o fleet.Options) *world {
	w := newUnwatchedWorld(t, o)
	w.watch()
	return w
}

func newUnwatchedWorld(t *testing.T, o fleet.Options) *world {
	t.Helper()
	w := &world{
		t:        t,
		machines: map[string]*backendtest.Host{}, addresses: map[string]any{},
		hosts: map[string]*host{}, news: map[string][]news{},
	}
	o.Pool, o.Open = w, w.open
	if o.Resolve == nil {
		o.Resolve = w.resolve
	}
	var err error
	if w.Fleet, err = fleet.New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.over = true
		w.Fleet.Close()
		for _, m := range w.machines {
			m.Close()
		}
		for _, h := range w.opened {
			if h.closed != 1 {
				t.Errorf("%s was closed %d times", h.spec.Name, h.closed)
			}
		}
	})
	return w
}

// watch has the fleet watched until stop is called, or the test ends.
func (w *world) watch() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() { w.Watch(ctx) })
	stop = func() {
		cancel()
		watching.Wait()
	}
	w.t.Cleanup(stop)
	return stop
}

// machine is what a host of that name is; it is there, and well, from the start.
func (w *world) machine(name string) *backendtest.Host {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.machines[name] == nil {
		w.machines[name] = backendtest.New(name)
	}
	return w.machines[name]
}

func (w *world) open(s fleet.Spec, dial netip.Addr) (fleet.Host, error) {
	b, err := ollama.New(ollama.Options{Name: s.Name, URL: s.URL, DialContext: w.machine(s.Name).Dial})
	if err != nil {
		return nil, err
	}
	h := &host{Backend: b, world: w, spec: s, dial: dial}
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.Name == w.broken {
		return nil, errors.New("no certificate in ca.pem")
	}
	w.opened = append(w.opened, h)
	return h, nil
}

// Close implements fleet.Host.
func (h *host) Close() {
	w := h.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over && (w.hosts[h.spec.Name] == h || h.isBusy()) {
		w.t.Errorf("%s was closed while it was in use", h.spec.Name)
	}
	h.Backend.(*ollama.Host).Close()
	h.closed++
}

// isBusy reports whether the host was removed and calls on it go on.
func (h *host) isBusy() bool {
	if h.drained == nil {
		return false
	}
	select {
	case <-h.drained:
		return false
	default:
		return true
	}
}

// breaks makes a host one that cannot be opened, in the place of the last such.
func (w *world) breaks(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken = name
}

// resolves sets what lookups of a name find.
func (w *world) resolves(name string, addresses ...string) { w.setLookup(name, addresses) }

func (w *world) setLookup(name string, result any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.addresses[name] = result
}

func (w *world) resolve(_ context.Context, name string) ([]netip.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch found := w.addresses[name].(type) {
	case error:
		return nil, found
	case []string:
		var addrs []netip.Addr
		for _, a := range found {
			addrs = append(addrs, netip.MustParseAddr(a))
		}
		return addrs, nil
	}
	return nil, errors.New("no such host")
}

// Add implements fleet.Pool.
func (w *world) Add(b backend.Backend, slots int, weight float64) (replaced <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := b.(*host)
	if old := w.hosts[h.Name()]; old != nil {
		old.drained = make(chan struct{})
		replaced = old.drained
	}
	h.slots, h.weight = slots, weight
	w.hosts[h.Name()] = h
	return replaced
}

// Resize implements fleet.Pool.
func (w *world) Resize(b backend.Backend, slots int, weight float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := b.(*host)
	if w.hosts[h.Name()] != h {
		w.t.Errorf("%s is resized and is not there", h.Name())
	}
	h.slots, h.weight = slots, weight
}

// Remove implements fleet.Pool. The host's calls end when drained is closed.
func (w *world) Remove(name string) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.hosts[name]
	if h == nil {
		w.t.Errorf("%s was removed and is not there", name)
		return nil
	}
	delete(w.hosts, name)
	w.removed = append(w.removed, name)
	h.drained = make(chan struct{})
	return h.drained
}

// Know implements fleet.Pool.
func (w *world) Know(name string, facts fleet.Facts) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hosts[name] == nil {
		w.t.Errorf("the pool is told of %s, which is not there", name)
	}
	w.news[name] = append(w.news[name], news{facts, time.Now()})
}

// has checks which hosts the pool has, once all is quiet.
func (w *world) has(want ...string) {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := slices.Sorted(maps.Keys(w.hosts)); !slices.Equal(got, want) {
		w.t.Errorf("the pool has %q, want %q", got, want)
	}
}

// set is Set, which must work.
func (w *world) set(specs ...fleet.Spec) {
	w.t.Helper()
	if err := w.Set(specs); err != nil {
		w.t.Fatal(err)
	}
}

// latest is what the pool was told last, once all is quiet.
func (w *world) latest(name string) news {
	w.t.Helper()
	all := w.told(name)
	if len(all) == 0 {
		w.t.Fatalf("the pool was told nothing of %s", name)
	}
	return all[len(all)-1]
}

func (w *world) told(name string) []news {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.news[name])
}

func spec(name string) fleet.Spec { return fleet.Spec{Name: name, URL: "http://" + name} }

func TestHostsAreInThePoolAsSoonAsTheyAreSet(t *testing.T) {
	w := newUnwatchedWorld(t, fleet.Options{})
	w.set(fleet.Spec{Name: "a", URL: "http://gpu:1234", Slots: 3, Weight: 2, APIKey: "key", CAFile: "ca.pem"})
	h := w.hosts["a"]
	if h == nil || h.slots != 3 || h.weight != 2 {
		t.Fatalf("got %+v, want a host with 3 slots and a weight of 2", h)
	}
	if want := (fleet.Spec{Name: "a", URL: "http://gpu:1234", Slots: 3, Weight: 2, APIKey: "key", CAFile: "ca.pem"}); h.spec != want || h.dial.IsValid() {
		t.Errorf("opened as %+v at %v, want %+v at no address", h.spec, h.dial, want)
	}
}

func TestHostWithOtherSlotsOrWeightIsResizedAndNotReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		w.set(spec("a"), spec("b"))
		synctest.Wait()
		a, told := w.hosts["a"], len(w.told("a"))
		other := spec("a")
		other.Slots, other.Weight = 3, 2
		w.set(other, spec("b"))
		if w.hosts["a"] != a || a.drained != nil || a.slots != 3 || a.weight != 2 {
			t.Errorf("got %+v, want the same host with 3 slots and a weight of 2", w.hosts["a"])
		}
		time.Sleep(time.Minute)
		if len(w.told("a")) <= told {
			t.Error("it is polled no more")
		}
		if w.set(spec("a"), spec("b")); a.slots != 0 || a.weight != 0 {
			t.Errorf("got %d slots and a weight of %v, want what the pool has by default", a.slots, a.weight)
		}
		other.APIKey = "new"
		if w.set(other, spec("b")); w.hosts["a"] == a || w.hosts["a"].slots != 3 {
			t.Error("with another key it was not replaced")
		}
		close(a.drained)
	})
}

func TestOnlyHostsWhoseSpecChangedAreReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		w.set(spec("kept"), spec("changed"), spec("gone"))
		kept, changed, gone := w.hosts["kept"], w.hosts["changed"], w.hosts["gone"]
		other := spec("changed")
		other.APIKey = "new"
		w.set(spec("new"), other, spec("kept"))

		w.has("changed", "kept", "new")
		if w.hosts["kept"] != kept || kept.drained != nil {
			t.Error("the host that stayed the same was replaced")
		}
		if !slices.Equal(w.removed, []string{"gone"}) {
			t.Errorf("taken from the pool were %q, and there was no such host for a moment", w.removed)
		}
		if w.hosts["changed"] == changed || w.hosts["changed"].spec != other {
			t.Error("the host that changed was not replaced")
		}
		if changed.closed+gone.closed+kept.closed != 0 {
			t.Error("a host was closed while calls went on")
		}
		close(changed.drained)
		synctest.Wait()
		if changed.closed != 1 || gone.closed != 0 {
			t.Errorf("when its calls had ended, the old host was closed %d times, another %d", changed.closed, gone.closed)
		}
	})
}

func TestSetThatFailsChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		w.breaks("broken")
		w.set(spec("a"), spec("b"))
		dns := func(url string) fleet.Spec { return fleet.Spec{Name: "d", URL: url} }
		for want, specs := range map[string][]fleet.Spec{
			"host 2 has no name":                      {spec("a"), {URL: "http://x"}},
			"two hosts are named c":                   {spec("c"), spec("c")},
			"host c: slots cannot be negative":        {{Name: "c", Slots: -1}},
			"host d: weight cannot be negative":       {{Name: "d", Weight: -1}},
			"host a@b: a name cannot contain @":       {spec("a@b")},
			"host broken: no certificate":             {spec("c"), spec("a"), spec("broken")},
			"host d: the URL must have the form":      {spec("c"), dns("dns+secret:11434")},
			"host d: the URL must have the form dns+": {dns("dns+http://u:secret%@x")},
			"host d: URL: the scheme":                 {dns("dns+ftp://secret")},
			"host d: URL: the address has a ":         {spec("c"), dns("DNS+HTTP://x?secret")},
		} {
			err := w.Set(specs)
			if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v, want it to begin with %q and tell no secret", err, want)
			}
			w.has("a", "b")
		}
		for _, h := range w.opened[2:] {
			if h.closed != 1 {
				t.Errorf("%s was opened, and closed %d times", h.spec.Name, h.closed)
			}
		}
	})
}

func TestNewNamesWhatCannotWork(t *testing.T) {
	w := &world{}
	for want, o := range map[string]fleet.Options{
		"Pool":        {Open: w.open},
		"Open":        {Pool: w},
		"LookupEvery": {Pool: w, Open: w.open, LookupEvery: -1},
		"IdleAfter":   {Pool: w, Open: w.open, IdleAfter: -1},
	} {
		if _, err := fleet.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %s", err, want)
		}
	}
}

// A host that hangs, a lookup that hangs and a call that goes on keep Watch from
// nothing, and Close closes all hosts: newUnwatchedWorld sees to that.
func TestWatchEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		w := newUnwatchedWorld(t, fleet.Options{Log: log.logger(), Resolve: func(ctx context.Context, _ string) ([]netip.Addr, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		stop := w.watch()
		w.machine("hangs").Break(backendtest.Hang)
		w.set(spec("hangs"), spec("gone"), fleet.Spec{Name: "d", URL: "dns+http://gpus"})
		synctest.Wait()
		w.set(spec("hangs"), fleet.Spec{Name: "d", URL: "dns+http://gpus"})
		synctest.Wait()
		began := time.Now()
		stop()
		if took := time.Since(began); took != 0 {
			t.Errorf("Watch returned after %v", took)
		}
		if told := w.told("hangs"); len(told) != 0 {
			t.Errorf("a poll that was broken off passed for %+v", told)
		}
		if got := log.take(); got != "" {
			t.Errorf("what was broken off was logged as trouble:\n%s", got)
		}
	})
}

func TestReadyWaitsUntilEveryHostWasAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{IdleAfter: time.Minute})
		w.machine("slow").Break(backendtest.SlowHeaders(time.Second))
		w.machine("down").Down()
		w.resolves("gpus", "10.0.0.1")
		w.machine("d@10.0.0.1").Break(backendtest.SlowHeaders(time.Second))
		w.set(spec("slow"), spec("down"), fleet.Spec{Name: "d", URL: "dns+http://gpus"})

		impatient, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if err := w.Ready(impatient); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("before they had answered: got %v", err)
		}
		if err := w.Ready(t.Context()); err != nil {
			t.Error(err)
		}
		for _, name := range []string{"slow", "down", "d@10.0.0.1"} {
			if len(w.told(name)) == 0 {
				t.Errorf("ready, and the pool knows nothing of %s", name)
			}
		}
		w.set(spec("slow"), spec("new"))
		if err := w.Ready(t.Context()); err != nil || len(w.told("new")) == 0 {
			t.Errorf("after a change: got %v, and %d news of the new host", err, len(w.told("new")))
		}
	})
}

func TestReadyWaitsForLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{Resolve: func(context.Context, string) ([]netip.Addr, error) {
			time.Sleep(3 * time.Second)
			return []netip.Addr{netip.MustParseAddr("10.0.0.1")}, nil
		}})
		w.set(gpus)
		if err := w.Ready(t.Context()); err != nil || len(w.told("gpu@10.0.0.1")) == 0 {
			t.Errorf("ready with %v, and %d news of the host", err, len(w.told("gpu@10.0.0.1")))
		}
	})
}
