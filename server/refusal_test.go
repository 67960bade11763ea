package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/caller"
	"ollama-mcp/server"
)

// refusals remembers what a server refuses.
type refusals struct {
	mu  sync.Mutex
	all []server.Refusal
}

func (r *refusals) add(_ context.Context, refusal server.Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, refusal)
}

// take returns what has been refused since the last time.
func (r *refusals) take() []server.Refusal {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.all
	r.all = nil
	return all
}

func TestEachRefusalOverHTTPIsToldOnce(t *testing.T) {
	const (
		list = `{"jsonrpc":"2.0","id":7,"method":"tools/list"}`
		ping = `{"jsonrpc":"2.0","id":7,"method":"ping"}`
	)
	ofCaller := func(more ...string) http.Header { return header(append(as("alice"), more...)...) }
	modernOf := func(method, name string, more ...string) http.Header {
		return ofCaller(append(modernHeader(method, name), more...)...)
	}
	modernCall := modern(call("7", "echo", "{}"))
	for _, tt := range []struct {
		what, method, path, body string
		header                   http.Header
		want                     server.Refusal // but for what is the same in all
	}{
		{"a foreign host", "POST", "/mcp", list, ofCaller("Host", "evil.example"), server.Refusal{Reason: server.ReasonHost, Status: 403}},
		{"a foreign origin", "POST", "/mcp", list, ofCaller("Origin", "https://evil.example"), server.Refusal{Reason: server.ReasonOrigin, Status: 403}},
		{"no key", "POST", "/mcp", list, header(), server.Refusal{Reason: server.ReasonUnauthorized, Status: 401}},
		{"an unknown key", "GET", "/sse", "", header(as("eve")...), server.Refusal{Reason: server.ReasonUnauthorized, Status: 401, Transport: "sse"}},
		{"too little scope", "DELETE", "/mcp", "", header(as("small")...), server.Refusal{Reason: server.ReasonForbidden, Status: 403}},
		{"the issuer is down", "POST", "/message", list, header(as("down")...), server.Refusal{Reason: server.ReasonAuthUnavailable, Status: 503, Transport: "sse"}},
		{"text", "POST", "/mcp", list, ofCaller("Content-Type", "text/plain"), server.Refusal{Reason: server.ReasonMediaType, Status: 415, Code: -32600, Caller: "alice"}},
		{"too large", "POST", "/mcp", strings.Repeat(" ", 5000), ofCaller(), server.Refusal{Reason: server.ReasonTooLarge, Status: 413, Code: -32600, Caller: "alice"}},
		{"no JSON", "POST", "/mcp", "hello", ofCaller(), server.Refusal{Reason: server.ReasonMalformed, Status: 400, Code: -32700, Caller: "alice"}},
		{"an unknown version", "POST", "/mcp", list, ofCaller("MCP-Protocol-Version", "2020-01-01"), server.Refusal{Reason: server.ReasonProtocol, Status: 400, Code: -32600, Caller: "alice", MessageID: "7", Method: "tools/list"}},
		{"headers of another message", "POST", "/mcp", modernCall, modernOf("tools/call", "other"), server.Refusal{Reason: server.ReasonProtocol, Status: 400, Code: -32020, Caller: "alice", MessageID: "7", Method: "tools/call"}},
		{"a reply, modern", "POST", "/mcp", `{"jsonrpc":"2.0","id":7,"result":{}}`, modernOf("x", ""), server.Refusal{Reason: server.ReasonMalformed, Status: 400, Code: -32600, Caller: "alice", MessageID: "7"}},
		{"an unknown tool", "POST", "/mcp", modern(call("7", "other", "{}")), modernOf("tools/call", "other"), server.Refusal{Reason: server.ReasonTool, Status: 400, Code: -32602, Caller: "alice", MessageID: "7", Method: "tools/call"}},
		{"an unknown method", "POST", "/mcp", strings.Replace(modernCall, "tools/call", "tools/fall", 1), modernOf("tools/fall", ""), server.Refusal{Reason: server.ReasonMethod, Status: 404, Code: -32601, Caller: "alice", MessageID: "7", Method: "tools/fall"}},
		{"a reply outside a session", "POST", "/mcp", `{"jsonrpc":"2.0","id":7,"result":{}}`, ofCaller(), server.Refusal{Reason: server.ReasonSession, Status: 400, Code: -32600, Caller: "alice", MessageID: "7"}},
		{"an unknown session", "POST", "/mcp", list, ofCaller("Mcp-Session-Id", "guess"), server.Refusal{Reason: server.ReasonSession, Status: 404, Caller: "alice"}},
		{"an unknown session to end", "DELETE", "/mcp", "", ofCaller("Mcp-Session-Id", "guess"), server.Refusal{Reason: server.ReasonSession, Status: 404, Caller: "alice"}},
		{"no session to end", "DELETE", "/mcp", "", ofCaller(), server.Refusal{Reason: server.ReasonSession, Status: 400, Caller: "alice"}},
		{"to end a session where there are none", "DELETE", "/mcp", "", ofCaller("MCP-Protocol-Version", "2026-07-28"), server.Refusal{Reason: server.ReasonProtocol, Status: 405, Caller: "alice"}},
		{"an unknown stream", "POST", "/message?sessionId=guess", list, ofCaller(), server.Refusal{Reason: server.ReasonSession, Status: 404, Caller: "alice", Transport: "sse"}},
		{"one stream too many", "GET", "/sse", "", ofCaller(), server.Refusal{Reason: server.ReasonSessions, Status: 503, Caller: "alice", Transport: "sse"}},
		{"one request too many of a caller", "POST", "/mcp", modernCall, modernOf("tools/call", "echo"), server.Refusal{Reason: server.ReasonCallerLimit, Status: 429, Code: -32000, Caller: "alice", MessageID: "7", Method: "tools/call"}},
		{"one request too many of all", "POST", "/mcp", modernCall, header(append(as("carol"), modernHeader("tools/call", "echo")...)...), server.Refusal{Reason: server.ReasonInFlight, Status: 503, Code: -32000, Caller: "carol", MessageID: "7", Method: "tools/call"}},
		{"an id in use", "POST", "/mcp", call("7", "echo", "{}"), ofCaller("Mcp-Session-Id", "OWN"), server.Refusal{Reason: server.ReasonIDInUse, Status: 200, Code: -32600, Caller: "alice", MessageID: "7", Method: "tools/call"}},
		{"too much of a caller in memory", "POST", "/mcp", strings.Repeat(" ", 4000), ofCaller(), server.Refusal{Reason: server.ReasonCallerLimit, Status: 429, Code: -32000, Caller: "alice"}},
		{"too much of all in memory", "POST", "/mcp", strings.Repeat(" ", 4000), header(as("carol")...), server.Refusal{Reason: server.ReasonNoMemory, Status: 503, Code: -32000, Caller: "carol"}},
		{"when the server stops", "POST", "/mcp", modernCall, modernOf("tools/call", "echo"), server.Refusal{Reason: server.ReasonStopping, Status: 503, Code: -32000, Caller: "alice", MessageID: "7", Method: "tools/call"}},
		{"nothing", "POST", "/mcp", ping, ofCaller("Mcp-Session-Id", "OWN"), server.Refusal{}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			var told refusals
			var ended collector
			opts := with(ended.waiting())
			opts.OnRefused, opts.MaxMessage, opts.MaxHeld, opts.Drain = told.add, 4500, 9000, time.Minute
			over := server.HTTPOptions{MaxStreams: 100, Authenticate: denyingSome}
			switch {
			case strings.Contains(tt.what, "too many of"):
				opts.MaxInFlight = 4
			case strings.Contains(tt.what, "stream too many"):
				over.MaxStreams = 1
			}
			inBubbleWith(t, opts, over, func(t *testing.T, r *remote) {
				r.prepare(tt.what, tt.header)
				told.take()
				tt.header.Set("X-Request-Id", "named")
				a := r.send(tt.method, tt.path, tt.body, tt.header)
				want := tt.want
				if want.Reason == "" {
					if all := told.take(); a.StatusCode != 200 || len(all) > 0 {
						t.Errorf("got %d, and told %+v", a.StatusCode, all)
					}
					return
				}
				want.RequestID, want.Remote = "named", "pipe"
				if want.Transport == "" {
					want.Transport = "http"
				}
				all := told.take()
				if len(all) != 1 || a.StatusCode != want.Status {
					t.Fatalf("got %d, and told %d times: %+v", a.StatusCode, len(all), all)
				}
				got := all[0]
				if got.Message == "" || strings.Contains(got.Message, "hunter2") || !strings.Contains(a.body, strings.Trim(fmt.Sprintf("%q", got.Message), `"`)) && !strings.Contains(a.body, got.Message) {
					t.Errorf("told %q of %s", got.Message, a.body)
				}
				got.Message = ""
				if got != want {
					t.Errorf("told\n%+v, want\n%+v", got, want)
				}
			})
		})
	}
}

