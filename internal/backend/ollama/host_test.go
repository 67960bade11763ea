package ollama_test

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/backend/ollama"
)

func open(t *testing.T, o ollama.Options) *ollama.Host {
	t.Helper()
	h, err := ollama.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// ways are all the ways to ask a host something.
var ways = map[string]func(context.Context, backend.Backend) error{
	"generate": func(ctx context.Context, b backend.Backend) error {
		_, err := b.Generate(ctx, &backend.GenerateRequest{Model: backendtest.Tiny, Prompt: "hello"}, nil)
		return err
	},
	"chat": func(ctx context.Context, b backend.Backend) error {
		_, err := b.Chat(ctx, &backend.ChatRequest{Model: backendtest.Tiny, Messages: []backend.Message{{Role: "user", Content: "hello"}}}, nil)
		return err
	},
	"embed": func(ctx context.Context, b backend.Backend) error {
		_, err := b.Embed(ctx, &backend.EmbedRequest{Model: backendtest.Tiny, Input: "hello"})
		return err
	},
	"models":  func(ctx context.Context, b backend.Backend) error { _, err := b.Models(ctx); return err },
	"running": func(ctx context.Context, b backend.Backend) error { _, err := b.Running(ctx); return err },
	"show": func(ctx context.Context, b backend.Backend) error {
		_, err := b.Show(ctx, backendtest.Tiny)
		return err
	},
	"version": func(ctx context.Context, b backend.Backend) error { _, err := b.Version(ctx); return err },
}

func TestHostsAreToldOfTracesAndOllamasCloudIsNot(t *testing.T) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	ctx := backend.WithTrace(t.Context(), backend.TraceContext{Parent: parent, State: "vendor=1"})
	for url, want := range map[string]string{"http://gpu-1:11434": parent, "http://ollama.com": ""} {
		fake := backendtest.New("a").Answer("one")
		t.Cleanup(fake.Close)
		if err := ways["chat"](ctx, open(t, ollama.Options{URL: url, DialContext: fake.Dial})); err != nil {
			t.Fatal(err)
		}
		if sent := fake.Calls()[0].Header; sent.Get("Traceparent") != want || (sent.Get("Tracestate") == "vendor=1") != (want != "") {
			t.Errorf("%s is sent %v", url, sent)
		}
	}
}

func TestHostConformsOverSockets(t *testing.T) {
	backendtest.Conform(t, backendtest.Ollama, func(t *testing.T, host *backendtest.Host) backend.Backend {
		return open(t, ollama.Options{Name: "a", URL: host.Listen(t)})
	})
}

func TestHostConformsInABubble(t *testing.T) {
	backendtest.ConformInBubble(t, backendtest.Ollama, func(t *testing.T, host *backendtest.Host) backend.Backend {
		return host.Open(t)
	})
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	noCert := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(noCert, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]ollama.Options{
		"URL: ":             {URL: "ftp://gpu-1"},
		"Conns":             {Conns: -1},
		"DialTimeout":       {DialTimeout: -1},
		"MaxLine":           {MaxLine: -1},
		"no such file":      {CAFile: noCert + "x"},
		"no certificate in": {CAFile: noCert},
	} {
		if _, err := ollama.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
}

func TestNameWithoutOneIsTheAddressWithoutThePassword(t *testing.T) {
	if got := open(t, ollama.Options{URL: "http://user:secret@gpu-1:1234/path"}).Name(); got != "gpu-1:1234" {
		t.Errorf("got %q", got)
	}
}

func TestCloseLeavesNoConnection(t *testing.T) {
	fake := backendtest.New("a")
	host := open(t, ollama.Options{URL: fake.Listen(t)})
	if err := ways["chat"](t.Context(), host); err != nil {
		t.Fatal(err)
	}
	host.Close()
	if fake.Wait(t.Context(), func(s backendtest.Stats) bool { return s.Open == 0 }) != nil {
		t.Errorf("%+v", fake.Stats())
	}
}

func TestKeyIsSentWithEveryRequest(t *testing.T) {
	for _, c := range []struct{ user, key, want string }{
		{"", "k3y", "Bearer k3y"},
		{"", "", ""},
		{"user:pass@", "", "Basic dXNlcjpwYXNz"},
		{"user:pass@", "k3y", "Bearer k3y"},
	} {
		var got []string
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got = append(got, r.Header.Get("Authorization"))
		}))
		host := open(t, ollama.Options{URL: strings.Replace(srv.URL, "://", "://"+c.user, 1), APIKey: c.key})
		for _, ask := range ways {
			ask(t.Context(), host)
		}
		srv.Close()
		if len(got) != len(ways) {
			t.Errorf("%+v: %d requests arrived, want %d", c, len(got), len(ways))
		}
		for _, sent := range got {
			if sent != c.want {
				t.Errorf("%+v: sent %q", c, sent)
			}
		}
	}
}

