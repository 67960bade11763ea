package inference_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

func TestPromptBeyondTheContextIsRefusedOrTruncatedAndNeverSilently(t *testing.T) {
	long := strings.Repeat("word ", 2000)
	for _, tc := range []struct {
		guard, args string
		want        string // a code, or how the note begins
	}{
		{"next-rung-or-refuse", ``, "context_too_long"},
		{"next-rung-or-refuse", `,"truncate":true`, "The prompt (about 2500 tokens) did not fit"},
		{"warn", ``, "The prompt (about 2500 tokens) did not fit"},
		{"warn", `,"truncate":false`, "context_too_long"},
		{"off", ``, "The prompt (about 2500 tokens) may have been cut"},
		{"off", `,"truncate":false`, "context_too_long"},
	} {
		story(t, func(t *testing.T, c *client) {
			c.opts.ContextGuard = tc.guard
			c.use(backendtest.New("gpu-1").Answer("yes").Install(backendtest.Model{Name: "small", Context: 256}))
			args := `{"model":"small","prompt":"` + long + `"` + tc.args + `}`
			if !strings.HasPrefix(tc.want, "The ") {
				c.fails("generate", args, tc.want, "about 2500 tokens, and the context 256", "send less, since the model takes no more than 256 tokens", "truncate")
				return
			}
			a := c.succeeds("generate", args)
			if a.notes == "" || !strings.HasPrefix(a.notes, tc.want) {
				t.Errorf("%s %s: got %+v, want %q", tc.guard, tc.args, a, tc.want)
			}
			if a := c.succeeds("generate", `{"model":"small","prompt":"short"}`); a.notes != "" {
				t.Errorf("%s: a prompt that fits: %+v", tc.guard, a)
			}
		})
	}
}

func TestTimeoutReturnsThePartialAnswer(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Answer(strings.Repeat("word ", 1000)).TokenTime(time.Second))
		began := time.Now()
		a := c.succeeds("generate", `{"model":"tiny","prompt":"?","timeout_seconds":10.5}`)
		if took := time.Since(began); took != 10500*time.Millisecond {
			t.Errorf("took %v", took)
		}
		if got := strings.Count(a.text, "word"); got != 10 {
			t.Errorf("%d words came, want the 10 that the host had sent", got)
		}
		if !strings.HasPrefix(a.notes, "The answer was cut by the time limit of 10.5s.") || a.served.DoneReason != "timeout" {
			t.Errorf("the cut is not said: %+v", a)
		}
		host.FirstTokenTime(time.Hour)
		c.fails("generate", `{"model":"tiny","prompt":"?"}`, "timeout")
		if took := time.Since(began); took != 65500*time.Millisecond {
			t.Errorf("the default limit: took %v, want 55s", took-10500*time.Millisecond)
		}
	})
}

func TestModelGoesOnLoadingAfterTheTimeoutOfItsRequest(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Answer("at last").LoadTime(2 * time.Minute))
		const args = `{"model":"tiny","prompt":"?","options":{"num_ctx":2048}}`
		for range 2 {
			a := c.fails("generate", args, "timeout", "it goes on loading")
			if a.err.Retryable != true {
				t.Errorf("got %+v", a)
			}
		}
		time.Sleep(time.Minute)
		began := time.Now()
		if a := c.succeeds("generate", args); a.text != "at last" || time.Since(began) > 20*time.Second {
			t.Errorf("after %v: %+v", time.Since(began), a)
		}
		if got := host.Stats().Loads; got != 1 {
			t.Errorf("loaded %d times", got)
		}
	})
}

func TestCancelReachesTheHostWhileItLoads(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").LoadTime(time.Minute))
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			time.Sleep(time.Second)
			cancel()
		}()
		began := time.Now()
		a := c.call(ctx, "generate", `{"model":"tiny","prompt":"?"}`)
		if a.code() != "cancelled" || time.Since(began) != time.Second {
			t.Errorf("after %v: %+v", time.Since(began), a)
		}
		synctest.Wait()
		if s := host.Stats(); s.InFlight != 0 || s.Left != 1 {
			t.Errorf("the host still works: %+v", s)
		}
	})
}

func TestFullQueueRefusesWithRetryAfter(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1").Answer("a b").TokenTime(5 * time.Second))
		const args = `{"model":"tiny","prompt":"?"}`
		for range 4 { // two are served, two wait
			go c.call(t.Context(), "generate", args)
		}
		synctest.Wait()
		a := c.fails("generate", args, "overloaded", "queue is full")
		if a.err.Retryable != true || a.err.RetryAfter < time.Second {
			t.Errorf("got %+v", a)
		}
		time.Sleep(time.Minute)
	})
}

