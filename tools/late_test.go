package tools_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/pool"
)

// endless is a host that thinks and answers, a word a second, for longer than any call.
func endless(thinking, text int) *backendtest.Host {
	return backendtest.New("gpu-1").TokenTime(time.Second).AnswerWith(func(backendtest.Call) backendtest.Reply {
		return backendtest.Reply{Thinking: strings.Repeat("hmm ", thinking), Text: strings.Repeat("word ", text)}
	})
}

func TestModelThatIsStillThinkingAtTheTimeLimitIsNotSaidToBeSilent(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(endless(1000, 0))
		a := c.fails("generate", `{"model":"tiny","prompt":"?","think":true,"timeout_seconds":10.5}`, "timeout",
			"still thinking, after 10 tokens", "10.5s", "set think to false", `"low"`, "timeout_seconds")
		if strings.Count(a.Meta.Thinking, "hmm") != 10 || strings.Contains(a.Content[0].Text, "in memory") {
			t.Errorf("got %+v", a)
		}
		if a = c.fails("generate", `{"model":"tiny","prompt":"?","timeout_seconds":10.5}`, "timeout", "still thinking"); a.Meta.Thinking != "" {
			t.Errorf("thoughts that nobody asked for: %q", a.Meta.Thinking)
		}
	})
}

func TestTextOfAFormatThatTheTimeLimitHasCutIsNotLost(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(endless(0, 1000))
		a := c.fails("generate", `{"model":"tiny","prompt":"?","format":"json","timeout_seconds":5.5}`, "timeout", "before the answer was complete", "allow more with timeout_seconds")
		if len(a.Content) != 2 || strings.Count(a.Content[1].Text, "word") != 5 {
			t.Errorf("got %+v, want the 5 words that had come", a.Content)
		}
	})
}

func TestTextOfACallThatTheServerEndsIsNotLost(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(endless(2, 1000))
		ctx, stop := context.WithCancelCause(c.context())
		time.AfterFunc(5500*time.Millisecond, func() { stop(errors.New("the server is shutting down")) })
		a := c.call(ctx, "generate", `{"model":"tiny","prompt":"?","think":true}`)
		if a.StructuredContent["code"] != "cancelled" || !strings.Contains(a.Content[0].Text, "shutting down; call again when the server is back") {
			t.Errorf("got %+v", a)
		}
		if len(a.Content) != 2 || strings.Count(a.Content[1].Text, "word") != 2 || strings.Count(a.Meta.Thinking, "hmm") != 2 {
			t.Errorf("got %+v, want the 2 words and 2 thoughts that had come", a)
		}
	})
}

func TestWhatServedAnAnswerThatIsCutIsToldAsFarAsItIsKnown(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host, _ := c.ladder()
		host.Remove("big").Answer(strings.Repeat("word ", 100)).TokenTime(time.Second).FirstTokenTime(2 * time.Second)
		a := c.succeeds("generate", `{"model":"pro","prompt":"?","timeout_seconds":8.5,"options":{"seed":1}}`)
		for key, want := range map[string]any{
			"model": "small", "host": "gpu-1", "source": "local", "rung": 2.0, "tokens_out": 6.0, "done_reason": "timeout",
			"first_token_ms": 3000.0, "total_ms": 8500.0, "tokens_per_second": 1.1, "queue_ms": 0.0,
		} {
			if a.Meta.Served[key] != want {
				t.Errorf("served: %s is %v, want %v", key, a.Meta.Served[key], want)
			}
		}
		if passed, _ := a.Meta.Served["passed"].([]any); len(passed) != 1 || !strings.Contains(a.Content[1].Text, "Answered by small instead of big") {
			t.Errorf("of the rung before there is %v, and %+v", passed, a.Content[1:])
		}
		for _, key := range []string{"tokens_in", "load_ms"} {
			if value, ok := a.Meta.Served[key]; ok {
				t.Errorf("served: %s is not known, and said to be %v", key, value)
			}
		}
	})
}

func TestTimeoutSaysWhatWasWaitedFor(t *testing.T) {
	const ask = `{"model":"tiny","prompt":"?","timeout_seconds":5}`
	t.Run("a host that has the model and is silent", func(t *testing.T) {
		story(t, func(t *testing.T, c *client) {
			host := c.use(backendtest.New("gpu-1"))
			c.succeeds("generate", ask)
			host.FailWhen(func(backendtest.Call) backendtest.Fault { return backendtest.Hang })
			a := c.fails("generate", ask, "timeout", "gpu-1 had not begun to answer", "status")
			if strings.Contains(a.Content[0].Text, "memory") {
				t.Errorf("the model was in memory: %s", a.Content[0].Text)
			}
		})
	})
	t.Run("a host that others have had load the model", func(t *testing.T) {
		story(t, func(t *testing.T, c *client) {
			host := backendtest.New("gpu-1").FailWhen(func(backendtest.Call) backendtest.Fault { return backendtest.Hang })
			hosts := &believing{c.pool(pool.Options{}, host), []string{"tiny:latest"}}
			c.useHosts(hosts)
			if a := c.fails("generate", ask, "timeout", "gpu-1 had not begun to answer"); strings.Contains(a.Content[0].Text, "memory") {
				t.Errorf("the model was in memory: %s", a.Content[0].Text)
			}
		})
	})
}

