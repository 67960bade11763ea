package server_test

import (
	"context"
	"fmt"
	"net"
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
	return mcpserver.ServerTool{
		Tool: mcp.NewTool("whoami"),
		Handler: func(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			c := caller.FromContext(ctx)
			r.Header.Del("X-Request-Id")
			r.Header.Del("Traceparent")
			return mcp.NewToolResultText(fmt.Sprintf("id=%s tenant=%s admin=%v header=%v", c.ID, c.Tenant, c.Admin, r.Header)), nil
		},
	}
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
	synctest.Test(t, func(t *testing.T) {
		c := connect(t.Context(), t, server.Options{Tools: []mcpserver.ServerTool{whoami()}})
		for _, message := range []string{callWhoami, modern(callWhoami)} {
			c.send(message)
			if got := c.next().text(); got != "id= tenant= admin=true header=map[]" {
				t.Errorf("got %q", got)
			}
		}
		if _, err := c.hangUp(); err != nil {
			t.Error(err)
		}
	})
}

func TestCallerArrivesAtToolsInBothErasAndOverSSE(t *testing.T) {
	inBubble(t, server.Options{Tools: []mcpserver.ServerTool{whoami()}}, aliceAndBob(), func(t *testing.T, r *remote) {
		const want = "id=alice tenant=alice admin=false header=map[]"
		a := r.post(modern(callWhoami), append(as("alice"), modernHeader("tools/call", "whoami")...)...)
		if got := a.messages(t)[0].text(); got != want {
			t.Errorf("modern: got %q", got)
		}
		session := r.initialize(as("alice")...)
		a = r.post(callWhoami, append(as("alice"), "Mcp-Session-Id", session)...)
		if got := a.messages(t)[0].text(); got != want {
			t.Errorf("legacy: got %q", got)
		}
		s := r.openStream(as("alice")...)
		s.say(callWhoami, as("alice")...)
		if m, _ := s.next(); m.text() != want {
			t.Errorf("SSE: got %q", m.text())
		}
		s.resp.Body.Close()
	})
}

func TestCallerWithoutProofGoesByTheirSessionOrConnection(t *testing.T) {
	inBubble(t, server.Options{Tools: []mcpserver.ServerTool{whoami()}}, server.HTTPOptions{}, func(t *testing.T, r *remote) {
		session := r.initialize()
		want := "id=" + session[:10] + " tenant= admin=true header=map[]"
		if got := r.post(callWhoami, "Mcp-Session-Id", session).messages(t)[0].text(); got != want {
			t.Errorf("legacy: got %q, want %q", got, want)
		}
		s := r.openStream()
		s.say(callWhoami)
		want = "id=" + strings.TrimPrefix(s.path, "/message?sessionId=")[:10] + " tenant= admin=true header=map[]"
		if m, _ := s.next(); m.text() != want {
			t.Errorf("SSE: got %q, want %q", m.text(), want)
		}
		s.resp.Body.Close()
		// All ends of a net.Pipe have the address "pipe".
		want = "id=pipe tenant= admin=true header=map[]"
		if got := r.post(modern(callWhoami), modernHeader("tools/call", "whoami")...).messages(t)[0].text(); got != want {
			t.Errorf("modern: got %q, want %q", got, want)
		}
	})
}

// elsewhere is a listener that other machines can reach.
type elsewhere struct{ *pipes }

func (elsewhere) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4zero, Port: 80} }

func TestCallerFromAnotherMachineIsNoAdministrator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		r := serveOn(t, elsewhere{p}, p.dial, newServer(t, server.Options{Tools: []mcpserver.ServerTool{whoami()}}), server.HTTPOptions{Insecure: true})
		a := r.post(modern(callWhoami), modernHeader("tools/call", "whoami")...)
		if got := a.messages(t)[0].text(); !strings.Contains(got, "admin=false") {
			t.Errorf("got %q", got)
		}
		r.end()
	})
}

func TestSessionIsUnknownToAllButItsOwner(t *testing.T) {
	var ended collector
	inBubble(t, server.Options{Tools: []mcpserver.ServerTool{ended.waiting()}}, aliceAndBob(), func(t *testing.T, r *remote) {
		session := r.initialize(as("alice")...)
		answered := make(chan reply)
		go func() { answered <- r.post(call("1", "wait", "{}"), append(as("alice"), "Mcp-Session-Id", session)...) }()
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
		if len(ended.causes) > 0 {
			t.Errorf("a foreign cancel hit: %q", ended.causes)
		}
		r.post(cancel("1"), append(as("alice"), "Mcp-Session-Id", session)...)
		if a := <-answered; a.StatusCode != 202 || len(ended.causes) != 1 {
			t.Errorf("its owner's cancel got %d, %q", a.StatusCode, ended.causes)
		}
	})
}

func TestStreamOfSSEIsUnknownToAllButItsOwner(t *testing.T) {
	var ended collector
	inBubble(t, server.Options{Tools: []mcpserver.ServerTool{ended.waiting()}}, aliceAndBob(), func(t *testing.T, r *remote) {
		s := r.openStream(as("alice")...)
		s.say(call("1", "wait", "{}"), as("alice")...)
		unknown := r.send("POST", "/message?sessionId=guess", cancel("1"), header(as("bob")...))
		foreign := r.send("POST", s.path, cancel("1"), header(as("bob")...))
		if foreign.StatusCode != 404 || foreign.body != unknown.body {
			t.Errorf("a foreign stream got %d %s, an unknown one %d %s", foreign.StatusCode, foreign.body, unknown.StatusCode, unknown.body)
		}
		synctest.Wait()
		if len(ended.causes) > 0 {
			t.Errorf("a foreign cancel hit: %q", ended.causes)
		}
		s.say(cancel("1"), as("alice")...)
		synctest.Wait()
		if len(ended.causes) != 1 {
			t.Errorf("its owner's cancel: %q", ended.causes)
		}
		s.resp.Body.Close()
	})
}

func TestToolsAreListedForThoseWhoMayCallThem(t *testing.T) {
	opts := server.HTTPOptions{Authenticate: byKey(map[string]caller.Caller{
		"some": {ID: "some", Tools: []string{"who*", "echo"}}, "none": {ID: "none", Tools: []string{}}, "all": {ID: "all"},
	})}
	inBubble(t, server.Options{Tools: []mcpserver.ServerTool{whoami()}}, opts, func(t *testing.T, r *remote) {
		for name, want := range map[string]int{"some": 2, "none": 0, "all": 6} {
			a := r.post(modern(`{"method":"tools/list","params":{"_meta":{"progressToken":1}},"jsonrpc":"2.0","id":1}`),
				append(as(name), modernHeader("tools/list", "")...)...)
			if got := strings.Count(a.body, `"inputSchema"`); got != want || !strings.Contains(a.body, `"tools":[`) {
				t.Errorf("%s: %d tools, want %d: %s", name, got, want, a.body)
			}
		}
		// The tool itself refuses who may not call it, in words for a model.
		a := r.post(modern(callWhoami), append(as("none"), modernHeader("tools/call", "whoami")...)...)
		if got := a.messages(t)[0].text(); !strings.HasPrefix(got, "id=none") {
			t.Errorf("a tool that is not listed: %s", a.body)
		}
		a = r.post(modern(call("1", "echoes", "{}")), append(as("some"), modernHeader("tools/call", "echoes")...)...)
		if m := a.messages(t)[0]; m.Error == nil || m.Error.Message != `there is no tool "echoes"; there are: echo, whoami` {
			t.Errorf("a tool that does not exist: %s", a.body)
		}
	})
}
