package inference_test

import (
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
	"ollama-mcp/pool"
)

const window = 5 * time.Millisecond

// merging makes an engine that merges single texts, with a host that has the models words and other.
func (c *client) merging() *backendtest.Host {
	c.t.Helper()
	c.opts.MergeWindow = window
	return c.embedder(2)
}

// embedder makes an engine with a host with so many slots that has the models words and other.
func (c *client) embedder(slots int) *backendtest.Host {
	c.t.Helper()
	host := backendtest.New("gpu-1").Install(backendtest.Model{Name: "words", Dimensions: 8}, backendtest.Model{Name: "other", Dimensions: 8})
	c.useAll(pool.Options{Slots: slots, Queue: 200}, host)
	return host
}

// oneText asks for the vector of a text. more are further arguments.
func oneText(text, more string) string {
	return fmt.Sprintf(`{"model":"words","input":[%q]%s}`, text, more)
}

// person is a caller of that name.
func person(name string) caller.Caller { return caller.Caller{ID: name} }

// together has n callers embed a text each, text 0, text 1 and so on, at the same time.
func (c *client) together(n int) []answer {
	answers := make([]answer, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			answers[i] = c.as(person(fmt.Sprint("caller ", i))).call(c.t.Context(), "embed", oneText(fmt.Sprint("text ", i), ""))
		})
	}
	all.Wait()
	return answers
}

func TestSingleTextsOfManyCallersAreOneRequest(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.opts.MergeWindow = window
		host := c.embedder(2)
		answers := c.together(20)
		if calls := host.Calls(); len(calls) != 1 || len(inputsOf(calls[0])) != 20 {
			t.Fatalf("%d requests, want one with 20 texts", len(calls))
		}
		whole := c.succeeds("embed", `{"model":"words","input":[`+texts(20)+`]}`)
		tokens := 0
		for i, a := range answers {
			if a.err != nil || !slices.Equal(a.vectors[0], whole.vectors[i]) {
				t.Errorf("text %d: %v, want the vector %v", i, a, whole.vectors[i])
			}
			if s := a.served; s.Host != "gpu-1" || s.Source != inference.Local || s.Model != "words" || s.TokensIn == 0 {
				t.Errorf("text %d: served %+v", i, s)
			}
			tokens += a.served.TokensIn
		}
		if tokens != whole.served.TokensIn {
			t.Errorf("the calls have %d tokens, and their texts %d", tokens, whole.served.TokensIn)
		}
	})
}

func TestSingleTextsAreSentOneByOneByDefault(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.embedder(2)
		began := time.Now()
		for i, a := range c.together(20) {
			if a.err != nil {
				t.Errorf("text %d: %v", i, a)
			}
		}
		if n, took := len(host.Calls()), time.Since(began); n != 20 || took != 0 {
			t.Errorf("%d requests after %v, want 20 at once", n, took)
		}
	})
}

func TestNobodyWaitsLongerThanTheWindowWhenASlotIsFree(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.merging()
		var all sync.WaitGroup
		for i, at := range []time.Duration{0, 2 * time.Millisecond, window - 1, window + time.Millisecond} {
			all.Go(func() {
				time.Sleep(at)
				began := time.Now()
				a := c.succeeds("embed", oneText(fmt.Sprint("text ", i), ""))
				if took := time.Since(began); took > window || a.vectors == nil {
					t.Errorf("the call that came after %v took %v", at, took)
				}
			})
		}
		all.Wait()
		if calls := host.Calls(); len(calls) != 2 || len(inputsOf(calls[0])) != 3 {
			t.Errorf("%d requests, want one for three texts and one for the last", len(calls))
		}
		host.Forget()
		began := time.Now()
		c.together(32)
		if took := time.Since(began); took != 0 || len(host.Calls()) != 1 {
			t.Errorf("a full batch was sent after %v, in %d requests", took, len(host.Calls()))
		}
	})
}

