package backendtest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"ollama-mcp/internal/backend"
)

func endedContextSendsNothing(t *testing.T, host *Host, b backend.Backend) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := generate(ctx, b, "go"); !errors.Is(err, context.Canceled) || !errors.Is(err, backend.Caller) {
		t.Errorf("got %v, want class %q", err, backend.Caller)
	}
	if n := host.Stats().Calls; n != 0 {
		t.Errorf("%d calls reached the host", n)
	}
}

// cancelReachesHost cancels a call when the given part of the answer has come.
func cancelReachesHost(f Fault, part string) func(*testing.T, *Host, backend.Backend) {
	return func(t *testing.T, host *Host, b backend.Backend) {
		host.Answer("one two three").Fail(1, f)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var got *backend.Answer
		var err error
		var text strings.Builder
		var call sync.WaitGroup
		call.Go(func() {
			got, err = b.Generate(ctx, &backend.GenerateRequest{Model: Tiny, Prompt: "go"}, func(p backend.Piece) {
				if text.WriteString(p.Text); text.String() == part {
					cancel()
				}
			})
		})
		await(t, host, "the call", func(s Stats) bool { return s.Calls == 1 })
		if part == "" {
			cancel()
		}
		call.Wait()
		if !errors.Is(err, backend.Caller) || !errors.Is(err, context.Canceled) {
			t.Errorf("got error %v, want class %q", err, backend.Caller)
		}
		if part == "" && got != nil || part != "" && (got == nil || got.Text != part) {
			t.Errorf("got answer %+v, want %q", got, part)
		}
		await(t, host, "the caller leave", func(s Stats) bool { return s.Left == 1 && s.InFlight == 0 && s.Open == 0 })
	}
}

func deadlineEndsCall(t *testing.T, host *Host, b backend.Backend) {
	for name, f := range map[string]Fault{"hang": Hang, "hang after a piece": HangAfter(1), "slow headers": SlowHeaders(time.Hour)} {
		for way, ask := range askers {
			host.Fail(1, f)
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
			_, err := ask(ctx, b, "one two")
			cancel()
			if !errors.Is(err, backend.Caller) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s, %s: got %v, want class %q", way, name, err, backend.Caller)
			}
			if took := time.Since(began); took != 90*time.Second {
				t.Errorf("%s, %s: ended after %v, want 90s", way, name, took)
			}
		}
	}
	await(t, host, "all callers leave", func(s Stats) bool { return s.InFlight == 0 })
}

func connectionIsKept(t *testing.T, host *Host, b backend.Backend) {
	for range 5 {
		for _, ask := range []asker{generate, chat, embedOne} {
			if _, err := ask(t.Context(), b, "some words"); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := b.Models(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := host.Stats().Opened; n != 2 {
		t.Errorf("20 calls opened %d connections, want one for answers and one for lists", n)
	}
}

func refusedCallKeepsConnection(t *testing.T, host *Host, b backend.Backend) {
	host.Fail(20, Busy)
	for range 10 {
		generate(t.Context(), b, "go")
		embedOne(t.Context(), b, "go")
	}
	if s := host.Stats(); s.Opened != 1 || s.Calls != 20 {
		t.Errorf("%d calls opened %d connections, want 20 and 1", s.Calls, s.Opened)
	}
}

func hostComesBack(t *testing.T, host *Host, b backend.Backend) {
	if _, err := generate(t.Context(), b, "go"); err != nil {
		t.Fatal(err)
	}
	host.Down()
	if _, err := generate(t.Context(), b, "go"); !errors.Is(err, backend.Transport) {
		t.Errorf("while it is down: got %v, want class %q", err, backend.Transport)
	}
	host.Mend()
	if _, err := generate(t.Context(), b, "go"); err != nil {
		t.Errorf("when it is back: %v", err)
	}
}
