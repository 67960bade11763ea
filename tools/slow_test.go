package tools_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/pool"
	"ollama-mcp/tools"
)

// slow has a host that answers a word a second, a hundred of them.
func (c *client) slow() *backendtest.Host {
	host := backendtest.New("gpu-1").TokenTime(time.Second).AnswerWith(func(backendtest.Call) backendtest.Reply {
		return backendtest.Reply{Text: strings.TrimSpace(strings.Repeat("word ", 100))}
	})
	c.useAll(pool.Options{Slots: 1, Queue: 5}, host)
	return host
}

// begins calls generate, and wants a job in a state; "" for any.
func (c *client) begins(more, state string) (id string, a answer) {
	c.t.Helper()
	a = c.succeeds("generate", `{"model":"tiny","prompt":"hi","timeout_seconds":600`+more+`}`)
	id, _ = a.StructuredContent["job"].(string)
	if len(id) < 20 || state != "" && a.StructuredContent["state"] != state {
		c.t.Fatalf("got %+v, want a job that is %s", a, state)
	}
	return id, a
}

func TestCallThatTakesLongBecomesAJob(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.who.Tenant = "alice"
		c.slow()
		began := time.Now()
		id, a := c.begins("", "running")
		if took := time.Since(began); took != 50*time.Second {
			t.Errorf("the call took %v, want 50s", took)
		}
		if partial := fmt.Sprint(a.StructuredContent["partial"]); strings.Count(partial, "word") < 48 || a.StructuredContent["tool"] != "generate" {
			t.Errorf("got %+v, want the words so far", a)
		}
		var same map[string]any
		if err := json.Unmarshal([]byte(a.Content[0].Text), &same); err != nil || same["job"] != id {
			t.Errorf("clients that read only text get %q", a.Content[0].Text)
		}
		if note := fmt.Sprint(a.StructuredContent["notes"]); !strings.Contains(note, `Call job with id "`+id+`"`) {
			t.Errorf("the note is %q", note)
		}

		a = c.succeeds("job", `{"id":"`+id+`","wait_seconds":10}`) // which is not long enough
		if a.StructuredContent["job"] != id || a.StructuredContent["state"] != "running" {
			t.Errorf("got %+v, want the job", a)
		}
		a = c.succeeds("job", `{"id":"`+id+`"}`)
		if len(a.Content) != 1 || strings.Count(a.Content[0].Text, "word") != 100 || a.StructuredContent != nil || a.Meta.Served["host"] != "gpu-1" {
			t.Errorf("got %+v, want the result that the call would have had", a)
		}
		if took := time.Since(began).Round(time.Second); took != 100*time.Second {
			t.Errorf("the result came after %v, want 100s", took)
		}
		if again := c.succeeds("job", `{"id":"`+id+`","wait_seconds":0}`); again.Content[0] != a.Content[0] {
			t.Errorf("the second time: got %+v", again)
		}
		time.Sleep(time.Hour + time.Second)
		c.fails("job", `{"id":"`+id+`"}`, "not_found", "is not kept any more; call the tool again")
	})
}

func TestWaitMayBeNoneAndAsLongAsTheCallerLikes(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.who.Tenant = "alice"
		c.slow()
		began := time.Now()
		first, _ := c.begins(`,"wait_seconds":0`, "")
		synctest.Wait()
		if time.Since(began) != 0 {
			t.Errorf("the call took %v", time.Since(began))
		}
		second, a := c.begins(`,"wait_seconds":"0.5","options":{"seed":1}`, "queued")
		if a.StructuredContent["position"] != 1.0 {
			t.Errorf("got %+v, want the first in the queue", a)
		}
		a = c.succeeds("generate", `{"model":"tiny","prompt":"hi","timeout_seconds":600,"wait_seconds":500,"options":{"seed":2}}`)
		if strings.Count(a.Content[0].Text, "word") != 100 {
			t.Errorf("got %+v, want the answer", a)
		}
		for _, id := range []string{first, second} {
			if a := c.succeeds("job", `{"id":"`+id+`","wait_seconds":0}`); strings.Count(a.Content[0].Text, "word") != 100 {
				t.Errorf("got %+v, want its answer", a)
			}
		}
		c.fails("generate", `{"model":"tiny","prompt":"hi","wait_seconds":-1}`, "invalid_argument", "wait_seconds")
	})
}

func TestClientThatLeavesWhileItWaitsEndsTheWorkAndLaterDoesNot(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.who.Tenant = "alice"
		host := c.slow()
		leave := func(tool, args string, after time.Duration) answer {
			ctx, cancel := context.WithTimeout(c.context(), after)
			defer cancel()
			return c.call(ctx, tool, args)
		}
		if a := leave("generate", `{"model":"tiny","prompt":"hi"}`, 5*time.Second); !a.IsError {
			t.Errorf("got %+v", a)
		}
		synctest.Wait()
		if busy := host.Stats().InFlight; busy != 0 {
			t.Errorf("the host works on %d calls", busy)
		}
		id, _ := c.begins(`,"wait_seconds":1`, "running")
		leave("job", `{"id":"`+id+`"}`, 5*time.Second) // the call that asks, and not the job
		if a := c.succeeds("job", `{"id":"`+id+`","wait_seconds":300}`); a.IsError || strings.Count(a.Content[0].Text, "word") != 100 {
			t.Errorf("got %+v, want the answer", a)
		}
	})
}

