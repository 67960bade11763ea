package server_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/server"
)

const accepted = `{"action":"accept","content":{"name":"Ada"}}`

func TestToolHearsWhatItsClientReplies(t *testing.T) {
	for _, tt := range []struct{ what, question, reply, heard string }{
		{
			"form", `"method":"elicitation/create","params":{"message":"Who are you?","requestedSchema":{"type":"object"}}}`,
			accepted, "accept map[name:Ada]",
		},
		{
			"url", `"method":"elicitation/create","params":{"mode":"url","message":"Who are you?","elicitationId":"1","url":"https://example.com"}}`,
			`{"action":"decline"}`, "decline <nil>",
		},
		{
			"model", `"method":"sampling/createMessage","params":{"messages":[{"role":"user","content":{"type":"text","text":"Hi"}}],"maxTokens":9}}`,
			`{"role":"assistant","model":"m","content":{"type":"text","text":"Hello"}}`, "mcp.TextContent Hello",
		},
		{"folders", `"method":"roots/list"}`, `{"roots":[{"uri":"file:///home"}]}`, "[{<nil> file:///home }]"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			onEachTransport(t, server.Options{}, everything, func(t *testing.T, a *asked) {
				a.send(callAsk("1", tt.what))
				q := a.question()
				for _, part := range strings.Split(strings.Trim(tt.question, "{}"), `"params":`) {
					if !strings.Contains(q.line, strings.TrimSuffix(part, ",")) {
						t.Errorf("the question is %s, which lacks %s", q.line, part)
					}
				}
				a.reply(q, tt.reply)
				if got := a.next(); got.text() != tt.heard || string(got.ID) != "1" {
					t.Errorf("got %s, want %s", got.line, tt.heard)
				}
				a.quiet()
			})
		})
	}
}

func TestQuestionIsWithdrawnWhenItsCallIsCancelled(t *testing.T) {
	onEachTransport(t, server.Options{}, everything, func(t *testing.T, a *asked) {
		a.send(callAsk("1", "form"))
		q := a.question()
		a.send(cancel("1"))
		a.withdrawn(q)
		a.reply(q, accepted) // too late
		a.quiet()
		a.send(callAsk("1", "form")) // the id is free again
		a.reply(a.question(), accepted)
		a.next().want(t, "the next call", "", "accept map[name:Ada]")
	})
}

func TestQuestionIsWithdrawnWhenTheToolWaitsNoLonger(t *testing.T) {
	onEachTransport(t, server.Options{}, everything, func(t *testing.T, a *asked) {
		a.send(call("1", "ask", `{"what":"form","seconds":5}`))
		a.withdrawn(a.question())
		a.next().want(t, "the call", "1", "elicitation/create: context deadline exceeded")
	})
}

// withdrawn checks that the next message withdraws a question.
func (a *asked) withdrawn(q message) {
	a.t.Helper()
	if got := a.next(); got.Method != "notifications/cancelled" || !strings.Contains(got.line, fmt.Sprintf(`"requestId":%s`, q.ID)) {
		a.t.Errorf("got %s, want that %s is withdrawn", got.line, q.ID)
	}
}

func TestToolEndsWhenItsClientLeavesItsQuestion(t *testing.T) {
	var ended collector
	waiting := tool("wait", func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		_, err := askFor(context.WithoutCancel(ctx), "form")
		ended.add(err)
		return nil, err
	})
	onEachTransport(t, with(waiting), everything, func(t *testing.T, a *asked) {
		a.send(call("1", "wait", "{}"))
		a.question()
		a.leave()
		synctest.Wait()
		if cause := ended.last(); !strings.Contains(cause, "the client is gone") {
			t.Errorf("the question got %s", cause)
		}
	})
}

// last is what was remembered last, or that nothing was.
func (c *collector) last() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.causes) == 0 {
		return "no end"
	}
	return c.causes[len(c.causes)-1]
}

func TestQuestionEndsWithTheInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, with(ask()))
		c.send(introducing(everything))
		c.next()
		c.send(callAsk("1", "form"))
		if q := c.next(); q.Method != "elicitation/create" {
			t.Errorf("got %s", q.line)
		}
		c.send(call("2", "ask", `{"what":"form","after":5}`)) // when there is no more input
		rest, err := c.hangUp()
		if err != nil || len(rest) != 2 {
			t.Fatalf("got %v, %v", rest, err)
		}
		for _, m := range rest {
			if m.text() != "elicitation/create: the client sends no more messages, so it cannot reply" {
				t.Errorf("got %s", m.line)
			}
		}
	})
}

func TestOneQuestionTooManyIsNotAsked(t *testing.T) {
	const most = 16
	many := says("many", func(ctx context.Context, _ mcp.CallToolRequest) string {
		var asking sync.WaitGroup
		for range most {
			asking.Go(func() { _, _ = askFor(ctx, "form") })
		}
		time.Sleep(time.Second)
		_, err := askFor(ctx, "form")
		asking.Wait()
		_, again := askFor(ctx, "form")
		return fmt.Sprintf("%v; %v", err, again)
	})
	onEachTransport(t, with(many), everything, func(t *testing.T, a *asked) {
		a.send(call("1", "many", "{}"))
		var questions []message
		for range most {
			questions = append(questions, a.question())
		}
		time.Sleep(2 * time.Second)
		for _, q := range questions {
			a.reply(q, accepted)
		}
		a.reply(a.question(), accepted) // now that there are fewer again
		a.next().want(t, "the call", "1", "elicitation/create: 16 questions are open, as many as there may be; <nil>")
	})
}

func TestClientThatRepliesToNothingLeavesTheHonestOneItsQuestions(t *testing.T) {
	flood := says("flood", func(ctx context.Context, _ mcp.CallToolRequest) string {
		var asking sync.WaitGroup
		for range 100 {
			asking.Go(func() { _, _ = askFor(ctx, "form") })
		}
		asking.Wait()
		return "done"
	})
	synctest.Test(t, func(t *testing.T) {
		opts := server.Options{MaxInFlight: 40, Tools: []mcpserver.ServerTool{ask(), flood}}
		r := serveInBubble(t, opts, hostileAndHonest)
		honest := r.askedOverHTTP(t, everything, as("honest")...)
		held := func() server.Load {
			r.http1.CloseIdleConnections()
			synctest.Wait()
			return r.server.Load()
		}
		before := held()
		hostile := r.askedOverHTTP(t, everything, as("hostile")...)
		const calls = 5
		for n := range calls {
			hostile.send(call(fmt.Sprint(n), "flood", "{}"))
			for range 16 {
				hostile.question()
			}
		}
		hostile.quiet() // there are no more
		for range 10 {
			began := time.Now()
			honest.send(callAsk("1", "form"))
			honest.reply(honest.question(), accepted)
			honest.next().want(t, "the honest client", "1", "accept map[name:Ada]")
			if took := time.Since(began); took > 0 {
				t.Errorf("the honest client waited %v", took)
			}
		}
		hostile.leave()
		time.Sleep(time.Minute)
		if after := held(); after != before {
			t.Errorf("after it the server holds %+v, and held %+v before", after, before)
		}
		honest.leave()
		r.end()
	})
}

func TestNothingIsAskedAfterTheAnswer(t *testing.T) {
	var late collector
	stray := says("stray", func(ctx context.Context, _ mcp.CallToolRequest) string {
		go func() {
			time.Sleep(time.Second)
			_, err := askFor(ctx, "form")
			late.add(err)
		}()
		return "done"
	})
	onEachTransport(t, with(stray), everything, func(t *testing.T, a *asked) {
		a.send(call("1", "stray", "{}"))
		a.next().want(t, "the call", "1", "done")
		time.Sleep(2 * time.Second)
		if cause := late.last(); !strings.Contains(cause, "the request has been handled") {
			t.Errorf("the question got %s", cause)
		}
		a.quiet()
	})
}

func TestClientThatTakesNoStreamIsNotAsked(t *testing.T) {
	inBubble(t, with(ask()), func(t *testing.T, r *remote) {
		session := r.post(introducing(everything)).Header.Get("Mcp-Session-Id")
		a := r.postIn(session, callAsk("1", "form"), "Accept", "application/json")
		if got := a.message(); !strings.Contains(got.text(), "takes no stream of events") {
			t.Errorf("got %s", got.line)
		}
	})
}
