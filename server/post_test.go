package server_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/server"
)

func TestBothErasAreServedAtOneAddress(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, r *remote) {
		session := r.initialize()
		a := r.postIn(session, call("1", "echo", `{"text":"old"}`), "MCP-Protocol-Version", "2025-11-25")
		if a.StatusCode != 200 || a.Header.Get("Content-Type") != "application/json" || a.text() != "old" {
			t.Errorf("legacy: %d, %s", a.StatusCode, a.body)
		}
		a = r.call("echo", `{"text":"new"}`)
		if a.StatusCode != 200 || a.Header.Get("Mcp-Session-Id") != "" || a.text() != "new" {
			t.Errorf("modern: %d, %s", a.StatusCode, a.body)
		}
	})
}

func TestResponseBecomesAStreamWithTheFirstProgress(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, r *remote) {
		session := r.initialize()
		for _, a := range []reply{
			r.postIn(session, call("1", "progress", `{"reports":50}`)),
			r.call("progress", `{"reports":50}`),
		} {
			if a.Header.Get("Content-Type") != "text/event-stream" || a.Header.Get("X-Accel-Buffering") != "no" ||
				a.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("headers: %v", a.Header)
			}
			all := a.messages()
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
	inBubble(t, server.Options{}, func(t *testing.T, r *remote) {
		session := r.initialize()
		for _, args := range []string{`{"reports":3}`, `{"reports":0}`} {
			a := r.postIn(session, call("1", "progress", args), "Accept", "application/json")
			if a.Header.Get("Content-Type") != "application/json" || a.text() != "done" {
				t.Errorf("%s got %v, %s", args, a.Header, a.body)
			}
		}
		a := r.postIn(session, call("1", "sleep", `{"seconds":100}`), "Accept", "application/json")
		if a.text() != "slept" {
			t.Errorf("a long call got %s", a.body)
		}
	})
}

