package inference_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// The short deadline of the first caller must not send the request of the second to the
// next rung, and to a cloud in the end.
func TestLongerDeadlineOfAJoiningCallerCounts(t *testing.T) {
	for _, delay := range []time.Duration{0, time.Second, 1999 * time.Millisecond} {
		cacheStory(t, func(t *testing.T, c *client) {
			host, cloud := c.ladder()
			host.FirstTokenTime(8 * time.Second)
			began := time.Now()
			var all sync.WaitGroup
			all.Go(func() {
				a := c.call(t.Context(), "generate", `{"model":"pro","prompt":"?","timeout_seconds":6}`)
				if a.code() != "timeout" || time.Since(began) != 6*time.Second {
					t.Errorf("%v: the first caller, after %v: %v", delay, time.Since(began), a)
				}
			})
			synctest.Wait()
			time.Sleep(delay)
			a := c.succeeds("generate", `{"model":"pro","prompt":"?","timeout_seconds":600}`)
			if a.served.Model != "big" || a.served.Source != inference.Coalesced || a.served.Passed != nil || time.Since(began) != 8*time.Second {
				t.Errorf("%v: the second caller, after %v: %v", delay, time.Since(began), a)
			}
			all.Wait()
			if n := len(cloud.Calls()); n != 0 {
				t.Errorf("%v: %d requests reached the cloud", delay, n)
			}
		})
	}
}

// A caller with time for the models of our own hosts gets the answer of one, although the
// request that it could join has already gone to a cloud for want of time.
func TestCallerWithMoreTimeDoesNotJoinARequestThatWentToACloudForWantOfTime(t *testing.T) {
	for name, tc := range map[string]struct {
		second string // arguments of the second caller
		joins  bool
	}{
		"more time": {second: `,"timeout_seconds":600`},
		"the same":  {second: `,"timeout_seconds":6`, joins: true},
		"less":      {second: `,"timeout_seconds":5`, joins: true},
	} {
		both := func(t *testing.T, c *client) {
			host, cloud := c.ladder()
			host.FirstTokenTime(8 * time.Second)
			cloud.FirstTokenTime(1500 * time.Millisecond)
			c.succeeds("generate", `{"model":"small","prompt":"?"}`) // so that nothing is loaded on after a timeout
			c.succeeds("generate", `{"model":"big","prompt":"?"}`)
			var all sync.WaitGroup
			all.Go(func() {
				if a := c.succeeds("generate", `{"model":"pro","prompt":"?","timeout_seconds":6}`); a.served.Model != "openai/gpt" {
					t.Errorf("%s: the first caller: %v", name, a)
				}
			})
			time.Sleep(4500 * time.Millisecond) // both models of the host have had their share, and the cloud is asked
			want := "big"
			if tc.joins {
				want = "openai/gpt"
			}
			a := c.succeeds("generate", `{"model":"pro","prompt":"?"`+tc.second+`}`)
			if a.served.Model != want || (a.served.Source == inference.Coalesced) != (tc.joins && !c.cacheOff) {
				t.Errorf("%s: the second caller: %v", name, a)
			}
			all.Wait()
			if n := len(cloud.Calls()); n != 1 && !(c.cacheOff && tc.joins) {
				t.Errorf("%s: %d requests reached the cloud", name, n)
			}
		}
		storyWith(t, &client{shares: true}, both)
		storyWith(t, &client{cacheOff: true}, both)
	}
}

// A call without a timeout of its own wants its answer to begin soon, and goes on as a job. One with
// a timeout leaves each model its share of all of that, and so may not need the cloud.
func TestCallerWithATimeoutOfItsOwnDoesNotShareTheHasteOfOthers(t *testing.T) {
	for _, delay := range []time.Duration{0, time.Second, 3 * time.Second, 4500 * time.Millisecond} {
		both := func(t *testing.T, c *client) {
			c.opts.Patience = 6 * time.Second
			host, cloud := c.ladder()
			c.useAll(pool.Options{Slots: 8}, host)
			host.FirstTokenTime(8 * time.Second)
			cloud.FirstTokenTime(1500 * time.Millisecond)
			c.succeeds("generate", `{"model":"small","prompt":"?"}`) // so that nothing is loaded on after a timeout
			c.succeeds("generate", `{"model":"big","prompt":"?"}`)
			var all sync.WaitGroup
			all.Go(func() {
				if a := c.succeeds("generate", askPro); a.served.Model != "openai/gpt" {
					t.Errorf("%v: the first caller: %v", delay, a)
				}
			})
			synctest.Wait()
			time.Sleep(delay)
			a := c.succeeds("generate", `{"model":"pro","prompt":"?","timeout_seconds":30}`)
			if a.served.Model != "big" || a.served.Source != inference.Local || a.served.Passed != nil {
				t.Errorf("%v: the second caller: %v", delay, a)
			}
			all.Wait()
			if n := len(cloud.Calls()); n != 1 {
				t.Errorf("%v: %d requests reached the cloud", delay, n)
			}
		}
		storyWith(t, &client{shares: true}, both)
		storyWith(t, &client{cacheOff: true}, both)
	}
}

