package server_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/server"
)

// inBubble runs a test with a server in a bubble, which must end without a trace.
func inBubble(t *testing.T, opts server.Options, over server.HTTPOptions, f func(*testing.T, *remote)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := serveInBubble(t, opts, over)
		f(t, r)
		r.end()
	})
}

func TestBothErasAreServedAtOneAddress(t *testing.T) {
	inBubble(t, server.Options{}, server.HTTPOptions{}, func(t *testing.T, r *remote) {
		session := r.initialize()
		a := r.post(call("1", "echo", `{"text":"old"}`), "Mcp-Session-Id", session, "MCP-Protocol-Version", "2025-11-25")
		if a.StatusCode != 200 || a.Header.Get("Content-Type") != "application/json" || a.messages(t)[0].text() != "old" {
			t.Errorf("legacy: %d, %s", a.StatusCode, a.body)
		}
		a = r.post(modern(call("1", "echo", `{"text":"new"}`)), modernHeader("tools/call", "echo")...)
		if a.StatusCode != 200 || a.Header.Get("Mcp-Session-Id") != "" || a.messages(t)[0].text() != "new" {
			t.Errorf("modern: %d, %s", a.StatusCode, a.body)
		}
	})
}

func TestResponseBecomesAStreamWithTheFirstProgress(t *testing.T) {
	inBubble(t, server.Options{}, server.HTTPOptions{}, func(t *testing.T, r *remote) {
		session := r.initialize()
		for _, a := range []reply{
			r.post(call("1", "progress", `{"reports":50}`), "Mcp-Session-Id", session),
			r.post(modern(call("1", "progress", `{"reports":50}`)), modernHeader("tools/call", "progress")...),
		} {
			if a.Header.Get("Content-Type") != "text/event-stream" || a.Header.Get("X-Accel-Buffering") != "no" ||
				a.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("headers: %v", a.Header)
			}
			all := a.messages(t)
			if len(all) != 51 || all[50].text() != "done" {
				t.Fatalf("%d messages: %s", len(all), a.body)
			}
			for i, m := range all[:50] {
				if int(m.Params.Progress) != i+1 {
					t.Errorf("message %d is %s", i, m.line)
				}
			}
		}
	})
}

func TestClientThatTakesNoStreamGetsJSON(t *testing.T) {
	inBubble(t, server.Options{}, server.HTTPOptions{}, func(t *testing.T, r *remote) {
		session := r.initialize()
		for _, args := range []string{`{"reports":3}`, `{"reports":0}`} {
			a := r.post(call("1", "progress", args), "Mcp-Session-Id", session, "Accept", "application/json")
			if a.Header.Get("Content-Type") != "application/json" || a.messages(t)[0].text() != "done" {
				t.Errorf("%s got %v, %s", args, a.Header, a.body)
			}
		}
		a := r.post(call("1", "sleep", `{"seconds":100}`), "Mcp-Session-Id", session, "Accept", "application/json")
		if a.messages(t)[0].text() != "slept" {
			t.Errorf("a long call got %s", a.body)
		}
	})
}

func TestSilentResponseIsKeptAlive(t *testing.T) {
	inBubble(t, server.Options{}, server.HTTPOptions{}, func(t *testing.T, r *remote) {
		began := time.Now()
		a := r.post(modern(call("1", "sleep", `{"seconds":50}`)), modernHeader("tools/call", "sleep")...)
		if n := strings.Count(a.body, ": still here\n\n"); n != 3 || a.messages(t)[0].text() != "slept" || time.Since(began) != 50*time.Second {
			t.Errorf("after %v: %s", time.Since(began), a.body)
		}
	})
}

// rough is what may be wrong with a POST, and how it is refused.
type rough struct {
	name, body string
	header     []string
	status     int
	code       int // of the error, if the status has one
}