func TestOnlyRequestsThatDifferByTextAndCallerAreMerged(t *testing.T) {
	for more, merged := range map[string]bool{
		``:                                        true,
		`,"truncate":false`:                       true, // which is the default
		`,"timeout_seconds":9`:                    true,
		`,"cache":"refresh"`:                      true,
		`,"truncate":true`:                        false,
		`,"dimensions":4`:                         false,
		`,"options":{"num_thread":2}`:             false,
		`,"keep_alive":"9m"`:                      false,
		`,"host":"gpu-1"`:                         false,
		`,"local_only":true`:                      false,
		`,"priority":"batch"`:                     false,
		`,"input":["two","three"]`:                false,
		`,"model":"other"`:                        false,
		`,"model":"words:latest","input":["two"]`: true,
	} {
		story(t, func(t *testing.T, c *client) {
			host := c.merging()
			var all sync.WaitGroup
			for _, args := range []string{oneText("one", ""), oneText("two", more)} {
				all.Go(func() { c.succeeds("embed", args) })
			}
			all.Wait()
			if n := len(host.Calls()); (n == 1) != merged || n > 2 {
				t.Errorf("%s: %d requests", more, n)
			}
		})
	}
	for length, merged := range map[int]bool{8192: true, 8193: false} {
		story(t, func(t *testing.T, c *client) {
			host := c.merging()
			var all sync.WaitGroup
			for _, text := range []string{"one", strings.Repeat("x", length)} {
				all.Go(func() { c.succeeds("embed", oneText(text, `,"truncate":true`)) })
			}
			all.Wait()
			if n := len(host.Calls()); (n == 1) != merged || n > 2 {
				t.Errorf("a text of %d bytes: %d requests", length, n)
			}
		})
	}
	story(t, func(t *testing.T, c *client) {
		host := c.merging()
		var all sync.WaitGroup
		all.Go(func() { c.succeeds("embed", oneText("one", `,"local_only":true`)) })
		all.Go(func() {
			c.as(caller.Caller{ID: "ci", LocalOnly: true}).succeeds("embed", oneText("two", ""))
		})
		all.Wait()
		if n := len(host.Calls()); n != 1 {
			t.Errorf("two that may not leave: %d requests", n)
		}
	})
}

func TestBadTextFailsItsOwnCallOnly(t *testing.T) {
	const n, bad = 8, 3
	for name, tc := range map[string]struct {
		fault func(int) backendtest.Fault
		code  string
	}{
		"NaN":           {refusing(500, "failed to encode response: json: unsupported value: NaN"), "upstream"},
		"null":          {nullIn("[null,1,0,0,0,0,0,0]"), "upstream"},
		"too long":      {refusing(500, "the input length exceeds the context length"), "context_too_long"},
		"refused":       {refusing(400, "what is this?"), "invalid_argument"},
		"unknown words": {refusing(500, "the flux capacitor is upset"), "upstream"},
		"no vectors":    {noVectors, "upstream"},
	} {
		story(t, func(t *testing.T, c *client) {
			host := c.merging()
			badWhen(host, tc.fault, bad)
			for i, a := range c.together(n) {
				switch {
				case i == bad && (a.code() != tc.code || strings.Contains(a.text, "input[")):
					t.Errorf("%s: the bad text got %v", name, a)
				case i != bad && (a.err != nil || len(a.vectors[0]) != 8):
					t.Errorf("%s: text %d got %v", name, i, a)
				}
			}
			alone := 0 // requests with a good text only, which had to be looked for
			for _, call := range host.Calls() {
				if sent := inputsOf(call); len(sent) == 1 && sent[0] != fmt.Sprint("text ", bad) {
					alone++
				}
			}
			// One to see that the host is well and, since that one need not be sent again, up to two
			// of the others while halves are halved.
			if alone > 3 {
				t.Errorf("%s: %d good texts were sent alone", name, alone)
			}
		})
	}
}

