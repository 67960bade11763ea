package server_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/caller"
	"ollama-mcp/server"
)

// expiring are callers of whom alice's credentials expire in a minute, and after that are refused.
func expiring() server.HTTPOptions {
	var began time.Time
	return server.HTTPOptions{Authenticate: func(req *http.Request) (caller.Caller, error) {
		if began.IsZero() {
			began = time.Now()
		}
		switch expires := began.Add(time.Minute); req.Header.Get("Authorization") {
		case "Bearer alice":
			if !time.Now().Before(expires) {
				return caller.Caller{}, &caller.Denied{Code: "invalid_token", Message: "the token has expired"}
			}
			return caller.Caller{ID: "alice", Tenant: "alice", Expires: expires}, nil
		case "Bearer alice's next":
			return caller.Caller{ID: "alice", Tenant: "alice", Expires: expires.Add(time.Hour)}, nil
		}
		return caller.Caller{ID: "bob", Tenant: "bob"}, nil
	}}
}

func TestStreamsEndWhenTheTokenExpiresThatTheyWereOpenedWith(t *testing.T) {
	var ended collector
	inBubbleWith(t, with(ended.waiting()), expiring(), func(t *testing.T, r *remote) {
		hers, his := r.openStream(as("alice")...), r.openStream(as("bob")...)
		session := r.initialize(as("alice")...)
		began := time.Now()
		hers.say(call("1", "wait", "{}"), as("alice")...)
		his.say(call("1", "sleep", `{"seconds":90}`), as("bob")...)
		underWay := later(func() reply { return r.postIn(session, call("2", "sleep", `{"seconds":90}`), as("alice")...) })

		for e := range hers.events { // until the stream ends
			if e.data != ": still here" {
				t.Errorf("her stream goes on with %v", e)
			}
		}
		if took := time.Since(began); took != time.Minute {
			t.Errorf("her stream ended after %v", took)
		}
		synctest.Wait()
		if len(ended.causes) != 1 || !strings.Contains(ended.causes[0], caller.ErrRevoked.Error()) {
			t.Errorf("the request on it ended with %q", ended.causes)
		}
		r.postIn(session, call("3", "echo", "{}"), as("alice")...).wantStatus("her session with the expired token", 401)
		r.postIn(session, call("3", "echo", `{"text":"a"}`), as("alice's next")...).want("her session with a new token", "a")
		(<-underWay).want("a call of hers that was under way", "slept")
		if m := his.next(); m.text() != "slept" {
			t.Errorf("on his stream came %s", m.line)
		}
	})
}

// certificate is a client certificate of an authority.
func (ca *authority) certificate(t *testing.T) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	own := ca.files(t)
	pair, err := tls.LoadX509KeyPair(own.CertFile, own.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
}

func TestConnectionEndsWhenTheAuthorityOfItsCertificateIsRemoved(t *testing.T) {
	kept, removed := newAuthority(t), newAuthority(t)
	for name, version1 := range map[string]bool{"HTTP/1.1": true, "HTTP/2": false} {
		t.Run(name, func(t *testing.T) {
			both := kept.files(t)
			both.ClientCAFile = both.CertFile + ".ca"
			write := func(authorities ...*authority) {
				t.Helper()
				var all []byte
				for _, ca := range authorities {
					pem, err := os.ReadFile(ca.file)
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, pem...)
				}
				if err := os.WriteFile(both.ClientCAFile, all, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write(kept, removed)
			synctest.Test(t, func(t *testing.T) {
				var ended collector
				p := newPipes()
				connections := &counted{Listener: p}
				byCertificate := func(req *http.Request) (caller.Caller, error) {
					name := req.TLS.VerifiedChains[0][0].Subject.CommonName
					return caller.Caller{ID: name, Tenant: name}, nil
				}
				h := newHTTP(t, with(ended.waiting()), server.HTTPOptions{TLS: both, Authenticate: byCertificate})
				served := make(chan error, 1)
				go func() { served <- h.Serve(t.Context(), connections) }()
				client := func(ca *authority) *remote {
					config := kept.trusting()
					config.GetClientCertificate = ca.certificate(t)
					transport := &http.Transport{DialContext: p.dial, TLSClientConfig: config, ForceAttemptHTTP2: !version1, DisableCompression: true}
					return &remote{t: t, url: "https://localhost", http: &http.Client{Transport: transport}, http1: transport}
				}
				hers, his := client(removed), client(kept)
				idle := client(removed)
				idle.call("echo", `{"text":"a"}`).want("before", "a")
				stream, other := hers.openStream(), his.openStream()
				stream.say(call("1", "wait", "{}"))
				underWay := make(chan string, 1)
				go func() {
					resp, err := hers.do(t.Context(), "POST", "/mcp", modern(call("2", "wait", "{}")), header(append(modernHeader("tools/call", "wait"), "Accept", "application/json")...))
					if err != nil {
						underWay <- ""
						return
					}
					defer resp.Body.Close()
					body, _ := io.ReadAll(resp.Body) // which may break off
					underWay <- string(body)
				}()
				synctest.Wait()
				open := connections.open.Load()
				h.EndRevoked() // when nothing has changed
				synctest.Wait()
				if now := connections.open.Load(); now != open {
					t.Fatalf("%d of %d connections are left though nothing has changed", now, open)
				}

				write(kept) // within the second in which the files were looked at last
				h.EndRevoked()
				for e := range stream.events {
					t.Errorf("her stream goes on with %v", e)
				}
				if body := <-underWay; body != "" && !strings.Contains(body, `"unauthorized"`) {
					t.Errorf("her call was answered: %s", body)
				}
				synctest.Wait()
				if len(ended.causes) != 2 {
					t.Errorf("her requests ended with %q", ended.causes)
				}
				wantOpen := int64(1)
				if version1 {
					wantOpen = 2 // one for his stream, and one for his requests
				}
				his.call("echo", `{"text":"b"}`).want("his call", "b")
				if now := connections.open.Load(); now != wantOpen {
					t.Errorf("%d connections are open, want his %d alone", now, wantOpen)
				}
				if resp, err := idle.do(t.Context(), "POST", "/mcp", initialize, header()); err == nil {
					resp.Body.Close()
					t.Error("her next connection was taken")
				}
				other.say(call("3", "echo", `{"text":"c"}`))
				if m := other.next(); m.text() != "c" {
					t.Errorf("on his stream came %s", m.line)
				}
				other.close()
				for _, r := range []*remote{hers, his, idle} {
					r.http1.CloseIdleConnections()
				}
				time.Sleep(10 * time.Second) // for the goodbyes of TLS
			})
		})
	}
}
