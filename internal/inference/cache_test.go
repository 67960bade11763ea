package inference_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/inference"
	"ollama-mcp/pool"
)

func TestIdenticalRequestIsACacheHit(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Answer("yes").TokenTime(time.Second))
		first := c.succeeds("generate", `{"model":"tiny","prompt":"?","options":{"seed":1,"top_k":2}}`)
		time.Sleep(90 * time.Second)
		began := time.Now()
		again := c.succeeds("generate", `{"options":{"top_k":2,"seed":1.0},"prompt":"?","model":"tiny:latest"}`)
		if time.Since(began) != 0 || again.text != "yes" || len(host.Calls()) != 1 {
			t.Errorf("took %v and %d calls: %+v", time.Since(began), len(host.Calls()), again)
		}
		if s := again.served; s.Source != inference.Cached || s.Age != 90 || s.Host != "gpu-1" {
			t.Errorf("served: %v", s)
		}
		if s := again.served; first.served.FirstToken == 0 || s.FirstToken != 0 || *s.Load != 0 || s.Queue != 0 {
			t.Errorf("it is said to have waited as the first did: %v, and first: %v", s, first.served)
		}
		if !strings.Contains(again.notes, `cached answer, 90 s old. For a new one call again with cache "refresh".`) {
			t.Errorf("the reader is not told: %+v", again)
		}
		time.Sleep(9 * time.Minute)
		c.succeeds("generate", `{"model":"tiny","prompt":"?","options":{"seed":1,"top_k":2}}`)
		if n := len(host.Calls()); n != 2 {
			t.Errorf("after its time: %d calls, want 2", n)
		}
	})
}

func TestRequestThatDiffersInAnythingIsACacheMiss(t *testing.T) {
	digest := "one"
	cacheStory(t, func(t *testing.T, c *client) {
		c.opts.Digest = func(context.Context, string) string { return digest }
		host := c.use(backendtest.New("gpu-1").Answer(`{"a":1}`))
		c.succeeds("generate", `{"model":"tiny","prompt":"?"}`)
		n := 1
		asksAnew := func(what string, c *client, args string) {
			t.Helper()
			c.succeeds("generate", args)
			if n++; len(host.Calls()) != n {
				t.Errorf("%s: answered from what is kept", what)
				n = len(host.Calls())
			}
		}
		for _, args := range []string{
			`{"model":"tiny","prompt":"?!"}`,
			`{"model":"tiny","prompt":"?","system":"be brief"}`,
			`{"model":"tiny","prompt":"?","raw":true}`,
			`{"model":"tiny","prompt":"?","options":{"temperature":0}}`,
			`{"model":"tiny","prompt":"?","think":false}`,
			`{"model":"tiny","prompt":"?","format":"json"}`,
			`{"model":"tiny","prompt":"?","truncate":true}`,
			`{"model":"tiny","prompt":"?","fallback_models":["small"]}`,
			`{"model":"tiny","prompt":"?","local_only":true}`,
			`{"model":"tiny","prompt":"?","host":"gpu-1"}`,
			`{"model":"tiny","prompt":"?","cache":"off"}`,
			`{"model":"tiny","prompt":"?","cache":"refresh"}`,
		} {
			asksAnew(args, c, args)
		}
		asksAnew("a caller of whom nothing may leave for a cloud", c.as(caller.Caller{LocalOnly: true}), `{"model":"tiny","prompt":"?","system":"be kind"}`)
		asksAnew("a caller of whom it may", c.as(caller.Caller{}), `{"model":"tiny","prompt":"?","system":"be kind"}`)
		asksAnew("another tenant", c.as(caller.Caller{Tenant: "b"}), `{"model":"tiny","prompt":"?"}`)
		digest = "two"
		asksAnew("another model of that name", c, `{"model":"tiny","prompt":"?"}`)
		digest = ""
		for range 2 {
			asksAnew("a model that is not known to be installed", c, `{"model":"tiny","prompt":"?"}`)
		}
	})
}

