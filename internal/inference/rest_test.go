package inference_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// providers makes an engine with a host that has the model small, and a provider that has the
// models gpt and mini.
func (c *client) providers() (host, cloud *backendtest.Host) {
	c.t.Helper()
	host = backendtest.New("gpu-1").Answer("local").Install(backendtest.Model{Name: "small"})
	cloud = backendtest.New("openai").Answer("from a cloud").Install(backendtest.Model{Name: "gpt"}, backendtest.Model{Name: "mini"})
	l, err := route.NewLadders(nil, nil, map[string]bool{"openai": true})
	if err != nil {
		c.t.Fatal(err)
	}
	c.set(&inference.Settings{Ladders: l, Providers: map[string]inference.Lender{"openai": c.pool(pool.Options{InMemory: true}, cloud)}})
	c.useAll(pool.Options{Slots: 1}, host)
	return host, cloud
}

const askGPT = `{"model":"openai/gpt","prompt":"?","fallback_models":["small"]`

// busyFor makes a provider refuse a model with a header.
func busyFor(cloud *backendtest.Host, model string, status int, header, value string) {
	failing(cloud, backendtest.Refuse(status, "slow down", header, value), model)
}

func TestRungThatSaysWaitIsPassedAtOnce(t *testing.T) {
	for _, tc := range []struct {
		header, value string
		status        int
		after         time.Duration // FallbackAfter
		waits         bool
	}{
		{"Retry-After", "5", 429, 0, false},
		{"Retry-After", "5", 429, time.Second, false},
		{"Retry-After", "5", 429, time.Minute, false},
		{"Retry-After", "5", 503, 0, false},
		{"Retry-After", "1.5", 429, 0, false},
		{"retry-after-ms", "46000", 429, 0, false},
		{"Retry-After", "0.5", 429, 300 * time.Millisecond, false},
		{"Retry-After", "0.5", 429, 0, true},
		{"retry-after-ms", "800", 503, 0, true},
		{"Retry-After", "1", 429, 0, true},
		{"Retry-After", "86400", 429, 0, false},
	} {
		story(t, func(t *testing.T, c *client) {
			c.opts.FallbackAfter = tc.after
			_, cloud := c.providers()
			cloud.Fail(1, backendtest.Refuse(tc.status, "slow down", tc.header, tc.value))
			began := time.Now()
			a := c.succeeds("generate", askGPT+"}")
			took := time.Since(began)
			if tc.waits && (a.served.Model != "openai/gpt" || took > 3*time.Second) || !tc.waits && (a.served.Model != "small" || took > 0 || !strings.Contains(a.notes, "slow down")) {
				t.Errorf("%+v: after %v got %v", tc, took, a)
			}
		})
	}
}

// That is the time of one model for 429, and of all of the provider's for anything else.
func TestRungThatRestsIsNotAskedBeforeItsTime(t *testing.T) {
	for status, ofAll := range map[int]bool{429: false, 503: true, 402: true} {
		story(t, func(t *testing.T, c *client) {
			_, cloud := c.providers()
			busyFor(cloud, "gpt", status, "Retry-After", "90")
			c.succeeds("generate", askGPT+"}")
			cloud.Mend()
			for _, at := range []time.Duration{time.Second, 80 * time.Second} {
				time.Sleep(at)
				if a := c.succeeds("generate", askGPT+"}"); a.served.Model != "small" || !strings.Contains(a.notes, map[bool]string{true: "not asked again for", false: "asked us to wait"}[status == 402]) {
					t.Errorf("%d: %v", status, a)
				}
				a := c.call(t.Context(), "generate", `{"model":"openai/mini","prompt":"?","fallback_models":["small"]}`)
				if (a.served.Model == "small") != ofAll {
					t.Errorf("%d: the other model: %v", status, a)
				}
			}
			if n := len(askedOf(cloud, "gpt")); n != 1 {
				t.Errorf("%d: it was asked %d times before its time", status, n)
			}
			time.Sleep(10 * time.Second)
			if a := c.succeeds("generate", askGPT+"}"); a.served.Model != "openai/gpt" {
				t.Errorf("%d: after its time: %v", status, a)
			}
		})
	}
}