func TestPostsAreRefusedByWhatIsWrongWithThem(t *testing.T) {
	const list = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
	modernList := `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
	echo := modern(call("1", "echo", "{}"))
	ok := modernHeader("tools/list", "")
	tests := []rough{
		{"text", list, []string{"Content-Type", "text/plain"}, 415, mcp.INVALID_REQUEST},
		{"no type", list, []string{"Content-Type", ""}, 415, mcp.INVALID_REQUEST},
		{"too large", `{"jsonrpc":"2.0","x":"` + strings.Repeat("x", 1<<16) + `"}`, nil, 413, mcp.INVALID_REQUEST},
		{"empty", "", nil, 400, mcp.PARSE_ERROR},
		{"no JSON", "hello", nil, 400, mcp.PARSE_ERROR},
		{"a broken request", list[:len(list)-1], nil, 400, mcp.PARSE_ERROR},
		{"a batch", "[" + list + "]", nil, 400, mcp.INVALID_REQUEST},
		{"no method", `{"jsonrpc":"2.0","id":1}`, nil, 400, mcp.INVALID_REQUEST},
		{"no session", list, nil, 400, mcp.INVALID_REQUEST},
		{"a session that is not", list, []string{"Mcp-Session-Id", "guess"}, 404, 0},
		{"a notification of a session that is not", cancel("1"), []string{"Mcp-Session-Id", "guess"}, 404, 0},
		{"an unknown version", list, []string{"MCP-Protocol-Version", "2020-01-01"}, 400, mcp.INVALID_REQUEST},

		{"modern, well", modernList, ok, 200, 0},
		{"modern, with a session", modernList, append([]string{"Mcp-Session-Id", "x"}, ok...), 200, 0},
		{"modern, notification", cancel("1"), ok, 202, 0},
		{"modern, answer", `{"jsonrpc":"2.0","id":1,"result":{}}`, ok, 400, mcp.INVALID_REQUEST},
		{"modern, no header", modernList, nil, 400, mcp.HEADER_MISMATCH},
		{"modern, in the header alone", list, ok, 400, mcp.INVALID_PARAMS},
		{"modern, two versions", modernList, []string{"MCP-Protocol-Version", "2025-11-25"}, 400, mcp.HEADER_MISMATCH},
		{"modern, no method header", modernList, ok[:2], 400, mcp.HEADER_MISMATCH},
		{"modern, another method", modernList, modernHeader("tools/call", "echo"), 400, mcp.HEADER_MISMATCH},
		{"modern, no name", echo, modernHeader("tools/call", ""), 400, mcp.HEADER_MISMATCH},
		{"modern, another name", echo, modernHeader("tools/call", "sleep"), 400, mcp.HEADER_MISMATCH},
		{"modern, to be resumed", modernList, append([]string{"Last-Event-ID", "7"}, ok...), 400, mcp.HEADER_MISMATCH},
		{"modern, unknown tool", strings.Replace(echo, `"echo"`, `"ecko"`, 1), modernHeader("tools/call", "ecko"), 400, mcp.INVALID_PARAMS},
		{"modern, unknown method", strings.Replace(modernList, "tools/list", "pong", 1), modernHeader("pong", ""), 404, mcp.METHOD_NOT_FOUND},
		{"modern, future version", strings.Replace(modernList, "2026-07-28", "2099-01-01", 1), []string{"MCP-Protocol-Version", "2099-01-01"}, 400, mcp.UNSUPPORTED_PROTOCOL_VERSION},
		{"modern, no capabilities", strings.Replace(modernList, `,"io.modelcontextprotocol/clientCapabilities":{}`, "", 1), ok, 400, mcp.INVALID_PARAMS},
		{"modern, argument mirrored", modern(call("1", "mirror", `{"region":"eu"}`)), append([]string{"Mcp-Param-Region", "eu"}, modernHeader("tools/call", "mirror")...), 200, 0},
		{"modern, argument not mirrored", modern(call("1", "mirror", `{"region":"eu"}`)), modernHeader("tools/call", "mirror"), 400, mcp.HEADER_MISMATCH},
	}
	mirror := mcpserver.ServerTool{
		Tool: mcp.NewToolWithRawSchema("mirror", "", []byte(`{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"}}}`)),
		Handler: func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return mcp.NewToolResultText("ok"), nil
		},
	}
	inBubble(t, server.Options{MaxMessage: 1 << 16, Tools: []mcpserver.ServerTool{mirror}}, server.HTTPOptions{}, func(t *testing.T, r *remote) {
		for _, tt := range tests {
			a := r.post(tt.body, tt.header...)
			code := 0
			if a.Header.Get("Content-Type") == "application/json" {
				if m := parse(t, a.body); m.Error != nil {
					code = m.Error.Code
				}
			}
			if a.StatusCode != tt.status || code != tt.code {
				t.Errorf("%s: got %d, %s; want %d, code %d", tt.name, a.StatusCode, a.body, tt.status, tt.code)
			}
		}
	})
}

