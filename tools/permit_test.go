package tools_test

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
)

// as makes calls on behalf of somebody.
func (c *client) as(who caller.Caller) *client {
	other := *c
	other.who = who
	return &other
}

func TestCallerMayOnlyCallItsTools(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1"))
		ci := c.as(caller.Caller{ID: "ci", Tools: []string{"list-*"}})
		ci.succeeds("list-models", `{}`)
		ci.fails("generate", `{"model":"tiny","prompt":"?"}`, "forbidden", "generate", `"ci" may not call`)
	})
}

func TestCallerUsesAndSeesOnlyItsModels(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Install(
			backendtest.Model{Name: "open:1b"}, backendtest.Model{Name: "opened:1b"},
			backendtest.Model{Name: "secret:1b"}, backendtest.Model{Name: "vectors", Capabilities: []string{"embedding"}}))
		ci := c.as(caller.Caller{ID: "ci", Models: []string{"open*"}})
		ci.succeeds("generate", `{"model":"open:1b","prompt":"?"}`)
		asked := len(host.Calls())
		ci.fails("generate", `{"model":"secret:1b","prompt":"?"}`, "forbidden", `"secret:1b"`, "list-models")
		ci.fails("chat", `{"model":"secret:1b","messages":[{"role":"user","content":"?"}]}`, "forbidden")
		ci.fails("embed", `{"model":"vectors","input":"?"}`, "forbidden")
		if got := len(host.Calls()); got != asked {
			t.Errorf("%d calls reached the host for models that may not be used", got-asked)
		}
		listed := ci.succeeds("list-models", `{}`).StructuredContent["models"].([]any)
		if len(listed) != 2 {
			t.Errorf("%d models are listed, want the 2 that may be used: %v", len(listed), listed)
		}
	})
}

func TestRateLimitedCallerIsToldWhenToRetry(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1").FirstTokenTime(10 * time.Second))
		one := c.as(caller.Caller{ID: "one", Limits: caller.Limits{InFlight: 1}})
		var busy sync.WaitGroup
		busy.Go(func() { one.succeeds("generate", `{"model":"tiny","prompt":"?"}`) })
		synctest.Wait()
		a := one.fails("list-models", `{}`, "rate_limited", "1 call in flight")
		if a.StructuredContent["retryable"] != true || a.StructuredContent["retry_after_seconds"] != 1.0 {
			t.Errorf("got %v, want one to try again in a second", a.StructuredContent)
		}
		busy.Wait()
		one.succeeds("list-models", `{}`)

		slow := c.as(caller.Caller{ID: "slow", Limits: caller.Limits{PerSecond: 0.1}})
		slow.succeeds("list-models", `{}`)
		if a := slow.fails("list-models", `{}`, "rate_limited"); a.StructuredContent["retry_after_seconds"] != 10.0 {
			t.Errorf("got %v, want one to try again in 10 s", a.StructuredContent)
		}
		time.Sleep(10 * time.Second)
		slow.succeeds("list-models", `{}`)
	})
}

func TestReadsOfResourcesCountInTheLimitsOfTheirCaller(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1"))
		uri := c.as(caller.Caller{Tenant: "team"}).succeeds("embed", `{"model":"tiny","input":"x","output":"resource"}`).StructuredContent["uri"].(string)
		over := func(what string, who *client, want string) {
			t.Helper()
			_, err := who.read(uri)
			if e := fault.Of(cmp.Or(err, errors.New("none"))); e.Code != fault.RateLimited || !strings.Contains(e.Message, want) {
				t.Errorf("%s: got %v, want %q", what, err, want)
			}
		}
		slow := c.as(caller.Caller{ID: "slow", Tenant: "team", Limits: caller.Limits{PerSecond: 0.1}})
		slow.succeeds("list-models", `{}`)
		over("after a call", slow, "calls per second")
		time.Sleep(10 * time.Second)
		if _, err := slow.read(uri); err != nil {
			t.Errorf("when its time has come: %v", err)
		}

		one := c.as(caller.Caller{ID: "one", Tenant: "team", Limits: caller.Limits{InFlight: 1}})
		request, end := context.WithCancel(one.context())
		defer end()
		if _, err := one.readIn(request, uri); err != nil {
			t.Fatal(err)
		}
		over("while its answer has not been taken", one, "1 call in flight")
		end()
		synctest.Wait()
		if _, err := one.read(uri); err != nil {
			t.Errorf("once it has been taken: %v", err)
		}
	})
}

func TestEmbeddingsOfOneTenantAreUnknownToAnother(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1"))
		mine, theirs := c.as(caller.Caller{Tenant: "a"}), c.as(caller.Caller{Tenant: "b"})
		a := mine.succeeds("embed", `{"model":"tiny","input":"x","output":"resource"}`)
		uri := a.StructuredContent["uri"].(string)
		if _, err := mine.read(uri); err != nil {
			t.Errorf("its own tenant: %v", err)
		}
		const guess = "ollama://embeddings/guess"
		_, foreign := theirs.read(uri)
		_, unknown := theirs.read(guess)
		if foreign == nil || unknown == nil || strings.ReplaceAll(foreign.Error(), uri, guess) != unknown.Error() {
			t.Errorf("another's: %v; none: %v; want no difference", foreign, unknown)
		}
	})
}
