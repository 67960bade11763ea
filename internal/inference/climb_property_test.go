package inference_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// faults are the ways in which hosts spoil calls here, by name.
var faults = map[string]backendtest.Fault{
	"none":      nil,
	"refuse":    backendtest.Reset,
	"fail":      backendtest.Refuse(500, "internal error"),
	"cut":       backendtest.Cut(1),
	"hang":      backendtest.Hang,
	"fall mute": backendtest.HangAfter(1),
	"busy":      backendtest.Busy,
	"slow load": backendtest.SlowHeaders(20 * time.Second),
	"too long":  backendtest.Refuse(400, "the input length exceeds the context length"),
	"no room":   backendtest.Refuse(500, "model requires more system memory (476.8 GiB) than is available (21.6 GiB)"),
	"missing":   backendtest.Refuse(404, `model "gpt" not found, try pulling it first`),
	"no key":    backendtest.Refuse(401, "who are you"),
	"mistaken":  backendtest.Refuse(400, "what is this?"),
}

// plan is what happens in one run, drawn before it begins.
type plan struct {
	Faults   map[string][]string // host → the fault of each of its calls in turn, over and over
	Slots    int
	NoCloud  bool
	Patience time.Duration // FallbackAfter
	Hedge    time.Duration // HedgeAfter
	Calls    []plannedCall
}

type plannedCall struct {
	At, Limit time.Duration
	Tool      string
	Model     string
	Fallback  string // as JSON
	LocalOnly bool   // asked for by the call
	Key       bool   // asked for by the caller's key
}

var anyCall = rapid.Custom(func(r *rapid.T) plannedCall {
	limits := []time.Duration{50 * time.Millisecond, time.Second, 5 * time.Second, 30 * time.Second}
	return plannedCall{
		At:        time.Duration(rapid.IntRange(0, 20).Draw(r, "at")) * time.Second,
		Limit:     rapid.SampledFrom(limits).Draw(r, "limit"),
		Tool:      rapid.SampledFrom([]string{"generate", "chat"}).Draw(r, "tool"),
		Model:     rapid.SampledFrom([]string{"pro", "big", "openai/gpt"}).Draw(r, "model"),
		Fallback:  rapid.SampledFrom([]string{`[]`, `["small"]`, `["openai/gpt"]`, `["openai/gpt","small"]`}).Draw(r, "fallback"),
		LocalOnly: rapid.Bool().Draw(r, "local only"),
		Key:       rapid.Bool().Draw(r, "key"),
	}
})

var anyPlan = rapid.Custom(func(r *rapid.T) plan {
	all := slices.Sorted(maps.Keys(faults))
	names := func(of []string) *rapid.Generator[[]string] { return rapid.SliceOfN(rapid.SampledFrom(of), 1, 6) }
	return plan{
		Faults: map[string][]string{
			"gpu-1": names(all).Draw(r, "gpu-1"), "gpu-2": names(all).Draw(r, "gpu-2"), "openai": names(all).Draw(r, "openai"),
		},
		Slots:    rapid.IntRange(1, 3).Draw(r, "slots"),
		NoCloud:  rapid.Bool().Draw(r, "no cloud"),
		Patience: rapid.SampledFrom([]time.Duration{0, 2 * time.Second}).Draw(r, "patience"),
		Hedge:    rapid.SampledFrom([]time.Duration{0, 100 * time.Millisecond, time.Second}).Draw(r, "hedge"),
		Calls:    rapid.SliceOfN(anyCall, 1, 12).Draw(r, "calls"),
	}
})

// Whatever hosts and provider do, each call ends in its time with one answer of whom
// it says, or with an error that its caller can act on; and none of those that must
// not gets to the cloud.
func TestEveryRequestEndsInTimeAndOnlyWhereItMay(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		p := anyPlan.Draw(r, "plan")
		var problems []string
		story(t, func(_ *testing.T, c *client) { problems = p.run(c) })
		if len(problems) > 0 {
			r.Fatalf("%s", strings.Join(problems, "\n"))
		}
	})
}

