package inference_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

const embedWords = `{"model":"words","input":["one","two"]`

// sameAs makes an engine with a host that has the model words, and two providers of which
// the settings say that they have the same one: lan, which is no cloud, and openai.
func (c *client) sameAs(names ...string) (host, lan, cloud *backendtest.Host) {
	c.t.Helper()
	words := backendtest.Model{Name: "words", Dimensions: 8}
	host = backendtest.New("gpu-1").Install(words)
	lan, cloud = backendtest.New("lan").Install(words), backendtest.New("openai").Install(words)
	ladders, err := route.NewLadders(nil, nil, map[string]bool{"lan": false, "openai": true})
	if err != nil {
		c.t.Fatal(err)
	}
	c.set(&inference.Settings{
		Ladders: ladders, Models: map[string]inference.ForModel{"words:latest": {SameAs: names}},
		Providers: map[string]inference.Lender{"lan": c.pool(pool.Options{}, lan), "openai": c.pool(pool.Options{}, cloud)},
	})
	c.useAll(pool.Options{}, host)
	return host, lan, cloud
}

func TestEmbedFallsBackOnAProviderWithTheSameModel(t *testing.T) {
	for name, tc := range map[string]struct {
		same   []string
		model  string
		source inference.Source
		passed int
	}{
		"a cloud":          {[]string{"openai/words"}, "openai/words", inference.Cloud, 1},
		"one of the house": {[]string{"lan/words"}, "lan/words", inference.Local, 1},
		"the first of two": {[]string{"lan/words", "openai/words"}, "lan/words", inference.Local, 1},
		"the one that can": {[]string{"lan/absent", "openai/words"}, "openai/words", inference.Cloud, 2},
	} {
		story(t, func(t *testing.T, c *client) {
			host, _, _ := c.sameAs(tc.same...)
			own := c.succeeds("embed", embedWords+`}`)
			if s := own.served; s.Model != "words" || s.Host != "gpu-1" || s.Source != inference.Local || s.Passed != nil || own.notes != "" {
				t.Errorf("%s: while its own host can: %v", name, own)
			}
			host.Down()
			a := c.succeeds("embed", embedWords+`}`)
			s, provider := a.served, strings.TrimSuffix(tc.model, "/words")
			if s.Model != tc.model || s.Requested != "words" || s.Host != provider || s.Source != tc.source || s.Rung != tc.passed+1 || len(s.Passed) != tc.passed {
				t.Errorf("%s: served %+v", name, s)
			}
			if !strings.Contains(a.notes, "Embedded by "+tc.model+" instead of words (gpu-1: unreachable") {
				t.Errorf("%s: the note says %q", name, a.notes)
			}
			if !slices.EqualFunc(a.vectors, own.vectors, slices.Equal) {
				t.Errorf("%s: got other vectors than those of the own host", name)
			}
		})
	}
}

func TestEmbedLeavesForNoProviderWhereThatIsForbidden(t *testing.T) {
	both := []string{"openai/words", "lan/words"}
	for name, tc := range map[string]struct {
		same       []string
		who        caller.Caller
		noCloud    bool
		args       string
		served     string // by which provider; "" for an error
		cloudCalls int
	}{
		"nothing is the same":        {args: `}`},
		"local_only":                 {same: both, args: `,"local_only":true}`, served: "lan/words"},
		"local_only, and no other":   {same: both[:1], args: `,"local_only":true}`},
		"a key that is local only":   {same: both[:1], who: caller.Caller{ID: "ci", LocalOnly: true}, args: `}`},
		"--no-cloud":                 {same: both[:1], noCloud: true, args: `}`},
		"--no-cloud and a local one": {same: both, noCloud: true, args: `}`, served: "lan/words"},
		"a host is named":            {same: both, args: `,"host":"gpu-1"}`},
		"a provider that is unknown": {same: []string{"gone/words"}, args: `}`},
		"it may":                     {same: both[:1], args: `}`, served: "openai/words", cloudCalls: 1},
	} {
		story(t, func(t *testing.T, c *client) {
			c.opts.NoCloud = tc.noCloud
			host, _, cloud := c.sameAs(tc.same...)
			host.Down()
			a := c.as(tc.who).call(t.Context(), "embed", embedWords+tc.args)
			refused := a.code() == "no_host" && !strings.Contains(a.text, "openai")
			if tc.served == "" && !refused || tc.served != "" && a.served.Model != tc.served {
				t.Errorf("%s: got %v, want %q", name, a, tc.served)
			}
			if n := len(cloud.Calls()); n != tc.cloudCalls {
				t.Errorf("%s: %d requests left for the cloud, want %d", name, n, tc.cloudCalls)
			}
		})
	}
}

