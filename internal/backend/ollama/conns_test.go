package ollama_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/backend/ollama"
)

// unevenDials returns a dial function whose connections take different times to be made,
// and of which the third fails.
func unevenDials(fake *backendtest.Host) func(ctx context.Context, network, addr string) (net.Conn, error) {
	var made atomic.Int64
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		n := made.Add(1)
		select {
		case <-time.After(time.Duration(n%8) * 10 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if n == 3 {
			return nil, errors.New("out of luck")
		}
		return fake.Dial(ctx, network, addr)
	}
}

func TestCallsWaitForAConnectionInsteadOfOpeningAnother(t *testing.T) {
	const slots, calls = 8, 100
	synctest.Test(t, func(t *testing.T) {
		fake := backendtest.New("a").FirstTokenTime(time.Millisecond)
		t.Cleanup(fake.Close)
		host := open(t, ollama.Options{Conns: slots, DialContext: unevenDials(fake)})
		var callers sync.WaitGroup
		for range slots {
			callers.Go(func() {
				for range calls {
					if err := ways["generate"](t.Context(), host); err != nil && !errors.Is(err, backend.Transport) {
						t.Error(err)
					}
				}
			})
		}
		callers.Wait()
		time.Sleep(time.Second) // for connections that are still being made
		const most = slots + 1
		if s := fake.Stats(); s.Calls < slots*calls-slots || s.Opened > most {
			t.Errorf("%d calls opened %d connections, want at most %d", s.Calls, s.Opened, most)
		}
	})
}

// occupied returns a host all of whose connections for answers are busy until release is
// called.
func occupied(t *testing.T, fake *backendtest.Host) (host *ollama.Host, release func()) {
	const slots = 2
	host = open(t, ollama.Options{Conns: slots, DialContext: fake.Dial})
	t.Cleanup(fake.Close)
	fake.Fail(slots+1, backendtest.Hang)
	ctx, cancel := context.WithCancel(t.Context())
	var answers sync.WaitGroup
	for range slots + 1 {
		answers.Go(func() {
			if err := ways["chat"](ctx, host); !errors.Is(err, backend.Caller) {
				t.Error(err)
			}
		})
	}
	synctest.Wait()
	return host, func() {
		cancel()
		answers.Wait()
	}
}

func TestQuestionsAboutAHostDoNotWaitForItsAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host, release := occupied(t, backendtest.New("a"))
		for _, way := range []string{"version", "models", "running", "show"} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if err := ways[way](ctx, host); err != nil {
				t.Errorf("%s: %v", way, err)
			}
			cancel()
		}
		release()
	})
}

func TestWaitForAConnectionEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := backendtest.New("a")
		host, release := occupied(t, fake)
		before := fake.Stats().Calls
		for _, way := range []string{"generate", "chat", "embed"} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			began := time.Now()
			err := ways[way](ctx, host)
			if !errors.Is(err, backend.Caller) || !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Minute {
				t.Errorf("%s: got %v after %v", way, err, time.Since(began))
			}
			cancel()
		}
		if sent := fake.Stats().Calls - before; sent != 0 {
			t.Errorf("%d calls were sent that never had a connection", sent)
		}

		// Those who gave up waiting have not taken a connection with them.
		served := make(chan error)
		for range 10 {
			go func() { served <- ways["generate"](t.Context(), host) }()
		}
		synctest.Wait()
		release()
		for range 10 {
			if err := <-served; err != nil {
				t.Error(err)
			}
		}
		synctest.Wait() // until the host has noticed which connections have been closed
		if open := fake.Stats().Open; open > 3 {
			t.Errorf("%d connections are open, want at most 3", open)
		}
	})
}