// run returns what went wrong.
func (p plan) run(c *client) (problems []string) {
	cloud := p.build(c)
	var mu sync.Mutex // guards problems
	report := func(n int, format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		problems = append(problems, fmt.Sprintf("call %d: ", n)+fmt.Sprintf(format, args...))
	}
	var calls sync.WaitGroup
	for n, call := range p.Calls {
		calls.Go(func() {
			time.Sleep(call.At)
			began := time.Now()
			a := c.as(caller.Caller{ID: "ci", LocalOnly: call.Key}).call(c.t.Context(), call.Tool, call.args(n))
			if took := time.Since(began); took > call.Limit+100*time.Millisecond {
				report(n, "took %v of %v", took, call.Limit)
			}
			if wrong := judged(a); wrong != "" {
				report(n, "%s: %v", wrong, a)
			}
		})
	}
	calls.Wait()
	for _, asked := range cloud.Calls() {
		var n int
		if _, err := fmt.Sscanf(asked.Prompt, "call %d", &n); err != nil {
			report(n, "the cloud was asked %q", asked.Prompt)
		} else if call := p.Calls[n]; p.NoCloud || call.LocalOnly || call.Key {
			report(n, "it has left for the cloud")
		}
	}
	return problems
}

// build makes two hosts with the models big and small, and the cloud with the model gpt.
func (p plan) build(c *client) (cloud *backendtest.Host) {
	host := func(name, says string, models ...backendtest.Model) *backendtest.Host {
		turn := -1
		return backendtest.New(name).Answer(says).TokenTime(200 * time.Millisecond).Install(models...).
			FailWhen(func(backendtest.Call) backendtest.Fault {
				turn++ // the host guards it
				return faults[p.Faults[name][turn%len(p.Faults[name])]]
			})
	}
	local := []backendtest.Model{{Name: "big"}, {Name: "small"}}
	cloud = host("openai", "from a cloud", backendtest.Model{Name: "gpt"})
	l, err := route.NewLadders(map[string][]string{"pro:latest": {"big:latest", "small:latest", "openai/gpt"}}, nil, map[string]bool{"openai": true})
	if err != nil {
		c.t.Fatal(err)
	}
	settings := &inference.Settings{Ladders: l, Providers: map[string]inference.Lender{"openai": c.pool(pool.Options{}, cloud)}}
	c.opts.Settings = func() *inference.Settings { return settings }
	c.opts.NoCloud, c.opts.FallbackAfter, c.opts.HedgeAfter = p.NoCloud, p.Patience, p.Hedge
	own := c.pool(pool.Options{Slots: p.Slots, Queue: 4}, host("gpu-1", "from gpu-1", local...), host("gpu-2", "from gpu-2", local...))
	for _, name := range []string{"gpu-1", "gpu-2"} { // or there would hardly be a host for a hedge
		own.Know(name, pool.Facts{Up: true, Loaded: []pool.Loaded{{Model: "big:latest"}, {Model: "small:latest"}}})
	}
	c.useHosts(own)
	return cloud
}

func (call plannedCall) args(n int) string {
	asks := fmt.Sprintf(`"prompt":"call %d"`, n)
	if call.Tool == "chat" {
		asks = fmt.Sprintf(`"messages":[{"role":"user","content":"call %d"}]`, n)
	}
	return fmt.Sprintf(`{"model":%q,%s,"timeout_seconds":%v,"local_only":%v,"fallback_models":%s}`,
		call.Model, asks, call.Limit.Seconds(), call.LocalOnly, call.Fallback)
}

// judged says what is wrong with a result; "" if nothing is.
func judged(a answer) string {
	if a.text == "" && a.err != nil || strings.Contains(a.text, "\n") {
		return "no line"
	}
	if a.err != nil {
		if code := a.code(); code == string(fault.Internal) || code == string(fault.Cancelled) {
			return "an error that nobody can act on"
		}
		return ""
	}
	source, place := a.served.Source, a.served.Host
	text := "from " + strings.Replace(fmt.Sprint(place), "openai", "a cloud", 1)
	if (place == "openai") != (source == "cloud") || !strings.HasPrefix(text, strings.TrimSpace(a.text)) {
		return "not the answer of whom it names"
	}
	if text != a.text && a.served.DoneReason != "timeout" {
		return "cut, and not said"
	}
	return ""
}
