package fleet_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/fleet"
)

// visits are the requests that came to a machine.
type visits struct {
	mu    sync.Mutex
	times map[string][]time.Time // by path
}

// observe counts the requests to a machine. fault may spoil them.
func observe(m *backendtest.Host, fault func(path string) backendtest.Fault) *visits {
	v := &visits{times: map[string][]time.Time{}}
	m.Break(func(rw http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
		v.mu.Lock()
		v.times[r.URL.Path] = append(v.times[r.URL.Path], time.Now())
		v.mu.Unlock()
		if f := fault(r.URL.Path); f != nil {
			f(rw, r, serve)
			return
		}
		serve(rw, r)
	})
	return v
}

func noFault(string) backendtest.Fault { return nil }

// to is when requests came to a path.
func (v *visits) to(path string) []time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.times[path])
}

// total is how many requests came.
func (v *visits) total() (n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, times := range v.times {
		n += len(times)
	}
	return n
}

func TestPoolLearnsWhatAHostHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		m := w.machine("a").Version("0.99.0").Install(backendtest.Model{Name: "qwen3:8b"})
		w.set(spec("a"))
		got := w.latest("a")
		if !got.Up || got.Err != nil || got.Version != "0.99.0" || got.Loaded == nil || len(got.Loaded) != 0 {
			t.Errorf("got %+v", got)
		}
		if want := []string{"qwen3:8b", "tiny:latest"}; !slices.Equal(got.Installed, want) {
			t.Errorf("installed %q, want %q", got.Installed, want)
		}

		req := &backend.GenerateRequest{Model: "qwen3:8b", Prompt: "hello", Options: map[string]any{"num_ctx": 8192}}
		if _, err := w.hosts["a"].Generate(t.Context(), req, nil); err != nil {
			t.Fatal(err)
		}
		expires := time.Now().Add(5 * time.Minute)
		m.Install(backendtest.Model{Name: "new"})
		time.Sleep(7 * time.Second)
		want := fleet.Loaded{Model: "qwen3:8b", NumCtx: 8192, VRAM: 1, Expires: expires}
		loaded := w.latest("a").Loaded
		if len(loaded) != 1 || !loaded[0].Expires.Equal(expires) {
			t.Fatalf("loaded %+v, want %+v", loaded, want)
		}
		loaded[0].Expires = expires // the same instant, written in another way
		if loaded[0] != want {
			t.Errorf("loaded %+v, want %+v", loaded[0], want)
		}
		time.Sleep(30 * time.Second)
		told := w.told("a")
		if !slices.ContainsFunc(told, func(n news) bool { return slices.Contains(n.Installed, "new:latest") }) {
			t.Errorf("half a minute later nothing is known of the new model: %+v", told)
		}
	})
}

func TestShareInMemoryOfGPUsIsFromZeroToOne(t *testing.T) {
	for _, c := range []struct {
		size, vram int64
		want       float64
	}{{100, 100, 1}, {100, 25, 0.25}, {100, 0, 0}, {0, 0, 0}, {100, 200, 1}, {100, -5, 0}, {-5, 0, 0}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, fleet.Options{})
			body := fmt.Sprintf(`{"models":[{"model":"x","size":%d,"size_vram":%d}]}`, c.size, c.vram)
			observe(w.machine("a"), func(path string) backendtest.Fault {
				if path == "/api/ps" {
					return backendtest.Respond(http.StatusOK, "application/json", body)
				}
				return nil
			})
			w.set(spec("a"))
			got := w.latest("a").Loaded
			if len(got) != 1 || got[0].VRAM != c.want || got[0].Model != "x:latest" {
				t.Errorf("%d of %d bytes: got %+v, want a share of %v", c.vram, c.size, got, c.want)
			}
		})
	}
}

func TestHostThatIsDownIsAskedLessAndLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		w.set(spec("a"))
		synctest.Wait()
		w.machine("a").Down()
		time.Sleep(5 * time.Minute)
		all := w.told("a")
		down := all[slices.IndexFunc(all, func(n news) bool { return !n.Up }):]
		for i, n := range down {
			if n.Up || !errors.Is(n.Err, backend.Transport) || n.Installed != nil || n.Loaded != nil {
				t.Errorf("while it is down: got %+v", n)
			}
			if i == 0 {
				continue
			}
			want := []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second, 30 * time.Second}[min(i-1, 3)]
			if pause := n.at.Sub(down[i-1].at); pause < want*4/5 || pause > want*6/5 {
				t.Errorf("poll %d came after %v, want about %v", i, pause, want)
			}
		}
		w.machine("a").Version("0.99.0").Mend()
		time.Sleep(36 * time.Second)
		if got := w.latest("a"); !got.Up || got.Err != nil || got.Version != "0.99.0" {
			t.Errorf("when it was back: got %+v", got)
		}
	})
}

func TestHostsAreAskedAboutEveryFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		v := observe(w.machine("a"), noFault)
		w.set(spec("a"))
		time.Sleep(time.Hour)
		times := v.to("/api/ps")
		for i := 2; i < len(times); i++ { // the first pause may be any up to five seconds
			if pause := times[i].Sub(times[i-1]); pause < 4*time.Second || pause > 6*time.Second {
				t.Fatalf("poll %d came after %v", i, pause)
			}
		}
		if first := times[1].Sub(times[0]); first > 5*time.Second {
			t.Errorf("the second poll came after %v", first)
		}
		if n := len(times); n < 680 || n > 760 {
			t.Errorf("%d polls in an hour, want about 720", n)
		}
		if n := len(v.to("/api/tags")); n < 100 || n > 121 {
			t.Errorf("%d questions in an hour for what is installed, want about 109", n)
		}
	})
}

// polledAt counts the polls of hosts by when they began, without the first two of each host.
func (w *world) polledAt(specs []fleet.Spec, began time.Time) map[time.Duration]int {
	times := make(map[time.Duration]int)
	for _, s := range specs {
		for _, poll := range w.told(s.Name)[2:] {
			times[poll.at.Sub(began)]++
		}
	}
	return times
}

func TestHostsThatCameTogetherAreNotAskedTogetherForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		var specs []fleet.Spec
		for i := range 20 {
			specs = append(specs, spec(fmt.Sprintf("host-%d", i)))
		}
		began := time.Now()
		w.set(specs...)
		time.Sleep(time.Minute)
		early := func(s fleet.Spec) bool { return w.told(s.Name)[1].at.Sub(began) < 4*time.Second }
		if !slices.ContainsFunc(specs, early) {
			t.Error("all second polls come late")
		}
		for at, n := range w.polledAt(specs, began) {
			if n > 15 {
				t.Errorf("%d of 20 hosts are polled after %v", n, at)
			}
		}
	})
}

// To wake up for each of many hosts would cost more than to poll it.
func TestHostsThatAreDueWithinASecondArePolledTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		var specs []fleet.Spec
		for i := range 20 {
			specs = append(specs, spec(fmt.Sprintf("host-%d", i)))
			w.set(specs...)
			time.Sleep(130 * time.Millisecond)
		}
		began := time.Now()
		time.Sleep(time.Minute)
		if times := w.polledAt(specs, began); len(times) > 61 {
			t.Errorf("polls began at %d times within a minute", len(times))
		}
	})
}

// Their polls would come so close that a server without calls would never sleep.
func TestPollsOfManyHostsAreFurtherApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		var specs []fleet.Spec
		for i := range 100 {
			specs = append(specs, spec(fmt.Sprintf("host-%d", i)))
		}
		w.set(specs...)
		began := time.Now()
		time.Sleep(10 * time.Minute)
		times := w.polledAt(specs, began)
		if len(times) > 10*60*2/5 {
			t.Errorf("polls began at %d times within ten minutes", len(times))
		}
		for at, n := range times {
			if n > 50 {
				t.Errorf("%d of 100 hosts are polled after %v", n, at)
			}
		}
	})
}

func TestManyHostsArePolledLessOften(t *testing.T) {
	for hosts, polls := range map[int]int{1: 120, 50: 120, 100: 60} { // each, in ten minutes
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, fleet.Options{})
			var specs []fleet.Spec
			for i := range hosts {
				specs = append(specs, spec(fmt.Sprintf("host-%d", i)))
			}
			w.set(specs...)
			time.Sleep(10 * time.Minute)
			if n := len(w.told("host-0")); n < polls-polls/10 || n > polls+polls/10 {
				t.Errorf("of %d hosts one was polled %d times, want about %d", hosts, n, polls)
			}
			lists := 0
			for _, poll := range w.told("host-0") {
				if poll.Installed != nil {
					lists++
				}
			}
			if lists < polls/9 || lists > polls/5 {
				t.Errorf("of %d hosts one was asked %d times in %d polls what it has installed, want about every sixth", hosts, lists, polls)
			}
		})
	}
}

func TestHostThatHasGoneIsAskedNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		v := observe(w.machine("a"), noFault)
		w.set(spec("a"), spec("b"))
		synctest.Wait()
		w.set(spec("b"))
		before := v.total()
		time.Sleep(time.Hour)
		if n := v.total() - before; n != 0 {
			t.Errorf("%d requests while its calls went on", n)
		}
	})
}

func TestHostThatHangsDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		w.machine("hangs").Break(backendtest.Hang)
		w.set(spec("hangs"), spec("a"))
		time.Sleep(time.Minute)
		told := w.told("a")
		for i := 1; i < len(told); i++ {
			if pause := told[i].at.Sub(told[i-1].at); pause > 6*time.Second {
				t.Errorf("the other host was not asked for %v", pause)
			}
		}
		if len(told) < 10 {
			t.Errorf("the other host was asked %d times in a minute", len(told))
		}
		got := w.latest("hangs")
		if got.Up || !errors.Is(got.Err, backend.Transport) || got.Err.Error() != "hangs: unreachable: no answer within 5s" {
			t.Errorf("got %+v", got)
		}
	})
}

// Only the version says whether a host is up: the rest may take long.
func TestHostThatDoesNotTellEverythingIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		observe(w.machine("lists"), func(path string) backendtest.Fault {
			if path == "/api/tags" {
				return backendtest.Refuse(http.StatusInternalServerError, "too many models")
			}
			return nil
		})
		observe(w.machine("loads"), func(path string) backendtest.Fault {
			if path == "/api/ps" {
				return backendtest.Hang
			}
			return nil
		})
		w.set(spec("lists"), spec("loads"))
		time.Sleep(28 * time.Second)
		for i, got := range w.told("lists") {
			wasAsked := i == 0
			if !got.Up || got.Version == "" || got.Installed != nil || errors.Is(got.Err, backend.Server) != wasAsked || got.Loaded == nil {
				t.Errorf("poll %d of a host that does not list its models: got %+v", i, got)
			}
		}
		for i, got := range w.told("loads") {
			wasAsked := i == 0
			if !got.Up || got.Version == "" || !errors.Is(got.Err, backend.Transport) || got.Loaded != nil || (got.Installed != nil) != wasAsked {
				t.Errorf("poll %d of a host that loads a model: got %+v", i, got)
			}
		}
		mended := time.Now()
		w.machine("lists").Mend()
		w.machine("loads").Mend()
		time.Sleep(45 * time.Second)
		for _, name := range []string{"lists", "loads"} {
			lists := func(n news) bool { return n.at.After(mended) && len(n.Installed) == 1 }
			if last := w.latest(name); last.Err != nil || last.Loaded == nil || !slices.ContainsFunc(w.told(name), lists) {
				t.Errorf("%s: when it was well again: got %+v", name, last)
			}
		}
	})
}

func TestNothingIsToldOfAHostThatHasGone(t *testing.T) {
	for range 50 { // the poll may end just before or after it is told to
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, fleet.Options{})
			observe(w.machine("a"), func(path string) backendtest.Fault {
				if path == "/api/ps" {
					w.set(spec("b"))
				}
				return nil
			})
			w.set(spec("a"))
			w.has("b") // and Know would complain
			if told := w.told("a"); len(told) != 0 {
				t.Errorf("told of it: %+v", told)
			}
		})
	}
}

func TestIdleFleetLeavesItsHostsInPeace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{IdleAfter: 5 * time.Minute})
		v := observe(w.machine("a"), noFault)
		w.set(spec("a"))
		time.Sleep(time.Hour)
		if n := v.total(); n != 0 {
			t.Errorf("%d requests before the first call", n)
		}
		for range 2 {
			w.Touch()
			synctest.Wait()
			before := len(v.to("/api/ps"))
			if before == 0 || w.latest("a").at != time.Now() {
				t.Error("the host was not asked when a call came")
			}
			time.Sleep(5 * time.Minute)
			polls := len(v.to("/api/ps")) - before
			if polls < 49 || polls > 76 {
				t.Errorf("asked %d times in the five minutes after a call, want about 60", polls)
			}
			total := v.total()
			time.Sleep(time.Hour)
			if n := v.total() - total; n != 0 {
				t.Errorf("%d requests while there were no calls", n)
			}
		}
	})
}

func TestIdleFleetLooksUpOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{IdleAfter: 5 * time.Minute})
		w.resolves("gpus.svc", "10.0.0.1")
		w.set(gpus)
		w.has("gpu@10.0.0.1")
		w.resolves("gpus.svc", "10.0.0.2")
		time.Sleep(time.Hour)
		w.has("gpu@10.0.0.1")
		w.Touch()
		w.has("gpu@10.0.0.2")
	})
}