// A call that cannot wait as long as its only host asks it to is refused at once.
func TestPauseThatOutlastsTheCallIsNotWaitedFor(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").FailWhen(func(backendtest.Call) backendtest.Fault {
			return backendtest.Refuse(503, "busy", "Retry-After", "30")
		}))
		began := time.Now()
		a := c.fails("generate", `{"model":"tiny","prompt":"?","timeout_seconds":10}`, "overloaded", "busy")
		if took := time.Since(began); took != 0 || len(host.Calls()) != 1 || a.StructuredContent["retry_after_seconds"] != 30.0 {
			t.Errorf("after %v and %d requests: got %+v, want a refusal at once", took, len(host.Calls()), a.StructuredContent)
		}
	})
}

// believing are hosts with models in memory that others have had loaded.
type believing struct {
	*pool.Pool
	loaded []string
}

func (b *believing) Stats() pool.Stats {
	s := b.Pool.Stats()
	for i := range s.Hosts {
		s.Hosts[i].Loaded = b.loaded
	}
	return s
}

func TestCallWithoutTheTimeToWaitIsToldWhenToComeBack(t *testing.T) {
	for name, ready := range map[string]func(*client) *client{
		"nothing is kept": func(c *client) *client { return c },
		"answers are kept, and those in the making shared": (*client).keeping,
	} {
		story(t, func(t *testing.T, c *client) {
			host := backendtest.New("gpu-1").Answer("yes").FirstTokenTime(10 * time.Second)
			ready(c).useAll(pool.Options{Slots: 1, Queue: 10}, host)
			for n := range 20 { // so that the pool knows how long they take
				c.succeeds("generate", fmt.Sprintf(`{"model":"tiny","prompt":"%d"}`, n))
			}
			var all sync.WaitGroup
			all.Go(func() { c.succeeds("generate", `{"model":"tiny","prompt":"?"}`) })
			synctest.Wait()
			began := time.Now()
			a := c.fails("generate", `{"model":"tiny","prompt":"!","timeout_seconds":2}`, "queue_timeout",
				"in time: the wait is about 10", "try again in 10 s, or allow more than 10 s with timeout_seconds")
			if a.StructuredContent["retry_after_seconds"] != 10.0 || time.Since(began) != 0 {
				t.Errorf("%s: after %v: %+v", name, time.Since(began), a)
			}
			all.Wait()
		})
	}
}

func TestCallWhoseTimeEndsInTheQueueIsToldWhenToComeBack(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := backendtest.New("gpu-1").Answer("yes").FirstTokenTime(10 * time.Second)
		c.useAll(pool.Options{Slots: 1, Queue: 10}, host)
		var all sync.WaitGroup
		all.Go(func() { c.succeeds("generate", `{"model":"tiny","prompt":"?"}`) })
		synctest.Wait()
		a := c.fails("generate", `{"model":"tiny","prompt":"?","timeout_seconds":2}`, "queue_timeout", "no slot came free in time", "all slots are busy")
		if strings.Contains(a.Content[0].Text, "memory") {
			t.Errorf("got %+v", a)
		}
		all.Wait()
	})
}

func TestEmbedThatRunsOutOfTimeSaysHowFarItCameAndGoesOnFromThere(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		host := c.keeping().use(backendtest.New("gpu-1").TokenTime(time.Second))
		texts := make([]string, 50)
		for i := range texts {
			texts[i] = fmt.Sprintf(`"text %d"`, i)
		}
		args := `{"model":"tiny","timeout_seconds":40,"input":[` + strings.Join(texts, ",") + `]}`
		a := c.fails("embed", args, "timeout", "32 of 50 texts were embedded when the time limit of 40s was reached", "allow more with timeout_seconds", "continues from there")
		if strings.Contains(a.Content[0].Text, "memory") {
			t.Errorf("got %+v", a.Content)
		}
		asked := len(host.Calls())
		if a := c.succeeds("embed", args); a.StructuredContent["count"] != 50.0 || len(host.Calls()) != asked+1 {
			t.Errorf("after %d more calls: %+v", len(host.Calls())-asked, a.Content[1:])
		}
		host.FailWhen(func(backendtest.Call) backendtest.Fault { return backendtest.Hang })
		c.fails("embed", `{"model":"tiny","input":"new","timeout_seconds":1e-9}`, "timeout", "0 of 1 texts")
		c.fails("generate", `{"model":"tiny","prompt":"?","timeout_seconds":1e-9}`, "timeout", "the time limit of 1ns was reached")
		c.fails("embed", `{"model":"tiny","input":"new","cache":"off"}`, "timeout", "0 of 1 texts were embedded when the time limit of 55s was reached")
	})
}

func TestHostThatDoesNotListItsModelsTakesNoTimeOfTheOthers(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		frozen, well := backendtest.New("gpu-1"), backendtest.New("gpu-2")
		c.useAll(pool.Options{}, frozen, well)
		frozen.Break(backendtest.Hang)
		out := c.succeeds("list-models", `{}`).StructuredContent
		if fmt.Sprint(out["unreachable"]) != "map[gpu-1:no answer within 10s]" || len(out["models"].([]any)) != 1 {
			t.Errorf("got %v", out)
		}
		well.Break(backendtest.Hang)
		a := c.fails("list-models", `{}`, "timeout", "no host has listed its models within 10s; try again", "doctor")
		if strings.Contains(a.Content[0].Text, "timeout_seconds") {
			t.Errorf("list-models has no such argument: %s", a.Content[0].Text)
		}
	})
}