// A request may be answered elsewhere only if the host is to blame for the failure.
func TestEmbedRequestThatNoModelCanCureLeavesForNoProvider(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host, _, cloud := c.sameAs("openai/words")
		host.FailWhen(func(backendtest.Call) backendtest.Fault { return backendtest.Refuse(400, "what is this?") })
		c.fails("embed", embedWords+`}`, "invalid_argument", "what is this?")
		host.FailWhen(func(backendtest.Call) backendtest.Fault { return backendtest.Hang })
		c.fails("embed", embedWords+`,"timeout_seconds":5}`, "timeout")
		if n := len(cloud.Calls()); n != 0 {
			t.Errorf("%d requests left for the cloud", n)
		}
	})
}

func TestErrorOfAnEmbedRequestNamesTheReasonOfEachRung(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host, _, cloud := c.sameAs("openai/words")
		host.Down()
		cloud.FailWhen(func(backendtest.Call) backendtest.Fault { return backendtest.Refuse(401, "who are you?") })
		c.fails("embed", embedWords+`}`, "no_host", "words (gpu-1: unreachable", "openai/words (openai: unauthorized: who are you?", "ollama serve")
	})
}

// The operator's word that two models are the same is good for a call, and not for all
// that follow.
func TestVectorsOfAProviderAreNotCachedAsThoseOfTheOwnModel(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		host, _, cloud := c.sameAs("openai/words")
		c.succeeds("embed", `{"model":"words","input":["one"]}`)
		host.Down()
		a := c.succeeds("embed", embedWords+`}`)
		if n := len(cloud.Calls()); n != 1 || a.served.Model != "openai/words" || cloud.Calls()[0].Prompt != "two" {
			t.Errorf("%d requests to the cloud, want one with the text that is not cached: %v", n, a)
		}
		host.Mend()
		time.Sleep(time.Minute) // the rest of the host
		a = c.succeeds("embed", embedWords+`}`)
		if calls := host.Calls(); len(calls) != 2 || calls[1].Prompt != "two" || a.served.Source != inference.Local || a.served.Model != "words" {
			t.Errorf("the own host got %d requests, want one more, with the text of the cloud: %v", len(calls), a)
		}
		if a := c.succeeds("embed", embedWords+`}`); a.served.Source != inference.Cached {
			t.Errorf("now both are cached: %v", a)
		}
	})
}

func TestProviderEmbedsWhatTheOwnHostHasNot(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host, _, cloud := c.sameAs("openai/words")
		host.FailWhen(func(call backendtest.Call) backendtest.Fault {
			if call.Prompt == "text 32" {
				return backendtest.Refuse(500, "internal error")
			}
			return nil
		})
		var texts []string
		for i := range 70 { // three batches
			texts = append(texts, fmt.Sprintf(`"text %d"`, i))
		}
		a := c.succeeds("embed", `{"model":"words","input":[`+strings.Join(texts, ",")+`]}`)
		if slices.ContainsFunc(a.vectors, func(v []float32) bool { return len(v) != 8 }) || len(a.vectors) != 70 {
			t.Errorf("got %v", a)
		}
		if calls := cloud.Calls(); len(calls) != 1 || calls[0].Prompt != "text 32" {
			t.Errorf("the cloud got %d requests, want the one of the second batch", len(calls))
		}
	})
}