// Where there is one model to answer, all have the same patience with it.
func TestCallerWithATimeoutOfItsOwnJoinsWhereThereIsOneModel(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		c.opts.Patience = 6 * time.Second
		host, _ := c.ladder()
		host.FirstTokenTime(8 * time.Second)
		var all sync.WaitGroup
		all.Go(func() { c.succeeds("generate", `{"model":"big","prompt":"?"}`) })
		synctest.Wait()
		if a := c.succeeds("generate", `{"model":"big","prompt":"?","timeout_seconds":30}`); a.served.Source != inference.Coalesced {
			t.Errorf("got %v", a)
		}
		all.Wait()
	})
}

func TestPatienceWithAModelLastsForTheLastCallerToCome(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		c.opts.Patience = 12 * time.Second // 4 s for the first of three models
		host, cloud := c.ladder()
		host.FirstTokenTime(4500 * time.Millisecond)
		var all sync.WaitGroup
		all.Go(func() { c.succeeds("generate", askPro) })
		time.Sleep(3 * time.Second)
		if a := c.succeeds("generate", askPro); a.served.Model != "big" || a.served.Source != inference.Coalesced {
			t.Errorf("got %v", a)
		}
		all.Wait()
		if n := len(cloud.Calls()); n != 0 {
			t.Errorf("%d requests reached the cloud", n)
		}
	})
}

func TestDeadlineThatRemainsCountsOnceALongerOneHasLeft(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		host, _ := c.ladder()
		host.FirstTokenTime(8 * time.Second)
		ctx, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { c.call(ctx, "generate", `{"model":"pro","prompt":"?","timeout_seconds":600}`) })
		synctest.Wait()
		time.AfterFunc(time.Second, leave)
		if a := c.call(t.Context(), "generate", `{"model":"pro","prompt":"?","timeout_seconds":12}`); a.served.Model != "openai/gpt" {
			t.Errorf("got %v, want the answer of the third rung, as without the other caller", a)
		}
		all.Wait()
	})
}

func TestCallerWithoutADeadlineJoins(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		c.unlimited = true
		host, cloud := c.ladder()
		host.FirstTokenTime(time.Hour)
		var all sync.WaitGroup
		all.Go(func() { c.fails("generate", `{"model":"pro","prompt":"?","timeout_seconds":6}`, "timeout") })
		synctest.Wait()
		if a := c.succeeds("generate", askPro); a.served.Model != "big" || a.served.Source != inference.Coalesced {
			t.Errorf("got %v", a)
		}
		all.Wait()
		if n := len(cloud.Calls()); n != 0 {
			t.Errorf("%d requests reached the cloud", n)
		}
	})
}

// A request that waits behind batch work must not have to wait as if it were such.
func TestInteractiveRequestDoesNotJoinABatchRequest(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		host := backendtest.New("gpu-1").FirstTokenTime(10 * time.Second)
		c.useAll(pool.Options{Slots: 1}, host)
		began := time.Now()
		took := make(map[string]time.Duration)
		var mu sync.Mutex // guards took
		var all sync.WaitGroup
		for _, prompt := range []string{"first", "Y,batch", "X,batch", "X,interactive"} {
			all.Go(func() {
				text, priority, _ := strings.Cut(prompt, ",")
				c.succeeds("generate", fmt.Sprintf(`{"model":"tiny","prompt":%q,"priority":%q,"timeout_seconds":600}`, text, priority))
				mu.Lock()
				defer mu.Unlock()
				took[prompt] = time.Since(began)
			})
			synctest.Wait()
		}
		all.Wait()
		if took["X,interactive"] != 20*time.Second || took["Y,batch"] != 30*time.Second {
			t.Errorf("took %v, want the interactive request before the batch requests", took)
		}
	})
}

