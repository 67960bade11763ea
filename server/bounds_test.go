package server_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/server"
)

// An attack is what a hostile caller does to take more of something than it may have.
type attack struct {
	name string
	opts server.Options
	over server.HTTPOptions // besides its callers

	// make goes on until the bound has been passed, as the caller "hostile". What it leaves open
	// is closed by the server, or by end at the latest.
	make func(h *hostile)
	// reason is why something of it is refused; "" if the client is cut off instead, or nothing is
	// taken.
	reason server.Reason
	// rest is the time after which nothing of it is left.
	rest time.Duration
}

// hostile is a caller that wants everything.
type hostile struct {
	*remote
	session string
	conns   []net.Conn
}

// say sends a request of its own on a new connection, as it stands, and reads what comes if it
// is to. It does not wait for it.
func (h *hostile) say(text string, reads bool) {
	conn := h.dial()
	h.conns = append(h.conns, conn)
	go io.WriteString(conn, text) // both end with the connection
	if reads {
		go io.Copy(io.Discard, conn)
	}
	synctest.Wait()
}

// posting is a message of the session, to be said.
func (h *hostile) posting(body string) string {
	return raw("/mcp", body, "Authorization", "Bearer hostile", "Mcp-Session-Id", h.session)
}

// stubborn is a tool that sees its end late, and reports until then.
func stubborn() mcpserver.ServerTool {
	return says("stubborn", func(ctx context.Context, r mcp.CallToolRequest) string {
		for i := 1; ctx.Err() == nil; i++ {
			_ = notify(ctx, r, i)
			time.Sleep(time.Second)
		}
		time.Sleep(time.Second)
		return strings.Repeat("x", 1<<17)
	})
}

// attacks drive each bound that the server itself has. The ones of connections and of HTTP/2 have
// tests of their own, with clients at several addresses and with TLS.
var attacks = []attack{
	{
		name: "messages that are too large", opts: tight, reason: server.ReasonTooLarge,
		make: func(h *hostile) {
			for range 20 {
				h.say(h.posting(strings.Repeat(" ", 1<<16+1)), true)
			}
		},
		rest: 2 * time.Minute,
	},
	{
		name: "messages of many values", opts: tight, reason: server.ReasonTooLarge,
		make: func(h *hostile) {
			for range 20 {
				h.say(h.posting(listing("1", 0, 2000)), true)
			}
		},
		rest: 2 * time.Minute,
	},
	{
		name: "messages whose last byte is withheld", opts: tight, reason: server.ReasonCallerLimit,
		make: func(h *hostile) { h.conns = append(h.conns, h.withhold(16, 1<<15, "hostile")...) },
		rest: 2 * time.Minute,
	},
	{
		name: "messages of which a byte comes now and then", reason: server.ReasonIncomplete,
		make: func(h *hostile) {
			for range 20 {
				conn := h.dial()
				h.conns = append(h.conns, conn)
				text := h.posting(call("1", "echo", "{}") + strings.Repeat(" ", 1000))
				go io.Copy(io.Discard, conn)
				go drip(conn, text[:len(text)-1000])
			}
			time.Sleep(25 * time.Second)
		},
		rest: 2 * time.Minute,
	},
	{
		name: "requests that do not end", opts: server.Options{MaxInFlight: 10, Tools: []mcpserver.ServerTool{stubborn()}}, reason: server.ReasonCallerLimit,
		make: func(h *hostile) {
			for i := range 20 {
				h.say(h.posting(call(fmt.Sprint(i), "stubborn", "{}")), true)
			}
			h.leave()
		},
		rest: 2 * time.Minute,
	},
	{
		name: "requests that are cancelled at once", opts: server.Options{MaxInFlight: 10, Tools: []mcpserver.ServerTool{stubborn()}}, reason: server.ReasonCallerLimit,
		make: func(h *hostile) {
			for i := range 40 {
				h.say(h.posting(call(fmt.Sprint(i), "stubborn", "{}")), true)
				h.say(h.posting(cancel(fmt.Sprint(i))), true)
			}
		},
		rest: 3 * time.Minute,
	},
	{
		name: "streams", over: server.HTTPOptions{MaxStreams: 8}, reason: server.ReasonSessions,
		make: func(h *hostile) {
			for range 20 {
				h.say("GET /sse HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer hostile\r\n\r\n", false)
			}
		},
		rest: 2 * time.Minute,
	},
	{
		name: "answers that are not read", opts: server.Options{MaxAnswers: 10 << 20, Resources: []mcpserver.ServerResource{document(1 << 20)}}, reason: server.ReasonCallerLimit,
		make: func(h *hostile) {
			for range 20 {
				h.say(h.posting(readLarge), false)
			}
			h.say(h.posting(readLarge), true)
		},
		rest: 2 * time.Minute,
	},
	{
		name: "refusals that are not read", opts: server.Options{MaxInFlight: 2}, reason: server.ReasonMalformed,
		make: func(h *hostile) {
			stream := h.dial()
			h.conns = append(h.conns, stream)
			go io.WriteString(stream, "GET /sse HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer hostile\r\n\r\n")
			path := "/" + nextData(h.t, bufio.NewReader(stream))
			for range 50 {
				h.say(raw(path, "no JSON", as("hostile")...), true)
			}
			time.Sleep(time.Minute) // in which the stream is dropped
		},
		rest: 2 * time.Minute,
	},
	{
		name: "sessions that nobody uses",
		make: func(h *hostile) {
			for range 1000 {
				h.initialize(as("hostile")...)
			}
		},
	},
	{
		name: "headers without end",
		make: func(h *hostile) {
			for range 20 {
				h.say("GET /sse HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", 1<<20), true)
			}
		},
		rest: 10 * time.Second,
	},
	{
		name: "connections on which nothing is said",
		make: func(h *hostile) {
			for range 50 {
				h.say("", true)
			}
		},
		rest: 10 * time.Second,
	},
	{
		name: "requests that are piped though their answers are not read", opts: server.Options{MaxInFlight: 10},
		make: func(h *hostile) {
			for range 20 {
				h.say(strings.Repeat(h.posting(call("1", "echo", `{"text":"`+strings.Repeat("x", 1<<12)+`"}`)), 100), false)
			}
		},
		rest: 2 * time.Minute,
	},
}