func TestSilentResponseIsKeptAlive(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, r *remote) {
		began := time.Now()
		a := r.call("sleep", `{"seconds":50}`)
		if n := strings.Count(a.body, ": still here\n\n"); n != 3 || a.text() != "slept" || time.Since(began) != 50*time.Second {
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
		{"nested too deep", strings.Replace(list, "}", `,"params":`+deep(10_000)+"}", 1), nil, 400, mcp.INVALID_REQUEST},
		{"no method", `{"jsonrpc":"2.0","id":1}`, nil, 400, mcp.INVALID_REQUEST},
		{"no session", list, nil, 200, 0},
		{"a notification outside a session", cancel("1"), nil, 202, 0},
		{"a reply outside a session", `{"jsonrpc":"2.0","id":1,"result":{}}`, nil, 400, mcp.INVALID_REQUEST},
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
	inBubble(t, server.Options{MaxMessage: 1 << 16, Tools: []mcpserver.ServerTool{mirror}}, func(t *testing.T, r *remote) {
		for _, tt := range tests {
			a := r.post(tt.body, tt.header...)
			code := 0
			if strings.Contains(a.body, `"jsonrpc"`) {
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

func TestDeletingASessionEndsItsRequests(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, r *remote) {
		session := r.initialize()
		done := later(func() reply { return r.postIn(session, call("1", "sleep", `{"seconds":60}`)) })
		time.Sleep(time.Second)
		r.send("DELETE", "/mcp", "", header("Mcp-Session-Id", session))
		if a := <-done; a.text() != server.ErrClientGone.Error() {
			t.Errorf("got %s", a.body)
		}
	})
}

func TestInitializeThatFailsBeginsNoSession(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, r *remote) {
		a := r.post(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":7}`)
		if a.Header.Get("Mcp-Session-Id") != "" || a.message().Error == nil {
			t.Errorf("got %v, %s", a.Header, a.body)
		}
	})
}

func TestSessionRemembersItsClient(t *testing.T) {
	var seen mcp.Implementation
	var version string
	look := says("look", func(ctx context.Context, _ mcp.CallToolRequest) string {
		seen = mcpserver.ClientSessionFromContext(ctx).(mcpserver.SessionWithClientInfo).GetClientInfo()
		version = mcpserver.RequestProtocolVersion(ctx)
		return ""
	})
	inBubble(t, with(look), func(t *testing.T, r *remote) {
		r.postIn(r.initialize(), call("1", "look", "{}"))
		if seen.Name != "t" || version != "2025-11-25" {
			t.Errorf("legacy: %v, %s", seen, version)
		}
		r.call("look", "{}")
		if seen.Name != "t" || version != "2026-07-28" {
			t.Errorf("modern: %v, %s", seen, version)
		}
	})
}

func TestIntroductionThatTakesLongBeginsASessionToo(t *testing.T) {
	var hooks mcpserver.Hooks
	hooks.AddBeforeInitialize(func(context.Context, any, *mcp.InitializeRequest) { time.Sleep(time.Minute) })
	inBubble(t, server.Options{Extra: []mcpserver.ServerOption{mcpserver.WithHooks(&hooks)}}, func(t *testing.T, r *remote) {
		if a := r.post(initialize); a.Header.Get("Mcp-Session-Id") == "" || len(a.messages()) != 1 {
			t.Errorf("got %v, %s", a.Header, a.body)
		}
	})
}

func TestClosingTheResponseCancelsItsRequest(t *testing.T) {
	var ended collector
	inBubble(t, with(ended.waiting()), func(t *testing.T, r *remote) {
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
		ended.want(t, gone, gone)
	})
}

func TestClosingAStreamCancelsItsRequest(t *testing.T) {
	var ended collector
	inBubble(t, with(ended.waiting()), func(t *testing.T, r *remote) {
		resp := r.open("wait", "{}")
		// It is a stream by now, having been silent.
		resp.Body.Close()
		synctest.Wait()
		ended.want(t, gone)
	})
}

func TestCancelReachesNoOtherSession(t *testing.T) {
	var ended collector
	inBubble(t, with(ended.waiting()), func(t *testing.T, r *remote) {
		mine, other := r.initialize(), r.initialize()
		done := make(chan reply, 2)
		go func() { done <- r.postIn(mine, call("1", "wait", "{}")) }()
		synctest.Wait()
		r.postIn(other, cancel("1")).wantStatus("a foreign cancel", 202)
		r.post(cancel("1"), modernHeader("notifications/cancelled", "")...)
		r.postIn(mine, cancel(`"2"`))
		synctest.Wait()
		ended.want(t) // nothing yet
		r.postIn(mine, cancel("1")).wantStatus("the cancel", 202)
		if a := <-done; a.StatusCode != 202 || a.body != "" {
			t.Errorf("the request that was cancelled got %d, %s", a.StatusCode, a.body)
		}
		ended.want(t, "cancelled by the client")
	})
}

func TestCancelledStreamEndsWithoutAnAnswer(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, r *remote) {
		session := r.initialize()
		done := later(func() reply { return r.postIn(session, call("1", "sleep", `{"seconds":60}`)) })
		time.Sleep(20 * time.Second)
		r.postIn(session, cancel("1"))
		if a := <-done; a.body != ": still here\n\n" {
			t.Errorf("got %q", a.body)
		}
	})
}

func TestRequestWhoseIDIsInUseInItsSessionIsRefused(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, r *remote) {
		one, two := r.initialize(), r.initialize()
		done := later(func() reply { return r.postIn(one, call("1", "sleep", `{"seconds":5}`)) })
		synctest.Wait()
		if a := r.postIn(one, call("1", "echo", "{}")); a.message().Error == nil {
			t.Errorf("the second got %s", a.body)
		}
		r.postIn(two, call("1", "echo", `{"text":"mine"}`)).want("the other session", "mine")
		(<-done).want("the first", "slept")
	})
}

func TestClientThatStopsReadingIsDropped(t *testing.T) {
	var ended collector
	flood := says("flood", func(ctx context.Context, r mcp.CallToolRequest) string {
		for i := 1; ctx.Err() == nil; i++ {
			_ = notify(ctx, r, i)
			time.Sleep(time.Millisecond)
		}
		ended.add(context.Cause(ctx))
		return ""
	})
	inBubble(t, with(flood), func(t *testing.T, r *remote) {
		resp := r.open("flood", "{}")
		time.Sleep(time.Minute)
		synctest.Wait()
		ended.want(t, gone)
		resp.Body.Close()
	})
}

func TestClientThatReadsSlowlyGetsAllOfIt(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, r *remote) {
		text := strings.Repeat("0123456789abcdef", 1<<16)
		resp := r.open("echo", `{"text":"`+text+`"}`)
		defer resp.Body.Close()
		began := time.Now()
		body, piece := "", make([]byte, 32<<10)
		var err error
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
	inBubble(t, server.Options{}, func(t *testing.T, r *remote) {
		conn := r.dial()
		defer conn.Close()
		began := time.Now()
		fmt.Fprint(conn, "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != http.StatusRequestTimeout || time.Since(began) != 20*time.Second {
			t.Errorf("after %v: %v, %v", time.Since(began), resp, err)
		}
	})
}

func TestLongCallOutlastsTheTimeForItsBody(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, r *remote) {
		session := r.initialize()
		for range 2 { // on one connection
			a := r.postIn(session, call("1", "sleep", `{"seconds":600}`))
			if a.text() != "slept" {
				t.Errorf("got %s", a.body)
			}
		}
	})
}

func TestBodyOfUnknownLengthIsLimitedToo(t *testing.T) {
	inBubble(t, server.Options{MaxMessage: 1000}, func(t *testing.T, r *remote) {
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
