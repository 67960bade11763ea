package share_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"ollama-mcp/internal/share"
)

func TestCallersGetEqualSharesAndLeaveOneForTheNext(t *testing.T) {
	for callers := range 9 {
		l := share.New(2520)
		names := make([]string, callers)
		for i := range names {
			names[i] = fmt.Sprint("caller ", i)
		}
		got := make(map[string]int)
		for took := true; took; { // in turns, as callers do whose work comes and goes
			took = false
			for _, name := range names {
				if l.Take(name, 1) == nil {
					got[name]++
					took = true
				}
			}
		}
		for _, name := range names {
			if want := 2520 / (callers + 1); got[name] < want-callers || got[name] > want+callers {
				t.Errorf("of %d callers %s got %d, want about %d", callers, name, got[name], want)
			}
		}
		if err := l.Check("the next", 1); err != nil {
			t.Errorf("beside %d callers the next gets nothing: %v", callers, err)
		}
	}
}

func TestMostIsWhatOneCallerAloneGets(t *testing.T) {
	for _, name := range []string{"", "someone"} {
		for total := int64(0); total < 20; total += 2 {
			l, got := share.New(total), int64(0)
			for l.Take(name, 1) == nil {
				got++
			}
			if most := l.Most(name); got != most {
				t.Errorf("of %d the caller %q gets %d, and Most is %d", total, name, got, most)
			}
		}
	}
}

func TestWhatIsRefusedSaysWhoseShareIsUsedUp(t *testing.T) {
	l := share.New(10)
	if err := l.Take("greedy", 5); err != nil {
		t.Fatal(err)
	}
	if e, _ := errors.AsType[*share.Over](l.Take("greedy", 1)); e == nil || !e.OfCaller || e.Taken != 5 {
		t.Errorf("more than is free: got %+v", e)
	}
	if e, _ := errors.AsType[*share.Over](l.Take("other", 6)); e == nil || e.OfCaller || e.Taken != 5 || e.Max != 10 {
		t.Errorf("more than there is: got %+v", e)
	}
	if err := l.Take("", 5); err != nil {
		t.Errorf("the client of stdio has it all, and got %v", err)
	}
	if n := l.Callers(); n != 2 {
		t.Errorf("%d callers have something, want 2", n)
	}
}

func TestPartIsGivenBackOnce(t *testing.T) {
	l := share.New(10)
	p := l.Part("caller")
	for _, n := range []int64{2, 3} {
		if err := p.Take(n); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Take(1); err == nil || p.Taken() != 5 || l.Taken() != 5 {
		t.Errorf("got %v, and %d and %d are taken, want an error and 5", err, p.Taken(), l.Taken())
	}
	p.Give()
	p.Give()
	(*share.Part)(nil).Give()
	if l.Taken() != 0 || l.Callers() != 0 {
		t.Errorf("%d are taken by %d callers in the end", l.Taken(), l.Callers())
	}
}

// TestLimitHoldsWhateverIsTakenAndGiven compares with a model that adds everything up.
func TestLimitHoldsWhateverIsTakenAndGiven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		max := rapid.Int64Range(0, 50).Draw(t, "max")
		l := share.New(max)
		type part struct {
			caller string
			n      int64
		}
		var parts []part
		sum := func(of func(part) bool) (n int64) {
			for _, p := range parts {
				if of(p) {
					n += p.n
				}
			}
			return n
		}
		all := func(part) bool { return true }
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if len(parts) > 0 && rapid.Bool().Draw(t, "give") {
				i := rapid.IntRange(0, len(parts)-1).Draw(t, "which")
				l.Give(parts[i].caller, parts[i].n)
				parts = append(parts[:i], parts[i+1:]...)
			} else {
				p := part{rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "caller"), rapid.Int64Range(0, 20).Draw(t, "n")}
				free := max - sum(all)
				mine := sum(func(o part) bool { return o.caller == p.caller })
				allowed := p.n <= free && (p.caller == "" || mine+p.n <= free)
				if err := l.Check(p.caller, p.n); (err == nil) != allowed {
					t.Fatalf("check of %+v with %d free: %v", p, free, err)
				}
				if err := l.Take(p.caller, p.n); (err == nil) != allowed {
					t.Fatalf("%+v with %d free, %d its own: %v", p, free, mine, err)
				}
				if allowed {
					parts = append(parts, p)
				}
			}
			if got := l.Taken(); got != sum(all) || got > max {
				t.Fatalf("%d are taken, want %d of %d", got, sum(all), max)
			}
		}
	})
}

func TestLimitHoldsForManyAtOnce(t *testing.T) {
	l := share.New(100)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			p := l.Part(fmt.Sprint(i % 5))
			defer p.Give()
			for p.Take(3) == nil {
				if n := l.Taken(); n > 100 {
					t.Errorf("%d are taken", n)
				}
			}
		})
	}
	all.Wait()
	if l.Taken() != 0 || l.Callers() != 0 {
		t.Errorf("%d are taken in the end, by %d callers", l.Taken(), l.Callers())
	}
}