// denyingSome authenticates by key, and fails in each way that there is.
func denyingSome(req *http.Request) (caller.Caller, error) {
	switch key := strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "); key {
	case "small":
		return caller.Caller{}, &caller.Denied{Code: "insufficient_scope", Message: "the token is not for tools"}
	case "down":
		return caller.Caller{}, errors.New("issuer hunter2 is down")
	case "alice", "bob", "carol":
		return caller.Caller{ID: key, Tenant: key}, nil
	}
	return caller.Caller{}, &caller.Denied{Message: "a key is needed"}
}

// prepare makes a server refuse what is about to come.
func (r *remote) prepare(what string, h http.Header) {
	wait := func(names ...string) {
		for _, name := range names {
			go r.call("wait", "{}", as(name)...)
			synctest.Wait()
		}
	}
	if h.Get("Mcp-Session-Id") == "OWN" {
		h.Set("Mcp-Session-Id", r.initialize(as("alice")...))
	}
	switch what {
	case "one stream too many":
		r.openStream(as("bob")...)
	case "one request too many of a caller":
		wait("alice", "alice")
	case "one request too many of all":
		wait("alice", "alice", "bob", "carol")
	case "an id in use":
		session := h.Get("Mcp-Session-Id")
		go r.postIn(session, call("7", "wait", "{}"), as("alice")...)
		synctest.Wait()
	case "too much of a caller in memory", "too much of all in memory":
		go r.call("wait", `{"text":"`+strings.Repeat("x", 4000)+`"}`, as("alice")...)
		synctest.Wait()
		if what == "too much of a caller in memory" {
			break
		}
		go r.call("wait", `{"text":"`+strings.Repeat("x", 1800)+`"}`, as("bob")...)
		synctest.Wait()
	case "when the server stops":
		wait("alice")
		r.stop()
		synctest.Wait()
	}
}