func TestExactRequestDoesNotJoinOneThatMayGetASemanticHit(t *testing.T) {
	for name, follower := range map[string]struct {
		who  caller.Caller
		args string
	}{
		"by the request":              {args: `,"min_similarity":1}`},
		"by a higher min_similarity":  {args: `,"min_similarity":0.999}`},
		"by the rules of its own key": {who: caller.Caller{ExactOnly: true}, args: `}`},
	} {
		cacheStory(t, func(t *testing.T, c *client) {
			host := c.comparing(inference.SemanticOptions{})
			c.succeeds("generate", ask(first))
			host.TokenTime(100 * time.Millisecond) // to embed the question, too
			var all sync.WaitGroup
			all.Go(func() {
				if a := c.succeeds("generate", ask(similar)); a.served.Source != inference.CachedSimilar {
					t.Errorf("%s: the first got %v", name, a)
				}
			})
			time.Sleep(50 * time.Millisecond)
			exact := c.as(follower.who)
			if a := exact.succeeds("generate", `{"model":"tiny","prompt":"`+similar+`"`+follower.args); a.served.Source != inference.Local || a.served.Similarity != 0 {
				t.Errorf("%s: in flight: got %v", name, a)
			}
			all.Wait()
		})
		cacheStory(t, func(t *testing.T, c *client) {
			c.comparing(inference.SemanticOptions{})
			c.succeeds("generate", ask(first))
			c.succeeds("generate", ask(similar))
			exact := c.as(follower.who)
			if a := exact.succeeds("generate", `{"model":"tiny","prompt":"`+similar+`"`+follower.args); a.served.Source != inference.Local || a.served.Similarity != 0 {
				t.Errorf("%s: later: got %v", name, a)
			}
		})
	}
}

// What may leave for a cloud, or be answered by another model, is decided by each caller's
// own request and rules.
func TestRequestNeverJoinsOneThatMayBeAnsweredWhereItMayNot(t *testing.T) {
	const args = `{"model":"big","prompt":"?"`
	open, restricted := caller.Caller{ID: "open", Tenant: "t"}, caller.Caller{ID: "restricted", Tenant: "t", Models: []string{"big:latest"}}
	for name, tc := range map[string]struct {
		who  caller.Caller
		args string
	}{
		"local_only":                       {open, args + `,"local_only":true}`},
		"a key that is local only":         {caller.Caller{ID: "local", Tenant: "t", LocalOnly: true}, args + `}`},
		"a key that may not use the model": {restricted, args + `}`},
	} {
		for _, first := range []bool{true, false} {
			cacheStory(t, func(t *testing.T, c *client) {
				_, cloud := c.ladder()
				settings := *c.opts.Settings()
				ladders, err := route.NewLadders(nil, []string{"openai/gpt"}, map[string]bool{"openai": true})
				if err != nil {
					t.Fatal(err)
				}
				settings.Ladders = ladders
				c.set(&settings)
				host := backendtest.New("gpu-1").Install(backendtest.Model{Name: "big"}).FirstTokenTime(time.Second)
				c.useAll(pool.Options{Slots: 2}, host)
				failing(host, backendtest.ErrorAfter(0, "internal error"), "big")
				var all sync.WaitGroup
				forbidden := func() {
					if a := c.as(tc.who).call(t.Context(), "generate", tc.args); a.err == nil {
						t.Errorf("%s: got %v, want an error", name, a)
					}
				}
				allowed := func() {
					if a := c.as(open).call(t.Context(), "generate", args+`}`); a.served.Model != "openai/gpt" {
						t.Errorf("%s: got %v, want the answer of the cloud", name, a)
					}
				}
				both := []func(){forbidden, allowed}
				if !first {
					slices.Reverse(both)
				}
				for _, call := range both {
					all.Go(call)
					time.Sleep(time.Millisecond)
				}
				all.Wait()
				if n := len(cloud.Calls()); n != 1 {
					t.Errorf("%s: %d requests reached the cloud, want 1", name, n)
				}
			})
		}
	}
}

// crowd is callers of the same request, drawn before it begins.
type crowd struct {
	Big, Small, Cloud time.Duration // until the models answer
	Patience          time.Duration // of callers who set no limit; 0: they have no deadline either
	Callers           []member
}

type member struct {
	At, Limit time.Duration // Limit 0: none of its own
	Leaves    time.Duration // after it came; 0: never
}

// limit is what a caller's call may take; 0: it has no deadline.
func (all crowd) limit(m member) time.Duration {
	if m.Limit == 0 && all.Patience > 0 {
		return 55 * time.Second
	}
	return m.Limit
}

// needsCloud reports whether neither big nor small would answer the caller alone within
// its share of the time.
func (all crowd) needsCloud(m member) bool {
	patience := cmp.Or(m.Limit, all.Patience)
	return patience > 0 && all.Big >= patience/3 && all.Small >= patience/3
}