func TestOnlyCompleteAnswersAreCached(t *testing.T) {
	for name, reply := range map[string]backendtest.Reply{
		"cut":             {Text: "one", DoneReason: "length"},
		"calls for tools": {ToolCalls: make([]backend.ToolCall, 1)},
	} {
		cacheStory(t, func(t *testing.T, c *client) {
			host := c.use(backendtest.New("gpu-1").AnswerWith(func(backendtest.Call) backendtest.Reply { return reply }))
			for range 2 {
				c.succeeds("chat", `{"model":"tiny","messages":[{"role":"user","content":"?"}]}`)
			}
			if n := len(host.Calls()); n != 2 {
				t.Errorf("%s: %d calls, want 2", name, n)
			}
		})
	}
	cacheStory(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Answer("yes").FailWhen(func(backendtest.Call) backendtest.Fault {
			return backendtest.Refuse(400, "no")
		}))
		c.fails("generate", `{"model":"tiny","prompt":"?"}`, "invalid_argument")
		host.Mend()
		c.succeeds("generate", `{"model":"tiny","prompt":"?"}`)
	})
}

func TestAnswerOfALaterRungIsNotCached(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		host, _ := c.ladder()
		failing(host, backendtest.Refuse(500, "internal error"), "big")
		c.succeeds("generate", askPro)
		host.Mend()
		time.Sleep(time.Minute)
		if a := c.succeeds("generate", askPro); a.served.Model != "big" || a.served.Source != "local" {
			t.Errorf("got %v", a.served)
		}
	})
}

func TestDeterministicModeCachesOnlyDeterministicRequests(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		c.opts.CacheMode = "deterministic"
		host := c.use(backendtest.New("gpu-1").Answer("yes"))
		for i, args := range []string{
			`{"model":"tiny","prompt":"?"}`, `{"model":"tiny","prompt":"?","options":{"temperature":0}}`, `{"model":"tiny","prompt":"?","options":{"seed":3}}`,
		} {
			asked := len(host.Calls())
			c.succeeds("generate", args)
			c.succeeds("generate", args)
			if kept := len(host.Calls())-asked == 1; kept != (i > 0) {
				t.Errorf("%s: kept %v", args, kept)
			}
		}
	})
}

func TestAutoModeCachesAllButRequestsThatAskForChance(t *testing.T) {
	for options, kept := range map[string]bool{
		``:                                   true,
		`"num_ctx":2048,"num_predict":10`:    true,
		`"temperature":0`:                    true,
		`"temperature":0,"top_p":0.9`:        true, // the most likely token, whatever else is set
		`"temperature":1,"seed":7`:           true,
		`"top_p":0.9,"seed":0`:               true,
		`"mirostat":0`:                       true, // off
		`"repeat_penalty":1.2,"stop":["\n"]`: true,
		`"temperature":0.1`:                  false,
		`"temperature":1`:                    false,
		`"top_p":0.9`:                        false,
		`"top_k":40`:                         false,
		`"min_p":0.05`:                       false,
		`"mirostat":2`:                       false,
	} {
		for mode, kept := range map[string]bool{"auto": kept, "all": true} {
			cacheStory(t, func(t *testing.T, c *client) {
				c.opts.CacheMode = mode
				host := c.use(backendtest.New("gpu-1").Version("0.40.0").Answer("an answer")) // newer, since Ollama has no mirostat now
				args := `{"model":"tiny","prompt":"?","options":{` + options + `}}`
				c.succeeds("generate", args)
				a := c.succeeds("generate", args)
				if (a.served.Source == inference.Cached) != kept || (len(host.Calls()) == 1) != kept {
					t.Errorf("%s, {%s}: the second is from %s after %d calls, want cached: %v", mode, options, a.served.Source, len(host.Calls()), kept)
				}
			})
		}
	}
}

func TestCallsThatAskForChanceGetAnswersOfTheirOwnInParallel(t *testing.T) {
	for _, mode := range []string{"auto", "all"} {
		for args, own := range map[string]bool{
			`{"model":"tiny","prompt":"?","options":{"temperature":1}}`:          true,
			`{"model":"tiny","prompt":"?","options":{"top_p":0.5}}`:              true,
			`{"model":"tiny","prompt":"?","cache":"refresh"}`:                    true,
			`{"model":"tiny","prompt":"?","options":{"temperature":1,"seed":3}}`: false,
			`{"model":"tiny","prompt":"?"}`:                                      false,
		} {
			cacheStory(t, func(t *testing.T, c *client) {
				c.opts.CacheMode = mode
				var n atomic.Int64
				host := backendtest.New("gpu-1").TokenTime(time.Second).AnswerWith(func(backendtest.Call) backendtest.Reply {
					return backendtest.Reply{Text: fmt.Sprint("answer-", n.Add(1))}
				})
				c.useAll(pool.Options{Slots: 5, Queue: 5, PerCaller: 5}, host)
				var all sync.WaitGroup
				var texts sync.Map
				var shared atomic.Int64
				for range 5 {
					all.Go(func() {
						a := c.succeeds("generate", args)
						texts.Store(a.text, true)
						if a.served.Source == inference.Coalesced {
							shared.Add(1)
						}
					})
				}
				all.Wait()
				different := 0
				texts.Range(func(any, any) bool { different++; return true })
				want := map[bool]int{true: 5, false: 1}[own]
				if got := len(host.Calls()); got != want || different != want || int(shared.Load()) != 5-want {
					t.Errorf("%s, %s: the host was asked %d times for %d answers, %d are shared, want %d calls", mode, args, got, different, shared.Load(), want)
				}
			})
		}
	}
}