func (h *hostile) leave() {
	for _, conn := range h.conns {
		conn.Close()
	}
	synctest.Wait()
}

// goroutinesOfBubble are the stacks of the goroutines in a bubble, of which there is one at a time.
func goroutinesOfBubble() (stacks []string) {
	all := make([]byte, 4<<20)
	for one := range strings.SplitSeq(string(all[:runtime.Stack(all, true)]), "\n\n") {
		if head, _, _ := strings.Cut(one, "\n"); strings.Contains(head, "synctest bubble") {
			stacks = append(stacks, one)
		}
	}
	return stacks
}

// TestHostileCallerLeavesTheHonestOneItsShareAndNothingBehind drives each bound to where
// something is refused, while an honest caller is answered each time, and at once. Afterwards the
// server holds what it held before, even where the hostile client has closed nothing.
func TestHostileCallerLeavesTheHonestOneItsShareAndNothingBehind(t *testing.T) {
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			var told refusals
			a.opts.OnRefused = told.add
			a.over.Authenticate = hostileAndHonest.Authenticate
			synctest.Test(t, func(t *testing.T) {
				r := serveInBubble(t, a.opts, a.over)
				h := &hostile{remote: r, session: r.initialize(as("hostile")...)}
				honest := func(when string) {
					t.Helper()
					began := time.Now()
					r.call("echo", `{"text":"a"}`, as("honest")...).want(when, "a")
					session := r.initialize(as("honest")...)
					r.postIn(session, call("1", "echo", `{"text":"b"}`), as("honest")...).want(when, "b")
					if took := time.Since(began); took > 0 {
						t.Errorf("%s: the honest caller waited %v", when, took)
					}
				}
				held := func() (server.Load, []string) {
					r.http1.CloseIdleConnections()
					synctest.Wait()
					return r.server.Load(), goroutinesOfBubble()
				}
				honest("before")
				before, goroutines := held()
				told.take()

				a.make(h)
				for range 10 {
					honest("during the attack")
				}
				refused := make(map[server.Reason]int)
				for _, one := range told.take() {
					if refused[one.Reason]++; one.Caller == "honest" {
						t.Errorf("the honest caller was refused: %+v", one)
					}
				}
				if a.reason != "" && refused[a.reason] == 0 {
					t.Errorf("the attack did not reach the bound: refused were %v, want some for %q", refused, a.reason)
				}

				time.Sleep(a.rest)
				after, left := held()
				if after != before {
					t.Errorf("after it the server holds %+v, and held %+v before", after, before)
				}
				if len(left) > len(goroutines) {
					t.Errorf("after it there are %d goroutines, and were %d before:\n%s", len(left), len(goroutines), strings.Join(left, "\n\n"))
				}
				honest("afterwards")
				r.call("echo", `{"text":"a"}`, as("hostile")...).want("the hostile caller afterwards", "a")
				h.leave()
				r.end()
			})
		})
	}
}