func TestPathOfTheURLIsKept(t *testing.T) {
	fake := backendtest.New("a")
	target := fake.Listen(t)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, ok := strings.CutPrefix(r.URL.Path, "/gpu/1")
		if !ok {
			http.NotFound(w, r)
			return
		}
		out, _ := http.NewRequestWithContext(r.Context(), r.Method, target+path, r.Body)
		resp, err := http.DefaultTransport.RoundTrip(out)
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		io.Copy(w, resp.Body)
	}))
	t.Cleanup(proxy.Close)
	host := open(t, ollama.Options{URL: proxy.URL + "/gpu/1/"})
	for way, ask := range ways {
		if err := ask(t.Context(), host); err != nil {
			t.Errorf("%s: %v", way, err)
		}
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	other := backendtest.New("other")
	elsewhere := other.Listen(t)
	for _, status := range []int{301, 302, 303, 307, 308} {
		fake := backendtest.New("a").Break(backendtest.Respond(status, "text/html", "moved", "Location", elsewhere+"/api/tags"))
		host := open(t, ollama.Options{URL: fake.Listen(t), APIKey: "k3y"})
		for way, ask := range ways {
			err := ask(t.Context(), host)
			if e, ok := errors.AsType[*backend.Error](err); !ok || e.Class != backend.Server || e.Status != status {
				t.Errorf("%s after %d: got %v", way, status, err)
			}
		}
	}
	if s := other.Stats(); s.Opened != 0 {
		t.Errorf("the other host was connected to %d times", s.Opened)
	}
}

func TestErrorsHoldNoSecrets(t *testing.T) {
	const secrets = "k3y-of-ours dXNlcjpwYXNzLXdvcmQ= pass-word"
	for name, f := range map[string]backendtest.Fault{
		"echo":           backendtest.Refuse(401, "no such key: "+secrets),
		"echo, too long": backendtest.Refuse(500, strings.Repeat("x", 290)+secrets),
		"echo as text":   backendtest.Respond(500, "text/plain", secrets),
		"error line":     backendtest.ErrorLine(secrets),
		"redirect":       backendtest.Respond(307, "text/html", "", "Location", "http://pass-word@k3y-of-ours/"),
		"reset":          backendtest.Reset,
		"cut":            backendtest.Cut(0),
	} {
		fake := backendtest.New("a").Break(f)
		url := strings.Replace(fake.Listen(t), "://", "://user:pass-word@", 1)
		for _, key := range []string{"", "k3y-of-ours"} {
			host := open(t, ollama.Options{URL: url, APIKey: key})
			for way, ask := range ways {
				err := ask(t.Context(), host)
				if err == nil {
					t.Errorf("%s, %s: no error", way, name)
				} else if s := err.Error(); strings.Contains(s, "pass-word") || strings.Contains(s, "dXNl") || key != "" && strings.Contains(s, "k3y") {
					t.Errorf("%s, %s: %s", way, name, s)
				}
			}
		}
	}
}

func TestUnreachableHostIsExplainedInPlainWords(t *testing.T) {
	opErr := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for _, c := range []struct {
		dial error
		want string
	}{
		{opErr(os.NewSyscallError("connect", syscall.ECONNREFUSED)), "a: unreachable: connection refused"},
		{opErr(os.NewSyscallError("connect", syscall.EHOSTUNREACH)), "a: unreachable: no route to host"},
		{opErr(&net.DNSError{Err: "no such host", Name: "gpu-1", Server: "10.0.0.1:53", IsNotFound: true}), "a: unreachable: no such host"},
		{errors.New("out of luck"), "a: unreachable: out of luck"},
	} {
		host := open(t, ollama.Options{Name: "a", DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, c.dial }})
		for way, ask := range ways {
			if err := ask(t.Context(), host); err == nil || err.Error() != c.want || !errors.Is(err, backend.Transport) {
				t.Errorf("%s: got %v, want %q", way, err, c.want)
			}
		}
	}
}

func TestConnectingEndsAtItsTimeLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := open(t, ollama.Options{
			Name: "a", DialTimeout: 3 * time.Second,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			},
		})
		began := time.Now()
		err := ways["chat"](t.Context(), host)
		if err == nil || err.Error() != "a: unreachable: no connection within 3s" || time.Since(began) != 3*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			t.Error("it passes for the caller's deadline")
		}
	})
}

