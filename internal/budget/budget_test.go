package budget_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/budget"
)

// host answers every call with as many tokens, or with an error.
type host struct {
	backend.Backend
	name   string
	mu     sync.Mutex
	calls  int
	tokens int
	err    error
}

func (h *host) Name() string { return h.name }

func (h *host) Chat(context.Context, *backend.ChatRequest, func(backend.Piece)) (*backend.Answer, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls++
	if h.err != nil {
		return nil, h.err
	}
	return &backend.Answer{PromptTokens: h.tokens}, nil
}

func (h *host) Generate(ctx context.Context, _ *backend.GenerateRequest, _ func(backend.Piece)) (*backend.Answer, error) {
	return h.Chat(ctx, nil, nil)
}

func (h *host) Embed(ctx context.Context, _ *backend.EmbedRequest) (*backend.EmbedResponse, error) {
	if _, err := h.Chat(ctx, nil, nil); err != nil {
		return nil, err
	}
	return &backend.EmbedResponse{PromptEvalCount: h.tokens}, nil
}

func (h *host) Models(context.Context) ([]backend.Model, error) { return nil, nil }

func ask(t testing.TB, b backend.Backend) error {
	_, err := b.Chat(t.Context(), nil, nil)
	return err
}

func ledger(t testing.TB, file string) *budget.Ledger {
	t.Helper()
	l, err := budget.Open(file, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestCallsBeyondTheBudgetWaitForMidnight(t *testing.T) {
	file := filepath.Join(t.TempDir(), "budget.json")
	synctest.Test(t, func(t *testing.T) { // begins at midnight UTC
		cloud := &host{name: "cloud"}
		b := ledger(t, file).Guard(cloud, budget.Limits{Calls: 3})
		time.Sleep(18 * time.Hour)
		for range 3 {
			if err := ask(t, b); err != nil {
				t.Fatal(err)
			}
		}
		err := ask(t, b)
		e, ok := errors.AsType[*backend.Error](err)
		if !ok || e.Class != backend.Overload || e.RetryAfter != 6*time.Hour {
			t.Errorf("got %+v, want class %q and 6 hours", err, backend.Overload)
		}
		if want := "cloud: overloaded: the daily budget of 3 calls is used up"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %q", err, want)
		}
		if cloud.calls != 3 {
			t.Errorf("%d calls reached the host, want 3", cloud.calls)
		}
		if _, err := b.Models(t.Context()); err != nil {
			t.Errorf("a list, which costs nothing: %v", err)
		}
		time.Sleep(e.RetryAfter)
		if err := ask(t, b); err != nil {
			t.Errorf("after midnight: %v", err)
		}
	})
}

func TestTokensOfEveryWayToAskAreCounted(t *testing.T) {
	for name, way := range map[string]func(backend.Backend) error{
		"chat":     func(b backend.Backend) error { return ask(t, b) },
		"generate": func(b backend.Backend) error { _, err := b.Generate(t.Context(), nil, nil); return err },
		"embed":    func(b backend.Backend) error { _, err := b.Embed(t.Context(), nil); return err },
	} {
		cloud := &host{name: "cloud", tokens: 60}
		b := ledger(t, filepath.Join(t.TempDir(), "b")).Guard(cloud, budget.Limits{Tokens: 100})
		for i := range 4 {
			if err, want := way(b), i >= 2; errors.Is(err, backend.Overload) != want {
				t.Errorf("%s %d: got %v", name, i+1, err)
			}
		}
	}
}

func TestARestartForgetsNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "budget.json")
	for i := range 4 {
		b := ledger(t, file).Guard(&host{name: "cloud"}, budget.Limits{Calls: 3})
		if err := ask(t, b); errors.Is(err, backend.Overload) != (i == 3) {
			t.Errorf("call %d: got %v", i+1, err)
		}
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode != 0o600 {
		t.Errorf("the file has mode %o, want 600", mode)
	}
	left, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(left) != 2 {
		t.Errorf("the folder holds %v, %v, want the file and its lock", left, err)
	}
}

