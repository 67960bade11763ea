package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/caller"
	"ollama-mcp/server"
)

// revoking is a server with the callers alice and bob, of whom alice can be revoked.
func revoking(t *testing.T, opts server.Options, f func(t *testing.T, r *remote, revoke func())) {
	t.Helper()
	var revoked atomic.Bool
	over := server.HTTPOptions{Authenticate: byKey(map[string]caller.Caller{
		"alice": {ID: "alice", Tenant: "alice", Valid: func() bool { return !revoked.Load() }},
		"bob":   {ID: "bob", Tenant: "bob", Valid: func() bool { return true }},
	})}
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		h := newHTTP(t, opts, over)
		transport := &http.Transport{DialContext: p.dial, MaxIdleConnsPerHost: 1000, DisableCompression: true}
		ctx, stop := context.WithCancel(context.Background())
		r := &remote{t: t, url: "http://localhost", stop: stop, served: make(chan error, 1), http: &http.Client{Transport: transport}, http1: transport}
		go func() { r.served <- h.Serve(ctx, p) }()
		f(t, r, func() {
			revoked.Store(true)
			h.EndRevoked()
			synctest.Wait()
		})
		r.end()
	})
}

func TestStreamsAndRequestsOfARevokedKeyEnd(t *testing.T) {
	var ended collector
	revoking(t, with(ended.waiting()), func(t *testing.T, r *remote, revoke func()) {
		hers, his := r.openStream(as("alice")...), r.openStream(as("bob")...)
		hers.say(call("1", "wait", "{}"), as("alice")...)
		his.say(call("1", "sleep", `{"seconds":40}`), as("bob")...)
		session := r.initialize(as("alice")...)
		legacy := later(func() reply { return r.postIn(session, call("2", "wait", "{}"), as("alice")...) })
		current := later(func() reply { return r.call("wait", "{}", as("alice")...) })
		other := later(func() reply { return r.call("sleep", `{"seconds":40}`, as("bob")...) })
		synctest.Wait()
		ended.want(t) // nothing yet
		began := time.Now()
		revoke()

		for e := range hers.events { // until the stream ends
			t.Errorf("her stream goes on with %v", e)
		}
		for name, a := range map[string]reply{"legacy": <-legacy, "current": <-current} {
			if m := a.message(); !strings.Contains(string(m.line), `"unauthorized"`) || strings.Contains(string(m.line), `"result"`) {
				t.Errorf("%s: got %s", name, m.line)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v to end them", took)
		}
		if len(ended.causes) != 3 {
			t.Errorf("her requests ended with %q", ended.causes)
		}
		for _, cause := range ended.causes {
			if !strings.Contains(cause, caller.ErrRevoked.Error()) {
				t.Errorf("a request of hers ended with %q", cause)
			}
		}
		if m := his.next(); m.text() != "slept" {
			t.Errorf("on his stream came %s", m.line)
		}
		(<-other).want("his request", "slept")
	})
}

func TestBodyOfARevokedKeyIsReadNoFurther(t *testing.T) {
	revoking(t, server.Options{}, func(t *testing.T, r *remote, revoke func()) {
		body, out := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), "POST", r.url+"/mcp", body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header(as("alice")...)
		var sending sync.WaitGroup
		sending.Go(func() {
			fmt.Fprint(out, modern(call("1", "echo", `{"text":"`)))
			time.Sleep(time.Second)
			for range 100 {
				if _, err := fmt.Fprint(out, strings.Repeat("x", 64<<10)); err != nil {
					return
				}
			}
			out.Close()
		})
		time.AfterFunc(time.Second/2, revoke)
		resp, err := r.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("got %d", resp.StatusCode)
		}
		body.Close()
		sending.Wait()
	})
}

// A key may be revoked after it was found to be good and before anything of its request could
// be ended.
func TestKeyThatIsRevokedWhileItIsCheckedOpensNothing(t *testing.T) {
	over := server.HTTPOptions{Authenticate: func(*http.Request) (caller.Caller, error) {
		return caller.Caller{ID: "alice", Tenant: "alice", Valid: func() bool { return false }}, nil
	}, Endpoints: foreign(nil)[1:]}
	h := front(t, over)
	for path, methods := range h.Routes() {
		if path == "/healthz" || path == "/readyz" || strings.HasPrefix(path, "/metrics") {
			continue
		}
		for _, method := range methods {
			if got := record(h, request(method, path, header(modernHeader("tools/call", "echo")...))); got.Code != http.StatusUnauthorized {
				t.Errorf("%s %s: got %d, %s", method, path, got.Code, got.Body)
			}
		}
	}
}
