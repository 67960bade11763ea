package server_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"
	"pgregory.net/rapid"

	"ollama-mcp/server"
)

// sessionKey is what the servers of a test share.
var sessionKey = []byte("0123456789abcdef0123456789abcdef")

// describe is a tool that says what the server knows of its client.
func describe() mcpserver.ServerTool {
	return says("describe", func(ctx context.Context, _ mcp.CallToolRequest) string {
		s := mcpserver.ClientSessionFromContext(ctx).(mcpserver.SessionWithClientInfo)
		can := s.GetClientCapabilities()
		return fmt.Sprintf("%s %s, %s, initialized=%t elicitation=%t,%t sampling=%t roots=%t", s.GetClientInfo().Name, s.GetClientInfo().Version,
			mcpserver.RequestProtocolVersion(ctx), s.Initialized(), can.Elicitation != nil, can.Elicitation != nil && can.Elicitation.URL != nil,
			can.Sampling != nil, can.Roots != nil)
	})
}

const helloOfMany = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18",` +
	`"capabilities":{"elicitation":{"url":{}},"roots":{"listChanged":true}},"clientInfo":{"name":"Wanderer","version":"7"}}}`

// drop sends a DELETE of a session.
func (r *remote) drop(session string, more ...string) reply {
	return r.send("DELETE", "/mcp", "", header(append([]string{"Mcp-Session-Id", session}, more...)...))
}

func TestSessionGoesOnWhereverItsKeyIsKnown(t *testing.T) {
	over := server.HTTPOptions{SessionKey: sessionKey}
	const want = "Wanderer 7, 2025-06-18, initialized=true elicitation=true,true sampling=false roots=true"
	synctest.Test(t, func(t *testing.T) {
		one := serveInBubble(t, with(describe()), over)
		session := one.post(helloOfMany).Header.Get("Mcp-Session-Id")
		one.postIn(session, call("1", "describe", "{}")).want("the server that began it", want)

		two := serveInBubble(t, with(describe()), over)
		for i := range 6 { // in turn
			[]*remote{one, two}[i%2].postIn(session, call("1", "describe", "{}")).want("in turn", want)
		}
		a := two.postIn(session, call("1", "progress", `{"reports":3}`))
		if all := a.messages(); len(all) != 4 || all[3].text() != "done" {
			t.Errorf("progress from the other server: %s", a.body)
		}
		if a := one.drop(session); a.StatusCode != 204 {
			t.Errorf("DELETE got %d", a.StatusCode)
		}
		one.postIn(session, call("1", "describe", "{}")).want("after DELETE", want)
		if a := one.drop(session); a.StatusCode != 204 {
			t.Errorf("a second DELETE got %d", a.StatusCode)
		}
		one.end()
		again := serveInBubble(t, with(describe()), over)
		time.Sleep(1000 * time.Hour) // which ends no session
		again.postIn(session, call("1", "describe", "{}")).want("after a restart", want)
		again.postIn(session, `{"jsonrpc":"2.0","method":"notifications/initialized"}`).wantStatus("a notification", 202)
		two.end()
		again.end()
	})
}

func TestSessionThatIsForgedIsUnknown(t *testing.T) {
	other := serveInBubbleOf(t)
	inBubbleWith(t, with(describe()), server.HTTPOptions{SessionKey: sessionKey}, func(t *testing.T, r *remote) {
		id := r.initialize()
		said, signature, _ := strings.Cut(id, ".")
		plain, err := base64.RawURLEncoding.DecodeString(said)
		if err != nil {
			t.Fatal(err)
		}
		changed := base64.RawURLEncoding.EncodeToString(bytes.Replace(plain, []byte(`"n":"t"`), []byte(`"n":"u"`), 1))
		second, _, _ := strings.Cut(r.initialize(), ".")
		for name, forged := range map[string]string{
			"a guess": "guess", "nothing but a point": ".", "without its signature": said, "with an empty one": said + ".",
			"the signature alone": "." + signature, "in another case": strings.ToUpper(id), "cut": id[:len(id)-1], "longer": id + "A",
			"with another's signature": second + "." + signature, "changed": changed + "." + signature,
			"of another key": other, "long": strings.Repeat("A", 1<<15) + "." + signature,
		} {
			for _, a := range []reply{r.postIn(forged, call("1", "describe", "{}")), r.postIn(forged, cancel("1")), r.drop(forged)} {
				if a.StatusCode != 404 || a.Header.Get("Content-Type") != "application/json" || !strings.Contains(a.body, `"error":"unknown_session"`) {
					t.Errorf("%s: got %d, %s", name, a.StatusCode, a.body)
				}
			}
		}
		r.postIn(id, call("1", "echo", `{"text":"a"}`)).want("the real one", "a")
	})
}

// serveInBubbleOf returns a session of a server with a key of its own.
func serveInBubbleOf(t *testing.T) (session string) {
	inBubble(t, server.Options{}, func(_ *testing.T, r *remote) { session = r.initialize() })
	return session
}

func TestSessionOfOneKeyIsUnknownToAnotherAfterARestartToo(t *testing.T) {
	over := aliceAndBob()
	over.SessionKey = sessionKey
	var session string
	inBubbleWith(t, server.Options{}, over, func(_ *testing.T, r *remote) { session = r.initialize(as("alice")...) })
	if strings.Contains(decoded(t, session), "alice") {
		t.Errorf("the id tells whose it is: %s", decoded(t, session))
	}
	inBubbleWith(t, server.Options{}, over, func(t *testing.T, r *remote) {
		for _, a := range []reply{r.postIn(session, call("1", "echo", "{}"), as("bob")...), r.drop(session, as("bob")...)} {
			a.wantStatus("another caller", 404)
		}
		r.postIn(session, call("1", "echo", `{"text":"a"}`), as("alice")...).want("its owner", "a")
	})
	inBubbleWith(t, server.Options{}, server.HTTPOptions{SessionKey: sessionKey}, func(t *testing.T, r *remote) {
		r.postIn(session, call("1", "echo", "{}")).wantStatus("a caller without credentials", 404)
	})
}