func TestHostsHaveBudgetsOfTheirOwn(t *testing.T) {
	l := ledger(t, filepath.Join(t.TempDir(), "b"))
	for _, name := range []string{"a", "b"} {
		b := l.Guard(&host{name: name}, budget.Limits{Calls: 1})
		if err := ask(t, b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := ask(t, b); !errors.Is(err, backend.Overload) {
			t.Errorf("%s again: got %v", name, err)
		}
	}
}

func TestCallsAtTheSameTimeKeepToTheBudget(t *testing.T) {
	cloud := &host{name: "cloud"}
	b := ledger(t, filepath.Join(t.TempDir(), "b")).Guard(cloud, budget.Limits{Calls: 20})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { ask(t, b) })
	}
	all.Wait()
	if cloud.calls != 20 {
		t.Errorf("%d calls reached the host, want 20", cloud.calls)
	}
}

func TestCallIsTakenBackOnlyIfTheHostDidNothing(t *testing.T) {
	for class, counted := range map[backend.Class]bool{
		backend.Transport: false, backend.Overload: false, backend.Unauthorized: false, backend.ModelMissing: false,
		backend.TooLong: false, backend.Request: false, backend.Server: true, backend.Caller: true,
	} {
		cloud := &host{name: "cloud", err: &backend.Error{Class: class}}
		b := ledger(t, filepath.Join(t.TempDir(), "b")).Guard(cloud, budget.Limits{Calls: 1})
		ask(t, b)
		ask(t, b)
		if got := cloud.calls == 1; got != counted {
			t.Errorf("a call that failed as %q: counted is %v, want %v", class, got, counted)
		}
	}
}

// After a power cut the file may be empty, or hold what was on the disk before.
func TestBrokenFileIsSetAsideAndStopsNothing(t *testing.T) {
	for _, content := range []string{"", "\x00\x00\x00", "null", "[]", "{", `{"cloud":{"day":"2026-01-01","calls":-1}}`, `{"cloud":7}`, `{"cloud":{"day":"soon","calls":1}}`} {
		file := filepath.Join(t.TempDir(), "budget.json")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		l, err := budget.Open(file, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Errorf("%q: %v", content, err)
			continue
		}
		aside, err := filepath.Glob(file + ".broken-*")
		if err != nil || len(aside) != 1 {
			t.Fatalf("%q: set aside were %q, %v", content, aside, err)
		}
		if kept, err := os.ReadFile(aside[0]); err != nil || string(kept) != content {
			t.Errorf("%q: what was set aside holds %q, %v", content, kept, err)
		}
		if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=WARN") || !strings.Contains(got, aside[0]) {
			t.Errorf("%q: the log is %q", content, got)
		}
		b := l.Guard(&host{name: "cloud"}, budget.Limits{Calls: 1})
		if err := ask(t, b); err != nil {
			t.Errorf("%q: the first call of a new day: %v", content, err)
		}
		if err := ask(t, b); !errors.Is(err, backend.Overload) {
			t.Errorf("%q: the second call: %v", content, err)
		}
	}
}

func TestFileThatCannotBeWrittenIsToldAtTheStart(t *testing.T) {
	if _, err := budget.Open(filepath.Join(t.TempDir(), "none", "b"), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a folder that is not there was taken")
	}
}

func TestWhatCannotBeCountedIsNotAsked(t *testing.T) {
	file := filepath.Join(t.TempDir(), "b")
	cloud := &host{name: "cloud"}
	b := ledger(t, file).Guard(cloud, budget.Limits{Calls: 1})
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ask(t, b); !errors.Is(err, backend.Server) || cloud.calls != 0 {
		t.Errorf("got %v after %d calls", err, cloud.calls)
	}
}

func TestNoLimitsAreNoBudget(t *testing.T) {
	cloud := &host{name: "cloud"}
	if b := ledger(t, filepath.Join(t.TempDir(), "b")).Guard(cloud, budget.Limits{}); b != backend.Backend(cloud) {
		t.Errorf("got %T, want the host itself", b)
	}
}

func BenchmarkCall(b *testing.B) {
	guarded := ledger(b, filepath.Join(b.TempDir(), "b")).Guard(&host{name: "cloud", tokens: 1}, budget.Limits{Calls: math.MaxInt})
	for b.Loop() {
		if err := ask(b, guarded); err != nil {
			b.Fatal(err)
		}
	}
}
