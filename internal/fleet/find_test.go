package fleet_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/fleet"
)

// newModel is pulled while the fleet goes on.
var newModel = backendtest.Model{Name: "new:1b"}

// slowly makes a host take a moment for each list of its models, so that calls meet.
func slowly(path string) backendtest.Fault {
	if path == "/api/tags" {
		return backendtest.SlowHeaders(100 * time.Millisecond)
	}
	return nil
}

// hangsListing makes a host hang when it is asked for its models.
func hangsListing(path string) backendtest.Fault {
	if path == "/api/tags" {
		return backendtest.Hang
	}
	return nil
}

func TestCallsAtOnceForAModelJustPulledShareOneListOfEachHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		w.set(spec("a"), spec("b"))
		synctest.Wait()
		w.machine("b").Install(newModel)
		a, b := observe(w.machine("a"), slowly), observe(w.machine("b"), slowly)
		if w.MayHave("new:1b", "") {
			t.Fatal("the model is known before a host was asked for it")
		}
		began := time.Now()
		var calls sync.WaitGroup
		for range 20 {
			calls.Go(func() {
				if !w.Find(t.Context(), "new:1b", "") {
					t.Error("a call did not find the model")
				}
			})
		}
		calls.Wait()
		if took := time.Since(began); took != 100*time.Millisecond {
			t.Errorf("it took %v, want the time of one list", took)
		}
		if n := len(a.to("/api/tags")) + len(b.to("/api/tags")); n != 2 {
			t.Errorf("20 calls asked the two hosts for %d lists, want 2", n)
		}
		if !w.MayHave("new:1b", "") || !w.MayHave("new:1b", "b") || w.MayHave("new:1b", "a") {
			t.Error("afterwards the model is not known to be on b alone")
		}
	})
}

func TestHostThatHangsHoldsNoCallForLongerThanTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		w.set(spec("a"), spec("hangs"))
		synctest.Wait()
		w.machine("a").Install(newModel)
		observe(w.machine("hangs"), hangsListing)
		for _, c := range []struct {
			model string
			found bool
			took  time.Duration
		}{{"new:1b", true, 0}, {"unheard:of", false, 2 * time.Second}} {
			began := time.Now()
			found := w.Find(t.Context(), c.model, "")
			if took := time.Since(began); found != c.found || took != c.took {
				t.Errorf("%s: found %v after %v, want %v after %v", c.model, found, took, c.found, c.took)
			}
			time.Sleep(3 * time.Second)
		}
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		began := time.Now()
		if w.Find(ctx, "unheard:of", "") || time.Since(began) != time.Second {
			t.Errorf("a caller who leaves after a second is held for %v", time.Since(began))
		}
	})
}

func TestCallsForAModelThatNoHostHasAskEachHostOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		v := observe(w.machine("a"), noFault)
		w.machine("down").Down()
		w.set(spec("a"), spec("down"))
		time.Sleep(time.Minute)
		before, began := len(v.to("/api/tags")), time.Now()
		for range 100 {
			if w.Find(t.Context(), "unheard:of", "") {
				t.Error("a model that no host has was found")
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := len(v.to("/api/tags")) - before; n < 9 || n > 12 {
			t.Errorf("100 calls in 10 s asked the host for %d lists, want about 10", n)
		}
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("the host that is down held calls: they took %v", took)
		}
	})
}

func TestFindLooksAtTheNamedHostAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		w.set(spec("a"), spec("b"))
		synctest.Wait()
		v := observe(w.machine("a"), noFault)
		w.machine("a").Install(newModel)
		if w.Find(t.Context(), "new:1b", "b") || w.Find(t.Context(), "new:1b", "nowhere") || len(v.to("/api/tags")) != 0 {
			t.Error("a call that names a host had another asked")
		}
		if !w.Find(t.Context(), "new:1b", "a") {
			t.Error("the model was not found on the host that has it")
		}
	})
}