func TestSharedAnswerSaysSo(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").TokenTime(time.Second).Answer("one"))
		var all sync.WaitGroup
		var shared, own atomic.Int64
		for range 3 {
			all.Go(func() {
				switch a := c.succeeds("generate", `{"model":"tiny","prompt":"?"}`); {
				case a.served.Source == inference.Coalesced && strings.Contains(a.notes, "shared with it"):
					shared.Add(1)
				case a.served.Source == inference.Local && a.notes == "":
					own.Add(1)
				default:
					t.Errorf("from %s, notes %q", a.served.Source, a.notes)
				}
			})
		}
		all.Wait()
		if shared.Load() != 2 || own.Load() != 1 || len(host.Calls()) != 1 {
			t.Errorf("%d shared, %d own, %d calls", shared.Load(), own.Load(), len(host.Calls()))
		}
	})
}

// replies is a host that gives these replies, one after another, and the last for ever.
func replies(all ...backendtest.Reply) *backendtest.Host {
	var n atomic.Int64
	return backendtest.New("gpu-1").AnswerWith(func(backendtest.Call) backendtest.Reply {
		return all[min(int(n.Add(1)), len(all))-1]
	})
}

func TestAnswerThatIsOfNoUseIsNotCached(t *testing.T) {
	whole := backendtest.Reply{Text: "Paris"}
	for name, useless := range map[string]backendtest.Reply{
		"empty":            {},
		"only thoughts":    {Thinking: "hm, I wonder"},
		"a line break":     {Text: "\n"},
		"no-break spaces":  {Text: "\u00a0\u202f\u3000"},
		"zero-width":       {Text: "\u200b\u200d\ufeff\u2060"},
		"direction marks":  {Text: "\u200e\u202e\u2066"},
		"soft hyphen":      {Text: "\u00ad"},
		"hangul filler":    {Text: "\u3164\u115f"},
		"blank braille":    {Text: "\u2800"},
		"control":          {Text: "\x00\x1b\x7f"},
		"variation":        {Text: "\ufe0f\ufe00"},
		"line separators":  {Text: "\u2028\u2029"},
		"spaces, thoughts": {Text: "   ", Thinking: "hm"},
	} {
		cacheStory(t, func(t *testing.T, c *client) {
			host := c.use(replies(useless, whole))
			const args = `{"model":"tiny","prompt":"capital of France?"}`
			if a := c.succeeds("generate", args); !strings.Contains(a.notes, "answer is empty") {
				t.Errorf("%s: the caller is not told: %v", name, a)
			}
			for _, source := range []inference.Source{inference.Local, inference.Cached} {
				if a := c.succeeds("generate", args); a.text != "Paris" || a.served.Source != source {
					t.Errorf("%s: got %v, want Paris from %s", name, a, source)
				}
			}
			if n := len(host.Calls()); n != 2 {
				t.Errorf("%s: %d calls, want 2", name, n)
			}
		})
	}
}

func TestAnswerThatDoesNotFitItsFormatIsNotCached(t *testing.T) {
	const schema = `{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}`
	for name, c := range map[string]struct{ format, bad string }{
		"no JSON":        {schema, "Paris"},
		"wrong type":     {schema, `{"n":"four"}`},
		"missing member": {schema, `{"m":4}`},
		"JSON mode":      {`"json"`, "{"},
		"cut":            {schema, `{"n":4`},
	} {
		cacheStory(t, func(t *testing.T, cl *client) {
			bad := backendtest.Reply{Text: c.bad}
			cl.use(replies(bad, bad, backendtest.Reply{Text: `{"n":4}`})) // a misfit is repaired once
			args := `{"model":"tiny","prompt":"2+2?","format":` + c.format + `}`
			cl.fails("generate", args, "upstream", "does not fit the format")
			for _, source := range []inference.Source{inference.Local, inference.Cached} {
				if a := cl.succeeds("generate", args); fmt.Sprint(a.data) != "map[n:4]" || a.served.Source != source {
					t.Errorf("%s: got %v, want 4 from %s", name, a, source)
				}
			}
		})
	}
}

