package server_test

import (
	"bufio"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/server"
)

// stream is a client of HTTP with SSE.
type stream struct {
	*remote
	resp   *http.Response
	path   string     // where to send messages
	events chan event // that came; closed at the end

	comments int // before the last message
}

type event struct{ name, data string }

// openStream opens a stream that is read at once.
func (r *remote) openStream(more ...string) *stream {
	r.t.Helper()
	s, in := r.openUnread(more...)
	go func() {
		defer close(s.events)
		for {
			name, data, err := nextEvent(in)
			if err != nil {
				return
			}
			s.events <- event{name, data}
		}
	}()
	return s
}

func (s *stream) close() { s.resp.Body.Close() }

// openUnread opens a stream, and is told where to send messages.
func (r *remote) openUnread(more ...string) (*stream, *bufio.Reader) {
	r.t.Helper()
	resp, err := r.do(r.t.Context(), "GET", "/sse", "", header(more...))
	if err != nil {
		r.t.Fatal(err)
	}
	in := bufio.NewReader(resp.Body)
	name, path, err := nextEvent(in)
	if err != nil || name != "endpoint" || resp.Header.Get("Content-Type") != "text/event-stream" {
		r.t.Fatalf("the stream begins with %s %q, %v", name, path, err)
	}
	endpoint, err := resp.Request.URL.Parse(path)
	if err != nil {
		r.t.Fatal(err)
	}
	s := &stream{remote: r, resp: resp, path: endpoint.RequestURI(), events: make(chan event, 1<<12)}
	r.opened = append(r.opened, s)
	return s, in
}

// openAndLeaveUnread opens a stream, has a call wait and others answered, and reads none of
// it for a minute.
func (r *remote) openAndLeaveUnread(answers int) *stream {
	r.t.Helper()
	s, _ := r.openUnread()
	s.say(call(`"w"`, "wait", "{}"))
	for i := range answers {
		s.say(call(fmt.Sprint(i), "echo", `{"text":"`+strings.Repeat("x", 1<<12)+`"}`))
	}
	time.Sleep(time.Minute)
	synctest.Wait()
	return s
}

// say sends a message, which is accepted.
func (s *stream) say(body string, more ...string) {
	s.t.Helper()
	if a := s.send("POST", s.path, body, header(more...)); a.StatusCode != http.StatusAccepted {
		s.t.Errorf("%.100s got %d, %s", body, a.StatusCode, a.body)
	}
}

// next is the next message.
func (s *stream) next() message {
	s.t.Helper()
	s.comments = 0
	for e := range s.events {
		if e.name == "message" {
			return parse(s.t, e.data)
		}
		s.comments++
	}
	s.t.Fatal("the stream has ended")
	return message{}
}

func TestStreamAnswersWhatIsPostedInOrder(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, r *remote) {
		s, other := r.openStream(), r.openStream()
		if s.path == other.path || len(s.path) < len("/message?sessionId=")+26 {
			t.Errorf("sessions at %s and %s", s.path, other.path)
		}
		s.say(initialize)
		if m := s.next(); string(m.ID) != `"init"` || m.Error != nil {
			t.Errorf("initialize got %s", m.line)
		}
		s.say(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
		s.say(call("1", "progress", `{"reports":50}`))
		for i := range 50 {
			if m := s.next(); int(m.Params.Progress) != i+1 {
				t.Errorf("message %d is %s", i, m.line)
			}
		}
		s.next().want(t, "then", "", "done")
		s.say("no JSON")
		if m := s.next(); m.Error == nil || m.Error.Code != -32700 {
			t.Errorf("then came %s", m.line)
		}
	})
}

func TestStreamOffersOnlyWhatItCanServe(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, r *remote) {
		s := r.openStream()
		a := s.send("POST", s.path, `{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`,
			header("MCP-Protocol-Version", "2026-07-28"))
		if a.StatusCode != 202 {
			t.Errorf("got %d", a.StatusCode)
		}
		m := s.next()
		if !strings.Contains(m.line, `"supportedVersions":["2025-11-25","2025-06-18","2024-11-05"]`) {
			t.Errorf("got %s", m.line)
		}
	})
}

func TestStreamCanBeReachedBelowThePathOfAProxy(t *testing.T) {
	for _, tt := range []struct{ known, ours string }{ // the path that the client knows, and what the proxy makes of it
		{"/sse", "/sse"}, {"/sse/", "/sse/"}, {"/ollama/sse", "/sse"}, {"/ollama/sse/", "/sse/"}, {"/a/b/sse", "/sse"},
	} {
		inBubble(t, server.Options{}, func(t *testing.T, r *remote) {
			resp, err := r.do(t.Context(), "GET", tt.ours, "", header())
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			in := bufio.NewReader(resp.Body)
			_, endpoint, err := nextEvent(in)
			if err != nil {
				t.Fatal(err)
			}
			seen, err := url.Parse("https://example.com" + tt.known)
			if err != nil {
				t.Fatal(err)
			}
			if seen, err = seen.Parse(endpoint); err != nil {
				t.Fatal(err)
			}
			prefix := strings.TrimSuffix(strings.TrimSuffix(tt.known, "/"), "/sse")
			path, ok := strings.CutPrefix(seen.RequestURI(), prefix)
			if !ok {
				t.Fatalf("%s: messages go to %s", tt.known, seen)
			}
			r.send("POST", path, call("1", "echo", `{"text":"a"}`), header()).wantStatus(tt.known, 202)
			if _, data, err := nextEvent(in); err != nil || parse(t, data).text() != "a" {
				t.Errorf("%s: got %s, %v", tt.known, data, err)
			}
		})
	}
}