func decoded(t *testing.T, session string) string {
	t.Helper()
	said, _, _ := strings.Cut(session, ".")
	plain, err := base64.RawURLEncoding.DecodeString(said)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

func TestServersWithoutAKeyTakeNoSessionsOfOthers(t *testing.T) {
	session := serveInBubbleOf(t)
	inBubble(t, server.Options{}, func(t *testing.T, r *remote) {
		r.postIn(session, call("1", "echo", "{}")).wantStatus("another server", 404)
		r.postIn(session, initialize).wantStatus("initialize with it", 200)
	})
}

func TestDeletingNeedsASession(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, r *remote) {
		r.send("DELETE", "/mcp", "", header()).wantStatus("no session", 400)
		r.drop(r.initialize(), "MCP-Protocol-Version", "2026-07-28").wantStatus("the protocol without sessions", 405)
	})
}

// TestRequestsInFlightBelongToTheirSessionAlone runs through random sequences of calls, cancellations and
// deletions in several sessions, and compares what is in flight with a model.
func TestRequestsInFlightBelongToTheirSessionAlone(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) [3]int {
			return [3]int{rapid.IntRange(0, 2).Draw(t, "what"), rapid.IntRange(0, 2).Draw(t, "session"), rapid.IntRange(0, 2).Draw(t, "id")}
		}), 1, 12).Draw(rt, "steps")
		inBubbleWith(t, server.Options{}, server.HTTPOptions{SessionKey: sessionKey}, func(t *testing.T, r *remote) {
			sessions := []string{r.initialize(), r.initialize(), r.initialize()}
			inFlight := make(map[[2]int]<-chan reply)
			ended := func(at [2]int, text string) {
				t.Helper()
				if a := <-inFlight[at]; text == "" && (a.StatusCode != 202 || a.body != "") || text != "" && a.text() != text {
					t.Fatalf("%v: the request %v ended with %d, %s", steps, at, a.StatusCode, a.body)
				}
				delete(inFlight, at)
			}
			for _, step := range steps {
				session, id := sessions[step[1]], fmt.Sprint(step[2])
				at := [2]int{step[1], step[2]}
				switch step[0] {
				case 0:
					if _, taken := inFlight[at]; taken {
						if a := r.postIn(session, call(id, "echo", "{}")); a.message().Error == nil {
							t.Fatalf("%v: an id in use was taken: %s", steps, a.body)
						}
						break
					}
					inFlight[at] = later(func() reply { return r.postIn(session, call(id, "sleep", `{"seconds":3600}`)) })
				case 1:
					r.postIn(session, cancel(id)).wantStatus("a cancel", 202)
					if _, there := inFlight[at]; there {
						ended(at, "")
					}
				case 2:
					r.drop(session).wantStatus("a deletion", 204)
					for i := range 3 {
						if _, there := inFlight[[2]int{step[1], i}]; there {
							ended([2]int{step[1], i}, server.ErrClientGone.Error())
						}
					}
				}
				synctest.Wait()
				for at, answer := range inFlight {
					select {
					case a := <-answer:
						t.Fatalf("%v: after %v, %v ended with %s", steps, step, at, a.body)
					default:
					}
				}
			}
			for at := range inFlight {
				r.postIn(sessions[at[0]], cancel(fmt.Sprint(at[1])))
				ended(at, "")
			}
		})
	})
}

func TestLogLevelOfASessionIsRememberedBetweenItsRequests(t *testing.T) {
	logs := tool("logs", func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		err := mcpserver.ServerFromContext(ctx).SendLogMessageToClient(ctx, mcp.NewLoggingMessageNotification(mcp.LoggingLevelInfo, "t", "hello"))
		return mcp.NewToolResultText("done"), err
	})
	opts := with(logs)
	opts.Extra = []mcpserver.ServerOption{mcpserver.WithLogging()}
	inBubble(t, opts, func(t *testing.T, r *remote) {
		loud, quiet := r.initialize(), r.initialize()
		r.postIn(loud, `{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"info"}}`)
		for session, want := range map[string]int{loud: 2, quiet: 1} {
			if a := r.postIn(session, call("1", "logs", "{}")); len(a.messages()) != want {
				t.Errorf("got %s, want %d messages", a.body, want)
			}
		}
	})
}

func TestRefusalsNameNoSession(t *testing.T) {
	var told refusals
	var log bytes.Buffer
	over := aliceAndBob()
	over.SessionKey = sessionKey
	inBubbleWith(t, server.Options{OnRefused: told.add, Log: logTo(&log)}, over, func(t *testing.T, r *remote) {
		session := r.initialize(as("alice")...)
		r.postIn(session, call("1", "echo", "{}"), as("bob")...)
		r.postIn(session, call("1", "nothing", "{}"), as("alice")...)
		r.postIn(session, call("1", "panic", "{}"), as("alice")...)
		synctest.Wait()
		_, signature, _ := strings.Cut(session, ".")
		if all := fmt.Sprintf("%+v %s", told.take(), &log); strings.Contains(all, signature) || strings.Contains(all, string(sessionKey)) {
			t.Errorf("a session is told: %s", all)
		}
	})
}