func TestEachRefusalOnAConnectionIsToldOnce(t *testing.T) {
	var told refusals
	opts := server.Options{OnRefused: told.add, MaxInFlight: 1, MaxMessage: 1000, MaxHeld: 2000}
	for _, tt := range []struct {
		name, message string
		want          server.Refusal
		answered      bool
	}{
		{"no JSON", "hello", server.Refusal{Reason: server.ReasonMalformed, Code: -32700}, true},
		{"an unknown tool", call("7", "other", "{}"), server.Refusal{Reason: server.ReasonTool, Code: -32602, MessageID: "7", Method: "tools/call"}, true},
		{"an unknown method", `{"jsonrpc":"2.0","id":7,"method":"x"}`, server.Refusal{Reason: server.ReasonMethod, Code: -32601, MessageID: "7", Method: "x"}, true},
		{"too long", `{"jsonrpc":"2.0","id":7,"method":"x","y":"` + strings.Repeat("x", 1000) + `"}`, server.Refusal{Reason: server.ReasonTooLarge, Code: -32600, MessageID: "7", Method: "x"}, true},
		{"a notification too long", `{"jsonrpc":"2.0","method":"x","y":"` + strings.Repeat("x", 1000) + `"}`, server.Refusal{Reason: server.ReasonTooLarge, Method: "x"}, false},
		{"a tool that fails", call("7", "panic", "{}"), server.Refusal{}, true},
		{"a call", call("7", "echo", "{}"), server.Refusal{}, true},
		{"a late cancel", cancel("7"), server.Refusal{}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			told.take()
			c := connect(t, opts)
			c.send(tt.message)
			synctest.Wait()
			if tt.answered {
				c.next()
			}
			all := told.take()
			switch {
			case tt.want.Reason == "" && len(all) > 0, tt.want.Reason != "" && len(all) != 1:
				t.Errorf("%s: told %d times: %+v", tt.name, len(all), all)
			case tt.want.Reason != "":
				got := all[0]
				got.Message, tt.want.Transport = "", "stdio"
				if got != tt.want {
					t.Errorf("%s: told\n%+v, want\n%+v", tt.name, got, tt.want)
				}
			}
			if rest, err := c.hangUp(); err != nil || len(rest) > 0 {
				t.Errorf("%s: then came %v, %v", tt.name, rest, err)
			}
		})
	}
}