func TestRungThatRestsIsAskedAgainIfNobodyElseAnswers(t *testing.T) {
	for limit, code := range map[int]string{30: "", 10: "overloaded"} {
		story(t, func(t *testing.T, c *client) {
			host, cloud := c.providers()
			host.Down()
			cloud.Fail(1, backendtest.Refuse(429, "slow down", "Retry-After", "12"))
			began := time.Now()
			a := c.call(t.Context(), "generate", fmt.Sprintf(`%s,"timeout_seconds":%d}`, askGPT, limit))
			took := time.Since(began).Round(time.Second)
			switch {
			case a.code() != code || a.err != nil && (a.err.RetryAfter.Round(time.Second) != 12*time.Second || !strings.HasPrefix(a.err.Hint, "openai/gpt: ")):
				t.Errorf("with %d s: after %v got %v, want %q", limit, took, a, code)
			case code == "" && (a.served.Model != "openai/gpt" || a.served.Rung != 1 || took != 12*time.Second):
				t.Errorf("with %d s: after %v got %v", limit, took, a)
			case code != "" && len(cloud.Calls()) != 1:
				t.Errorf("with %d s: the provider was asked %d times", limit, len(cloud.Calls()))
			}
		})
	}
}

// Of two that rest, the one that is ready first.
func TestRungThatIsReadySoonestIsAskedAgainFirst(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host, cloud := c.providers()
		cloud.Fail(1, backendtest.Refuse(429, "slow down", "Retry-After", "12"))
		host.Fail(1, backendtest.Refuse(503, "busy", "Retry-After", "4"))
		began := time.Now()
		a := c.succeeds("generate", askGPT+"}")
		if took := time.Since(began).Round(time.Second); a.served.Model != "small" || a.served.Rung != 2 || took != 4*time.Second {
			t.Errorf("after %v: %v", took, a)
		}
	})
}

// Times to wait may stand in the body alone, and no header.
func TestTimeToWaitInABodyIsThatOfARest(t *testing.T) {
	for body, rest := range map[string]time.Duration{
		`{"error":"Please try again in 20ms."}`:                                         0, // too short to be passed
		`{"error":"{\"error\":{\"code\":429,\"details\":[{\"retryDelay\":\"46s\"}]}}"}`: 46 * time.Second,
		`{"error":"Rate limit reached. Please try again in 1m1.2s."}`:                   61200 * time.Millisecond,
	} {
		story(t, func(t *testing.T, c *client) {
			_, cloud := c.providers()
			cloud.Fail(1, backendtest.Respond(429, "application/json", body))
			began := time.Now()
			a := c.succeeds("generate", askGPT+"}")
			if want := rest == 0; (a.served.Model == "openai/gpt") != want || time.Since(began) > time.Second {
				t.Fatalf("%s: after %v got %v", body, time.Since(began), a)
			}
			time.Sleep(rest - 2*time.Second) // a call waits for a rest that has less than one left
			c.succeeds("generate", askGPT+"}")
			if n := len(askedOf(cloud, "gpt")); rest > 0 && n != 1 {
				t.Errorf("%s: asked %d times before its time", body, n)
			}
			time.Sleep(2 * time.Second)
			if a := c.succeeds("generate", askGPT+"}"); a.served.Model != "openai/gpt" {
				t.Errorf("%s: after its time: %v", body, a)
			}
		})
	}
}

func TestProviderWithoutCreditRestsForAllItsModels(t *testing.T) {
	for said, status := range map[string]int{"Insufficient Balance": 402, "Your credit balance is too low to access the API.": 400} {
		story(t, func(t *testing.T, c *client) {
			_, cloud := c.providers()
			cloud.FailWhen(func(backendtest.Call) backendtest.Fault { return backendtest.Refuse(status, said) })
			a := c.fails("generate", `{"model":"openai/gpt","prompt":"?"}`, "unauthorized", "no credit left", said)
			if a.err.Retryable {
				t.Errorf("%s: it is said to be worth another try", said)
			}
			for range 3 {
				time.Sleep(time.Minute)
				c.fails("generate", `{"model":"openai/mini","prompt":"?"}`, "unauthorized", "no credit left", "not asked again for")
			}
			if n := len(cloud.Calls()); n != 1 {
				t.Errorf("%s: the provider was asked %d times", said, n)
			}
			cloud.Mend()
			time.Sleep(2 * time.Minute)
			c.succeeds("generate", `{"model":"openai/mini","prompt":"?"}`)
		})
	}
}
