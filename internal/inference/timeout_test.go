package inference_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/inference"
	"ollama-mcp/pool"
)

// endless is a host that thinks and answers, a word a second, for longer than any call.
func endless(thinking, text int) *backendtest.Host {
	return backendtest.New("gpu-1").TokenTime(time.Second).AnswerWith(func(backendtest.Call) backendtest.Reply {
		return backendtest.Reply{Thinking: strings.Repeat("hmm ", thinking), Text: strings.Repeat("word ", text)}
	})
}

func TestTimeoutSaysThatTheModelIsStillThinking(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(endless(1000, 0))
		a := c.fails("generate", `{"model":"tiny","prompt":"?","think":true,"timeout_seconds":10.5}`, "timeout",
			"still thinking, after 10 tokens", "10.5s", "set think to false", `"low"`, "timeout_seconds")
		if strings.Count(a.thinking, "hmm") != 10 || strings.Contains(a.text, "in memory") {
			t.Errorf("got %+v", a)
		}
		if a = c.fails("generate", `{"model":"tiny","prompt":"?","timeout_seconds":10.5}`, "timeout", "still thinking"); a.thinking != "" {
			t.Errorf("thoughts that nobody asked for: %q", a.thinking)
		}
	})
}

func TestTimeoutOfAFormatKeepsThePartialText(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(endless(0, 1000))
		a := c.fails("generate", `{"model":"tiny","prompt":"?","format":"json","timeout_seconds":5.5}`, "timeout", "before the answer was complete", "allow more with timeout_seconds")
		if strings.Count(a.partial, "word") != 5 {
			t.Errorf("got %+v, want the 5 words that had come", a)
		}
	})
}

func TestShutdownKeepsThePartialText(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(endless(2, 1000))
		ctx, stop := context.WithCancelCause(t.Context())
		time.AfterFunc(5500*time.Millisecond, func() { stop(errors.New("the server is shutting down")) })
		a := c.call(ctx, "generate", `{"model":"tiny","prompt":"?","think":true}`)
		if a.code() != "cancelled" || !strings.Contains(a.text, "shutting down; call again when the server is back") {
			t.Errorf("got %+v", a)
		}
		if strings.Count(a.partial, "word") != 2 || strings.Count(a.thinking, "hmm") != 2 {
			t.Errorf("got %+v, want the 2 words and 2 thoughts that had come", a)
		}
	})
}

func TestServedOfAPartialAnswerHoldsAllThatIsKnown(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host, _ := c.ladder()
		host.Remove("big").Answer(strings.Repeat("word ", 100)).TokenTime(time.Second).FirstTokenTime(2 * time.Second)
		a := c.succeeds("generate", `{"model":"pro","prompt":"?","timeout_seconds":8.5,"options":{"seed":1}}`)
		if len(a.served.Passed) != 1 || !strings.Contains(a.notes, "Answered by small instead of big") {
			t.Errorf("of the rung before there is %v, and %q", a.served.Passed, a.notes)
		}
		want := inference.Served{
			Requested: "pro", Model: "small", Host: "gpu-1", Source: inference.Local, Rung: 2, TokensOut: 6, DoneReason: "timeout",
			FirstToken: 3000, Total: 8500, TokensPerSecond: 1.1, Passed: a.served.Passed,
		} // TokensIn and Load are not known
		if !reflect.DeepEqual(a.served, want) {
			t.Errorf("served: got  %+v\nwant %+v", a.served, want)
		}
	})
}

func TestTimeoutSaysWhatTheRequestWaitedFor(t *testing.T) {
	const ask = `{"model":"tiny","prompt":"?","timeout_seconds":5}`
	t.Run("a host that has the model and is silent", func(t *testing.T) {
		story(t, func(t *testing.T, c *client) {
			host := c.use(backendtest.New("gpu-1"))
			c.succeeds("generate", ask)
			host.FailWhen(func(backendtest.Call) backendtest.Fault { return backendtest.Hang })
			a := c.fails("generate", ask, "timeout", "gpu-1 had not begun to answer", "status")
			if strings.Contains(a.text, "memory") {
				t.Errorf("the model was in memory: %s", a.text)
			}
		})
	})
	t.Run("a host that others have had load the model", func(t *testing.T) {
		story(t, func(t *testing.T, c *client) {
			host := backendtest.New("gpu-1").FailWhen(func(backendtest.Call) backendtest.Fault { return backendtest.Hang })
			hosts := &believing{c.pool(pool.Options{}, host), []string{"tiny:latest"}}
			c.useHosts(hosts)
			if a := c.fails("generate", ask, "timeout", "gpu-1 had not begun to answer"); strings.Contains(a.text, "memory") {
				t.Errorf("the model was in memory: %s", a.text)
			}
		})
	})
}

