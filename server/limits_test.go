package server_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"ollama-mcp/internal/caller"
	"ollama-mcp/server"
)

func TestRequestsInFlightAreLimitedOverAllStreams(t *testing.T) {
	var ended collector
	opts := with(ended.waiting())
	opts.MaxInFlight = 10 // of which one caller may have 5
	inBubble(t, opts, func(t *testing.T, r *remote) {
		var refused int
		streams := []*stream{r.openStream(), r.openStream(), r.openStream()}
		for _, s := range streams {
			for i := range 4 {
				s.say(call(fmt.Sprint(i), "wait", "{}"))
			}
			synctest.Wait()
			for len(s.events) > 0 {
				m := s.next()
				if m.Error == nil || m.Error.Code != -32000 || m.Error.Data.Code != "rate_limited" || !*m.Error.Data.Retryable {
					t.Errorf("got %s", m.line)
				}
				refused++
			}
		}
		if refused != 7 {
			t.Errorf("of 12 calls over 3 streams %d were refused, want 7", refused)
		}
		streams[0].say(`{"jsonrpc":"2.0","id":"p","method":"ping"}`) // however much is in flight
		if m := streams[0].next(); m.Error != nil {
			t.Errorf("a ping got %s", m.line)
		}
		r.call("echo", "{}").wantStatus("a call by POST", 429)
		streams[1].close()
		synctest.Wait()
		r.call("echo", "{}").wantStatus("a call when another client has left", 200)
	})
}

func TestRequestsInFlightAreSharedByCallers(t *testing.T) {
	var ended collector
	opts := with(ended.waiting())
	opts.MaxInFlight = 8
	known := make(map[string]caller.Caller)
	for _, name := range []string{"alice", "bob", "carol", "dave", "erin", "frank"} {
		known[name] = caller.Caller{ID: name, Tenant: name}
	}
	inBubbleWith(t, opts, server.HTTPOptions{Authenticate: byKey(known)}, func(t *testing.T, r *remote) {
		wantRefused := func(name string, status int, code string) {
			t.Helper()
			a := r.call("echo", "{}", as(name)...)
			a.wantStatus(name, status)
			if e := a.message().Error; e == nil || e.Code != -32000 || e.Data.Code != code || !*e.Data.Retryable || a.Header.Get("Retry-After") != "1" {
				t.Errorf("%s got %v, %s", name, a.Header, a.body)
			}
		}
		s := r.openStream(as("alice")...)
		s.say(call("1", "wait", "{}"), as("alice")...)
		for _, tt := range []struct {
			name string
			has  int // in the end
		}{{"alice", 4}, {"bob", 2}, {"carol", 1}} {
			for n := 1; n <= tt.has; n++ {
				if tt.name != "alice" || n > 1 {
					go r.call("wait", "{}", as(tt.name)...)
					synctest.Wait()
				}
			}
			wantRefused(tt.name, 429, "rate_limited")
		}
		s.say(call("2", "echo", "{}"), as("alice")...) // on whichever transport
		if m := s.next(); m.Error == nil || m.Error.Data.Code != "rate_limited" {
			t.Errorf("on her stream alice got %s", m.line)
		}
		session := r.initialize(as("dave")...)
		go r.call("wait", "{}", as("erin")...)
		synctest.Wait()
		wantRefused("frank", 503, "overloaded")
		r.postIn(session, cancel("7"), as("dave")...).wantStatus("a cancel", 202)
		s.say(cancel("1"), as("alice")...)
		synctest.Wait()
		r.call("echo", "{}", as("frank")...).wantStatus("frank, once a call has ended", 200)
	})
}

func TestClientOfStdioHasTheServerToItself(t *testing.T) {
	var ended collector
	opts := with(ended.waiting())
	opts.MaxInFlight = 3
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, opts)
		for i := range 4 {
			c.send(call(fmt.Sprint(i), "wait", "{}"))
		}
		synctest.Wait()
		m := c.next()
		if string(m.ID) != "3" || m.Error == nil || m.Error.Code != -32000 || m.Error.Data.Code != "overloaded" {
			t.Errorf("the fourth got %s", m.line)
		}
		c.send(cancel("0"))
		synctest.Wait()
		c.send(call("5", "echo", `{"text":"in its place"}`))
		c.next().want(t, "the fifth", "5", "in its place")
		c.send(cancel("1"), cancel("2"))
		if rest, err := c.hangUp(); err != nil || len(rest) > 0 {
			t.Errorf("then came %v, %v", rest, err)
		}
	})
}

func TestAnswersLeftUnreadHoldUpTheirOwnClientAlone(t *testing.T) {
	opts := server.Options{MaxInFlight: 2}
	inBubble(t, opts, func(t *testing.T, r *remote) {
		const ping = `{"jsonrpc":"2.0","id":%d,"method":"ping"}`
		unread, _ := r.openUnread()
		accepted := make(chan int, 100)
		for i := range cap(accepted) {
			go func() { accepted <- r.send("POST", unread.path, fmt.Sprintf(ping, i), header()).StatusCode }()
		}
		synctest.Wait()
		if n := len(accepted); n > 10 {
			t.Errorf("%d pings were taken though none of their answers has been read", n)
		}
		reads := r.openStream()
		reads.say(fmt.Sprintf(ping, 0))
		if m := reads.next(); m.Error != nil {
			t.Errorf("another client got %s", m.line)
		}
		unread.close()
		for range cap(accepted) {
			<-accepted
		}
	})
}