func TestStreamThatIsOpenedAgainNeedsNoHandshake(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, r *remote) {
		s := r.openStream()
		s.say(call("1", "progress", `{"reports":2}`))
		for range 2 {
			if m := s.next(); m.Method != "notifications/progress" {
				t.Errorf("got %s", m.line)
			}
		}
		s.next().want(t, "then", "1", "done")
	})
}

// A client whose stream was lost, as by a restart, cannot call until it has opened another one.
func TestStreamSaysHowSoonToOpenItAgain(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, r *remote) {
		resp, err := r.do(t.Context(), "GET", "/sse", "", header())
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		line, err := bufio.NewReader(resp.Body).ReadString('\n')
		wait, ok := strings.CutPrefix(strings.TrimSpace(line), "retry: ")
		if n, bad := strconv.Atoi(wait); err != nil || !ok || bad != nil || n < 100 || n > 1000 {
			t.Errorf("the stream begins with %q, %v; want a time between a tenth of a second and a second", line, err)
		}
	})
}

func TestPostsToNoStreamAreRefused(t *testing.T) {
	inBubble(t, server.Options{MaxMessage: 1000}, func(t *testing.T, r *remote) {
		s := r.openStream()
		for _, tt := range []struct {
			path, body string
			header     http.Header
			status     int
		}{
			{"/message", initialize, header(), 404},
			{"/message?sessionId=guess", initialize, header(), 404},
			{s.path, initialize, header("Content-Type", "text/plain"), 415},
			{s.path, strings.Repeat(" ", 1001), header(), 413},
		} {
			if a := r.send("POST", tt.path, tt.body, tt.header); a.StatusCode != tt.status {
				t.Errorf("%s: got %d, want %d", tt.path, a.StatusCode, tt.status)
			}
		}
		s.close()
		synctest.Wait()
		r.send("POST", s.path, initialize, header()).wantStatus("a stream that is closed", 404)
	})
}

func TestClosingAStreamOfSSECancelsItsRequestsAlone(t *testing.T) {
	var ended collector
	inBubble(t, with(ended.waiting()), func(t *testing.T, r *remote) {
		leaves, stays := r.openStream(), r.openStream()
		for range 3 {
			leaves.say(call(fmt.Sprint(len(ended.causes)), "wait", "{}"))
			ended.causes = append(ended.causes, "")
		}
		ended.causes = nil
		stays.say(call("1", "sleep", `{"seconds":40}`))
		stays.say(cancel("0")) // which is none of its own
		synctest.Wait()
		ended.want(t) // nothing yet
		leaves.say(cancel("0"))
		synctest.Wait()
		leaves.close()
		synctest.Wait()
		if len(ended.causes) != 3 || ended.causes[0] != "cancelled by the client" || !strings.HasPrefix(ended.causes[2], server.ErrClientGone.Error()) {
			t.Errorf("requests ended with %q", ended.causes)
		}
		if m := stays.next(); m.text() != "slept" || stays.comments != 2 {
			t.Errorf("the other got %s, after %d comments", m.line, stays.comments)
		}
	})
}

func TestStreamsAreLimitedInNumber(t *testing.T) {
	inBubbleWith(t, server.Options{}, server.HTTPOptions{MaxStreams: 1}, func(t *testing.T, r *remote) {
		s := r.openStream()
		r.send("GET", "/sse", "", http.Header{}).wantStatus("a second stream", 503)
		s.close()
		synctest.Wait()
		r.openStream().close()
	})
}

func TestCallerOpensAQuarterOfTheStreamsAtMost(t *testing.T) {
	opts := aliceAndBob()
	opts.MaxStreams = 8
	inBubbleWith(t, server.Options{}, opts, func(t *testing.T, r *remote) {
		open := []*stream{r.openStream(as("alice")...), r.openStream(as("alice")...)}
		r.send("GET", "/sse", "", http.Header{"Authorization": {"Bearer alice"}}).wantStatus("a third stream", 503)
		for _, s := range append(open, r.openStream(as("bob")...)) {
			s.close()
		}
	})
}

func TestStreamThatIsNotReadIsDropped(t *testing.T) {
	var ended collector
	inBubble(t, with(ended.waiting()), func(t *testing.T, r *remote) {
		s := r.openAndLeaveUnread(100)
		ended.want(t, gone)
		r.send("POST", s.path, initialize, header()).wantStatus("its session is there", 404)
	})
}
