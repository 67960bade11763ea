package alert_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/alert"
)

// hook is a webhook, and the trouble that there is.
type hook struct {
	mu       sync.Mutex // guards what follows
	trouble  []alert.Condition
	looked   int      // how often it was looked for
	told     []string // event, state and subject
	bodies   []string
	headers  []http.Header
	at       []time.Time
	now, max int                                 // requests under way
	answer   func(n int) (*http.Response, error) // of the n-th request, from 0; nil is well
	takes    time.Duration
}

func (h *hook) RoundTrip(req *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(req.Body)
	h.mu.Lock()
	n := len(h.at)
	h.at = append(h.at, time.Now())
	h.now++
	h.max = max(h.max, h.now)
	answer, takes := h.answer, h.takes
	h.mu.Unlock()
	defer func() { h.mu.Lock(); h.now--; h.mu.Unlock() }()
	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
	resp := &http.Response{StatusCode: 200, Status: "200 OK", Body: http.NoBody, Header: http.Header{}, Request: req}
	if answer != nil {
		var err error
		if resp, err = answer(n); err != nil {
			return nil, err
		}
		resp.Request = req
	}
	if resp.StatusCode < 300 {
		var m struct{ Event, State, Subject string }
		_ = json.Unmarshal(body, &m)
		h.mu.Lock()
		h.told = append(h.told, strings.TrimSpace(m.Event+" "+m.State+" "+m.Subject))
		h.bodies, h.headers = append(h.bodies, string(body)), append(h.headers, req.Header)
		h.mu.Unlock()
	}
	return resp, nil
}

func (h *hook) conditions() []alert.Condition {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.looked++
	return slices.Clone(h.trouble)
}

// is sets the trouble that there is.
func (h *hook) is(trouble ...alert.Condition) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trouble = trouble
}

// with looks at, or changes, what the webhook has seen and does.
func (h *hook) with(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

// expect checks what was told since the last time.
func (h *hook) expect(t *testing.T, what string, want ...string) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Equal(h.told, want) {
		t.Errorf("%s: told %q, want %q", what, h.told, want)
	}
	h.told = nil
}

func status(code int, header ...string) func(int) (*http.Response, error) {
	return func(int) (*http.Response, error) {
		resp := &http.Response{StatusCode: code, Status: fmt.Sprint(code, " ", http.StatusText(code)), Body: http.NoBody, Header: http.Header{}}
		for i := 0; i+1 < len(header); i += 2 {
			resp.Header.Set(header[i], header[i+1])
		}
		return resp, nil
	}
}

// watched runs alerts to one target.
func watched(t *testing.T, target alert.Target, log *slog.Logger, story func(h *hook)) {
	t.Helper()
	watchedBy(t, target, log, func(_ *alert.Alerts, h *hook) { story(h) })
}

// watchedBy does what watched does, and lends the story the alerts.
func watchedBy(t *testing.T, target alert.Target, log *slog.Logger, story func(a *alert.Alerts, h *hook)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := new(hook)
		if target.URL == "" {
			target.URL = "https://hooks.example/secret-path"
		}
		a := alert.New(alert.Options{Targets: []alert.Target{target}, Conditions: h.conditions, Server: "gpu-box", Transport: h, Log: log})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); a.Run(ctx) }()
		synctest.Wait()
		story(a, h)
		stop()
		<-done // whatever the webhook does
	})
}

func down(name string) alert.Condition {
	return alert.Condition{Event: alert.HostDown, Subject: name, Detail: "connection refused"}
}

func TestEachChangeIsToldOnce(t *testing.T) {
	watched(t, alert.Target{}, nil, func(h *hook) {
		time.Sleep(time.Hour)
		h.expect(t, "nothing is wrong")
		h.is(down("a"))
		time.Sleep(time.Hour)
		h.expect(t, "a host is down for an hour", "host_down firing a")
		h.is(down("a"), down("b"))
		time.Sleep(time.Minute)
		h.expect(t, "another is", "host_down firing b")
		h.is(down("b"))
		time.Sleep(time.Minute)
		h.expect(t, "the first is back", "host_down resolved a")
		h.is()
		time.Sleep(time.Hour)
		h.expect(t, "both are", "host_down resolved b")
	})
}