func TestAuthorityFromAFileIsTrusted(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"version":"1.0"}`)
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // a client that does not trust it is wanted here
	srv.StartTLS()
	t.Cleanup(srv.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(file, block, 0o600); err != nil {
		t.Fatal(err)
	}
	if v, err := open(t, ollama.Options{URL: srv.URL, CAFile: file}).Version(t.Context()); v != "1.0" || err != nil {
		t.Errorf("with its authority: got %q, %v", v, err)
	}
	_, err := open(t, ollama.Options{URL: srv.URL}).Version(t.Context())
	if !errors.Is(err, backend.Transport) || !strings.Contains(err.Error(), "certificate signed by unknown authority") {
		t.Errorf("without: got %v", err)
	}
}

func TestHTTPSToAHostWithoutItIsExplained(t *testing.T) {
	url := backendtest.New("a").Listen(t)
	_, err := open(t, ollama.Options{URL: strings.Replace(url, "http:", "https:", 1)}).Version(t.Context())
	if !errors.Is(err, backend.Transport) || !strings.Contains(err.Error(), "speaks http") {
		t.Errorf("got %v", err)
	}
}

func TestRetryAfterIsReadInBothForms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := backendtest.New("a")
		host := fake.Open(t)
		for header, want := range map[string]time.Duration{
			"7":                    7 * time.Second,
			"-7":                   0,
			"99999999999999999999": 0,
			"soon":                 0,
			time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat): 90 * time.Second,
			time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat):       0,
		} {
			fake.Break(backendtest.Refuse(503, "busy", "Retry-After", header))
			for way, ask := range ways {
				err := ask(t.Context(), host)
				if e, ok := errors.AsType[*backend.Error](err); !ok || e.RetryAfter != want {
					t.Errorf("%s: %q gave %+v, want %v", way, header, err, want)
				}
			}
		}
	})
}

func TestErrorWithoutEndIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := backendtest.New("a")
		host := fake.Open(t)
		for name, f := range map[string]backendtest.Fault{
			"hangs": func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
				backendtest.Refuse(503, "busy")(w, r, serve)
				http.NewResponseController(w).Flush()
				backendtest.Hang(w, r, serve)
			},
			"goes on": func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
				w.WriteHeader(503)
				for err := error(nil); err == nil; {
					_, err = io.WriteString(w, strings.Repeat("busy ", 1000))
				}
			},
		} {
			fake.Fail(1, f)
			began := time.Now()
			if err := ways["chat"](t.Context(), host); !errors.Is(err, backend.Overload) || len(err.Error()) > 400 {
				t.Errorf("%s: got %v", name, err)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("%s: took %v", name, took)
			}
		}
	})
}

func TestLinesAreBounded(t *testing.T) {
	const most = 1 << 20
	fake := backendtest.New("a")
	host := open(t, ollama.Options{URL: fake.Listen(t), MaxLine: most})
	fake.Fail(1, backendtest.HugeLine(most/2))
	if err := ways["chat"](t.Context(), host); err != nil {
		t.Errorf("below the limit: %v", err)
	}
	fake.Fail(1, backendtest.HugeLine(4*most))
	if err := ways["chat"](t.Context(), host); !errors.Is(err, backend.Server) || !strings.Contains(err.Error(), "longer than 1048576 bytes") {
		t.Errorf("above it: %v", err)
	}
}

func TestGoodAnswerOfTheWrongTypeIsAnAnswer(t *testing.T) {
	fake := backendtest.New("a")
	host := open(t, ollama.Options{URL: fake.Listen(t)})
	for way, ask := range ways {
		fake.Break(backendtest.WrongType("text/plain"))
		if err := ask(t.Context(), host); err != nil {
			t.Errorf("%s: %v", way, err)
		}
	}
}

func TestSizesOfARefusedPromptAreThoseThatTheHostTold(t *testing.T) {
	const engine = `{"error":{"code":400,"message":"the request exceeds the available context size, try increasing it","type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":4096}}`
	for name, f := range map[string]backendtest.Fault{
		"refused":        backendtest.Refuse(400, engine),
		"while embedded": backendtest.Refuse(400, "tokenize error: "+engine),
		"in an answer":   backendtest.ErrorLine(engine),
		"as an object":   backendtest.Respond(200, "application/x-ndjson", engine),
	} {
		host := backendtest.New("a")
		h := host.Open(t)
		host.Fail(1, f)
		_, err := h.Generate(t.Context(), &backend.GenerateRequest{Model: backendtest.Tiny, Prompt: "go"}, nil)
		e, ok := errors.AsType[*backend.Error](err)
		if !ok || e.Prompt != 9000 || e.Context != 4096 || strings.Contains(e.Message, "{") {
			t.Errorf("%s: got %+v", name, e)
		}
	}
}
