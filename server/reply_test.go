package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/server"
)

func TestRepliesReachTheQuestionsThatTheyAnswer(t *testing.T) {
	onEachTransport(t, server.Options{}, everything, func(t *testing.T, a *asked) {
		const calls = 20
		var questions []message
		for i := range calls {
			a.send(callAsk(fmt.Sprint(i), "form"))
			questions = append(questions, a.question())
		}
		for i := calls - 1; i >= 0; i-- {
			a.reply(questions[i], fmt.Sprintf(`{"action":"accept","content":%d}`, i))
			if got := a.next(); string(got.ID) != fmt.Sprint(i) || got.text() != fmt.Sprintf("accept %d", i) {
				t.Errorf("call %d got %s", i, got.line)
			}
		}
	})
}

func TestReplyThatIsNoneIsAnErrorOfTheTool(t *testing.T) {
	for _, tt := range []struct{ what, reply, heard string }{
		{"form", `"error":{"code":-1,"message":"not\nnow"}`, `elicitation/create: the client replied with error -1: "not\nnow"`},
		{"form", `"error":{"code":-1,"message":"` + strings.Repeat("x", 10_000) + `"}`, strings.Repeat("x", 200) + `"`},
		{"form", `"error":"no"`, "is not what the protocol has"},
		{"form", `"result":null`, "is not what the protocol has"},
		{"form", `"result":[]`, "is not what the protocol has"},
		{"form", `"result":{}`, "is not what the protocol has"},
		{"form", `"result":{"action":"yes"}`, "is not what the protocol has"},
		{"form", `"result":{"action":"accept"`, "is not what the protocol has"},
		{"model", `"result":{"role":"assistant","model":"m"}`, "is not what the protocol has"},
		{"model", `"result":{"role":"assistant","model":"m","content":"Hello"}`, "is not what the protocol has"},
		{"model", `"result":{"role":"assistant","model":"m","content":{"type":"smell"}}`, "is not what the protocol has"},
		{"folders", `"result":{"roots":null}`, "is not what the protocol has"},
	} {
		t.Run(fmt.Sprintf("%.50s", tt.reply), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, end := askedOverStdio(t, with(ask()), everything)
				a.send(callAsk("1", tt.what))
				a.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,%s}`, a.question().ID, tt.reply))
				if got := a.next(); !strings.Contains(got.text(), tt.heard) || len(got.text()) > 300 || !got.Result.IsError {
					t.Errorf("got %s", got.line)
				}
				end()
			})
		})
	}
}

func TestReplyTooLongToBeKeptEndsItsQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, end := askedOverStdio(t, server.Options{MaxMessage: 1 << 10, Tools: []mcpserver.ServerTool{ask()}}, everything)
		a.send(callAsk("1", "form"))
		a.reply(a.question(), `{"action":"accept","content":"`+strings.Repeat("x", 1<<11)+`"}`)
		if got := a.next(); !strings.Contains(got.text(), "longer than this server takes") {
			t.Errorf("got %s", got.line)
		}
		a.quiet()
		end()
	})
}

func TestReplyOfAnotherSessionIsNotHeard(t *testing.T) {
	for name, connect := range map[string]func(*remote, *testing.T) *asked{
		"HTTP": func(r *remote, t *testing.T) *asked { return r.askedOverHTTP(t, everything) },
		"SSE":  func(r *remote, t *testing.T) *asked { return r.askedOverSSE(t, everything) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, with(ask()), func(t *testing.T, r *remote) {
				a, other := connect(r, t), connect(r, t)
				a.send(callAsk("1", "form"))
				q := a.question()
				other.reply(q, `{"action":"cancel"}`)
				a.quiet()
				a.reply(q, accepted)
				a.next().want(t, "the call", "1", "accept map[name:Ada]")
				a.leave()
				other.leave()
			})
		})
	}
}

func TestAnotherCallersReplyIsNotHeard(t *testing.T) {
	inBubbleWith(t, with(ask()), aliceAndBob(), func(t *testing.T, r *remote) {
		begun := r.post(introducing(everything), as("alice")...)
		session := []string{"Mcp-Session-Id", begun.Header.Get("Mcp-Session-Id")}
		alice := &asked{t: t, messages: make(chan message, 100)}
		go alice.call(func() (*http.Response, error) {
			return r.do(t.Context(), "POST", "/mcp", callAsk("1", "form"), header(append(session, as("alice")...)...))
		})
		reply := fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":%s}`, alice.question().ID, accepted)
		r.post(reply, append(session, as("bob")...)...).wantStatus("bob", http.StatusNotFound)
		alice.quiet()
		r.post(reply, append(session, as("alice")...)...).wantStatus("alice", http.StatusAccepted)
		alice.next().want(t, "the call", "1", "accept map[name:Ada]")
	})
}

func TestReplyIsTakenWhileTheServerDrains(t *testing.T) {
	onEachTransport(t, server.Options{}, everything, func(t *testing.T, a *asked) {
		a.send(callAsk("1", "form"))
		q := a.question()
		a.stop()
		synctest.Wait()
		a.reply(q, accepted)
		a.next().want(t, "the call", "1", "accept map[name:Ada]")
		a.quiet()
	})
}

func TestReplyIsTakenHoweverManyRequestsAreInFlight(t *testing.T) {
	onEachTransport(t, server.Options{MaxInFlight: 1}, everything, func(t *testing.T, a *asked) {
		a.send(callAsk("1", "form"))
		a.reply(a.question(), accepted)
		a.next().want(t, "the call", "1", "accept map[name:Ada]")
	})
}