func TestTroubleThatIsOverSoonIsNotToldIfItWasThereLatelyOrTheServerStarts(t *testing.T) {
	for event, hold := range alert.Events() {
		if hold.Again == 0 {
			continue
		}
		watched(t, alert.Target{}, nil, func(h *hook) {
			h.is(alert.Condition{Event: event, Subject: "x"}) // while the server starts
			time.Sleep(hold.Again - time.Second)
			h.is()
			time.Sleep(time.Minute)
			h.expect(t, string(event)+" while the server starts")

			h.is(alert.Condition{Event: event, Subject: "x"})
			time.Sleep(2 * time.Minute)
			h.is()
			time.Sleep(5 * time.Minute)
			h.expect(t, string(event)+" for two minutes", string(event)+" firing x", string(event)+" resolved x")
			time.Sleep(1100 * time.Millisecond) // so that nothing changes just when it is looked for
			for range 5 {
				h.is(alert.Condition{Event: event, Subject: "x"})
				time.Sleep(hold.Again - time.Second)
				h.is()
				time.Sleep(hold.Again)
			}
			h.expect(t, string(event)+" again, for less than its time")
			h.is(alert.Condition{Event: event, Subject: "x"})
			time.Sleep(hold.Again + 11*time.Second)
			h.expect(t, string(event)+" again", string(event)+" firing x")
		})
	}
}

func TestTroubleThatTheServerKnowsOfIsToldAtOnce(t *testing.T) {
	for event, hold := range alert.Events() {
		watchedBy(t, alert.Target{}, nil, func(a *alert.Alerts, h *hook) {
			time.Sleep(time.Hour + 1700*time.Millisecond) // between two looks
			h.is(alert.Condition{Event: event, Subject: "x"})
			a.Look()
			synctest.Wait()
			if hold.First == 0 {
				h.expect(t, string(event), string(event)+" firing x")
			} else {
				h.expect(t, string(event)+", which has to last")
			}
		})
	}
}

// However often hosts come and go, the state of all of them is read once a second.
func TestLooksAreBoundedInNumber(t *testing.T) {
	watchedBy(t, alert.Target{}, nil, func(a *alert.Alerts, h *hook) {
		time.Sleep(time.Hour)
		h.with(func() { h.looked = 0 })
		for range 10_000 {
			a.Look()
			time.Sleep(time.Millisecond)
		}
		h.with(func() {
			if h.looked < 9 || h.looked > 12 {
				t.Errorf("in 10 s it was looked %d times, want 10 or so", h.looked)
			}
		})
	})
}

// A key that has expired is no longer about to. Nobody may take that for its renewal.
func TestEndOfAKeyIsNotToldAsItsRenewal(t *testing.T) {
	watched(t, alert.Target{}, nil, func(h *hook) {
		h.is(alert.Condition{Event: alert.Expiring, Subject: "Key ci"})
		time.Sleep(time.Minute)
		h.is()
		time.Sleep(time.Hour)
		h.with(func() {
			if len(h.bodies) != 2 || !strings.Contains(h.bodies[1], "renewed or removed, or has expired") {
				t.Errorf("told %q", h.bodies)
			}
		})
	})
}

func TestTroubleThatComesAndGoesIsDamped(t *testing.T) {
	watched(t, alert.Target{}, nil, func(h *hook) {
		for range 60 { // an hour
			h.is(down("a"))
			time.Sleep(30 * time.Second)
			h.is()
			time.Sleep(30 * time.Second)
		}
		h.with(func() {
			if n := len(h.told); n < 3 || n > 12 {
				t.Errorf("told %d times in an hour of 60 outages", n)
			}
		})
		h.with(func() { h.told = nil })
		time.Sleep(time.Hour)
		h.with(func() {
			if len(h.told) > 1 || len(h.told) == 1 && h.told[0] != "host_down resolved a" {
				t.Errorf("afterwards: %q", h.told)
			}
		})
		h.with(func() { h.told = nil })
		h.is(down("a"))
		time.Sleep(time.Minute)
		h.is()
		time.Sleep(time.Minute)
		h.expect(t, "after a quiet time", "host_down firing a", "host_down resolved a")
	})
}