func TestJobIsCancelledAndKeepsTheTextSoFar(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.who.Tenant = "alice"
		host := c.slow()
		id, _ := c.begins(`,"wait_seconds":5.5`, "running")
		a := c.succeeds("job", `{"id":"`+id+`","action":"cancel"}`)
		if a.StructuredContent["state"] != "cancelled" {
			t.Errorf("got %+v", a)
		}
		synctest.Wait()
		if busy := host.Stats().InFlight; busy != 0 {
			t.Errorf("the host works on %d calls", busy)
		}
		a = c.fails("job", `{"id":"`+id+`"}`, "cancelled", "generate: ")
		if strings.Count(fmt.Sprint(a.StructuredContent["partial"]), "word") != 5 {
			t.Errorf("got %+v, want the 5 words that had come", a)
		}
		a = c.succeeds("job", `{"id":"`+id+`","action":"cancel"}`) // a second time
		if note := fmt.Sprint(a.StructuredContent["notes"]); !strings.Contains(note, "had ended before") {
			t.Errorf("got %+v", a)
		}
	})
}

func TestCallsThatCannotBeJobsAreRefusedOrWait(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.who.Tenant = "alice"
		host := backendtest.New("gpu-1").Answer("word").FirstTokenTime(2 * time.Minute)
		c.useAll(pool.Options{Slots: 100, Queue: 500}, host)
		for i := range 64 {
			c.begins(fmt.Sprintf(`,"wait_seconds":0,"options":{"seed":%d}`, i), "")
		}
		c.fails("generate", `{"model":"tiny","prompt":"hi","timeout_seconds":600,"wait_seconds":0}`, "overloaded", "64 of yours have not ended", "cancel one")
		a := c.succeeds("generate", `{"model":"tiny","prompt":"hi","timeout_seconds":600,"wait_seconds":1}`)
		if a.Content[0].Text != "word" {
			t.Errorf("got %+v, want the answer, since there was no room for a job", a)
		}
	})
}

func TestJobsAreListedToTheirCallerAndFoundByNobodyElse(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.who = caller.Caller{ID: "alice", Tenant: "alice", Tools: []string{"generate"}, Limits: caller.Limits{InFlight: 1}}
		c.slow()
		id, _ := c.begins(`,"wait_seconds":1`, "running")
		a := c.succeeds("job", `{"action":"list"}`) // though it is not among the tools, and one call is in flight
		list, _ := a.StructuredContent["jobs"].([]any)
		if len(list) != 1 || list[0].(map[string]any)["job"] != id || list[0].(map[string]any)["partial"] != nil {
			t.Errorf("got %+v, want the job", a)
		}
		c.fails("generate", `{"model":"tiny","prompt":"hi"}`, "rate_limited", "1 call in flight") // the job counts
		c.fails("job", `{}`, "invalid_argument", `"id" is missing`)
		c.fails("job", `{"action":"cancel"}`, "invalid_argument", `"id" is missing`)
		c.fails("job", `{"id":"x","action":"remove"}`, "invalid_argument", "action")

		c.who = caller.Caller{ID: "bob", Tenant: "bob"}
		for _, action := range []string{"result", "cancel"} {
			c.fails("job", `{"id":"`+id+`","action":"`+action+`"}`, "not_found", "there is no job", "list your jobs")
		}
		if a := c.succeeds("job", `{"action":"list"}`); a.Content[0].Text != `{"jobs":[]}` {
			t.Errorf("got %+v", a)
		}
	})
}

func TestTextsOfJobsAreCutBetweenCharacters(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.who.Tenant = "alice"
		c.use(backendtest.New("gpu-1").TokenTime(time.Second).AnswerWith(func(backendtest.Call) backendtest.Reply {
			return backendtest.Reply{Text: "a" + strings.Repeat("ü", 3000) + " b c d"}
		}))
		_, a := c.begins(`,"wait_seconds":2.5`, "running")
		partial := fmt.Sprint(a.StructuredContent["partial"])
		if !strings.HasPrefix(partial, "…üü") || len(partial) > 2010 || strings.Contains(partial, "\uFFFD") {
			t.Errorf("got %d bytes that begin with %q", len(partial), partial[:20])
		}
	})
}

func TestCallWaitsTenSecondsBeforeItIsATask(t *testing.T) {
	for _, c := range []struct {
		arguments any
		want      time.Duration
	}{
		{nil, 10 * time.Second},
		{map[string]any{"model": "tiny"}, 10 * time.Second},
		{map[string]any{"wait_seconds": "soon"}, 10 * time.Second}, // which the tool refuses
		{map[string]any{"wait_seconds": 2.5}, 2500 * time.Millisecond},
		{map[string]any{"wait_seconds": 0.0}, 0},
		{map[string]any{"wait_seconds": -1.0}, 0},
	} {
		if got := tools.TaskWait(c.arguments); got != c.want {
			t.Errorf("%v: got %v, want %v", c.arguments, got, c.want)
		}
	}
}

func TestFailedJobHasTheErrorOfItsCall(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.who.Tenant = "alice"
		c.slow()
		id, _ := c.begins(`,"wait_seconds":1,"timeout_seconds":20,"format":"json"`, "running")
		c.fails("job", `{"id":"`+id+`"}`, "timeout", "generate: ", "timeout_seconds")
	})
}