func TestRungThatAnswersNothingIsLeftForTheNext(t *testing.T) {
	for name, useless := range map[string]backendtest.Reply{
		"empty": {}, "thoughts": {Thinking: "hm"}, "blank": {Text: " \u200b\n"}, "cut thoughts": {Thinking: "hm", DoneReason: "length"},
	} {
		story(t, func(t *testing.T, c *client) {
			host, cloud := c.ladder()
			host.AnswerWith(func(call backendtest.Call) backendtest.Reply {
				if strings.HasPrefix(call.Model, "big") {
					return useless
				}
				return backendtest.Reply{Text: "small's"}
			})
			a := c.succeeds("generate", `{"model":"pro","prompt":"?"}`)
			if a.text != "small's" || a.served.Rung != 2 || !strings.Contains(fmt.Sprint(a.served.Passed), "big (answered nothing)") {
				t.Errorf("%s: got %v", name, a)
			}
			host.AnswerWith(func(backendtest.Call) backendtest.Reply { return useless })
			cloud.AnswerWith(func(backendtest.Call) backendtest.Reply { return useless })
			if a := c.succeeds("generate", `{"model":"pro","prompt":"again?"}`); a.served.Model != "big" || !strings.Contains(a.notes, "answer is empty") {
				t.Errorf("%s, of all: got %v", name, a)
			}
			cloud.FailWhen(func(backendtest.Call) backendtest.Fault { return backendtest.Busy })
			c.fails("generate", `{"model":"pro","prompt":"once more?"}`, "upstream", "big (answered nothing)", "openai/gpt (")
		})
	}
}

func TestInvisibleCharactersAreRemovedFromEveryAnswer(t *testing.T) {
	const dirty, want = "a\x1b[31m \u202eb \U000E0041c", "a[31m b c"
	cacheStory(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1").Answer(dirty).TokenTime(10 * time.Second))
		var all sync.WaitGroup
		for _, args := range []string{`"prompt":"?"`, `"prompt":"?"`, `"prompt":"?","cache":"off"`} {
			all.Go(func() {
				if a := c.succeeds("generate", `{"model":"tiny",`+args+`}`); a.text != want {
					t.Errorf("%s: got %q from %v", args, a.text, a.served.Source)
				}
			})
		}
		all.Wait()
		a := c.succeeds("generate", `{"model":"tiny","prompt":"?"}`)
		if a.text != want || a.served.Source != "cache" {
			t.Errorf("got %q from %v", a.text, a.served.Source)
		}
		a = c.succeeds("generate", `{"model":"tiny","prompt":"another","timeout_seconds":25}`)
		if text := a.text; text == "" || !strings.HasPrefix(want, text) {
			t.Errorf("of an answer that was cut: got %q", text)
		}
	})
}

func TestIdenticalRequestsInFlightAreCoalesced(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Answer("yes").FirstTokenTime(10 * time.Second))
		sources := map[inference.Source]int{}
		var mu sync.Mutex
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				a := c.succeeds("generate", `{"model":"tiny","prompt":"?"}`)
				mu.Lock()
				defer mu.Unlock()
				sources[a.served.Source]++
			})
		}
		all.Wait()
		if len(host.Calls()) != 1 || sources["local"] != 1 || sources["coalesced"] != 999 {
			t.Errorf("%d calls; sources %v", len(host.Calls()), sources)
		}
	})
}

func TestCancelledCallDoesNotEndTheSharedFlight(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Answer("one two three").FirstTokenTime(20 * time.Second).TokenTime(time.Second))
		ctx, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if a := c.call(ctx, "generate", `{"model":"tiny","prompt":"?"}`); a.code() != "cancelled" {
				t.Errorf("who left: %+v", a)
			}
		})
		synctest.Wait()
		all.Go(func() {
			if a := c.succeeds("generate", `{"model":"tiny","prompt":"?"}`); a.text != "one two three" {
				t.Errorf("who stayed: %+v", a)
			}
		})
		all.Go(func() { // whose time is over when a part has come
			a := c.succeeds("generate", `{"model":"tiny","prompt":"?","timeout_seconds":21.5}`)
			if !strings.HasPrefix("one two three", a.text) || a.served.DoneReason != "timeout" || a.served.Source != "coalesced" {
				t.Errorf("whose time is over: %+v", a)
			}
		})
		time.Sleep(5 * time.Second)
		leave()
		all.Wait()
		if n := len(host.Calls()); n != 1 {
			t.Errorf("%d calls, want 1", n)
		}
	})
}

