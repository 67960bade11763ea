package server_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/server"
)

// raw is a request as it is sent, for clients that do not behave as libraries do.
func raw(path, body string, more ...string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n", path, len(body))
	header(more...).Write(&text)
	return text.String() + "\r\n" + body
}

// rawCall is a call of a tool that asks for progress.
func rawCall(tool string) string {
	return raw("/mcp", modern(call("1", tool, "{}")), modernHeader("tools/call", tool)...)
}

func TestNothingIsLeftOfClientsThatVanish(t *testing.T) {
	const times = 20
	begun := make(chan struct{})
	var ended atomic.Int64
	talking := says("talk", func(ctx context.Context, r mcp.CallToolRequest) string {
		begun <- struct{}{}
		for i := 1; ctx.Err() == nil; i++ {
			_ = notify(ctx, r, i)
			time.Sleep(time.Millisecond)
		}
		ended.Add(1)
		return strings.Repeat("x", 1<<16)
	})
	waiting := says("wait", func(ctx context.Context, _ mcp.CallToolRequest) string {
		begun <- struct{}{}
		<-ctx.Done()
		ended.Add(1)
		return ""
	})
	phases := []struct {
		name, said string
		calls      bool   // a tool, which is under way when the client vanishes
		heard      string // before the client vanishes
	}{
		{"when connected", "", false, ""},
		{"in its first line", "POST /m", false, ""},
		{"in its headers", "POST /mcp HTTP/1.1\r\nHost: local", false, ""},
		{"in its body", rawCall("wait")[:len(rawCall("wait"))-10], false, ""},
		{"when it has asked", rawCall("wait"), true, ""},
		{"in the stream of an answer", rawCall("talk"), true, `"progress":3`},
		{"in a stream of SSE", "GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n", false, "sessionId"},
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const limit = 1 << 20
	s := newServer(t, server.Options{MaxMessage: limit, MaxHeld: 2 * limit, Tools: []mcpserver.ServerTool{talking, waiting}})
	connections := &counted{Listener: l}
	r := serveOn(t, connections, func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, l.Addr().String())
	}, s, server.HTTPOptions{})
	defer r.end()
	r.initialize()
	goroutines, memory, open := runtime.NumGoroutine(), inUse(), connections.open.Load()

	var calls int64
	for _, phase := range phases {
		for i := range times {
			conn := r.dial()
			io.WriteString(conn, phase.said)
			if phase.calls {
				calls++
				<-begun
			}
			if in := bufio.NewReader(conn); phase.heard != "" {
				for !strings.Contains(nextData(t, in), phase.heard) {
				}
			}
			if i%2 == 0 { // by a reset, as the system does for a process that dies with data unread
				_ = conn.(*net.TCPConn).SetLinger(0)
			}
			conn.Close()
		}
	}

	eventually(func() bool { return connections.open.Load() <= open })
	eventually(func() bool { return ended.Load() == calls })
	eventually(func() bool { return runtime.NumGoroutine() <= goroutines })
	eventually(func() bool { return inUse() <= memory+1<<20 })
	text := strings.Repeat("x", limit-1000) // for which there is only room if its caller has nothing else there
	r.post(modern(call("1", "echo", `{"text":"`+text+`"}`)), modernHeader("tools/call", "echo")...).wantStatus("afterwards, a large message", 200)
}

// eventually waits until something is so. How long that takes is up to the machine: a test
// for which it never comes ends by the limit for all tests.
func eventually(so func() bool) {
	for !so() {
		runtime.Gosched()
	}
}

// chatty is a tool that reports a lot, and has a large answer.
func chatty(size int) mcpserver.ServerTool {
	return tool("chatty", func(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		for i := range 20 {
			if err := notify(ctx, r, i+1); err != nil {
				return nil, err
			}
		}
		return mcp.NewToolResultText(strings.Repeat("x", size)), nil
	})
}

func TestNothingIsLeftOfHundredsOfClientsThatReadNothing(t *testing.T) {
	const clients, size = 300, 32 << 10
	opts := with(chatty(size))
	for name, ask := range map[string]func(*testing.T, *remote) net.Conn{
		"HTTP": func(t *testing.T, r *remote) net.Conn {
			conn := r.dial()
			io.WriteString(conn, rawCall("chatty"))
			return conn
		},
		"SSE": func(t *testing.T, r *remote) net.Conn {
			conn, path := r.openThin()
			var saying sync.WaitGroup
			saying.Go(func() { r.send("POST", path, initialize, header()) }) // which is answered before the POST is
			nextData(t, bufio.NewReader(conn))
			saying.Wait()
			r.send("POST", path, call("1", "chatty", "{}"), header())
			return conn
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPipes()
				connections := &counted{Listener: p}
				r := serveOn(t, connections, p.dial, newServer(t, opts), server.HTTPOptions{MaxStreams: 4 * clients})
				r.initialize()
				before := inUse()
				for range clients {
					conn := ask(t, r)
					defer conn.Close()
				}
				synctest.Wait()
				each := (inUse() - before) / clients
				t.Logf("each takes %d bytes", each)
				if open := connections.open.Load(); open < clients || each > 8*size {
					t.Errorf("%d connections are open, and each takes %d bytes", open, each)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if open := connections.open.Load(); open > 1 {
					t.Errorf("after a minute %d connections are open", open)
				}
				// Their own ends of the connections are kept, and what goroutines leave for new ones, but no answers.
				if left := inUse() - before; left > clients*size/2 {
					t.Errorf("of them %d bytes are left", left)
				}
				conn, _ := r.openThin() // there is room for new ones
				conn.Close()
				r.end()
			})
		})
	}
}

func TestHugeBodyIsRefusedInLittleMemory(t *testing.T) {
	const size, limit = 100 << 20, 4 << 20
	r := serveOnSocket(t, server.Options{MaxMessage: limit}, server.HTTPOptions{})
	stream := r.openStream()
	defer stream.close()
	for _, path := range []string{"/mcp", stream.path} {
		for length, most := range map[string]uint64{
			"Content-Length: 104857600\r\n\r\n":             1 << 20,
			"Transfer-Encoding: chunked\r\n\r\n6400000\r\n": 10 * limit, // a buffer that doubles
		} {
			conn := r.dial()
			used := allocated(func() {
				var sending sync.WaitGroup
				sending.Go(func() {
					_, _ = io.WriteString(conn, "POST "+path+" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"+length)
					_, _ = io.Copy(struct{ io.Writer }{conn}, &repeated{size}) // until the server hangs up
				})
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge || !resp.Close {
					t.Errorf("%s, %q: %v, %v", path, length, resp, err)
				}
				sending.Wait()
				conn.Close()
			})
			if used > most {
				t.Errorf("%s, %q: %d bytes were allocated, want at most %d", path, length, used, most)
			}
		}
	}
}
