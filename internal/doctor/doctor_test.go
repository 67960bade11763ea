package doctor_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/doctor"
)

var update = flag.Bool("update", false, "rewrite the files in testdata")

var (
	llama = backendtest.Model{Name: "llama3.2", Context: 131072, Capabilities: []string{"completion", "tools"}}
	nomic = backendtest.Model{Name: "nomic-embed-text", Context: 2048, Capabilities: []string{"embedding"}}
)

// host is one without models.
func host() *backendtest.Host { return backendtest.New("gpu-1").Remove(backendtest.Tiny) }

// saying makes a host answer at a path with a body of its own.
func saying(h *backendtest.Host, path, body string) *backendtest.Host {
	return h.Break(func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
		if r.URL.Path != path {
			serve(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, body)
	})
}

// running is a healthy host on which a model is in memory, as /api/ps has it.
func running(fields string) *backendtest.Host {
	return saying(host().Install(llama, nomic), "/api/ps", `{"models": [{"name": "llama3.2:latest", `+fields+`}]}`)
}

// cases are hosts, each with what they are an example of.
var cases = []struct {
	name string
	host func() *backendtest.Host
	ok   bool
}{
	{"healthy, nothing in memory", func() *backendtest.Host { return host().Install(llama, nomic) }, true},
	{"wholly on the GPU", func() *backendtest.Host {
		return running(`"size": 1000, "size_vram": 1000, "context_length": 32768, "expires_at": "2000-01-01T00:04:00Z"`)
	}, true},
	{"partly on the CPU, for ever", func() *backendtest.Host {
		return running(`"size": 1000, "size_vram": 690, "context_length": 32768, "expires_at": "2292-01-01T00:00:00Z"`)
	}, true},
	{"wholly on the CPU, about to leave", func() *backendtest.Host {
		return running(`"size": 1000, "context_length": 32768, "expires_at": "2000-01-01T00:00:00Z"`)
	}, true},
	{"small context", func() *backendtest.Host {
		return running(`"size": 1000, "size_vram": 1000, "context_length": 4096, "expires_at": "2000-01-01T00:04:00Z"`)
	}, true},
	{"small context that takes memory", func() *backendtest.Host {
		measured := llama
		measured.Info = map[string]any{
			"llama.block_count": 28, "llama.attention.head_count": 24, "llama.attention.head_count_kv": 8,
			"llama.attention.key_length": 128, "llama.attention.value_length": 128,
		}
		return running(`"size": 1000, "size_vram": 1000, "context_length": 4096, "expires_at": "2000-01-01T00:04:00Z"`).Install(measured)
	}, true},
	{"context not told", func() *backendtest.Host {
		return running(`"size": 1000, "size_vram": 1000, "expires_at": "2000-01-01T00:04:00Z"`)
	}, true},
	{"too old to be told not to cut", func() *backendtest.Host { return host().Version("0.12.5").Install(llama, nomic) }, true},
	{"just new enough", func() *backendtest.Host { return host().Version("0.12.6-rc1").Install(llama, nomic) }, true},
	{"may hang, the first", func() *backendtest.Host { return host().Version("0.30.0").Install(llama, nomic) }, true},
	{"may hang, the last", func() *backendtest.Host { return host().Version("0.32.14").Install(llama, nomic) }, true},
	{"hangs no more", func() *backendtest.Host { return host().Version("0.32.15-rc1").Install(llama, nomic) }, true},
	{"before it could hang", func() *backendtest.Host { return host().Version("0.29.3").Install(llama, nomic) }, true},
	{"built by its user", func() *backendtest.Host { return host().Version("0.0.0").Install(llama, nomic) }, true},
	{"no embedding model", func() *backendtest.Host { return host().Install(llama) }, true},
	{"no model for text", func() *backendtest.Host { return host().Install(nomic) }, true},
	{"capabilities not told", func() *backendtest.Host {
		return saying(host().Install(nomic), "/api/show", `{"template": "x", "model_info": {}}`)
	}, true},
	{"models cannot be described", func() *backendtest.Host {
		return saying(host().Install(nomic), "/api/show", `nonsense`)
	}, true},
	{"escape sequences in what the host says", func() *backendtest.Host {
		return running(`"size": 1000, "size_vram": 1000, "expires_at": "2000-01-01T00:04:00Z", "name": "\u001b[2Jevil\n"`)
	}, true},
	{"no models", host, false},
	{"not running", func() *backendtest.Host { return host().Down() }, false},
	{"key refused", func() *backendtest.Host { return host().Break(backendtest.Refuse(401, "unauthorized")) }, false},
	{"overloaded", func() *backendtest.Host { return host().Break(backendtest.Busy) }, false},
	{"hangs", func() *backendtest.Host { return host().Break(backendtest.Hang) }, false},
	{"hangs up", func() *backendtest.Host { return host().Break(backendtest.Reset) }, false},
	{"web page", func() *backendtest.Host { return host().Break(backendtest.HTML) }, false},
	{"another server", func() *backendtest.Host {
		return host().Break(backendtest.Respond(http.StatusNotFound, "text/plain", "404 page not found"))
	}, false},
	{"fails half way", func() *backendtest.Host {
		return saying(host().Install(llama, nomic), "/api/ps", `{}`)
	}, false},
}