func TestRefusalsOnAStreamAreToldWithTheirPost(t *testing.T) {
	var told refusals
	var ended collector
	opts := with(ended.waiting())
	opts.OnRefused, opts.MaxInFlight = told.add, 1
	inBubble(t, opts, func(t *testing.T, r *remote) {
		s := r.openStream()
		s.say(call("1", "wait", "{}"), "X-Request-Id", "first")
		s.say(call("1", "echo", "{}"), "X-Request-Id", "second")
		s.next() // so that one comes after the other
		got := told.take()
		s.say(call("2", "echo", "{}"), "X-Request-Id", "third")
		s.next()
		got = append(got, told.take()...)
		for i := range got {
			got[i].Message = ""
		}
		want := []server.Refusal{
			{Reason: server.ReasonIDInUse, Transport: "sse", Remote: "pipe", Caller: "local", RequestID: "second", MessageID: "1", Method: "tools/call", Code: -32600},
			{Reason: server.ReasonInFlight, Transport: "sse", Remote: "pipe", Caller: "local", RequestID: "third", MessageID: "2", Method: "tools/call", Code: -32000},
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("told\n%+v, want\n%+v", got, want)
		}
	})
}

func TestObserverThatBlocksHoldsUpNoAnswer(t *testing.T) {
	for name, f := range map[string]func(*testing.T, server.Options){
		"HTTP": func(t *testing.T, opts server.Options) {
			r := serveInBubble(t, opts, server.HTTPOptions{})
			r.post("hello").wantStatus("no JSON", 400)
			r.send("POST", "/mcp", "", header("Host", "evil.example")).wantStatus("a foreign host", 403)
			s := r.openStream()
			s.say("hello")
			if m := s.next(); m.Error == nil {
				t.Errorf("on a stream: %s", m.line)
			}
			r.call("echo", `{"text":"well"}`).want("a call", "well")
			r.end()
		},
		"stdio": func(t *testing.T, opts server.Options) {
			c := connect(t, opts)
			c.send("hello", call("1", "echo", `{"text":"well"}`))
			if first, second := c.next().text(), c.next().text(); first+second != "well" {
				t.Errorf("got %q and %q", first, second)
			}
			if _, err := c.hangUp(); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told refusals
				release := make(chan struct{})
				f(t, server.Options{OnRefused: func(ctx context.Context, r server.Refusal) {
					<-release
					told.add(ctx, r)
				}})
				if all := told.take(); len(all) > 0 {
					t.Errorf("told %v before it let go", all)
				}
				close(release)
				if all := told.take(); len(all) == 0 {
					t.Error("told nothing")
				}
			})
		})
	}
}

func TestRefusalsBeyondAThousandThatWaitAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told refusals
		var log bytes.Buffer
		release := make(chan struct{})
		r := serveInBubble(t, server.Options{Log: logTo(&log), OnRefused: func(ctx context.Context, refusal server.Refusal) {
			<-release
			told.add(ctx, refusal)
		}}, server.HTTPOptions{})
		r.post("hello")
		synctest.Wait() // it is being told of this one
		for range 1100 {
			r.post("hello")
		}
		close(release)
		r.end()
		if all := told.take(); len(all) != 1001 || !strings.Contains(log.String(), "refusals=100") {
			t.Errorf("told of %d, and in the log is %s", len(all), &log)
		}
	})
}
