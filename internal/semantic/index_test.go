package semantic_test

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ollama-mcp/internal/semantic"
)

type (
	index = semantic.Index[string]
	entry = semantic.Entry[string]
)

var here = semantic.Namespace{Tenant: "a", Model: "llama3.2:1b", Rest: "x"}

func newIndex(t testing.TB, o semantic.Options) *index {
	t.Helper()
	x, err := semantic.New[string](o)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func add(t testing.TB, x *index, ns semantic.Namespace, key string, vector ...float32) {
	t.Helper()
	if err := x.Add(ns, vector, entry{Key: key, Question: "question " + key}); err != nil {
		t.Fatal(err)
	}
}

// keys are what is found near a vector.
func keys(x *index, ns semantic.Namespace, vector ...float32) (out []string) {
	for _, m := range x.Nearest(ns, vector, 10) {
		out = append(out, m.Key)
	}
	return out
}

func TestNearestComesFirstWithItsCosine(t *testing.T) {
	x := newIndex(t, semantic.Options{})
	add(t, x, here, "east", 5, 0)
	add(t, x, here, "north", 0, 0.1)
	add(t, x, here, "north-east", 3, 3)
	got := x.Nearest(here, []float32{2, 1}, 2)
	if len(got) != 2 || got[0].Key != "north-east" || got[1].Key != "east" {
		t.Fatalf("got %+v, want north-east and east", got)
	}
	if want := 3 / math.Sqrt(10); math.Abs(got[0].Similarity-want) > 1e-6 {
		t.Errorf("north-east: similarity %v, want %v", got[0].Similarity, want)
	}
	if got[0].Question != "question north-east" {
		t.Errorf("question %q, want the one added", got[0].Question)
	}
}

func TestNewerComesFirstAmongEquals(t *testing.T) {
	x, now := newIndex(t, semantic.Options{}), time.Now()
	for key, age := range map[string]time.Duration{"middle": time.Minute, "oldest": time.Hour, "newest": time.Second} {
		if err := x.Add(here, []float32{1, 1}, entry{Key: key, Stored: now.Add(-age)}); err != nil {
			t.Fatal(err)
		}
	}
	if got := keys(x, here, 1, 1); !slices.Equal(got, []string{"newest", "middle", "oldest"}) {
		t.Errorf("got %v, want the newer first", got)
	}
}

func TestMatchNeverComesFromAnotherNamespace(t *testing.T) {
	x := newIndex(t, semantic.Options{})
	add(t, x, here, "mine", 1, 0)
	for _, other := range []semantic.Namespace{
		{Tenant: "b", Model: here.Model, Rest: here.Rest},
		{Tenant: here.Tenant, Model: "llama3.2:3b", Rest: here.Rest},
		{Tenant: here.Tenant, Model: here.Model, Rest: "y"},
	} {
		if got := keys(x, other, 1, 0); got != nil {
			t.Errorf("%+v: got %v, want nothing", other, got)
		}
	}
}

func TestVectorsThatCannotBeComparedAreRefused(t *testing.T) {
	x := newIndex(t, semantic.Options{Bytes: 8 << 10})
	add(t, x, here, "two dimensions", 1, 0)
	inf := float32(math.Inf(1))
	for name, vector := range map[string][]float32{
		"none": nil, "zero": {0, 0}, "not a number": {1, float32(math.NaN())}, "infinite": {inf, 1},
		"three dimensions": {1, 0, 0}, "too large": make([]float32, 4000),
	} {
		if name == "too large" {
			vector[0] = 1
		}
		if err := x.Add(here, vector, entry{Key: name}); err == nil {
			t.Errorf("%s: was added", name)
		}
		if got := keys(x, here, vector...); got != nil {
			t.Errorf("%s: is near %v", name, got)
		}
	}
	if n, _ := x.Size(); n != 1 {
		t.Errorf("%d entries, want the first alone", n)
	}
}

func TestDimensionIsFreeAgainOnceANamespaceIsEmpty(t *testing.T) {
	x := newIndex(t, semantic.Options{})
	add(t, x, here, "old", 1, 0)
	x.Delete("old")
	add(t, x, here, "new", 1, 0, 0)
	if got := keys(x, here, 1, 0, 0); !slices.Equal(got, []string{"new"}) {
		t.Errorf("got %v, want new", got)
	}
}

func TestEntryTakesThePlaceOfTheOneWithItsKey(t *testing.T) {
	x := newIndex(t, semantic.Options{})
	elsewhere := semantic.Namespace{Tenant: "b"}
	add(t, x, here, "k", 1, 0)
	add(t, x, elsewhere, "k", 0, 1, 0)
	if got := keys(x, here, 1, 0); got != nil {
		t.Errorf("in its old place: got %v, want nothing", got)
	}
	if got := keys(x, elsewhere, 0, 1, 0); !slices.Equal(got, []string{"k"}) {
		t.Errorf("in its new place: got %v, want k", got)
	}
}

func TestOldestMakesRoom(t *testing.T) {
	x := newIndex(t, semantic.Options{Entries: 3})
	for i := range 5 {
		add(t, x, here, fmt.Sprint(i), 1, float32(i))
	}
	got := keys(x, here, 1, 0)
	slices.Sort(got)
	if !slices.Equal(got, []string{"2", "3", "4"}) {
		t.Errorf("got %v, want the three newest", got)
	}
}

func TestBytesStayWithinTheBound(t *testing.T) {
	const bound = 64 << 10
	x := newIndex(t, semantic.Options{Bytes: bound})
	for i := range 200 {
		ns := semantic.Namespace{Tenant: fmt.Sprint(i % 20)}
		add(t, x, ns, fmt.Sprint(i), slices.Repeat([]float32{float32(i + 1)}, 100+i%20)...)
		if _, bytes := x.Size(); bytes > bound {
			t.Fatalf("after %d: %d bytes, want at most %d", i, bytes, bound)
		}
	}
	if n, _ := x.Size(); n < 20 {
		t.Errorf("%d entries are left, want at least 20", n)
	}
	x.Clear(func(semantic.Namespace) bool { return true })
	if n, bytes := x.Size(); n != 0 || bytes != 0 {
		t.Errorf("when cleared: %d entries and %d bytes, want none", n, bytes)
	}
}

func TestBytesAreAboutWhatIsTaken(t *testing.T) {
	for _, c := range []struct{ entries, namespaces int }{{3000, 1}, {3000, 3000}} {
		before := heap()
		x := newIndex(t, semantic.Options{})
		vector := make([]float32, 256)
		for i := range c.entries {
			vector[i%256]++
			question := strings.Repeat("x", 100)
			ns := semantic.Namespace{Rest: fmt.Sprint(i % c.namespaces)}
			if err := x.Add(ns, vector, entry{Key: fmt.Sprint(i), Question: question}); err != nil {
				t.Fatal(err)
			}
		}
		taken := heap() - before
		if _, bytes := x.Size(); float64(bytes) < 0.8*float64(taken) || float64(bytes) > 1.5*float64(taken) {
			t.Errorf("%d entries in %d namespaces: %d bytes reckoned, %d taken", c.entries, c.namespaces, bytes, taken)
		}
		runtime.KeepAlive(x)
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestEntryServesForItsTTLAfterTheAnswerWasMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newIndex(t, semantic.Options{TTL: time.Minute})
		if err := x.Add(here, []float32{1, 0}, entry{Key: "made before", Stored: time.Now().Add(-30 * time.Second)}); err != nil {
			t.Fatal(err)
		}
		add(t, x, here, "made now", 0, 1)
		time.Sleep(30*time.Second - time.Nanosecond)
		if got := keys(x, here, 2, 1); !slices.Equal(got, []string{"made before", "made now"}) {
			t.Errorf("after half a minute, almost: got %v, want both", got)
		}
		time.Sleep(time.Nanosecond)
		if got := keys(x, here, 2, 1); !slices.Equal(got, []string{"made now"}) {
			t.Errorf("after half a minute: got %v, want only the one made now", got)
		}
		time.Sleep(30 * time.Second)
		add(t, x, here, "later", 1, 0)
		if n, _ := x.Size(); n != 1 {
			t.Errorf("%d entries after a minute, want the expired to be gone when one is added", n)
		}
	})
}