func TestTargetIsToldOnlyOfItsEvents(t *testing.T) {
	watched(t, alert.Target{Events: []alert.Event{alert.BudgetSpent}}, nil, func(h *hook) {
		h.is(down("a"), alert.Condition{Event: alert.BudgetSpent, Subject: "openai"})
		time.Sleep(time.Minute)
		h.expect(t, "two troubles", "budget_spent firing openai")
	})
}

func TestWebhookThatIsDownIsToldLaterWhatIsStillSo(t *testing.T) {
	watched(t, alert.Target{}, nil, func(h *hook) {
		h.with(func() { h.answer = func(int) (*http.Response, error) { return nil, errors.New("connection refused") } })
		h.is(down("a"), down("b"))
		time.Sleep(30 * time.Minute)
		h.with(func() {
			if n := len(h.at); n < 8 || n > 30 {
				t.Errorf("%d attempts in half an hour, want some with longer and longer pauses", n)
			}
		})
		h.is(down("b")) // while nobody can be told
		time.Sleep(10 * time.Minute)
		h.with(func() { h.answer = nil })
		time.Sleep(30 * time.Minute)
		h.expect(t, "when it is back", "host_down firing b")
	})
}

func TestWebhookThatHangsHoldsUpNothingAndIsAskedOnceAtATime(t *testing.T) {
	watched(t, alert.Target{}, nil, func(h *hook) {
		h.with(func() { h.takes = time.Hour })
		var all []alert.Condition
		for i := range 100 {
			all = append(all, down(fmt.Sprint(i)))
			h.is(all...)
			time.Sleep(10 * time.Second)
		}
		h.with(func() {
			if h.max != 1 || len(h.at) == 0 || len(h.at) > 100 {
				t.Errorf("%d requests, %d at once", len(h.at), h.max)
			}
		})
		h.with(func() { h.takes = 0 })
		time.Sleep(time.Hour)
		h.with(func() {
			if len(h.told) != 100 {
				t.Errorf("in the end it was told %d times, want 100", len(h.told))
			}
		})
	})
}

func TestWebhookThatHangsHoldsUpNoHonestOneBesideIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hostile, honest := &hook{takes: time.Hour}, new(hook)
		targets := []alert.Target{{Name: "hostile", URL: "https://hostile.example"}, {Name: "honest", URL: "https://honest.example"}}
		a := alert.New(alert.Options{Targets: targets, Conditions: honest.conditions, Transport: byHost{"hostile.example": hostile, "honest.example": honest}})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); a.Run(ctx) }()
		time.Sleep(time.Minute) // in which the server starts
		var all []alert.Condition
		for i := range 600 { // more than are remembered
			all = append(all, down(fmt.Sprint(i)))
		}
		honest.is(all...)
		time.Sleep(10 * time.Second)
		honest.with(func() {
			if len(honest.told) != 500 || honest.max != 1 {
				t.Errorf("the honest webhook was told %d times, with %d requests at once", len(honest.told), honest.max)
			}
		})
		hostile.with(func() {
			if len(hostile.at) == 0 || hostile.max != 1 || len(hostile.told) != 0 {
				t.Errorf("the one that hangs got %d requests, %d at once, and took %d", len(hostile.at), hostile.max, len(hostile.told))
			}
		})
		stop()
		<-done
	})
}

// byHost are webhooks by the hosts of their URLs.
type byHost map[string]http.RoundTripper

func (b byHost) RoundTrip(req *http.Request) (*http.Response, error) {
	return b[req.URL.Host].RoundTrip(req)
}

func TestWebhookThatSaysWhenIsAskedThen(t *testing.T) {
	watched(t, alert.Target{}, nil, func(h *hook) {
		answer := func(n int) (*http.Response, error) {
			if n == 0 {
				return status(429, "Retry-After", "90")(n)
			}
			return status(204)(n)
		}
		h.with(func() { h.answer = answer })
		h.is(down("a"))
		time.Sleep(5 * time.Minute)
		h.with(func() {
			if len(h.at) != 2 || h.at[1].Sub(h.at[0]) < 90*time.Second {
				t.Errorf("asked at %v", h.at)
			}
		})
	})
}

