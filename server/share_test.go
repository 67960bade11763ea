package server_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/server"
)

// hostileAndHonest are two callers, of whom the first wants everything.
var hostileAndHonest = server.HTTPOptions{Authenticate: byKey(map[string]caller.Caller{
	"hostile": {ID: "hostile", Tenant: "hostile"}, "honest": {ID: "honest", Tenant: "honest"},
})}

// withhold sends bodies that lack their last byte, each on a connection of its own.
func (r *remote) withhold(bodies, size int, as string) (conns []net.Conn) {
	for range bodies {
		conn := r.dial()
		go func() { // ends when the connection does
			fmt.Fprintf(conn, "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", as, size)
			io.WriteString(conn, strings.Repeat(" ", size-1))
			io.Copy(io.Discard, conn)
		}()
		synctest.Wait()
		conns = append(conns, conn)
	}
	return conns
}

func TestBodiesThatACallerWithholdsLeaveRoomForOthers(t *testing.T) {
	inBubbleWith(t, tight, hostileAndHonest, func(t *testing.T, r *remote) {
		sleep := append(modernHeader("tools/call", "sleep"), as("honest")...)
		began := time.Now()
		for _, conn := range r.withhold(16, 1<<15, "hostile") {
			defer conn.Close()
		}
		r.post(modern(call("1", "sleep", `{"padding":"`+strings.Repeat("x", 1<<15-1000)+`"}`)), sleep...).wantStatus("beside sixteen bodies of another caller:", 200)
		if took := time.Since(began); took > 0 {
			t.Errorf("the honest caller waited %v", took)
		}
		time.Sleep(20 * time.Second) // when the bodies are given up
		synctest.Wait()
		r.post(modern(large("2", 0)), sleep...).wantStatus("afterwards, as much as a caller may have:", 200)
	})
}

func TestBodyMayTakeLongAsLongAsItIsNotSlow(t *testing.T) {
	const piece = 512 << 10 // which has 20 s
	for _, tt := range []struct {
		name   string
		every  time.Duration // between pieces
		status int
	}{
		{"just fast enough", 19 * time.Second, http.StatusAccepted},
		{"too slow", 21 * time.Second, http.StatusRequestTimeout},
	} {
		inBubble(t, server.Options{}, func(t *testing.T, r *remote) {
			body, out := io.Pipe()
			session := r.initialize()
			var sending sync.WaitGroup
			sending.Go(func() {
				for range 10 {
					time.Sleep(tt.every)
					if _, err := io.WriteString(out, strings.Repeat(" ", piece)); err != nil {
						return
					}
				}
				io.WriteString(out, cancel("1"))
				out.Close()
			})
			req, err := http.NewRequestWithContext(t.Context(), "POST", r.url+"/mcp", body)
			if err != nil {
				t.Fatal(err)
			}
			req.Header = header("Mcp-Session-Id", session)
			resp, err := r.http.Do(req)
			if err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != tt.status {
				t.Errorf("%s: got %d, want %d", tt.name, resp.StatusCode, tt.status)
			}
			body.Close()
			sending.Wait()
		})
	}
}

// document is a resource of a size in bytes.
func document(size int) mcpserver.ServerResource {
	return mcpserver.ServerResource{
		Resource: mcp.NewResource("test://large", "large"),
		Handler: func(context.Context, mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
			return []mcp.ResourceContents{mcp.TextResourceContents{URI: "test://large", Text: strings.Repeat("x", size)}}, nil
		},
	}
}

const readLarge = `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"test://large"}}`

func TestAnswersThatACallerLeavesUnreadAreBoundAndLeaveRoomForOthers(t *testing.T) {
	const size = 1 << 20
	opts := server.Options{MaxAnswers: 10 * size, Resources: []mcpserver.ServerResource{document(size)}}
	inBubbleWith(t, opts, hostileAndHonest, func(t *testing.T, r *remote) {
		session := r.initialize(as("hostile")...)
		unread, refused := 0, ""
		for range 20 { // responses that nobody reads
			conn := r.dial()
			defer conn.Close()
			go fmt.Fprintf(conn, "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer hostile\r\nMcp-Session-Id: %s\r\n"+
				"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", session, len(readLarge), readLarge)
			synctest.Wait()
			unread++
		}
		a := r.postIn(session, readLarge, as("hostile")...)
		if refused = a.body; !strings.Contains(refused, `"rate_limited"`) || !strings.Contains(refused, "your answers that wait to be read take") {
			t.Errorf("beside %d unread answers its caller got %.200s", unread, refused)
		}
		own := r.initialize(as("honest")...)
		for range 3 {
			if a := r.postIn(own, readLarge, as("honest")...); len(a.body) < size {
				t.Errorf("beside %d unread answers of another caller: %.200s", unread, a.body)
			}
		}
		time.Sleep(time.Minute) // when those that do not read are dropped
		synctest.Wait()
		if a := r.postIn(session, readLarge, as("hostile")...); len(a.body) < size {
			t.Errorf("afterwards its caller got %.200s", a.body)
		}
	})
}

func TestAnswerThatIsWithheldIsToldOnEachTransport(t *testing.T) {
	var told refusals
	opts := server.Options{MaxAnswers: 1 << 20, OnRefused: told.add, Resources: []mcpserver.ServerResource{document(1 << 20)}}
	overStdio(t, opts, func(t *testing.T, c *client) {
		c.send(readLarge)
		if m := c.next(); m.Error == nil || m.Error.Data.Code != "overloaded" || !strings.Contains(m.Error.Message, "answers of more than 1 MiB wait") {
			t.Errorf("got %s", m.line)
		}
		synctest.Wait()
		if all := told.take(); len(all) != 1 || all[0].Reason != server.ReasonAnswers {
			t.Errorf("told %+v", all)
		}
	})
}

func TestResourceHandlerExplainsItsRefusal(t *testing.T) {
	limited := mcpserver.ServerResource{
		Resource: mcp.NewResource("test://large", "large"),
		Handler: func(context.Context, mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
			return nil, fmt.Errorf("read: %w", &fault.Error{Code: fault.RateLimited, Message: "over your limit", Retryable: true, RetryAfter: 1500 * time.Millisecond})
		},
	}
	inBubble(t, server.Options{Resources: []mcpserver.ServerResource{limited}}, func(t *testing.T, r *remote) {
		a := r.postIn(r.initialize(), readLarge)
		for _, want := range []string{`"code":-32000`, `"code":"rate_limited"`, `"retry_after_seconds":2`, "over your limit; try again in 2 s"} {
			if !strings.Contains(a.body, want) {
				t.Errorf("%s is not in %s", want, a.body)
			}
		}
	})
}