func TestLastCallerToLeaveCancelsTheRequest(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Answer("yes").FirstTokenTime(time.Hour))
		ctx, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() { c.call(ctx, "generate", `{"model":"tiny","prompt":"?"}`) })
		}
		synctest.Wait()
		leave()
		all.Wait()
		if err := host.Wait(t.Context(), func(s backendtest.Stats) bool { return s.Left == 1 }); err != nil {
			t.Error(err)
		}
	})
}

func TestOnlyTextsThatAreNotCachedAreEmbedded(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "words", Dimensions: 8}))
		texts := make([]string, 100)
		for i := range texts {
			texts[i] = fmt.Sprintf("%q", fmt.Sprint("text ", i))
		}
		embed := func(texts []string) answer {
			t.Helper()
			return c.succeeds("embed", `{"model":"words","input":[`+strings.Join(texts, ",")+`]}`)
		}
		embed(texts[1:])
		asked := len(host.Calls())
		all := embed(texts)
		if n := len(host.Calls()) - asked; n != 1 || len(all.vectors) != 100 {
			t.Errorf("99 of 100 were known: %d calls, %d vectors", n, len(all.vectors))
		}
		c.useAll(pool.Options{}, backendtest.New("gpu-2").Install(backendtest.Model{Name: "words", Dimensions: 8}))
		anew := embed(texts)
		for i, v := range all.vectors {
			if !slices.Equal(v, anew.vectors[i]) {
				t.Fatalf("vector %d is not that of its text", i)
			}
		}
	})
}

func TestEqualTextsOfARequestAreEmbeddedOnce(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1"))
		texts := strings.Repeat(`"same",`, 100) + `"other",` + strings.Repeat(`"same",`, 99) + `"same"`
		vectors := c.succeeds("embed", `{"model":"tiny","input":[`+texts+`],"cache":"off"}`).vectors
		if len(vectors) != 201 || len(host.Calls()) != 1 {
			t.Fatalf("%d vectors of %d requests, want 201 of one", len(vectors), len(host.Calls()))
		}
		for i, v := range vectors {
			if same := slices.Equal(v, vectors[0]); same != (i != 100) {
				t.Errorf("vector %d: equal to the first: %v", i, same)
			}
		}
	})
}

func TestVectorIsACacheMissIfAnythingButTheTextDiffers(t *testing.T) {
	digest := "one"
	for name, tc := range map[string]struct {
		change func(*client)
		args   string
		anew   bool
	}{
		"nothing":           {nil, ``, false},
		"the dimensions":    {nil, `,"dimensions":4`, true},
		"an option":         {nil, `,"options":{"num_ctx":512}`, true},
		"the host":          {nil, `,"host":"gpu-1"`, true},
		"that it is off":    {nil, `,"cache":"off"`, true},
		"that it is new":    {nil, `,"cache":"refresh"`, true},
		"the tenant":        {func(c *client) { c.who.Tenant = "b" }, ``, true},
		"the model's files": {func(*client) { digest = "two" }, ``, true},
	} {
		cacheStory(t, func(t *testing.T, c *client) {
			digest = "one"
			c.opts.Digest = func(context.Context, string) string { return digest }
			host := c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "words", Dimensions: 8}))
			c.succeeds("embed", `{"model":"words","input":["a text"]}`)
			if tc.change != nil {
				tc.change(c)
			}
			c.succeeds("embed", `{"model":"words","input":["a text"]`+tc.args+`}`)
			if anew := len(host.Calls()) == 2; anew != tc.anew {
				t.Errorf("%s: embedded anew: %v, want %v", name, anew, tc.anew)
			}
		})
	}
}

func TestCacheModeOffCachesNoVectors(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		c.opts.CacheMode = "off"
		host := c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "words", Dimensions: 8}))
		for range 2 {
			c.succeeds("embed", `{"model":"words","input":["a text"]}`)
		}
		if n := len(host.Calls()); n != 2 {
			t.Errorf("%d calls, want 2", n)
		}
	})
}