func TestRedirectsAreNotFollowedAndErrorsNameNoURL(t *testing.T) {
	for _, answer := range []func(int) (*http.Response, error){
		status(302, "Location", "http://169.254.169.254/latest"), status(307, "Location", "http://elsewhere.example/"), status(404), status(403),
	} {
		var log strings.Builder
		watched(t, alert.Target{Name: "ops"}, slog.New(slog.NewTextHandler(&log, nil)), func(h *hook) {
			h.with(func() { h.answer = answer })
			h.is(down("a"))
			time.Sleep(time.Hour)
			h.with(func() {
				if len(h.at) != 1 {
					t.Errorf("%d requests, want 1", len(h.at))
				}
			})
		})
		if text := log.String(); !strings.Contains(text, "target=ops") || strings.Contains(text, "secret-path") || strings.Contains(text, "hooks.example") {
			t.Errorf("logged %q", text)
		}
	}
	a := alert.New(alert.Options{Targets: []alert.Target{{Name: "ops", URL: "http://127.0.0.1:1/secret-path"}}})
	if err := a.Test(t.Context(), "")["ops"]; err == nil || strings.Contains(err.Error(), "secret-path") {
		t.Errorf("got %v", err)
	}
}

func TestBodiesAreSigned(t *testing.T) {
	watched(t, alert.Target{Secret: "s3cret"}, nil, func(h *hook) {
		h.is(down("a"))
		time.Sleep(time.Minute)
		synctest.Wait()
		h.mu.Lock()
		defer h.mu.Unlock()
		if len(h.bodies) != 1 {
			t.Fatalf("%d messages", len(h.bodies))
		}
		mac := hmac.New(sha256.New, []byte("s3cret"))
		io.WriteString(mac, h.headers[0].Get("X-Ollama-MCP-Timestamp")+"."+h.bodies[0])
		if got, want := h.headers[0].Get("X-Ollama-MCP-Signature"), "sha256="+hex.EncodeToString(mac.Sum(nil)); got != want {
			t.Errorf("the signature is %q, want %q", got, want)
		}
	})
}

func TestMessagesAreInTheFormOfTheirService(t *testing.T) {
	const evil = "<!channel> @everyone `x` \n[a](http://evil) & " + "\x00"
	for kind, want := range map[string]string{
		"generic": `"text":"Host \u003c!channel\u003e @everyone`, "slack": `"text":"gpu-box: Host \u0026lt;!channel\u0026gt; @everyone`,
		"discord": `"allowed_mentions":{"parse":[]},"content":"gpu-box: Host \\\u003c!channel`,
	} {
		watched(t, alert.Target{Kind: kind}, nil, func(h *hook) {
			h.is(alert.Condition{Event: alert.HostDown, Subject: evil + strings.Repeat("x", 10_000), Detail: evil})
			time.Sleep(time.Minute)
			h.with(func() {
				if len(h.bodies) != 1 || !strings.Contains(h.bodies[0], want) || strings.Contains(h.bodies[0], `\n`) || len(h.bodies[0]) > 2000 {
					t.Errorf("%s: %.500q", kind, h.bodies)
				}
			})
		})
	}
}

func TestSubjectsAreBoundedInNumber(t *testing.T) {
	watched(t, alert.Target{}, nil, func(h *hook) {
		var all []alert.Condition
		for i := range 700 {
			all = append(all, down(fmt.Sprint(i)))
		}
		h.is(all...)
		time.Sleep(time.Minute)
		h.with(func() {
			if len(h.told) != 500 {
				t.Errorf("told of %d, want 500", len(h.told))
			}
		})
	})
}

func TestTestIsSentToTheTargetOfAName(t *testing.T) {
	asked := 0
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		if body, _ := io.ReadAll(req.Body); strings.Contains(string(body), "This is a test of alerts of gpu-box.") {
			asked++
		}
	}))
	defer srv.Close()
	a := alert.New(alert.Options{Server: "gpu-box", Targets: []alert.Target{{Name: "a", URL: srv.URL}, {Name: "b", URL: srv.URL}}})
	if got := a.Test(t.Context(), "b"); len(got) != 1 || got["b"] != nil || asked != 1 {
		t.Errorf("got %v, and %d requests", got, asked)
	}
	if got := a.Test(t.Context(), ""); len(got) != 2 || asked != 3 {
		t.Errorf("got %v, and %d requests", got, asked)
	}
}