// Ollama makes vectors with any model, and says nothing about their use.
func TestVectorsOfAModelThatIsNotForEmbeddingSaySo(t *testing.T) {
	for name, tc := range map[string]struct {
		can   []string
		notes bool
	}{
		"for text":       {[]string{"completion", "tools"}, true},
		"for embedding":  {[]string{"embedding"}, false},
		"for both":       {[]string{"completion", "embedding"}, false},
		"no list at all": {[]string{}, false},
	} {
		story(t, func(t *testing.T, c *client) {
			c.shares = true
			c.opts.Digest = func(context.Context, string) string { return "sha256:" + name }
			c.opts.Listed = func(string, string) (backend.Model, bool) { return backend.Model{Digest: "sha256:" + name}, true }
			host := c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "m", Capabilities: tc.can}))
			for call := range 2 { // the second from the cache, if that is on
				a := c.succeeds("embed", `{"model":"m","input":["one","two"]}`)
				if strings.Contains(a.notes, "m is not listed as an embedding model") != tc.notes || !tc.notes && a.notes != "" {
					t.Errorf("%s, call %d: got the note %q", name, call, a.notes)
				}
			}
			if n := len(host.Calls()); c.cacheOff && n != 2 || !c.cacheOff && n != 1 {
				t.Errorf("%s: the host was asked %d times", name, n)
			}
		})
	}
}

func TestEmbedPassesAHostThatAsksToBeLeftAloneAndWaitsForItInTheEnd(t *testing.T) {
	for wait, passed := range map[string]bool{"0.5": false, "5": true, "40": true} {
		story(t, func(t *testing.T, c *client) {
			host, lan, _ := c.sameAs("lan/words")
			for _, status := range []int{429, 503} {
				host.Fail(1, backendtest.Refuse(status, "slow down", "Retry-After", wait))
				began := time.Now()
				a := c.succeeds("embed", embedWords+`}`)
				if took := time.Since(began); (a.served.Model == "lan/words") != passed || took > time.Second {
					t.Errorf("%s s, %d: after %v: %v", wait, status, took, a)
				}
				time.Sleep(time.Minute)
			}
			if !passed {
				return
			}
			lan.Down()
			host.Fail(1, backendtest.Refuse(429, "slow down", "Retry-After", wait))
			began := time.Now()
			a := c.succeeds("embed", embedWords+`}`)
			if s := a.served; s.Model != "words" || s.Rung != 0 || s.Passed != nil || s.Host != "gpu-1" || time.Since(began) < 4*time.Second {
				t.Errorf("%s s: after %v: %v", wait, time.Since(began), a)
			}
			host.Fail(1, backendtest.Refuse(429, "slow down", "Retry-After", wait))
			began = time.Now()
			a = c.fails("embed", embedWords+`,"timeout_seconds":4}`, "overloaded", "words", "lan/words")
			if took := time.Since(began); took > 2*time.Second || a.err.RetryAfter == 0 {
				t.Errorf("%s s: refused after %v: %v", wait, took, a)
			}
		})
	}
}

func TestEmbedCountsTheTimeBeforeAHostAnswersOnce(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "words", Capabilities: []string{"embedding"}}).Fail(3, backendtest.Refuse(503, "slow down", "Retry-After", "2")))
		began := time.Now()
		a := c.succeeds("embed", embedWords+`}`)
		if took := time.Since(began); a.served.Retries == 0 || a.served.Queue+a.served.Lost != took.Milliseconds() {
			t.Errorf("after %v and %d calls: %d ms in the queue, %d lost, %d retries", took, len(host.Calls()), a.served.Queue, a.served.Lost, a.served.Retries)
		}
	})
}

// slowly answers as the host would, after a second of work.
func slowly(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	time.Sleep(time.Second)
	next(w, r)
}