// A crash costs the host a load of the model, so that the text is not looked for in the batch.
func TestTextThatCrashesTheModelFailsItsOwnCallOnly(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		const bad = 3
		crashes := crashWhen(c.merging(), bad)
		for i, a := range c.together(8) {
			if isBad := i == bad; isBad != (a.code() == "upstream") || !isBad && a.err != nil {
				t.Errorf("text %d got %v", i, a)
			}
		}
		if n := crashes(); n != 4 { // two of the batch, and two of the text alone
			t.Errorf("%d crashes, want 4", n)
		}
	})
}

func TestTextThatIsCutIsSaidToBeOfItsOwnCall(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.opts.MergeWindow = window
		host := backendtest.New("gpu-1").Install(backendtest.Model{Name: "words", Dimensions: 8, Default: 16})
		c.useAll(pool.Options{Slots: 2}, host)
		var all sync.WaitGroup
		for text, cut := range map[string]bool{"short": false, strings.Repeat("long ", 99): true} {
			all.Go(func() {
				a := c.succeeds("embed", oneText(text, `,"truncate":true`))
				if strings.Contains(a.notes, "only their beginning was embedded: input[0]") != cut {
					t.Errorf("%.9s: the notes say %q", text, a.notes)
				}
			})
		}
		all.Wait()
	})
}

func TestFailureOfABatchIsToldToEachCallAsItsOwn(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.merging().Down()
		for i, a := range c.together(3) {
			if a.code() != "no_host" || !strings.Contains(a.text, "gpu-1: unreachable") {
				t.Errorf("call %d: %v", i, a)
			}
		}
	})
}

func TestCallThatEndsLeavesTheOthersOfItsBatch(t *testing.T) {
	for name, tc := range map[string]struct {
		leaves time.Duration
		texts  int // that are sent
	}{
		"within the window":        {window / 2, 2},
		"while the host embeds":    {500 * time.Millisecond, 3},
		"as the last of the batch": {time.Hour, 3},
	} {
		for _, way := range []string{"cancelled", "timeout"} {
			story(t, func(t *testing.T, c *client) {
				host := c.merging().TokenTime(time.Second)
				var all sync.WaitGroup
				all.Go(func() {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					args := ""
					if way == "cancelled" {
						time.AfterFunc(tc.leaves, cancel)
					} else {
						args = fmt.Sprintf(`,"timeout_seconds":%v`, tc.leaves.Seconds())
					}
					began := time.Now()
					a := c.call(ctx, "embed", oneText("text 0", args))
					if took := time.Since(began); tc.leaves < time.Hour && (a.code() != way || took != tc.leaves) {
						t.Errorf("%s, %s: the call that leaves ended after %v: %v", name, way, took, a)
					}
				})
				synctest.Wait() // it opens the batch
				for i := range 2 {
					all.Go(func() { c.succeeds("embed", oneText(fmt.Sprint("text ", i+1), "")) })
				}
				all.Wait()
				if calls := host.Calls(); len(calls) == 0 || len(inputsOf(calls[0])) != tc.texts {
					t.Errorf("%s, %s: the host was sent %d requests, want %d texts in the first", name, way, len(calls), tc.texts)
				}
				sent := 0
				for _, call := range host.Calls() {
					sent += len(inputsOf(call))
				}
				if sent != tc.texts {
					t.Errorf("%s, %s: %d texts were sent, want %d", name, way, sent, tc.texts)
				}
			})
		}
	}
}

func TestBatchThatNobodyWaitsForEnds(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.merging().TokenTime(time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for i := range 3 {
			all.Go(func() {
				if a := c.call(ctx, "embed", oneText(fmt.Sprint("text ", i), "")); a.code() != "cancelled" {
					t.Errorf("text %d: %v", i, a)
				}
			})
		}
		time.Sleep(time.Second)
		cancel()
		all.Wait()
		if err := host.Wait(t.Context(), func(s backendtest.Stats) bool { return s.InFlight == 0 && s.Left == 1 }); err != nil {
			t.Error(err)
		}
	})
}

