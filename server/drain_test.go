package server_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/server"
)

func TestReadinessIsSeenToEndWhileRequestsDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serveInBubble(t, server.Options{Drain: 10 * time.Second}, server.HTTPOptions{})
		answered := make(chan reply)
		go func() {
			answered <- r.post(modern(call("1", "sleep", `{"seconds":5}`)), modernHeader("tools/call", "sleep")...)
		}()
		synctest.Wait()
		r.stop()
		time.Sleep(time.Second)
		r.http1.CloseIdleConnections() // so that each request needs a new connection
		for path, want := range map[string]int{"/readyz": 503, "/healthz": 200} {
			if a := r.send("GET", path, "", header()); a.StatusCode != want {
				t.Errorf("%s: got %d, want %d", path, a.StatusCode, want)
			}
		}
		a := r.post(initialize)
		if a.StatusCode != 503 || a.Header.Get("Retry-After") == "" || !a.Close || !strings.Contains(a.body, "stopping") {
			t.Errorf("a request got %d %v, %s", a.StatusCode, a.Header, a.body)
		}
		if a := <-answered; a.messages(t)[0].text() != "slept" {
			t.Errorf("what was in flight got %s", a.body)
		}
		began := time.Now()
		r.end()
		if took := time.Since(began); took > time.Second {
			t.Errorf("Serve returned %v after the last answer", took)
		}
	})
}

func TestConnectionThatWasNeverUsedHardlyDelaysTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serveInBubble(t, server.Options{}, server.HTTPOptions{})
		unused, err := r.http1.DialContext(t.Context(), "tcp", "localhost:80")
		if err != nil {
			t.Fatal(err)
		}
		defer unused.Close()
		synctest.Wait()
		began := time.Now()
		r.end()
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("Serve returned after %v", took)
		}
	})
}

func TestStdioThatStopsTakesCancelsAndRefusesRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var ended collector
		c := connect(ctx, t, server.Options{Drain: time.Minute, Tools: []mcpserver.ServerTool{ended.waiting()}})
		c.send(call("1", "wait", "{}"), call("2", "sleep", `{"seconds":20}`))
		synctest.Wait()
		stop()
		synctest.Wait()
		c.send(call("3", "echo", "{}"))
		if m := c.next(); string(m.ID) != "3" || m.Error == nil || m.Error.Message != "the server is stopping" || m.Error.Data.Code != "overloaded" {
			t.Errorf("a request got %s", m.line)
		}
		c.send(cancel("1"), `{"jsonrpc":"2.0","method":"notifications/other"}`, "no JSON", "")
		synctest.Wait()
		if len(ended.causes) != 1 || ended.causes[0] != "cancelled by the client" {
			t.Errorf("a cancel had the effect %q", ended.causes)
		}
		began := time.Now()
		if m := c.next(); string(m.ID) != "2" || m.text() != "slept" {
			t.Errorf("what was in flight got %s", m.line)
		}
		if err := <-c.served; err != nil || time.Since(began) > 20*time.Second {
			t.Errorf("ServeStdio returned %v after %v", err, time.Since(began))
		}
	})
}

func TestStdioThatStopsTellsWhatItCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		failing := mcpserver.ServerTool{
			Tool: mcp.NewTool("failing"),
			Handler: func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
				<-ctx.Done()
				time.Sleep(time.Second) // so that it comes after the other
				return nil, ctx.Err()
			},
		}
		c := connect(ctx, t, server.Options{Drain: time.Second, Tools: []mcpserver.ServerTool{failing}})
		c.send(call("1", "sleep", `{"seconds":60}`), call("2", "failing", "{}"))
		synctest.Wait()
		stop()
		if m := c.next(); m.text() != "the server is stopping" {
			t.Errorf("a tool that says why it ended: %s", m.line)
		}
		if m := c.next(); m.Error == nil || m.Error.Message != "the server is stopping" || m.Error.Data.Retryable == nil {
			t.Errorf("a tool that does not: %s", m.line)
		}
		if err := <-c.served; err != nil {
			t.Error(err)
		}
	})
}

func TestRequestsOverHTTP2EndBeforeTheirConnectionDoes(t *testing.T) {
	inTLSBubble(t, server.Options{Drain: 10 * time.Second}, func(t *testing.T, r *remote) {
		inTime, late := make(chan reply), make(chan reply)
		go func() {
			inTime <- r.post(modern(call("1", "sleep", `{"seconds":5}`)), modernHeader("tools/call", "sleep")...)
		}()
		go func() {
			late <- r.post(modern(call("2", "sleep", `{"seconds":60}`)), modernHeader("tools/call", "sleep")...)
		}()
		synctest.Wait()
		r.stop()
		synctest.Wait()
		if a := r.send("GET", "/readyz", "", header()); a.StatusCode != 503 {
			t.Errorf("/readyz: got %d", a.StatusCode)
		}
		if a := <-inTime; a.messages(t)[0].text() != "slept" {
			t.Errorf("in time: %s", a.body)
		}
		if a := <-late; a.messages(t)[0].text() != "the server is stopping" {
			t.Errorf("too late: %s", a.body)
		}
	})
}