func TestFindingsAreAsInTestdata(t *testing.T) {
	var all bytes.Buffer
	for _, c := range cases {
		fmt.Fprintf(&all, "=== %s\n", c.name)
		synctest.Test(t, func(t *testing.T) {
			hosts := []backend.Backend{c.host().Open(t)}
			if ok := doctor.Run(t.Context(), doctor.Options{Hosts: hosts, Out: &all}); ok != c.ok {
				t.Errorf("%s: got ok %v, want %v", c.name, ok, c.ok)
			}
		})
		fmt.Fprintln(&all)
	}
	const file = "testdata/findings.txt"
	if *update {
		if err := os.WriteFile(file, all.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(all.Bytes(), want) {
		t.Errorf("%s is out of date: run go test ./internal/doctor -update and read the difference; got\n%s", file, all.Bytes())
	}
}

func TestFindingsAreASCII(t *testing.T) {
	text, err := os.ReadFile("testdata/findings.txt")
	if err != nil {
		t.Fatal(err)
	}
	if at := bytes.IndexFunc(text, func(r rune) bool { return r != '\n' && (r < ' ' || r > '~') }); at >= 0 {
		t.Errorf("not plain ASCII: %q", text[at:min(len(text), at+20)])
	}
}

func TestOneBadHostSpoilsTheVerdictAndTheOthersAreExamined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		hosts := []backend.Backend{
			backendtest.New("dead").Down().Open(t),
			backendtest.New("alive").Remove(backendtest.Tiny).Install(llama, nomic).Open(t),
		}
		ok := doctor.Run(t.Context(), doctor.Options{Hosts: hosts, Out: &out})
		if ok || !strings.Contains(out.String(), "ok    alive: 2 models installed\n") || !strings.HasSuffix(out.String(), "yet: 1 problem.\n") {
			t.Errorf("got %v and\n%s", ok, out.String())
		}
	})
}

func TestRequestTakesNoLongerThanItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		hosts := []backend.Backend{backendtest.New("slow").Break(backendtest.Hang).Open(t)}
		doctor.Run(t.Context(), doctor.Options{Hosts: hosts, Out: io.Discard, Timeout: 2 * time.Second})
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("took %v, want 2s", took)
		}
	})
}

func TestInterruptEndsTheExamination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, interrupt := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, interrupt)
		began := time.Now()
		hosts := []backend.Backend{backendtest.New("slow").Break(backendtest.Hang).Open(t)}
		ok := doctor.Run(ctx, doctor.Options{Hosts: hosts, Out: io.Discard})
		if took := time.Since(began); ok || took != time.Second {
			t.Errorf("got %v after %v, want false after 1s", ok, took)
		}
	})
}

// unreached is a host to which there is no connection.
type unreached struct {
	backend.Backend
	err error
}

func (u unreached) Name() string { return "gpu-1" }

func (u unreached) Version(context.Context) (string, error) {
	return "", &backend.Error{Host: "gpu-1", Class: backend.Transport, Message: u.err.Error(), Err: u.err}
}

func TestAdviceFitsTheTrouble(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{errors.New("no such host"), "there is no machine with that name"},
		{errors.New("connection refused"), "ollama serve"},
		{errors.New("the target machine actively refused it"), "ollama serve"},
		{errors.New("no connection within 5s"), "firewall"},
		{errors.New("network is unreachable"), "firewall"},
		{&tls.CertificateVerificationError{Err: errors.New("unknown authority")}, "--ca-file"},
	} {
		var out strings.Builder
		doctor.Run(t.Context(), doctor.Options{Hosts: []backend.Backend{unreached{err: c.err}}, Out: &out})
		if !strings.Contains(out.String(), c.want) {
			t.Errorf("%v: got\n%s\nwant it to mention %s", c.err, out.String(), c.want)
		}
	}
}
