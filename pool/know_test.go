package pool_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// freezes is a host that stops in the middle of an answer, and says nothing any more.
func freezes(name string) *machine {
	m := good(name)
	m.fails = func(time.Time) *fault { return &fault{pieces: true, hangs: true} }
	return m
}

// checks has checks of a host come out the same every 5 s, until they are stopped.
func checks(p *pool.Pool, host string, facts pool.Facts) (stop func()) {
	ended := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for {
			p.Know(host, facts)
			select {
			case <-time.After(5 * time.Second):
			case <-ended:
				return
			}
		}
	})
	return func() { close(ended); all.Wait() }
}

var unreachable = pool.Facts{Err: errors.New("no answer within 5s")}

func TestCallOnAHostThatVanishedIsAnsweredByAnother(t *testing.T) {
	for name, send := range map[string]func(ctx context.Context, b backend.Backend) error{
		"generate": func(ctx context.Context, b backend.Backend) error { return generate(ctx, b, "m:latest", 10) },
		"embed": func(ctx context.Context, b backend.Backend) error {
			_, err := b.Embed(ctx, &backend.EmbedRequest{Model: "m:latest", Input: "x"})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			inEachMode(t, func(t *testing.T, mode deadlineMode) {
				_, backends := machines(freezes("a"), good("b"))
				var log bytes.Buffer
				p := newPool(t, pool.Options{Hosts: backends, Log: slog.New(slog.NewTextHandler(&log, nil))})
				p.Know("b", unreachable) // so that the call goes to the other
				began := time.Now()
				ended := make(chan error, 1)
				go func() {
					ended <- mode.with(t, p, route.Need{Model: "m:latest"}, time.Hour, func(ctx context.Context, l *pool.Lease) error {
						return send(ctx, l.Host)
					})
				}()
				time.Sleep(time.Second)
				p.Know("b", pool.Facts{Up: true})
				time.Sleep(4 * time.Second)
				p.Know("a", unreachable)
				time.Sleep(10 * time.Second)
				p.Know("a", unreachable)
				if err := <-ended; err != nil || time.Since(began) > 16*time.Second {
					t.Errorf("got %v after %v, want an answer of the other host after the second check that failed", err, time.Since(began))
				}
				if n := strings.Count(log.String(), `msg="host has vanished" host=a calls=1`); n != 1 {
					t.Errorf("logged:\n%swant one line that a has vanished", log.String())
				}
				if s := p.Stats(); s.InFlight != 0 {
					t.Errorf("%d calls have a slot, want none", s.InFlight)
				}
			})
		})
	}
}

func TestCallOnAHostThatVanishedGoesToTheNextRung(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode deadlineMode) {
		_, backends := machines(freezes("a"))
		p := newPool(t, pool.Options{Hosts: backends})
		go func() {
			for range 2 {
				time.Sleep(10 * time.Second)
				p.Know("a", unreachable)
			}
		}()
		began := time.Now()
		err := mode.limited(t, p, route.Need{MaxPause: time.Second}, time.Hour, 10)
		if !errors.Is(err, backend.Transport) || time.Since(began) != 20*time.Second {
			t.Errorf("got %v after %v, want a failure of the host after 20s", err, time.Since(began))
		}
	})
}

// Its host may come back, and nobody else can answer.
func TestCallOnTheOnlyHostWaitsForItWhenItVanishes(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode deadlineMode) {
		_, backends := machines(freezes("a"))
		p := newPool(t, pool.Options{Hosts: backends})
		stop := checks(p, "a", unreachable)
		defer stop()
		began := time.Now()
		if err := mode.limited(t, p, route.Need{}, 5*time.Minute, 10); err == nil || time.Since(began) != 5*time.Minute {
			t.Errorf("got %v after %v, want the end of its time limit", err, time.Since(began))
		}
	})
}

// Checks of a host fail where it is slow to accept connections, or a proxy refuses them. The call has another rung, so
// that it would not wait for a host that has vanished.
func TestHostThatSendsPiecesHasNotVanishedThoughChecksFail(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode deadlineMode) {
		slow := good("a")
		slow.streams, slow.perToken = true, time.Second
		ms, backends := machines(slow)
		p := newPool(t, pool.Options{Hosts: backends})
		stop := checks(p, "a", unreachable)
		defer stop()
		if err := mode.limited(t, p, route.Need{MaxPause: time.Second}, 5*time.Minute, 60); err != nil || ms[0].calls != 1 {
			t.Errorf("got %v in %d calls, want an answer of the only one", err, ms[0].calls)
		}
	})
}