func TestSessionIsKnownFromInitializeUntilItIsDeleted(t *testing.T) {
	inBubble(t, server.Options{}, server.HTTPOptions{}, func(t *testing.T, r *remote) {
		one, two := r.initialize(), r.initialize()
		if one == two {
			t.Fatal("two sessions have one id")
		}
		for _, body := range []string{
			`{"jsonrpc":"2.0","method":"notifications/initialized"}`,
			`{"jsonrpc":"2.0","id":9,"result":{}}`,
		} {
			if a := r.post(body, "Mcp-Session-Id", one); a.StatusCode != 202 || a.body != "" {
				t.Errorf("%s got %d, %q", body, a.StatusCode, a.body)
			}
		}
		drop := func(session string, more ...string) int {
			return r.send("DELETE", "/mcp", "", header(append([]string{"Mcp-Session-Id", session}, more...)...)).StatusCode
		}
		if got := drop(one, "MCP-Protocol-Version", "2026-07-28"); got != 405 {
			t.Errorf("deleting in the modern way: %d", got)
		}
		for i, want := range []int{204, 404} {
			if got := drop(one); got != want {
				t.Errorf("deleting, time %d: %d, want %d", i+1, got, want)
			}
		}
		if got := r.send("DELETE", "/mcp", "", header()).StatusCode; got != 400 {
			t.Errorf("deleting nothing: %d", got)
		}
		if a := r.post(call("1", "echo", "{}"), "Mcp-Session-Id", one); a.StatusCode != 404 {
			t.Errorf("a deleted session got %d", a.StatusCode)
		}
		if a := r.post(call("1", "echo", "{}"), "Mcp-Session-Id", two); a.StatusCode != 200 {
			t.Errorf("the other session got %d", a.StatusCode)
		}
	})
}

func TestDeletingASessionEndsItsRequests(t *testing.T) {
	inBubble(t, server.Options{}, server.HTTPOptions{}, func(t *testing.T, r *remote) {
		session := r.initialize()
		done := make(chan reply)
		go func() { done <- r.post(call("1", "sleep", `{"seconds":60}`), "Mcp-Session-Id", session) }()
		time.Sleep(time.Second)
		r.send("DELETE", "/mcp", "", header("Mcp-Session-Id", session))
		if a := <-done; a.messages(t)[0].text() != server.ErrClientGone.Error() {
			t.Errorf("got %s", a.body)
		}
	})
}

func TestInitializeThatFailsBeginsNoSession(t *testing.T) {
	inBubble(t, server.Options{}, server.HTTPOptions{}, func(t *testing.T, r *remote) {
		a := r.post(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":7}`)
		if a.Header.Get("Mcp-Session-Id") != "" || a.messages(t)[0].Error == nil {
			t.Errorf("got %v, %s", a.Header, a.body)
		}
	})
}

func TestSessionRemembersItsClient(t *testing.T) {
	var seen mcp.Implementation
	var version string
	look := mcpserver.ServerTool{
		Tool: mcp.NewTool("look"),
		Handler: func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			seen = mcpserver.ClientSessionFromContext(ctx).(mcpserver.SessionWithClientInfo).GetClientInfo()
			version = mcpserver.RequestProtocolVersion(ctx)
			return mcp.NewToolResultText(""), nil
		},
	}
	inBubble(t, server.Options{Tools: []mcpserver.ServerTool{look}}, server.HTTPOptions{}, func(t *testing.T, r *remote) {
		r.post(call("1", "look", "{}"), "Mcp-Session-Id", r.initialize())
		if seen.Name != "t" || version != "2025-11-25" {
			t.Errorf("legacy: %v, %s", seen, version)
		}
		r.post(modern(call("1", "look", "{}")), modernHeader("tools/call", "look")...)
		if seen.Name != "t" || version != "2026-07-28" {
			t.Errorf("modern: %v, %s", seen, version)
		}
	})
}