func TestBatchesOfAnEmbedCallAreSpreadOverFreeSlots(t *testing.T) {
	const batches = 9
	input := `{"model":"words","input":[` + texts(32*batches) + `]}`
	for name, tc := range map[string]struct {
		hosts int
		pool  pool.Options
		took  time.Duration // the first batch alone, then the others in rounds
	}{
		"one slot":         {1, pool.Options{Slots: 1}, 9 * time.Second},
		"two hosts":        {2, pool.Options{Slots: 1}, 5 * time.Second},
		"four hosts":       {4, pool.Options{Slots: 1}, 3 * time.Second},
		"four slots":       {1, pool.Options{Slots: 4}, 3 * time.Second},
		"no room to queue": {2, pool.Options{Slots: 1, Queue: 1}, 9 * time.Second},
	} {
		story(t, func(t *testing.T, c *client) {
			var hosts []*backendtest.Host
			for i := range tc.hosts {
				host := backendtest.New(fmt.Sprintf("gpu-%d", i)).Install(backendtest.Model{Name: "words", Dimensions: 8})
				host.FailWhen(func(backendtest.Call) backendtest.Fault { return slowly })
				hosts = append(hosts, host)
			}
			c.useAll(tc.pool, hosts...)
			began := time.Now()
			a := c.succeeds("embed", input)
			if took := time.Since(began).Truncate(time.Second); took > tc.took {
				t.Errorf("%s: took %v, want at most %v", name, took, tc.took)
			}
			asked := 0
			for _, host := range hosts {
				calls := host.Calls()
				if asked += len(calls); len(calls) == 0 {
					t.Errorf("%s: %s was given nothing", name, host.Name())
				}
			}
			if asked != batches || a.served.TokensIn == 0 {
				t.Errorf("%s: the hosts were asked %d times, want %d; %+v", name, asked, batches, a.served)
			}
			for i := 0; i < len(a.vectors); i += 50 { // in the order of the texts
				one := c.succeeds("embed", fmt.Sprintf(`{"model":"words","input":["text %d"],"cache":"refresh"}`, i))
				if !slices.Equal(a.vectors[i], one.vectors[0]) {
					t.Errorf("%s: text %d has the vector of another", name, i)
				}
			}
		})
	}
}

// The length of vectors is known once there is one, and so what all of a call take until it has ended.
func TestVectorsOfCallsUnderWayAreBoundAndLeaveTheHonestCallerItsShare(t *testing.T) {
	storyWith(t, &client{opts: inference.Options{VectorBytes: 1 << 20}}, func(t *testing.T, c *client) {
		host := backendtest.New("gpu-1").Install(backendtest.Model{Name: "words", Dimensions: 512}) // 8 KiB for each
		host.FailWhen(func(c backendtest.Call) backendtest.Fault {
			if !slices.Contains(inputsOf(c), "slow 59") {
				return nil
			}
			return func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
				time.Sleep(30 * time.Second)
				serve(w, r)
			}
		})
		c.useAll(pool.Options{Slots: 4}, host)
		hostile, honest := c.as(caller.Caller{ID: "hostile", Tenant: "hostile"}), c.as(caller.Caller{ID: "honest", Tenant: "honest"})
		embed := func(kind string, n int) string {
			all := make([]string, n)
			for i := range all {
				all[i] = fmt.Sprintf(`"%s %d"`, kind, i)
			}
			return `{"model":"words","input":[` + strings.Join(all, ",") + `]}`
		}
		first := make(chan answer)
		go func() { first <- hostile.call(t.Context(), "embed", embed("slow", 60)) }()
		synctest.Wait()
		hostile.fails("embed", embed("more", 20), "overloaded", "of your calls under way")
		hostile.fails("embed", embed("many", 65), "invalid_argument", "at most 64 texts in a call")
		honest.succeeds("embed", embed("few", 40))
		honest.succeeds("embed", embed("single", 1))
		if a := <-first; a.err != nil || len(a.vectors) != 60 {
			t.Errorf("the first got %v", a)
		}
		hostile.succeeds("embed", embed("later", 60))
	})
}