func TestCallWhoseTimeEndsInTheQueueWithItsBatchSaysSo(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.opts.MergeWindow = window
		c.embedder(1).TokenTime(20 * time.Second)
		var all sync.WaitGroup
		all.Go(func() { c.succeeds("embed", `{"model":"words","timeout_seconds":600,"input":[`+texts(6)+`]}`) })
		synctest.Wait()
		for _, limit := range []string{"2", "30", "50"} { // the batch has the longest
			all.Go(func() {
				a := c.call(t.Context(), "embed", oneText("text "+limit, `,"timeout_seconds":`+limit))
				if a.code() != "queue_timeout" {
					t.Errorf("after %s s: %v", limit, a)
				}
			})
		}
		all.Wait()
	})
}

func TestTextOfACallThatEndsInTheQueueIsNotSent(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.opts.MergeWindow = window
		host := c.embedder(1).TokenTime(time.Second)
		var all sync.WaitGroup
		all.Go(func() { c.succeeds("embed", `{"model":"words","input":[`+texts(6)+`]}`) })
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		all.Go(func() { c.call(ctx, "embed", oneText("gone", "")) })
		for _, text := range []string{"one", "two"} {
			all.Go(func() { c.succeeds("embed", oneText(text, "")) })
		}
		time.Sleep(time.Second)
		cancel()
		all.Wait()
		if calls := host.Calls(); len(calls) != 2 || len(inputsOf(calls[1])) != 2 || slices.Contains(inputsOf(calls[1]), "gone") {
			t.Errorf("%d requests, want one more with the texts of those who are there", len(calls))
		}
	})
}

func TestTenantsWhoseTextsAreMergedShareNoCache(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		host := c.merging()
		anna := c.as(caller.Caller{ID: "anna", Tenant: "a"})
		bert := c.as(caller.Caller{ID: "bert", Tenant: "b"})
		var all sync.WaitGroup
		all.Go(func() { anna.succeeds("embed", oneText("of anna", "")) })
		all.Go(func() { bert.succeeds("embed", oneText("of bert", "")) })
		all.Wait()
		for _, step := range []struct {
			who      *client
			text     string
			requests int
		}{
			{anna, "of anna", 1},
			{bert, "of bert", 1},
			{anna, "of bert", 2},
			{bert, "of anna", 3},
			{bert, "of anna", 3},
		} {
			if step.who.succeeds("embed", oneText(step.text, "")); len(host.Calls()) != step.requests {
				t.Fatalf("%s asked for the text %s: %d requests, want %d", step.who.who.ID, step.text, len(host.Calls()), step.requests)
			}
		}
	})
}

func TestEqualTextsOfABatchAreSentOnce(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.merging()
		var all sync.WaitGroup
		for i := range 6 {
			all.Go(func() { c.succeeds("embed", oneText(fmt.Sprint("text ", i%2), "")) })
		}
		all.Wait()
		if calls := host.Calls(); len(calls) != 1 || len(inputsOf(calls[0])) != 2 {
			t.Errorf("%d requests, want one with two texts", len(calls))
		}
	})
}

// The many requests of one caller must not hold up the text of another that is merged with one of
// them.
func TestBatchWaitsAsARequestOfItsLeastBusyCaller(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.opts.MergeWindow = window
		host := c.embedder(1).FirstTokenTime(time.Second)
		flooder := c.as(person("flooder"))
		var all sync.WaitGroup
		for i := range 6 {
			all.Go(func() { flooder.succeeds("generate", fmt.Sprintf(`{"model":"words","prompt":"%d"}`, i)) })
		}
		synctest.Wait()
		all.Go(func() { flooder.succeeds("embed", oneText("one", "")) })
		synctest.Wait() // the flooder is the first of the batch
		all.Go(func() { c.as(person("other")).succeeds("embed", oneText("two", "")) })
		all.Wait()
		place := slices.IndexFunc(host.Calls(), func(call backendtest.Call) bool { return call.Embed != nil })
		if place < 0 || place > 2 || len(inputsOf(host.Calls()[place])) != 2 {
			t.Errorf("the batch was request %d of %d", place+1, len(host.Calls()))
		}
	})
}