func TestToolsAndCallsThatDifferInADigitAreOtherQuestions(t *testing.T) {
	const ask = `{"model":"tiny","messages":[{"role":"user","content":"?"}`
	for name, args := range map[string]string{
		"an argument of a call":  ask + `,{"role":"assistant","tool_calls":[{"function":{"name":"a","arguments":{"id":123456789012345678%d}}}]},{"role":"tool","content":"r"}]}`,
		"a member beside a call": ask + `,{"role":"assistant","tool_calls":[{"function":{"name":"a","arguments":{}},"extra_content":{"sign":%d}}]},{"role":"tool","content":"r"}]}`,
		"a limit in a schema":    ask + `],"tools":[{"type":"function","function":{"name":"a","parameters":{"type":"object","properties":{"n":{"minimum":%d}}}}}]}`,
		"a definition":           ask + `],"tools":[{"type":"function","function":{"name":"a","parameters":{"$ref":"#/$defs/x","$defs":{"x":{"const":%d}}}}}]}`,
	} {
		cacheStory(t, func(t *testing.T, c *client) {
			host := c.use(backendtest.New("gpu-1").Answer("42"))
			for i := range 6 {
				c.succeeds("chat", fmt.Sprintf(args, i%3))
			}
			if n := len(host.Calls()); n != 3 {
				t.Errorf("%s: the host was asked %d times, want 3", name, n)
			}
		})
	}
}

// Numbers of 64 bits are those of ids, and every member of a schema changes what a model calls.
func TestConversationsAndToolsThatDifferInTheLeastDoNotShareAnAnswer(t *testing.T) {
	const (
		call   = `"messages":[{"role":"user","content":"?"},{"role":"assistant","tool_calls":[%s]},{"role":"tool","tool_name":"f","content":"ok"}]`
		tool   = `"messages":[{"role":"user","content":"?"}],"tools":[%s]`
		schema = `{"type":"function","function":{"name":"f","parameters":%s}}`
	)
	for _, c := range []struct{ of, a, b string }{
		{call, `{"function":{"name":"f","arguments":{"id":1234567890123456789}}}`, `{"function":{"name":"f","arguments":{"id":1234567890123456790}}}`},
		{call, `{"function":{"name":"f","arguments":{"id":9007199254740993}}}`, `{"function":{"name":"f","arguments":{"id":9007199254740992}}}`},
		{call, `{"function":{"name":"f","arguments":{"a":{"ids":[18446744073709551615]}}}}`, `{"function":{"name":"f","arguments":{"a":{"ids":[18446744073709551614]}}}}`},
		{call, `{"function":{"name":"f","arguments":{}},"extra_content":{"s":"a"}}`, `{"function":{"name":"f","arguments":{}},"extra_content":{"s":"b"}}`},
		{call, `{"function":{"name":"f","arguments":{}}}`, `{"function":{"name":"f","arguments":{}},"signature":9007199254740993}`},
		{tool, `{"type":"object","properties":{"n":{"type":"integer","minimum":1}}}`, `{"type":"object","properties":{"n":{"type":"integer","minimum":2}}}`},
		{tool, `{"type":"object","properties":{"n":{"maximum":1234567890123456789}}}`, `{"type":"object","properties":{"n":{"maximum":1234567890123456788}}}`},
		{tool, `{"type":"object","properties":{"n":{"$ref":"#/$defs/a"}}}`, `{"type":"object","properties":{"n":{"$ref":"#/$defs/b"}}}`},
		{tool, `{"type":"object","properties":{}}`, `{"type":"object","properties":{},"additionalProperties":false}`},
		{tool, `{"type":"object","properties":{"a":{},"b":{}}}`, `{"type":"object","properties":{"b":{},"a":{}}}`}, // models fill them in in this order
	} {
		cacheStory(t, func(t *testing.T, cl *client) {
			host := cl.use(backendtest.New("gpu-1").Answer("an answer"))
			ask := func(part string) inference.Source {
				if c.of == tool {
					part = fmt.Sprintf(schema, part)
				}
				return cl.succeeds("chat", `{"model":"tiny",`+fmt.Sprintf(c.of, part)+`}`).served.Source
			}
			sources := []inference.Source{ask(c.a), ask(c.b), ask(c.a), ask(c.b)}
			want := []inference.Source{inference.Local, inference.Local, inference.Cached, inference.Cached}
			if !slices.Equal(sources, want) || len(host.Calls()) != 2 {
				t.Errorf("%s and %s: the answers are from %v, want %v", c.a, c.b, sources, want)
			}
		})
	}
}