func TestSessionsAreForgottenWhenIdleOrTooManyButNotInUse(t *testing.T) {
	over := server.HTTPOptions{MaxSessions: 2, SessionIdle: time.Minute}
	inBubble(t, server.Options{}, over, func(t *testing.T, r *remote) {
		known := func(session string) bool {
			return r.post(`{"jsonrpc":"2.0","id":"p","method":"ping"}`, "Mcp-Session-Id", session).StatusCode == 200
		}
		busy := r.initialize()
		done := make(chan string)
		go func() { done <- r.post(call("1", "sleep", `{"seconds":150}`), "Mcp-Session-Id", busy).body }()
		time.Sleep(2 * time.Minute)
		second := r.initialize()
		third := r.initialize() // in the place of the second, which is not busy
		if known(second) || !known(third) || !known(busy) {
			t.Errorf("too many: second %v, third %v, busy %v", known(second), known(third), known(busy))
		}
		if got := <-done; !strings.Contains(got, "slept") {
			t.Errorf("the long call got %s", got)
		}
		time.Sleep(59 * time.Second)
		if !known(busy) {
			t.Error("a session was forgotten within a minute of its use")
		}
		time.Sleep(time.Minute)
		if known(busy) || known(third) {
			t.Error("an idle session is remembered")
		}
	})
}

func TestIntroductionThatTakesLongBeginsASessionToo(t *testing.T) {
	var hooks mcpserver.Hooks
	hooks.AddBeforeInitialize(func(context.Context, any, *mcp.InitializeRequest) { time.Sleep(time.Minute) })
	inBubble(t, server.Options{Extra: []mcpserver.ServerOption{mcpserver.WithHooks(&hooks)}}, server.HTTPOptions{}, func(t *testing.T, r *remote) {
		if a := r.post(initialize); a.Header.Get("Mcp-Session-Id") == "" || len(a.messages(t)) != 1 {
			t.Errorf("got %v, %s", a.Header, a.body)
		}
	})
}

func TestNoSessionBeginsWhileAllAreInUse(t *testing.T) {
	inBubble(t, server.Options{}, server.HTTPOptions{MaxSessions: 1}, func(t *testing.T, r *remote) {
		busy := r.initialize()
		done := make(chan reply)
		go func() { done <- r.post(call("1", "sleep", `{"seconds":5}`), "Mcp-Session-Id", busy) }()
		synctest.Wait()
		if a := r.post(initialize); a.StatusCode != 503 || a.messages(t)[0].Error.Data.Code != "overloaded" {
			t.Errorf("got %d, %s", a.StatusCode, a.body)
		}
		<-done
		r.initialize()
	})
}

func TestCallerWhoBeginsManySessionsTakesThePlaceOfNobodyElse(t *testing.T) {
	opts := aliceAndBob()
	opts.MaxSessions = 3
	inBubble(t, server.Options{}, opts, func(t *testing.T, r *remote) {
		known := func(name, session string) bool {
			return r.post(`{"jsonrpc":"2.0","id":"p","method":"ping"}`, append(as(name), "Mcp-Session-Id", session)...).StatusCode == 200
		}
		alice := r.initialize(as("alice")...)
		var bob []string
		for range 10 {
			bob = append(bob, r.initialize(as("bob")...))
		}
		if !known("alice", alice) || !known("bob", bob[9]) || !known("bob", bob[8]) || known("bob", bob[7]) {
			t.Errorf("alice %v, bob %v %v %v", known("alice", alice), known("bob", bob[9]), known("bob", bob[8]), known("bob", bob[7]))
		}
	})
}

func TestClosingTheResponseCancelsItsRequest(t *testing.T) {
	var ended collector
	inBubble(t, server.Options{Tools: []mcpserver.ServerTool{ended.waiting()}}, server.HTTPOptions{}, func(t *testing.T, r *remote) {
		session := r.initialize()
		for name, h := range map[string]http.Header{
			modern(call("1", "wait", "{}")): header(modernHeader("tools/call", "wait")...),
			call("1", "wait", "{}"):         header("Mcp-Session-Id", session),
		} {
			ctx, leave := context.WithTimeout(t.Context(), time.Second)
			if _, err := r.do(ctx, "POST", "/mcp", name, h); err == nil {
				t.Error("it was answered")
			}
			leave()
			synctest.Wait()
		}
		if len(ended.causes) != 2 || !strings.HasPrefix(ended.causes[0], server.ErrClientGone.Error()) {
			t.Errorf("requests ended with %q", ended.causes)
		}
	})
}