func TestEveryHostFailureHasACodeAndTheNextRequestWorks(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Answer("one two three"))
		const args = `{"model":"tiny","prompt":"?"}`
		for _, tc := range []struct {
			name, code, words string
			fault             backendtest.Fault
		}{
			{"busy", "overloaded", "server busy", backendtest.Busy},
			{"a wait asked for", "overloaded", "slow down", backendtest.Refuse(429, "slow down", "Retry-After", "7")},
			{"no key", "unauthorized", "OLLAMA_API_KEY", backendtest.Refuse(401, "who are you")},
			{"garbage", "upstream", "gpu-1", backendtest.Garbage},
			{"the page of a proxy", "upstream", "gpu-1", backendtest.HTML},
			{"nothing", "upstream", "gpu-1", backendtest.Empty},
			{"an error for an answer", "upstream", "internal error", backendtest.ErrorLine("internal error")},
			{"a reset", "no_host", "gpu-1", backendtest.Reset},
			{"a cut", "upstream", "gpu-1", backendtest.Cut(2)},
			{"an end without an end", "upstream", "gpu-1", backendtest.Undone(2)},
			{"a huge line", "upstream", "gpu-1", backendtest.HugeLine(17 << 20)},
			{"silence", "timeout", "time limit", backendtest.Hang},
		} {
			host.FailWhen(func(backendtest.Call) backendtest.Fault { return tc.fault })
			if tc.name == "silence" {
				host.Mend().Fail(1, tc.fault) // what loads the model on is answered
			}
			a := c.fails("generate", args, tc.code, tc.words)
			if tc.name == "a wait asked for" && a.err.RetryAfter != 7*time.Second {
				t.Errorf("%s: %+v", tc.name, a)
			}
			if tc.name == "a cut" && strings.TrimSpace(a.partial) != "one two" {
				t.Errorf("what had come before the cut is lost: %+v", a)
			}
			host.Mend()
			if a := c.succeeds("generate", args); a.text != "one two three" {
				t.Errorf("after %s: %+v", tc.name, a)
			}
		}
		host.Down()
		c.fails("generate", args, "no_host", "ollama serve", "doctor")
	})
}

func TestModelNotFoundSuggestsSimilarNames(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "llama3.2:3b"}, backendtest.Model{Name: "qwen3"}))
		c.fails("generate", `{"model":"lama3.2:3b","prompt":"?"}`, "model_not_found", `did you mean "llama3.2:3b"?`, "ollama pull lama3.2:3b")
		c.fails("chat", `{"model":"mistral","messages":[{"role":"user"}]}`, "model_not_found", "known are", `"qwen3"`)
		c.fails("embed", `{"model":"qwen4","input":["x"]}`, "model_not_found", `did you mean "qwen3"?`)
	})
}

// A host that is down may have the model, and its name may be wrong: the caller hears both.
func TestNameThatNoHostKnowsIsDoubtedWhileOneIsDown(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		up := backendtest.New("gpu-1").Install(backendtest.Model{Name: "llama3.2:3b"}, backendtest.Model{Name: "qwen3"})
		c.useAll(pool.Options{Slots: 2}, up, backendtest.New("gpu-2").Install(backendtest.Model{Name: "big"}).Down())
		both := []string{"gpu-2: connection refused", "no host that answers has the model"}
		for _, tool := range []string{"generate", "embed"} {
			args := `{"model":"lama3.2:3b","prompt":"?"}`
			if tool == "embed" {
				args = `{"model":"lama3.2:3b","input":["?"]}`
			}
			c.fails(tool, args, "no_host", append(both, `did you mean "llama3.2:3b"?`)...)
		}
		c.fails("generate", `{"model":"big","prompt":"?"}`, "no_host", append(both, `known are "llama3.2:3b", "qwen3"`)...)
		up.Down()
		if a := c.fails("generate", `{"model":"nosuch","prompt":"?"}`, "no_host"); strings.Contains(a.text, "no host that answers") {
			t.Errorf("while all are down: %q", a.text)
		}
	})
	story(t, func(t *testing.T, c *client) {
		c.opts.Listed = func(host, model string) (m backend.Model, ok bool) {
			return m, host == "gpu-2" && model == "big:latest"
		}
		up := backendtest.New("gpu-1").Install(backendtest.Model{Name: "qwen3"})
		c.useAll(pool.Options{Slots: 2}, up, backendtest.New("gpu-2").Install(backendtest.Model{Name: "big"}).Down())
		if a := c.fails("generate", `{"model":"big","prompt":"?"}`, "no_host"); strings.Contains(a.text, "known are") {
			t.Errorf("of a model that a host had: %q", a.text)
		}
	})
}

