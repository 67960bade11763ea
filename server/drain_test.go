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
		answered := later(func() reply { return r.call("sleep", `{"seconds":5}`) })
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
		(<-answered).want("what was in flight", "slept")
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
		unused := r.dial()
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
		var ended collector
		c := connect(t, server.Options{Drain: time.Minute, Tools: []mcpserver.ServerTool{ended.waiting()}})
		c.send(call("1", "wait", "{}"), call("2", "sleep", `{"seconds":20}`))
		synctest.Wait()
		c.stop()
		synctest.Wait()
		c.send(call("3", "echo", "{}"))
		if m := c.next(); string(m.ID) != "3" || m.Error == nil || m.Error.Message != "the server is stopping" || m.Error.Data.Code != "overloaded" {
			t.Errorf("a request got %s", m.line)
		}
		c.send(cancel("1"), `{"jsonrpc":"2.0","method":"notifications/other"}`, "no JSON", "")
		synctest.Wait()
		ended.want(t, "cancelled by the client")
		began := time.Now()
		c.next().want(t, "what was in flight", "2", "slept")
		if err := <-c.served; err != nil || time.Since(began) > 20*time.Second {
			t.Errorf("ServeStdio returned %v after %v", err, time.Since(began))
		}
	})
}

func TestServerThatStopsTakesCancelsAndRefusesRequests(t *testing.T) {
	onEachTransport(t, server.Options{Drain: time.Minute}, everything, func(t *testing.T, a *asked) {
		a.send(callAsk("1", "form"))
		q := a.question()
		a.stop()
		synctest.Wait()
		a.send(call("2", "echo", "{}"))
		if m := a.next(); string(m.ID) != "2" || m.Error == nil || m.Error.Message != "the server is stopping" || !*m.Error.Data.Retryable {
			t.Errorf("a request got %s", m.line)
		}
		began := time.Now()
		a.send(cancel("1"))
		a.withdrawn(q)
		a.quiet()
		if took := time.Since(began); took > 0 {
			t.Errorf("the cancel had an effect after %v", took)
		}
	})
}

func TestStdioThatStopsTellsWhatItCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failing := tool("failing", func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			<-ctx.Done()
			time.Sleep(time.Second) // so that it comes after the other
			return nil, ctx.Err()
		})
		c := connect(t, server.Options{Drain: time.Second, Tools: []mcpserver.ServerTool{failing}})
		c.send(call("1", "sleep", `{"seconds":60}`), call("2", "failing", "{}"))
		synctest.Wait()
		c.stop()
		c.next().want(t, "a tool that says why it ended", "", "the server is stopping")
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
		inTime := later(func() reply { return r.call("sleep", `{"seconds":5}`) })
		late := later(func() reply { return r.call("sleep", `{"seconds":60}`) })
		synctest.Wait()
		r.stop()
		synctest.Wait()
		r.send("GET", "/readyz", "", header()).wantStatus("/readyz:", 503)
		(<-inTime).want("in time", "slept")
		(<-late).want("too late", "the server is stopping")
	})
}
