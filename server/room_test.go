package server_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"ollama-mcp/server"
)

// tight is a server with room for one large message, but not for two.
var tight = server.Options{MaxMessage: 1 << 16, MaxHeld: 1 << 17}

// large is a call of so many seconds in a message that is nearly the largest.
func large(id string, seconds int) string {
	return call(id, "sleep", fmt.Sprintf(`{"seconds":%d,"padding":"%s"}`, seconds, strings.Repeat("x", 1<<16-1000)))
}

func TestMessagesInFlightAreBoundInSizeTogether(t *testing.T) {
	inBubble(t, tight, func(t *testing.T, r *remote) {
		sleep := modernHeader("tools/call", "sleep")
		first := later(func() reply { return r.post(modern(large("1", 60)), sleep...) })
		synctest.Wait()
		session := r.initialize() // small ones have room
		s := r.openStream()
		for name, a := range map[string]reply{
			"modern": r.post(modern(large("2", 0)), sleep...),
			"legacy": r.postIn(session, large("2", 0)),
			"SSE":    r.send("POST", s.path, large("2", 0), header()),
		} {
			if a.StatusCode != 429 || a.Header.Get("Retry-After") != "1" || !strings.Contains(a.body, "your messages in flight take 0.0") || !strings.Contains(a.body, `"rate_limited"`) {
				t.Errorf("%s: got %d, %s", name, a.StatusCode, a.body)
			}
		}
		if a := <-first; !strings.Contains(a.body, "slept") {
			t.Errorf("the first got %s", a.body)
		}
		if a := r.post(modern(large("3", 0)), sleep...); !strings.Contains(a.body, "slept") {
			t.Errorf("when there is room again: %s", a.body)
		}

		s.say(large("4", 60)) // held though its POST has been answered
		r.post(modern(large("5", 0)), sleep...).wantStatus("beside one of a stream:", 429)
		s.say(cancel("4"))
		synctest.Wait()
		s.say(large("6", 0))
		s.next().want(t, "after a cancel", "", "slept")
	})
}

// listing is a call of so many seconds with a list of so many numbers, which take more room than
// their text.
func listing(id string, seconds, numbers int) string {
	return call(id, "sleep", fmt.Sprintf(`{"seconds":%d,"list":[%s0]}`, seconds, strings.Repeat("0,", numbers-1)))
}

func TestValuesOfAMessageTakeRoomBesideItsText(t *testing.T) {
	inBubble(t, tight, func(t *testing.T, r *remote) {
		sleep := modernHeader("tools/call", "sleep")
		session, s := r.initialize(), r.openStream()
		first := later(func() reply { return r.post(modern(listing("1", 60, 900)), sleep...) })
		synctest.Wait()
		for numbers, want := range map[int]struct {
			status int
			words  string
		}{90: {200, "slept"}, 900: {429, "rate_limited"}, 1100: {413, "invalid_argument"}} {
			for name, a := range map[string]reply{
				"modern": r.post(modern(listing("2", 0, numbers)), sleep...),
				"legacy": r.postIn(session, listing("2", 0, numbers)),
			} {
				if a.StatusCode != want.status || !strings.Contains(a.body, want.words) || (a.Header.Get("Retry-After") != "") != (want.status == 429) {
					t.Errorf("%d numbers, %s: got %d, %s", numbers, name, a.StatusCode, a.body)
				}
			}
		}
		r.send("POST", s.path, listing("3", 0, 1100), header()).wantStatus("SSE:", 413)
		if a := <-first; !strings.Contains(a.body, "slept") {
			t.Errorf("the first got %s", a.body)
		}
		r.post(modern(listing("4", 0, 900)), sleep...).wantStatus("when there is room again:", 200)
	})
	overStdio(t, tight, func(t *testing.T, c *client) {
		c.send(listing("0", 60, 1900)) // the client is alone
		for numbers, words := range map[int]string{1900: "are in flight", 2200: "too many for its size"} {
			c.send(listing("1", 0, numbers))
			if m := c.next(); m.Error == nil || !strings.Contains(m.Error.Message, words) {
				t.Errorf("%d numbers got %s, want %q", numbers, m.line, words)
			}
		}
		c.send(cancel("0"))
		synctest.Wait()
		c.send(listing("3", 0, 1900))
		c.next().want(t, "after a cancel", "3", "slept")
	})
}

func TestMessagesThatAreNotHandledLeaveNoRoomTaken(t *testing.T) {
	inBubble(t, tight, func(t *testing.T, r *remote) {
		s := r.openStream()
		spaces := strings.Repeat(" ", 1<<16-1000)
		for range 3 {
			r.post(spaces + "no JSON")
			r.post(spaces + cancel("1"))
			r.post(spaces + call("1", "echo", "{}")) // of no session
			r.post(spaces + strings.Repeat(" ", 1000) + "too large")
			s.say(spaces + "no JSON")
			s.say(spaces + cancel("1"))
			s.say(spaces + `{"jsonrpc":"2.0","id":1,"result":{}}`)
			s.say(spaces)
			if m := s.next(); m.Error == nil {
				t.Errorf("got %s", m.line)
			}
		}
		s.say(call("1", "sleep", `{"seconds":1}`))
		s.say(large("1", 0)) // whose id is taken
		synctest.Wait()
		if a := r.post(modern(large("1", 0)), modernHeader("tools/call", "sleep")...); !strings.Contains(a.body, "slept") {
			t.Errorf("got %d, %s", a.StatusCode, a.body)
		}
	})
}

func TestMessageThatBreaksOffLeavesNoRoomTaken(t *testing.T) {
	inBubble(t, tight, func(t *testing.T, r *remote) {
		body, half := io.Pipe()
		broken := make(chan error)
		go func() {
			req, err := http.NewRequestWithContext(t.Context(), "POST", r.url+"/mcp", body)
			if err == nil {
				req.Header = header()
				_, err = r.http.Do(req)
			}
			broken <- err
		}()
		if _, err := io.WriteString(half, strings.Repeat(" ", 1<<16-1000)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		sleep := modernHeader("tools/call", "sleep")
		r.post(modern(large("1", 0)), sleep...).wantStatus("beside half a message:", 429)
		half.CloseWithError(io.ErrUnexpectedEOF)
		if err := <-broken; err == nil {
			t.Error("half a message was answered")
		}
		synctest.Wait()
		if a := r.post(modern(large("1", 0)), sleep...); !strings.Contains(a.body, "slept") {
			t.Errorf("got %d, %s", a.StatusCode, a.body)
		}
	})
}

func TestMessagesOfStdioAreBoundInSizeTogether(t *testing.T) {
	overStdio(t, tight, func(t *testing.T, c *client) {
		c.send(large("0", 60), large("1", 60), large("2", 0)) // of which two have room: the client is alone
		if m := c.next(); string(m.ID) != "2" || m.Error == nil || !strings.Contains(m.Error.Message, "more than 0.125 MiB are in flight") {
			t.Errorf("the third got %s", m.line)
		}
		c.send(cancel("0"), strings.Repeat(" ", 1<<16-1000)+cancel("1")) // needs no room: it makes some
		synctest.Wait()
		c.send(large("3", 0))
		c.next().want(t, "after a cancel", "3", "slept")
	})
}
