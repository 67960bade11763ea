package server_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/caller"
	"ollama-mcp/server"
)

// whoami is a tool that says who calls it, and what it is told of the request's header
// beside its names.
func whoami() mcpserver.ServerTool {
	return says("whoami", func(ctx context.Context, r mcp.CallToolRequest) string {
		c := caller.FromContext(ctx)
		r.Header.Del("X-Request-Id")
		r.Header.Del("Traceparent")
		r.Header.Del("Tracestate")
		return fmt.Sprintf("id=%s tenant=%s admin=%v header=%v", c.ID, c.Tenant, c.Admin, r.Header)
	})
}

var callWhoami = call("1", "whoami", "{}")

// byKey admits those who present a key that is the name of a caller.
func byKey(known map[string]caller.Caller) func(*http.Request) (caller.Caller, error) {
	return func(req *http.Request) (caller.Caller, error) {
		key, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
		if !ok {
			return caller.Caller{}, &caller.Denied{Message: "no key"}
		}
		c, ok := known[key]
		if !ok {
			return caller.Caller{}, &caller.Denied{Code: "invalid_token", Message: "the key is not known"}
		}
		return c, nil
	}
}

// aliceAndBob are two callers who may everything.
func aliceAndBob() server.HTTPOptions {
	return server.HTTPOptions{Authenticate: byKey(map[string]caller.Caller{
		"alice": {ID: "alice", Tenant: "alice"},
		"bob":   {ID: "bob", Tenant: "bob"},
	})}
}

// as is the header with which a caller proves to be somebody.
func as(name string) []string { return []string{"Authorization", "Bearer " + name} }

func TestStdioIsTheAdministratorOfTheMachine(t *testing.T) {
	overStdio(t, with(whoami()), func(t *testing.T, c *client) {
		for _, message := range []string{callWhoami, modern(callWhoami)} {
			c.send(message)
			if got := c.next().text(); got != "id= tenant= admin=true header=map[]" {
				t.Errorf("got %q", got)
			}
		}
	})
}

func TestCallerArrivesAtToolsInBothErasAndOverSSE(t *testing.T) {
	inBubbleWith(t, with(whoami()), aliceAndBob(), func(t *testing.T, r *remote) {
		const want = "id=alice tenant=alice admin=false header=map[]"
		a := r.post(modern(callWhoami), append(as("alice"), modernHeader("tools/call", "whoami")...)...)
		if got := a.text(); got != want {
			t.Errorf("modern: got %q", got)
		}
		session := r.initialize(as("alice")...)
		a = r.postIn(session, callWhoami, as("alice")...)
		if got := a.text(); got != want {
			t.Errorf("legacy: got %q", got)
		}
		s := r.openStream(as("alice")...)
		s.say(callWhoami, as("alice")...)
		if m := s.next(); m.text() != want {
			t.Errorf("SSE: got %q", m.text())
		}
	})
}

func TestSessionIsUnknownToAllButItsOwner(t *testing.T) {
	var ended collector
	inBubbleWith(t, with(ended.waiting()), aliceAndBob(), func(t *testing.T, r *remote) {
		session := r.initialize(as("alice")...)
		answered := later(func() reply {
			return r.postIn(session, call("1", "wait", "{}"), as("alice")...)
		})
		synctest.Wait()

		for _, tt := range []struct{ method, body string }{
			{"POST", callWhoami}, {"POST", cancel("1")}, {"DELETE", ""},
		} {
			unknown := r.send(tt.method, "/mcp", tt.body, header(append(as("bob"), "X-Request-Id", "1", "Mcp-Session-Id", "guess")...))
			foreign := r.send(tt.method, "/mcp", tt.body, header(append(as("bob"), "X-Request-Id", "1", "Mcp-Session-Id", session)...))
			if foreign.StatusCode != 404 || foreign.StatusCode != unknown.StatusCode || foreign.body != unknown.body ||
				fmt.Sprint(foreign.Header) != fmt.Sprint(unknown.Header) {
				t.Errorf("%s %.60s: a foreign session got %d %s %v, an unknown one %d %s %v", tt.method, tt.body,
					foreign.StatusCode, foreign.body, foreign.Header, unknown.StatusCode, unknown.body, unknown.Header)
			}
		}
		synctest.Wait()
		ended.want(t) // nothing yet
		r.postIn(session, cancel("1"), as("alice")...)
		if a := <-answered; a.StatusCode != 202 || len(ended.causes) != 1 {
			t.Errorf("its owner's cancel got %d, %q", a.StatusCode, ended.causes)
		}
	})
}

func TestStreamOfSSEIsUnknownToAllButItsOwner(t *testing.T) {
	var ended collector
	inBubbleWith(t, with(ended.waiting()), aliceAndBob(), func(t *testing.T, r *remote) {
		s := r.openStream(as("alice")...)
		s.say(call("1", "wait", "{}"), as("alice")...)
		unknown := r.send("POST", "/message?sessionId=guess", cancel("1"), header(as("bob")...))
		foreign := r.send("POST", s.path, cancel("1"), header(as("bob")...))
		if foreign.StatusCode != 404 || foreign.body != unknown.body {
			t.Errorf("a foreign stream got %d %s, an unknown one %d %s", foreign.StatusCode, foreign.body, unknown.StatusCode, unknown.body)
		}
		synctest.Wait()
		ended.want(t) // nothing yet
		s.say(cancel("1"), as("alice")...)
		synctest.Wait()
		ended.want(t, "cancelled by the client")
	})
}

func TestToolsAreListedForThoseWhoMayCallThem(t *testing.T) {
	opts := server.HTTPOptions{Authenticate: byKey(map[string]caller.Caller{
		"some": {ID: "some", Tools: []string{"who*", "echo"}}, "none": {ID: "none", Tools: []string{}}, "all": {ID: "all"},
	})}
	inBubbleWith(t, with(whoami()), opts, func(t *testing.T, r *remote) {
		for name, want := range map[string]int{"some": 2, "none": 0, "all": 6} {
			a := r.post(modern(`{"method":"tools/list","params":{"_meta":{"progressToken":1}},"jsonrpc":"2.0","id":1}`),
				append(as(name), modernHeader("tools/list", "")...)...)
			if got := strings.Count(a.body, `"inputSchema"`); got != want || !strings.Contains(a.body, `"tools":[`) {
				t.Errorf("%s: %d tools, want %d: %s", name, got, want, a.body)
			}
		}
		// The tool itself refuses who may not call it, in words for a model.
		a := r.post(modern(callWhoami), append(as("none"), modernHeader("tools/call", "whoami")...)...)
		if got := a.text(); !strings.HasPrefix(got, "id=none") {
			t.Errorf("a tool that is not listed: %s", a.body)
		}
		a = r.post(modern(call("1", "echoes", "{}")), append(as("some"), modernHeader("tools/call", "echoes")...)...)
		if m := a.message(); m.Error == nil || m.Error.Message != `there is no tool "echoes"; did you mean echo? There are: echo, whoami` {
			t.Errorf("a tool that does not exist: %s", a.body)
		}
	})
}
