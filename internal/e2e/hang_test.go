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
		const slots, callers = 8, 16 // slots of a host: more than the failures in a row that eject it
		hosts := make(map[string]*ollamatest.Server)
		flags := []string{fmt.Sprintf("--slots=%d", slots)}
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
		// None may come to the host when the first have timed out: Ollama would start another runner.
		eventually(t, "the host has as many calls as it takes", func() bool { return s.stateOf(hung).Busy == slots })
		stop.Store(true)
		eventually(t, "its calls have timed out", func() bool { return failed.Load() == slots })
		eventually(t, "the host is ejected", func() bool { return s.stateOf(hung).Breaker != "closed" })

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

// hostState is how a host is, as status tells of it.
type hostState struct {
	Name, Breaker string
	Busy          int // slots in use
}

func (s *session) stateOf(host string) hostState {
	s.t.Helper()
	var hosts []hostState
	convert(s.t, s.succeeds("status", `{}`).StructuredContent["hosts"], &hosts)
	for _, h := range hosts {
		if h.Name == host {
			return h
		}
	}
	s.t.Fatalf("status tells nothing of %s: %+v", host, hosts)
	return hostState{}
}
