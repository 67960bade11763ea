package e2e_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

// A host whose runner hangs looks well: it lists its models, says that they are loaded, and
// accepts calls. Only the calls that time out there show that it is not.
func TestHostWhoseModelHangsIsEjected(t *testing.T) {
	t.Parallel()
	withAndWithoutCache(t, func(t *testing.T, env ...string) {
		// Failures in a row that eject a host; and so many callers that more of them than
		// that find themselves on it.
		const ejectedAfter, callers = 5, 16
		hosts := make(map[string]*ollamatest.Server)
		flags := []string{"--slots=8"}
		for range 2 {
			host := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Says}})
			loadedOn(t, host, tinymodels.Says.Name)
			hosts[hostName(host)] = host
			flags = append(flags, "--host", host.URL())
		}
		ctx := deadline(t)
		cmd := command(ctx, "", flags...)
		cmd.Env = append(cmd.Env, env...)
		s := attach(t, ctx, cmd, "")
		call := func() (lent, error) { // a host is blamed for a timeout of more than 30 s
			return s.lend(fmt.Sprintf(`{"model":"tiny-says","prompt":%q,"timeout_seconds":31}`, fresh()))
		}

		l, err := call()
		if err != nil {
			t.Fatal(err)
		}
		hung := l.Host
		if runners, err := hosts[hung].Hang(); err != nil || runners != 1 {
			t.Fatalf("%d runners hang, %v", runners, err)
		}
		var stop atomic.Bool
		var all sync.WaitGroup
		t.Cleanup(func() {
			stop.Store(true)
			if _, err := hosts[hung].Resume(); err != nil {
				t.Error(err)
			}
			all.Wait()
		})
		var failed atomic.Int64
		for range callers {
			all.Go(func() {
				for !stop.Load() {
					if _, err := call(); err != nil {
						failed.Add(1)
					}
				}
			})
		}
		eventually(t, "calls that were on the host have timed out", func() bool { return failed.Load() >= ejectedAfter })
		stop.Store(true)
		eventually(t, "the host is ejected", func() bool { return s.breakerOf(hung) != "closed" })

		// From then on one call at a time tries the host, and the others are answered.
		const later = 10
		var answered atomic.Int64
		for range later {
			all.Go(func() {
				if l, err := call(); err == nil && l.Host != hung {
					answered.Add(1)
				}
			})
		}
		eventually(t, "all later calls but one are answered", func() bool { return answered.Load() >= later-1 })
	})
}

// breakerOf is the state of a host's circuit breaker, as status tells of it.
func (s *session) breakerOf(host string) string {
	s.t.Helper()
	var hosts []struct{ Name, Breaker string }
	convert(s.t, s.succeeds("status", `{}`).StructuredContent["hosts"], &hosts)
	for _, h := range hosts {
		if h.Name == host {
			return h.Breaker
		}
	}
	s.t.Fatalf("status tells nothing of %s: %+v", host, hosts)
	return ""
}