func TestEmbedNamesTheInputThatFails(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "words", Context: 16, Dimensions: 8}))
		args := `{"model":"words","input":["short","` + strings.Repeat("long ", 100) + `","brief"]`
		a := c.succeeds("embed", args+`,"truncate":true}`)
		if len(a.vectors) != 3 || !strings.Contains(a.notes, "input[1]") {
			t.Errorf("got %+v, want three vectors and a note about input[1]", a)
		}
		c.fails("embed", args+`,"truncate":false}`, "context_too_long", "input[1]", "about 125 tokens, and the context 16", "to have its end cut")
	})
}

func TestImagesAreRefusedForAModelWithoutVision(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Answer("a cat").Install(
			backendtest.Model{Name: "eyes", Capabilities: []string{"completion", "vision"}},
			backendtest.Model{Name: "blind", Capabilities: []string{"completion"}}))
		const png = `"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="`
		if a := c.succeeds("generate", `{"model":"eyes","prompt":"?","images":[`+png+`]}`); a.text != "a cat" {
			t.Errorf("got %+v", a)
		}
		c.fails("chat", `{"model":"blind","messages":[{"role":"user","images":[`+png+`]}]}`, "invalid_argument", "cannot see", "vision")
		if calls := host.Calls(); len(calls) != 1 || len(calls[0].Generate.Images) != 1 {
			t.Errorf("the host was asked %d times", len(calls))
		}
	})
}

func TestPullIsSuggestedOnlyForNamesThatOllamaAccepts(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1"))
		for name, pull := range map[string]bool{
			"qwen3": true, "qwen3:8b": true, "hf.co/Some/Model-GGUF:Q4_K_M": true, "registry.example:5000/me/x": true,
			"../../etc": false, "x/../../etc": false, "a; rm -rf b": false, "$(reboot)": false, "-x": false, "größe": false,
		} {
			a := c.fails("generate", `{"model":"`+name+`","prompt":"?"}`, "model_not_found")
			hint := a.err.Hint
			if strings.Contains(hint, "ollama pull "+name+"`") != pull || !pull && strings.Contains(hint, name) || !utf8.ValidString(hint) {
				t.Errorf("%s: the hint is %q", name, hint)
			}
		}
	})
}

func TestEngineIsReadyWhileAHostOrAProviderCanAnswer(t *testing.T) {
	for _, noCloud := range []bool{false, true} {
		story(t, func(t *testing.T, c *client) {
			l, err := route.NewLadders(nil, nil, map[string]bool{"near": false, "far": true})
			if err != nil {
				t.Fatal(err)
			}
			near, far := backendtest.New("near").Break(backendtest.Busy), backendtest.New("far")
			nearPool, farPool := c.pool(pool.Options{InMemory: true, Retries: -1}, near), c.pool(pool.Options{InMemory: true}, far)
			settings := &inference.Settings{Ladders: l}
			c.set(settings)
			c.opts.NoCloud = noCloud
			p := c.pool(pool.Options{}, backendtest.New("gpu-1"), backendtest.New("gpu-2"))
			c.useHosts(p)
			is := func(when string, ready bool) {
				t.Helper()
				if err := c.engine.Ready(); (err == nil) != ready {
					t.Errorf("no cloud %v, %s: got %v", noCloud, when, err)
				}
			}
			is("before the hosts were asked", true)
			p.Know("gpu-1", pool.Facts{})
			is("with one host of two", true)
			p.Know("gpu-2", pool.Facts{})
			is("without hosts", false)
			settings.Providers = map[string]inference.Lender{"far": farPool}
			is("with a cloud", !noCloud)
			settings.Providers["near"] = nearPool
			is("with a provider that was never asked", true)
			delete(settings.Providers, "far")
			near.Break(backendtest.Reset)
			for range 10 {
				c.call(t.Context(), "generate", `{"model":"near/tiny","prompt":"?","cache":"off"}`)
			}
			is("with a provider that fails", false)
			time.Sleep(time.Hour)
			is("when the provider may be tried again", true)
			near.Break(nil).Fail(1000, backendtest.Refuse(500, "broken"))
			for range 30 {
				c.call(t.Context(), "generate", `{"model":"near/tiny","prompt":"?","cache":"off"}`)
			}
			is("with a provider whose only model fails", false)
			time.Sleep(time.Hour)
			is("when the model may be tried again", true)
			delete(settings.Providers, "near")
			p.Know("gpu-2", pool.Facts{Up: true})
			is("when a host is back", true)
		})
	}
}