// An attempt is told of one call of the batch alone, and each call has its record.
func TestEachCallOfABatchHasItsRecord(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		var mu sync.Mutex // guards what follows
		records, attempts := make(map[string]inference.Record), 0
		c.opts.Observer = observer{
			wants: inference.AllEvents,
			event: func(e inference.Event) {
				mu.Lock()
				defer mu.Unlock()
				if e.Kind == inference.AttemptEnded {
					attempts++
				}
			},
			done: func(r inference.Record) {
				mu.Lock()
				defer mu.Unlock()
				records[r.Caller] = r
			},
		}
		c.merging()
		c.together(3)
		if attempts != 1 || len(records) != 3 {
			t.Errorf("%d attempts and %d records", attempts, len(records))
		}
		for who, r := range records {
			if r.Code != "" || r.Served.Host != "gpu-1" || r.Served.TokensIn == 0 || r.Took != window {
				t.Errorf("%s: %+v", who, r)
			}
		}
	})
}

// office is callers of single texts, drawn before it begins.
type office []visitor

type visitor struct {
	At     time.Duration
	Text   int           // those from 6 on are bad
	Leaves time.Duration // after it came; 0: never
}

var anyOffice = rapid.SliceOfN(rapid.Custom(func(r *rapid.T) visitor {
	milliseconds := func(label string, all ...int) time.Duration {
		return time.Duration(rapid.SampledFrom(all).Draw(r, label)) * time.Millisecond
	}
	return visitor{
		At: milliseconds("at", 0, 1, 3, 7, 40), Text: rapid.IntRange(0, 7).Draw(r, "text"),
		Leaves: milliseconds("leaves", 0, 0, 0, 2, 30),
	}
}), 1, 12)

// Whatever others send and whenever they leave, each caller gets the vector of its own text, unless
// it leaves or its text is bad.
func TestMergedCallsEndAsIfAlone(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		all := office(anyOffice.Draw(r, "office"))
		var problems []string
		storyWith(t, &client{cacheOff: rapid.Bool().Draw(r, "cache off")}, func(_ *testing.T, c *client) { problems = all.run(c) })
		if len(problems) > 0 {
			r.Fatalf("%s", strings.Join(problems, "\n"))
		}
	})
}

// run returns what went wrong.
func (all office) run(c *client) (problems []string) {
	host := c.merging()
	want := c.succeeds("embed", `{"model":"words","input":[`+texts(6)+`]}`).vectors
	badWhen(host, refusing(400, "what is this?"), 6, 7)
	host.TokenTime(10 * time.Millisecond)
	answers, ended := make([]answer, len(all)), make([]time.Duration, len(all))
	var calls sync.WaitGroup
	for i, v := range all {
		calls.Go(func() {
			time.Sleep(v.At)
			ctx, cancel := context.WithCancel(c.t.Context())
			defer cancel()
			if v.Leaves > 0 {
				time.AfterFunc(v.Leaves, cancel)
			}
			began := time.Now()
			answers[i] = c.as(person(fmt.Sprint("caller ", i%3))).call(ctx, "embed", oneText(fmt.Sprint("text ", v.Text), ""))
			ended[i] = time.Since(began)
		})
	}
	calls.Wait()
	for i, v := range all {
		a, isOK := answers[i], false
		switch a.code() {
		case "":
			isOK = v.Text < 6 && slices.Equal(a.vectors[0], want[v.Text])
		case "cancelled":
			isOK = v.Leaves > 0 && ended[i] == v.Leaves
		case "invalid_argument":
			isOK = v.Text >= 6
		}
		if !isOK || v.Leaves > 0 && ended[i] > v.Leaves {
			problems = append(problems, fmt.Sprintf("caller %d, %+v, after %v: %v", i, v, ended[i], a))
		}
	}
	return problems
}