// A model that has been deleted is not found because an old list has it.
func TestFindTrustsNoOldList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		w.machine("a").Install(newModel)
		w.set(spec("a"))
		synctest.Wait()
		w.machine("a").Remove("new:1b")
		if !w.MayHave("new:1b", "") || w.Find(t.Context(), "new:1b", "") || w.MayHave("new:1b", "") {
			t.Error("the deleted model is still known")
		}
	})
}

func TestOlderListDoesNotReplaceANewerOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		late := make(chan struct{})
		lists := 0
		w.machine("a").Break(func(rw http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
			if r.URL.Path == "/api/tags" {
				if lists++; lists == 2 { // of a poll, and arrives after the next
					close(late)
					time.Sleep(3 * time.Second)
					backendtest.Respond(http.StatusOK, "application/json", `{"models":[]}`)(rw, r, serve)
					return
				}
			}
			serve(rw, r)
		})
		w.set(spec("a"))
		<-late
		w.machine("a").Install(newModel)
		if !w.Find(t.Context(), "new:1b", "") {
			t.Fatal("the model was not found")
		}
		time.Sleep(4 * time.Second)
		if !w.MayHave("new:1b", "") {
			t.Error("the list of the poll has replaced the newer one")
		}
		for _, n := range w.told("a") {
			if n.Installed != nil && len(n.Installed) == 0 {
				t.Errorf("the pool was told of the old list: %+v", n)
			}
		}
	})
}

// blocked is a log whose reader reads nothing.
type blocked struct {
	slog.Handler
	entered chan struct{} // gets a value when a line is being written
	release chan struct{} // lets lines be written once it is closed
}

func (b *blocked) Handle(context.Context, slog.Record) error {
	select {
	case b.entered <- struct{}{}:
	default:
	}
	<-b.release
	return nil
}

func (b *blocked) WithAttrs([]slog.Attr) slog.Handler { return b }

func TestLogThatNobodyReadsStallsNoCall(t *testing.T) {
	log := &blocked{Handler: slog.DiscardHandler, entered: make(chan struct{}, 1), release: make(chan struct{})}
	log.Handler = slog.NewTextHandler(nil, nil) // enabled
	w := newUnwatchedWorld(t, fleet.Options{Log: slog.New(log), Resolve: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("10.0.0.1")}, nil
	}})
	w.watch()
	defer close(log.release)
	w.set(gpus, spec("a"))
	<-log.entered // "host found" is being written
	mustReturn(t, func() {
		if err := w.Ready(t.Context()); err != nil {
			t.Error(err)
		}
		w.Find(t.Context(), "new:1b", "")
		w.set(spec("a"))
		if w.Digest(t.Context(), "tiny:latest") == "" {
			t.Error("nothing is known of the host")
		}
	})
}

// mustReturn runs a function, which has minutes to return: it takes them only if it fails.
func mustReturn(t *testing.T, f func()) {
	t.Helper()
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		f()
	}()
	select {
	case <-returned:
	case <-time.After(5 * time.Minute):
		t.Fatal("it does not return")
	}
}

// slowPool takes its time for news.
type slowPool struct {
	fleet.Pool
	entered, release chan struct{}
}

func (p *slowPool) Know(name string, facts fleet.Facts) {
	p.entered <- struct{}{}
	<-p.release
	p.Pool.Know(name, facts)
}

func TestCallsDoNotWaitUntilThePoolHasTakenInTheNews(t *testing.T) {
	w := newUnwatchedWorld(t, fleet.Options{})
	p := &slowPool{w, make(chan struct{}, 100), make(chan struct{})}
	var err error
	if w.Fleet, err = fleet.New(fleet.Options{Pool: p, Open: w.open}); err != nil {
		t.Fatal(err)
	}
	w.watch()
	w.set(spec("a"))
	<-p.entered
	mustReturn(t, func() {
		w.Touch()
		w.MayHave("tiny:latest", "")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		w.Digest(ctx, "tiny:latest")
		w.Find(ctx, "tiny:latest", "")
	})
	close(p.release)
}