func BenchmarkTouch(b *testing.B) {
	f, err := fleet.New(fleet.Options{Pool: &world{}, Open: (&world{}).open, IdleAfter: time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		f.Touch()
	}
}

func TestAnotherModelOfTheSameNameHasAnotherDigest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		a := w.machine("a").Install(backendtest.Model{Name: "qwen3:8b"})
		w.machine("b")
		w.set(spec("a"), spec("b"))
		w.latest("a")
		synctest.Wait()
		first := w.Digest(t.Context(), "qwen3:8b")
		if first == "" || first != w.Digest(t.Context(), "qwen3:8b") || w.Digest(t.Context(), "unheard:of") != "" {
			t.Fatalf("got %q, and %q for a model that is nowhere", first, w.Digest(t.Context(), "unheard:of"))
		}
		a.Install(backendtest.Model{Name: "qwen3:8b", Size: 7e9})
		time.Sleep(time.Minute)
		second := w.Digest(t.Context(), "qwen3:8b")
		if second == first {
			t.Error("a model that was pulled anew has the digest of the old one")
		}
	})
}

func TestModelIsListedAsItsOwnHostHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		w.machine("a").Install(backendtest.Model{Name: "m", Size: 1})
		w.machine("b").Install(backendtest.Model{Name: "m", Size: 2})
		w.machine("c")
		w.set(spec("a"), spec("b"), spec("c"))
		w.latest("a")
		synctest.Wait()
		for host, size := range map[string]int64{"a": 1, "b": 2} {
			if m, ok := w.Listed(host, "m:latest"); !ok || m.Size != size || m.Digest == "" {
				t.Errorf("%s: got %+v, %v", host, m, ok)
			}
		}
		for _, nowhere := range [][2]string{{"c", "m:latest"}, {"d", "m:latest"}, {"a", "unheard:of"}} {
			if m, ok := w.Listed(nowhere[0], nowhere[1]); ok {
				t.Errorf("%v: got %+v", nowhere, m)
			}
		}
	})
}

func TestPoolIsToldWhichModelsTheCloudRunsAndWhichWereReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		w.machine("a").Install(
			backendtest.Model{Name: "mine", Remote: "https://ollama.com:443"}, backendtest.Model{Name: "own"}, backendtest.Model{Name: "big:120b-cloud"})
		w.set(spec("a"))
		synctest.Wait()
		w.machine("a").Install(backendtest.Model{Name: "mine"}, backendtest.Model{Name: "new", Remote: "https://ollama.com:443"})
		time.Sleep(time.Minute)
		w.mu.Lock()
		defer w.mu.Unlock()
		var told []string
		for _, n := range w.news["a"] {
			if n.Installed != nil {
				told = append(told, fmt.Sprint(n.Cloud, n.Replaced))
			}
		}
		want := []string{"[big:120b-cloud mine:latest] []", "[big:120b-cloud new:latest] [mine:latest]"}
		if len(told) < 2 || !slices.Equal(told[:2], want) {
			t.Errorf("got %q, want %q first", told, want)
		}
	})
}

func TestCloudModelsAndLocalNamesNeedNoListing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		w.set(spec("a"))
		synctest.Wait()
		for model, want := range map[string]bool{
			"gpt-oss:cloud": true, "gpt-oss:120b-cloud": true, "gpt-oss:120b:cloud": true, "tiny:local": true,
			"gpt-oss:120b": false, "other:local": false,
		} {
			if got := w.MayHave(model, ""); got != want {
				t.Errorf("%s: got %v, want %v", model, got, want)
			}
		}
	})
}

func TestDefaultsAreThoseOfTheVersionsThatHaveTheModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		a := w.machine("a").Install(backendtest.Model{Name: "both"}, backendtest.Model{Name: "qwen3:8b"})
		w.machine("b").Install(backendtest.Model{Name: "both"}).Version("0.34.0")
		w.set(spec("a"), spec("b"))
		w.latest("a")
		w.latest("b")
		synctest.Wait()
		if own, both := w.Defaults("qwen3:8b"), w.Defaults("both:latest"); own != "" || both != ", repeat_penalty 1.0" {
			t.Errorf("got %q, and %q of two versions", own, both)
		}
		a.Version("0.32.10")
		time.Sleep(10 * time.Second)
		if own, both := w.Defaults("qwen3:8b"), w.Defaults("both:latest"); own != "repeat_penalty 1.0" || both != own {
			t.Errorf("after an update: %q, and %q of two versions with the same defaults", own, both)
		}
	})
}
