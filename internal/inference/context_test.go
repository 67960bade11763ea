package inference_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/pool"
)

func TestPromptFarBeyondAKnownContextIsNotSent(t *testing.T) {
	long := strings.Repeat("word ", 1000) // 1,250 tokens to a host of ours
	for _, c := range []struct {
		name, guard, args string
		sent              int
	}{
		{"asked for", "", `,"options":{"num_ctx":500}`, 0},
		{"not clearly beyond", "", `,"options":{"num_ctx":900}`, 1},
		{"not known", "", ``, 1},
		{"it may be cut", "", `,"options":{"num_ctx":500},"truncate":true`, 2},
		{"the guard warns", "warn", `,"options":{"num_ctx":500}`, 2},
		{"the guard is off", "off", `,"options":{"num_ctx":500}`, 1},
	} {
		story(t, func(t *testing.T, c2 *client) {
			c2.opts.ContextGuard = c.guard
			host := c2.use(backendtest.New("gpu-1").Answer("yes").Install(backendtest.Model{Name: "big", Context: 4096}))
			a := c2.call(t.Context(), "generate", `{"model":"big","prompt":"`+long+`"`+c.args+`}`)
			if n := len(host.Calls()); n != c.sent {
				t.Errorf("%s: sent %d times, want %d: %+v", c.name, n, c.sent, a)
			}
			if c.sent == 0 && (a.code() != "context_too_long" || !strings.Contains(a.text, "the prompt has about 1250 tokens, and the context 500")) {
				t.Errorf("%s: got %+v", c.name, a)
			}
		})
	}
}

// A host may load a model with less context than the model was trained for.
func TestPromptFarBeyondTheLoadedContextIsNotSent(t *testing.T) {
	big := backendtest.Model{Name: "big", Context: 8192, Default: 500}
	checked := func(_ *testing.T, _ *backendtest.Host, p *pool.Pool) {
		p.Know("gpu-1", pool.Facts{Up: true, Loaded: []pool.Loaded{{Model: "big:latest", NumCtx: 500}}})
	}
	for name, tc := range map[string]struct {
		since func(*testing.T, *backendtest.Host, *pool.Pool)
		args  string
		sent  int
	}{
		"it has that":                     {checked, ``, 0},
		"nobody has looked":               {func(*testing.T, *backendtest.Host, *pool.Pool) {}, ``, 1},
		"more is asked for":               {checked, `,"options":{"num_ctx":4096}`, 1},
		"it is cut where that is allowed": {checked, `,"truncate":true`, 2},
		"the model has left since": {func(t *testing.T, host *backendtest.Host, p *pool.Pool) {
			checked(t, host, p)
			time.Sleep(time.Hour)
		}, ``, 1},
		"the host gives more since": {func(t *testing.T, host *backendtest.Host, p *pool.Pool) {
			checked(t, host, p)
			time.Sleep(time.Hour)
			host.Install(backendtest.Model{Name: "big", Context: 8192, Default: 4096})
			if _, err := p.Hosts()[0].Generate(t.Context(), &backend.GenerateRequest{Model: "big", Prompt: "?"}, nil); err != nil {
				t.Error(err)
			}
		}, ``, 1},
	} {
		story(t, func(t *testing.T, c *client) {
			host := backendtest.New("gpu-1").Answer("yes").Install(big)
			p := c.pool(pool.Options{Slots: 1}, host)
			c.useHosts(p)
			c.succeeds("generate", `{"model":"big","prompt":"?"}`)
			tc.since(t, host, p)
			before := len(host.Calls())
			a := c.call(t.Context(), "generate", `{"model":"big","prompt":"`+strings.Repeat("word ", 1000)+`"`+tc.args+`}`)
			if n := len(host.Calls()) - before; n != tc.sent {
				t.Errorf("%s: sent %d times, want %d: %+v", name, n, tc.sent, a)
			}
			if tc.sent == 0 && !strings.Contains(a.text, "about 1250 tokens, and the context 500; send less, or raise options.num_ctx, which may be up to 8192") {
				t.Errorf("%s: got %+v", name, a)
			}
		})
	}
}