func TestClosingAStreamCancelsItsRequest(t *testing.T) {
	var ended collector
	inBubble(t, server.Options{Tools: []mcpserver.ServerTool{ended.waiting()}}, server.HTTPOptions{}, func(t *testing.T, r *remote) {
		resp, err := r.do(t.Context(), "POST", "/mcp", modern(call("1", "wait", "{}")), header(modernHeader("tools/call", "wait")...))
		if err != nil {
			t.Fatal(err)
		}
		// It is a stream by now, having been silent.
		resp.Body.Close()
		synctest.Wait()
		if len(ended.causes) != 1 {
			t.Errorf("requests ended with %q", ended.causes)
		}
	})
}

func TestCancelReachesNoOtherSession(t *testing.T) {
	var ended collector
	inBubble(t, server.Options{Tools: []mcpserver.ServerTool{ended.waiting()}}, server.HTTPOptions{}, func(t *testing.T, r *remote) {
		mine, other := r.initialize(), r.initialize()
		done := make(chan reply, 2)
		go func() { done <- r.post(call("1", "wait", "{}"), "Mcp-Session-Id", mine) }()
		synctest.Wait()
		if a := r.post(cancel("1"), "Mcp-Session-Id", other); a.StatusCode != 202 {
			t.Errorf("a foreign cancel got %d", a.StatusCode)
		}
		r.post(cancel("1"), modernHeader("notifications/cancelled", "")...)
		r.post(cancel(`"1"`), "Mcp-Session-Id", mine)
		synctest.Wait()
		if len(ended.causes) > 0 {
			t.Fatal("it hit")
		}
		if a := r.post(cancel("1"), "Mcp-Session-Id", mine); a.StatusCode != 202 {
			t.Errorf("the cancel got %d", a.StatusCode)
		}
		if a := <-done; a.StatusCode != 202 || a.body != "" {
			t.Errorf("the request that was cancelled got %d, %s", a.StatusCode, a.body)
		}
		if !slices.Equal(ended.causes, []string{"cancelled by the client"}) {
			t.Errorf("requests ended with %q", ended.causes)
		}
	})
}

func TestCancelledStreamEndsWithoutAnAnswer(t *testing.T) {
	inBubble(t, server.Options{}, server.HTTPOptions{}, func(t *testing.T, r *remote) {
		session := r.initialize()
		done := make(chan reply)
		go func() { done <- r.post(call("1", "sleep", `{"seconds":60}`), "Mcp-Session-Id", session) }()
		time.Sleep(20 * time.Second)
		r.post(cancel("1"), "Mcp-Session-Id", session)
		if a := <-done; a.body != ": still here\n\n" {
			t.Errorf("got %q", a.body)
		}
	})
}

func TestRequestWhoseIDIsInUseInItsSessionIsRefused(t *testing.T) {
	inBubble(t, server.Options{}, server.HTTPOptions{}, func(t *testing.T, r *remote) {
		one, two := r.initialize(), r.initialize()
		done := make(chan reply)
		go func() { done <- r.post(call("1", "sleep", `{"seconds":5}`), "Mcp-Session-Id", one) }()
		synctest.Wait()
		if a := r.post(call("1", "echo", "{}"), "Mcp-Session-Id", one); a.messages(t)[0].Error == nil {
			t.Errorf("the second got %s", a.body)
		}
		if a := r.post(call("1", "echo", `{"text":"mine"}`), "Mcp-Session-Id", two); a.messages(t)[0].text() != "mine" {
			t.Errorf("the other session got %s", a.body)
		}
		if a := <-done; a.messages(t)[0].text() != "slept" {
			t.Errorf("the first got %s", a.body)
		}
	})
}