// A call that cannot wait as long as its only host asks it to is refused at once.
func TestRetryAfterBeyondTheDeadlineIsRefusedAtOnce(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").FailWhen(func(backendtest.Call) backendtest.Fault {
			return backendtest.Refuse(503, "busy", "Retry-After", "30")
		}))
		began := time.Now()
		a := c.fails("generate", `{"model":"tiny","prompt":"?","timeout_seconds":10}`, "overloaded", "busy")
		if took := time.Since(began); took != 0 || len(host.Calls()) != 1 || a.err.RetryAfter != 30*time.Second {
			t.Errorf("after %v and %d requests: got %v, want a refusal at once", took, len(host.Calls()), a)
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

func TestQueueThatOutlastsTheDeadlineRefusesAtOnce(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := backendtest.New("gpu-1").Answer("yes").FirstTokenTime(10 * time.Second)
		c.useAll(pool.Options{Slots: 1, Queue: 10}, host)
		for n := range 20 { // so that the pool knows how long they take
			c.succeeds("generate", fmt.Sprintf(`{"model":"tiny","prompt":"%d"}`, n))
		}
		var all sync.WaitGroup
		all.Go(func() { c.succeeds("generate", `{"model":"tiny","prompt":"?"}`) })
		synctest.Wait()
		began := time.Now()
		a := c.fails("generate", `{"model":"tiny","prompt":"!","timeout_seconds":2}`, "queue_timeout",
			"in time: the wait is about 10", "try again in 10 s, or allow more than 10 s with timeout_seconds")
		if a.err.RetryAfter != 10*time.Second || time.Since(began) != 0 {
			t.Errorf("after %v: %+v", time.Since(began), a)
		}
		all.Wait()
	})
}

func TestTimeoutInTheQueueIsAQueueTimeout(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := backendtest.New("gpu-1").Answer("yes").FirstTokenTime(10 * time.Second)
		c.useAll(pool.Options{Slots: 1, Queue: 10}, host)
		var all sync.WaitGroup
		all.Go(func() { c.succeeds("generate", `{"model":"tiny","prompt":"?"}`) })
		synctest.Wait()
		a := c.fails("generate", `{"model":"tiny","prompt":"?","timeout_seconds":2}`, "queue_timeout", "no slot came free in time", "all slots are busy")
		if strings.Contains(a.text, "memory") {
			t.Errorf("got %+v", a)
		}
		all.Wait()
	})
}

func TestEmbedTimeoutSaysHowManyTextsAreDoneAndResumes(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").TokenTime(time.Second))
		texts := make([]string, 50)
		for i := range texts {
			texts[i] = fmt.Sprintf(`"text %d"`, i)
		}
		args := `{"model":"tiny","timeout_seconds":40,"input":[` + strings.Join(texts, ",") + `]}`
		a := c.fails("embed", args, "timeout", "32 of 50 texts were embedded when the time limit of 40s was reached", "allow more with timeout_seconds", "continues from there")
		if strings.Contains(a.text, "memory") {
			t.Errorf("got %+v", a)
		}
		asked := len(host.Calls())
		if a := c.succeeds("embed", args); len(a.vectors) != 50 || len(host.Calls()) != asked+1 {
			t.Errorf("after %d more calls: %+v", len(host.Calls())-asked, a)
		}
		host.FailWhen(func(backendtest.Call) backendtest.Fault { return backendtest.Hang })
		c.fails("embed", `{"model":"tiny","input":["new"],"timeout_seconds":1e-9}`, "timeout", "0 of 1 texts")
		c.fails("generate", `{"model":"tiny","prompt":"?","timeout_seconds":1e-9}`, "timeout", "the time limit of 1ns was reached")
		c.fails("embed", `{"model":"tiny","input":["new"],"cache":"off"}`, "timeout", "0 of 1 texts were embedded when the time limit of 55s was reached")
	})
}