func TestPromptFarBeyondAPinnedContextGoesToTheNextRungUnsent(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host, _ := c.ladder()
		c.useAll(pool.Options{Slots: 1, Runner: map[string]map[string]any{"big:latest": {"num_ctx": 256}}}, host)
		a := c.succeeds("generate", `{"model":"pro","prompt":"`+strings.Repeat("word ", 1000)+`"}`)
		if a.served.Model != "small" || !strings.Contains(a.notes, "and the context 256") {
			t.Errorf("got %+v", a)
		}
		if calls := host.Calls(); len(calls) != 1 || calls[0].Model != "small:latest" {
			t.Errorf("asked were %+v, want small alone", calls)
		}
		c.useAll(pool.Options{Runner: map[string]map[string]any{"small:latest": {"num_ctx": 256}}}, host)
		c.fails("generate", `{"model":"small","prompt":"`+strings.Repeat("word ", 1000)+`","options":{"num_ctx":4096}}`, "context_too_long",
			"send less, since this server has the model run with num_ctx 256 for all callers")
	})
}

func TestPromptFarBeyondTheModelsLargestContextIsNotSent(t *testing.T) {
	for context, sent := range map[int]int{4096: 0, 131072: 1} {
		story(t, func(t *testing.T, c *client) {
			host := c.use(backendtest.New("gpu-1").Answer("yes").Install(backendtest.Model{Name: "big", Context: context}))
			a := c.call(t.Context(), "generate", `{"model":"big","prompt":"`+strings.Repeat("word ", 20_000)+`"}`)
			if n := len(host.Calls()); n != sent || a.err != nil != (sent == 0) {
				t.Errorf("a context of %d: sent %d times, want %d: %+v", context, n, sent, a)
			}
			if sent == 0 && !strings.Contains(a.text, "about 25000 tokens, and the context 4096; send less, since the model takes no more than 4096 tokens") {
				t.Errorf("got %+v", a)
			}
		})
	}
}

func TestErrorOfATooLongPromptSaysWhetherMoreContextHelps(t *testing.T) {
	long := strings.Repeat("word ", 1000) // 1,250 tokens to us, and 1,000 to the host
	for name, tc := range map[string]struct {
		most       int
		args, want string
	}{
		"the context was left open":       {800, ``, "about 1250 tokens, and the context 800; send less, since the model takes no more than 800 tokens"},
		"more may be asked for":           {4096, `,"options":{"num_ctx":900}`, "about 1250 tokens, and the context 900; send less, or raise options.num_ctx, which may be up to 4096, or set truncate"},
		"more is asked for than there is": {800, `,"options":{"num_ctx":100000}`, "about 1250 tokens, and the context 800; send less, since the model takes no more than 800 tokens"},
	} {
		story(t, func(t *testing.T, c *client) {
			c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "big", Context: tc.most}).FailWhen(func(call backendtest.Call) backendtest.Fault {
				if call.Options["num_ctx"] == 100_000.0 { // of which Ollama gives no more than there is
					return backendtest.Refuse(400, "the input length exceeds the context length")
				}
				return nil
			}))
			a := c.call(t.Context(), "generate", `{"model":"big","prompt":"`+long+`"`+tc.args+`}`)
			if a.code() != "context_too_long" || !strings.Contains(a.text, tc.want) {
				t.Errorf("%s: got %+v", name, a)
			}
		})
	}
}

func TestToolDefinitionsCountAsPartOfThePrompt(t *testing.T) {
	functions := `[{"type":"function","function":{"name":"f","description":"` + strings.Repeat("word ", 2000) + `","parameters":{"type":"object","properties":{}}}}]`
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").FailWhen(func(call backendtest.Call) backendtest.Fault {
			if call.Chat.Truncate != nil && !*call.Chat.Truncate {
				return backendtest.Refuse(400, "the input length exceeds the context length")
			}
			return nil
		}))
		a := c.succeeds("chat", `{"model":"tiny","messages":[{"role":"user","content":"hi"}],"truncate":true,"tools":`+functions+`}`)
		if len(host.Calls()) != 2 || a.notes == "" || !strings.Contains(a.notes, "The prompt (about 25") {
			t.Errorf("got %+v", a)
		}
	})
}

func TestNumCtxBeyondTheModelsLargestIsNoted(t *testing.T) {
	for numCtx, said := range map[int]bool{4096: false, 100_000: true} {
		story(t, func(t *testing.T, c *client) {
			c.use(backendtest.New("gpu-1").Answer("yes"))
			a := c.succeeds("generate", fmt.Sprintf(`{"model":"tiny","prompt":"?","options":{"num_ctx":%d}}`, numCtx))
			if got := a.notes != "" && strings.Contains(a.notes, "num_ctx 100000 is more than the model can have: it was given 4096."); got != said {
				t.Errorf("num_ctx %d: got %+v", numCtx, a)
			}
		})
	}
}