func TestOneRequestTooManyIsRefused(t *testing.T) {
	inBubble(t, server.Options{MaxInFlight: 2}, server.HTTPOptions{}, func(t *testing.T, r *remote) {
		done := make(chan reply)
		for range 2 {
			go func() {
				done <- r.post(modern(call("1", "sleep", `{"seconds":5}`)), modernHeader("tools/call", "sleep")...)
			}()
		}
		synctest.Wait()
		a := r.post(modern(call("1", "echo", "{}")), modernHeader("tools/call", "echo")...)
		if a.StatusCode != 503 || a.Header.Get("Retry-After") == "" || !*a.messages(t)[0].Error.Data.Retryable {
			t.Errorf("one more got %d, %s", a.StatusCode, a.body)
		}
		<-done
		<-done
		if a := r.post(modern(call("1", "echo", "{}")), modernHeader("tools/call", "echo")...); a.StatusCode != 200 {
			t.Errorf("afterwards: %d", a.StatusCode)
		}
	})
}

func TestClientThatStopsReadingIsDropped(t *testing.T) {
	var ended collector
	flood := mcpserver.ServerTool{
		Tool: mcp.NewTool("flood"),
		Handler: func(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			for i := 1; ctx.Err() == nil; i++ {
				_ = notify(ctx, r, i)
				time.Sleep(time.Millisecond)
			}
			ended.mu.Lock()
			defer ended.mu.Unlock()
			ended.causes = append(ended.causes, context.Cause(ctx).Error())
			return mcp.NewToolResultText(""), nil
		},
	}
	inBubble(t, server.Options{Tools: []mcpserver.ServerTool{flood}}, server.HTTPOptions{}, func(t *testing.T, r *remote) {
		resp, err := r.do(t.Context(), "POST", "/mcp", modern(call("1", "flood", "{}")), header(modernHeader("tools/call", "flood")...))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(ended.causes) != 1 || !strings.HasPrefix(ended.causes[0], server.ErrClientGone.Error()) {
			t.Errorf("after a minute, requests ended with %q", ended.causes)
		}
		resp.Body.Close()
	})
}

func TestClientThatReadsSlowlyGetsAllOfIt(t *testing.T) {
	inBubble(t, server.Options{}, server.HTTPOptions{}, func(t *testing.T, r *remote) {
		text := strings.Repeat("0123456789abcdef", 1<<16)
		resp, err := r.do(t.Context(), "POST", "/mcp", modern(call("1", "echo", `{"text":"`+text+`"}`)), header(modernHeader("tools/call", "echo")...))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		began := time.Now()
		body, piece := "", make([]byte, 32<<10)
		for err == nil {
			var n int
			n, err = io.ReadFull(resp.Body, piece)
			body += string(piece[:n])
			time.Sleep(10 * time.Second)
		}
		if took := time.Since(began); parse(t, body).text() != text || took < 2*time.Minute {
			t.Errorf("after %v: %d bytes, %v", took, len(body), err)
		}
	})
}

func TestBodyThatDoesNotComeIsNotWaitedForForEver(t *testing.T) {
	inBubble(t, server.Options{}, server.HTTPOptions{}, func(t *testing.T, r *remote) {
		conn, err := r.http1.DialContext(t.Context(), "tcp", "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		began := time.Now()
		fmt.Fprint(conn, "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != http.StatusRequestTimeout || time.Since(began) != time.Minute {
			t.Errorf("after %v: %v, %v", time.Since(began), resp, err)
		}
	})
}

func TestLongCallOutlastsTheTimeForItsBody(t *testing.T) {
	inBubble(t, server.Options{}, server.HTTPOptions{}, func(t *testing.T, r *remote) {
		session := r.initialize()
		for range 2 { // on one connection
			a := r.post(call("1", "sleep", `{"seconds":600}`), "Mcp-Session-Id", session)
			if a.messages(t)[0].text() != "slept" {
				t.Errorf("got %s", a.body)
			}
		}
	})
}

func TestBodyOfUnknownLengthIsLimitedToo(t *testing.T) {
	inBubble(t, server.Options{MaxMessage: 1000}, server.HTTPOptions{}, func(t *testing.T, r *remote) {
		req, err := http.NewRequestWithContext(t.Context(), "POST", r.url+"/mcp", io.MultiReader(strings.NewReader(`{"a":"`), &repeated{1 << 20}))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header()
		resp, err := r.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("got %d", resp.StatusCode)
		}
	})
}
