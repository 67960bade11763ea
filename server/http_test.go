package server_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/server"
)

func TestStoppingLetsHTTPRequestsEndForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serveInBubble(t, server.Options{Drain: 10 * time.Second}, server.HTTPOptions{})
		s := r.openStream()
		s.say(call("1", "sleep", `{"seconds":9}`))
		s.say(call("2", "sleep", `{"seconds":60}`))
		late, inTime := make(chan string, 1), make(chan string, 1)
		session := r.initialize()
		go func() { late <- r.postIn(session, call("1", "sleep", `{"seconds":60}`)).body }()
		go func() { inTime <- r.postIn(session, call("2", "sleep", `{"seconds":9}`)).body }()
		synctest.Wait()

		began := time.Now()
		r.stop()
		if got := <-inTime; !strings.Contains(got, "slept") || time.Since(began) > 9*time.Second {
			t.Errorf("in time: %s", got)
		}
		s.next().want(t, "in time, on the stream", "", "slept")
		if got := <-late; !strings.Contains(got, "the server is stopping") || time.Since(began) != 10*time.Second {
			t.Errorf("too late, after %v: %s", time.Since(began), got)
		}
		s.next().want(t, "too late, on the stream", "", "the server is stopping")
		r.end()
		if took := time.Since(began); took > 11*time.Second {
			t.Errorf("Serve returned after %v", took)
		}
	})
}

func TestStoppingWaitsForNoIdleClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serveInBubble(t, server.Options{}, server.HTTPOptions{})
		r.initialize()
		s := r.openStream()
		began := time.Now()
		r.end()
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
		if e, ok := <-s.events; ok {
			t.Errorf("the stream goes on with %v", e)
		}
	})
}

func TestServerThatStopsTakesNothingMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serveInBubble(t, server.Options{}, server.HTTPOptions{})
		h := newHTTP(t, server.Options{}, server.HTTPOptions{})
		if a := try(h, "GET", "/readyz", "localhost", ""); a.Code != 200 {
			t.Errorf("before: %d", a.Code)
		}
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if err := h.Serve(ctx, newPipes()); err != nil {
			t.Error(err)
		}
		for path, want := range map[string]int{"/readyz": 503, "/sse": 503, "/healthz": 200} {
			if a := try(h, "GET", path, "localhost", ""); a.Code != want {
				t.Errorf("%s: got %d, want %d", path, a.Code, want)
			}
		}
		for path, id := range map[string]string{"/mcp": `"init"`, "/message": "null"} {
			a := tryPost(h, path, initialize)
			if m := parse(t, a.Body.String()); a.Code != 503 || m.Error.Message != "the server is stopping" || string(m.ID) != id {
				t.Errorf("%s: got %d, %s", path, a.Code, a.Body)
			}
		}
		r.end()
		if _, err := r.http1.DialContext(t.Context(), "", ""); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a new connection got %v", err)
		}
	})
}

func TestServerIsReadyWhenItTakesRequestsAndCanAnswerThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("nobody can answer")
		h := newHTTP(t, server.Options{}, server.HTTPOptions{Ready: func() error { return why }})
		if a := try(h, "GET", "/readyz", "localhost", ""); a.Code != 503 || strings.TrimSpace(a.Body.String()) != why.Error() {
			t.Errorf("while nobody can answer: %d, %q", a.Code, a.Body)
		}
		if a := try(h, "GET", "/healthz", "localhost", ""); a.Code != 200 {
			t.Errorf("/healthz: %d", a.Code)
		}
		why = nil
		if a := try(h, "GET", "/readyz", "localhost", ""); a.Code != 200 {
			t.Errorf("when somebody can: %d", a.Code)
		}
	})
}

func TestToolThatDoesNotEndIsAnErrorOverHTTPToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		deaf := says("deaf", func(context.Context, mcp.CallToolRequest) string {
			<-release
			return "at last"
		})
		r := serveInBubble(t, server.Options{Drain: time.Second, Tools: []mcpserver.ServerTool{deaf}}, server.HTTPOptions{})
		asked := make(chan error)
		go func() {
			resp, err := r.do(t.Context(), "POST", "/mcp", modern(call("1", "deaf", "{}")), header(modernHeader("tools/call", "deaf")...))
			if err == nil {
				resp.Body.Close()
			}
			asked <- err
		}()
		synctest.Wait()
		r.stop()
		if err := <-r.served; err == nil || !strings.Contains(err.Error(), "did not end") {
			t.Errorf("Serve returned %v", err)
		}
		if err := <-asked; err == nil {
			t.Error("it was answered")
		}
		close(release)
	})
}

func TestListenerThatFailsEndsTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHTTP(t, server.Options{}, server.HTTPOptions{})
		good, broken := newPipes(), newPipes()
		broken.Close()
		if err := h.Serve(t.Context(), good, broken); !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v", err)
		}
		<-good.closed
	})
}

func TestAddressesAreListenedAtOrRefused(t *testing.T) {
	dir := t.TempDir()
	stale, used, file := filepath.Join(dir, "stale"), filepath.Join(dir, "used"), filepath.Join(dir, "file")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	left.Close()
	inUse, err := net.Listen("unix", used)
	if err != nil {
		t.Fatal(err)
	}
	defer inUse.Close()
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		over server.HTTPOptions
		want string // is in the error; "" if there is none
	}{
		{"loopback", server.HTTPOptions{Listen: []string{"127.0.0.1:0", "localhost:0"}}, ""},
		{"a socket", server.HTTPOptions{Listen: []string{"unix:" + filepath.Join(dir, "new")}}, ""},
		{"a socket that is left", server.HTTPOptions{Listen: []string{"unix:" + stale}}, ""},
		{"everywhere, allowed", server.HTTPOptions{Listen: []string{"0.0.0.0:0"}, Insecure: true}, ""},
		{"everywhere", server.HTTPOptions{Listen: []string{"127.0.0.1:0", "0.0.0.0:0"}}, "listen on 127.0.0.1, or say who may"},
		{"everywhere, by default", server.HTTPOptions{Listen: []string{":0"}}, "--insecure"},
		{"everywhere, IPv6", server.HTTPOptions{Listen: []string{"[::]:0"}}, "--insecure"},
		{"another machine's address", server.HTTPOptions{Listen: []string{"192.0.2.1:0"}}, "--insecure"},
		{"a socket in use", server.HTTPOptions{Listen: []string{"unix:" + used}}, "already"},
		{"a file", server.HTTPOptions{Listen: []string{"unix:" + file}}, "is no socket"},
		{"no port", server.HTTPOptions{Listen: []string{"127.0.0.1"}}, "missing port"},
		{"nothing", server.HTTPOptions{}, "no address"},
	} {
		h := newHTTP(t, server.Options{}, tt.over)
		ctx, stop := context.WithCancel(t.Context())
		stop()
		err = h.ListenAndServe(ctx)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestSocketIsItsOwnersAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	h := newHTTP(t, server.Options{}, server.HTTPOptions{Listen: []string{"unix:" + path}})
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- h.ListenAndServe(ctx) }()
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	for {
		resp, err := client.Get("http://localhost/readyz")
		if err != nil { // not there yet
			if t.Context().Err() != nil {
				t.Fatal(err)
			}
			continue
		}
		if _, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 {
			t.Errorf("got %d, %v", resp.StatusCode, err)
		}
		resp.Body.Close()
		break
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	client.CloseIdleConnections()
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