func TestClearRemovesWhatMatchesAndNothingElse(t *testing.T) {
	x := newIndex(t, semantic.Options{})
	other := semantic.Namespace{Tenant: "b", Model: here.Model}
	for i := range 100 {
		add(t, x, here, fmt.Sprint("a", i), 1, float32(i))
		add(t, x, other, fmt.Sprint("b", i), 1, float32(i))
	}
	if n := x.Clear(func(ns semantic.Namespace) bool { return ns.Tenant == "b" }); n != 100 {
		t.Errorf("%d removed, want 100", n)
	}
	if a, b := len(keys(x, here, 1, 1)), len(keys(x, other, 1, 1)); a != 10 || b != 0 {
		t.Errorf("then %d and %d matches of 10, want 10 and 0", a, b)
	}
}

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	for _, o := range []semantic.Options{{Entries: -1}, {Bytes: -1}, {TTL: -1}} {
		if _, err := semantic.New[string](o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

// TestIndexHoldsWhatAMapWould adds and deletes around the end of the first 1024
// rows, which is where another array of them begins.
func TestIndexHoldsWhatAMapWould(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, err := semantic.New[string](semantic.Options{})
		if err != nil {
			t.Fatal(err)
		}
		want := make(map[string][]float32)
		next := 0
		insert := func(n int) {
			for ; n > 0; n-- {
				key, angle := fmt.Sprint(next), 0.003*float64(next)
				want[key] = []float32{float32(math.Sin(angle)), float32(math.Cos(angle)), 0.5}
				if err := x.Add(here, want[key], entry{Key: key}); err != nil {
					t.Fatal(err)
				}
				next++
			}
		}
		remove := func(key string) {
			if _, ok := want[key]; x.Delete(key) != ok {
				t.Fatalf("delete %s: got %v, want %v", key, !ok, ok)
			}
			delete(want, key)
		}
		insert(1010)
		t.Repeat(map[string]func(*rapid.T){
			"add":    func(t *rapid.T) { insert(rapid.IntRange(1, 10).Draw(t, "n")) },
			"delete": func(t *rapid.T) { remove(fmt.Sprint(rapid.IntRange(0, next).Draw(t, "key"))) },
			"": func(t *rapid.T) {
				if n, _ := x.Size(); n != len(want) {
					t.Fatalf("%d entries, want %d", n, len(want))
				}
			},
		})
		for key := range want {
			if len(want) > 50 { // few enough to be all compared exactly
				remove(key)
			}
		}
		for key, vector := range want {
			if got := x.Nearest(here, vector, 1); len(got) != 1 || got[0].Key != key {
				t.Fatalf("near %s: got %v", key, got)
			}
		}
	})
}

func TestLookUpsSeeWholeEntriesWhileOthersAddAndDelete(t *testing.T) {
	x := newIndex(t, semantic.Options{Entries: 1500})
	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	for w := range 2 {
		writers.Go(func() {
			for i := range 2000 {
				key := fmt.Sprint(w, "-", i)
				angle := float64(i)
				if err := x.Add(here, []float32{float32(math.Cos(angle)), float32(math.Sin(angle))}, entry{Key: key, Question: key}); err != nil {
					t.Error(err)
				}
				if i%3 == 0 {
					x.Delete(fmt.Sprint(w, "-", i/2))
				}
			}
		})
	}
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				for _, m := range x.Nearest(here, []float32{1, 1}, 5) {
					if m.Key != m.Question || m.Similarity > 1 {
						t.Errorf("got %+v, want a key like its question, and a cosine", m)
						return
					}
				}
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	if n, _ := x.Size(); n > 1500 {
		t.Errorf("%d entries, want at most 1500", n)
	}
}