var anyCrowd = rapid.Custom(func(r *rapid.T) crowd {
	duration := func(label string, all ...int) time.Duration { // in tenths of a second
		return time.Duration(rapid.SampledFrom(all).Draw(r, label)) * 100 * time.Millisecond
	}
	return crowd{
		Big: duration("big", 5, 25, 85, 355), Small: duration("small", 5, 25, 85, 355), Cloud: duration("cloud", 5, 15),
		Patience: duration("patience", 0, 31, 301),
		Callers: rapid.SliceOfN(rapid.Custom(func(r *rapid.T) member {
			return member{
				At:     time.Duration(rapid.IntRange(0, 120).Draw(r, "at")) * 100 * time.Millisecond,
				Limit:  time.Duration(rapid.SampledFrom([]int{0, 31, 61, 121, 301, 1201}).Draw(r, "limit")) * 100 * time.Millisecond,
				Leaves: time.Duration(rapid.SampledFrom([]int{0, 0, 0, 7, 43}).Draw(r, "leaves")) * 100 * time.Millisecond,
			}
		}), 1, 5).Draw(r, "callers"),
	}
})

// Whatever other callers join and leave, each ends by its own deadline and not before it,
// and is answered by a cloud only if it would have needed that alone.
func TestNoCallerIsBoundByThoseWhoShareItsRequest(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		all := anyCrowd.Draw(r, "crowd")
		var problems []string
		cacheStory(t, func(_ *testing.T, c *client) { problems = all.run(c) })
		if len(problems) > 0 {
			r.Fatalf("%s", strings.Join(problems, "\n"))
		}
	})
}

// run returns what went wrong.
func (all crowd) run(c *client) (problems []string) {
	c.unlimited, c.opts.Patience = all.Patience == 0, all.Patience
	host, cloud := c.ladder()
	c.useAll(pool.Options{Slots: 8}, host)           // nobody waits for a slot
	for _, model := range []string{"big", "small"} { // so that nothing is loaded on after a timeout
		c.succeeds("generate", `{"model":"`+model+`","prompt":"?"}`)
	}
	host.FailWhen(func(call backendtest.Call) backendtest.Fault {
		if strings.HasPrefix(call.Model, "small") {
			return backendtest.SlowHeaders(all.Small)
		}
		return backendtest.SlowHeaders(all.Big)
	})
	cloud.FirstTokenTime(all.Cloud)
	began, ended := time.Now(), make([]time.Duration, len(all.Callers))
	answers := make([]answer, len(all.Callers))
	var calls sync.WaitGroup
	for i, m := range all.Callers {
		calls.Go(func() {
			time.Sleep(m.At)
			ctx, cancel := context.WithCancel(c.t.Context())
			defer cancel()
			if m.Leaves > 0 {
				time.AfterFunc(m.Leaves, cancel)
			}
			args := askPro
			if m.Limit > 0 {
				args = fmt.Sprintf(`{"model":"pro","prompt":"?","timeout_seconds":%v}`, m.Limit.Seconds())
			}
			answers[i] = c.call(ctx, "generate", args)
			ended[i] = time.Since(began)
		})
	}
	calls.Wait()
	for i, m := range all.Callers {
		report := func(format string, args ...any) {
			problems = append(problems, fmt.Sprintf("caller %d, which ended after %v: %s: %v", i, ended[i]-m.At, fmt.Sprintf(format, args...), answers[i]))
		}
		a, took, limit := answers[i], ended[i]-m.At, all.limit(m)
		switch {
		case limit > 0 && took > limit:
			report("past its deadline")
		case m.Leaves > 0 && took > m.Leaves:
			report("it was cancelled before")
		case (a.code() == "timeout" || a.code() == "queue_timeout") && took != limit && !strings.Contains(a.text, "skipped: it never answered"):
			report("before its deadline")
		case a.code() == "cancelled" && took != m.Leaves:
			report("it was not cancelled")
		case a.err != nil && a.code() != "timeout" && a.code() != "queue_timeout" && a.code() != "cancelled":
			report("an error")
		case a.served.Model == "openai/gpt" && !all.mayNeedCloud(i, ended):
			report("it did not need the cloud")
		}
	}
	patient, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	if host.Wait(patient, func(s backendtest.Stats) bool { return s.InFlight == 0 }) != nil {
		problems = append(problems, "the host is still at work")
	}
	return problems
}

// mayNeedCloud reports whether a caller would need the cloud alone. It may also come to
// need it while it is there, if one with more time comes and leaves: the first rung has had
// more time then than its share.
func (all crowd) mayNeedCloud(i int, ended []time.Duration) bool {
	me := all.Callers[i]
	if all.needsCloud(me) {
		return true
	}
	for j, other := range all.Callers {
		if j != i && other.Leaves > 0 && other.At <= ended[i] && ended[j] >= me.At {
			return true
		}
	}
	return false
}
