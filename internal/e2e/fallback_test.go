package e2e_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

// OLLAMA_MCP_STORM is how long it blows, such as 5m; without it, for one spell.
func TestStormLeavesNoCallUnansweredWhileARungLives(t *testing.T) {
	t.Parallel()
	last, err := time.ParseDuration(os.Getenv("OLLAMA_MCP_STORM"))
	if err != nil {
		last = 0
	}
	withAndWithoutCache(t, func(t *testing.T, env ...string) {
		s := startStorm(t, last+2*testLimit, env...)
		stop := make(chan struct{})
		callers := s.blow(stop)
		end := sync.OnceFunc(func() { close(stop); callers.Wait() })
		t.Cleanup(end)
		for began := time.Now(); ; {
			if s.spell(); time.Since(began) >= last {
				break
			}
		}
		s.calm()
		end()
		// It may never have been overloaded, but degraded at once; see spell.
		if in, out := s.logged("state=overloaded"), s.logged("from=overloaded"); in != out {
			t.Errorf("the log tells %d times that the ladder is overloaded, and %d times that it is so no more", in, out)
		}
		for _, change := range []string{"state=degraded", "from=degraded state=recovering", "from=recovering state=normal"} {
			n := s.logged(change)
			t.Logf("%d times %s", n, change)
			if n == 0 {
				t.Errorf("the log never tells of %s", change)
			}
		}
		t.Logf("%d calls answered, %d of them by the provider; %d not answered, %d by another than is said",
			s.answered.Load(), s.byProvider.Load(), s.unanswered.Load(), s.misleading.Load())
	})
}

func TestCallOnAHostThatIsFrozenIsAnsweredByAnother(t *testing.T) {
	t.Parallel()
	withAndWithoutCache(t, func(t *testing.T, env ...string) {
		hosts := map[string]*ollamatest.Server{
			"a": ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Says}}),
			"b": ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Says}}),
		}
		s := connect(t, hosts["a"], append(env,
			"OLLAMA_MCP_CONFIG="+ladderFile(t, "tiny-says", shared, hosts["a"], hosts["b"]), "OLLAMA_MCP_HEDGE_AFTER=500ms", fullMeta)...)
		for name := range hosts { // so that the model is in memory
			s.succeeds("generate", fmt.Sprintf(`{"model":"tiny-says","prompt":%q,"host":%q}`, fresh(), name))
		}
		// Of two calls at once each host gets one. Should the program have noticed that the
		// host is frozen before they came, there are other chances.
		for _, frozen := range []string{"a", "b", "a", "b"} {
			if err := hosts[frozen].Freeze(); err != nil {
				t.Fatal(err)
			}
			calls := make([]*pending, 2)
			for i := range calls {
				calls[i] = s.start("generate", fmt.Sprintf(`{"model":"tiny-says","prompt":%q}`, fresh()))
			}
			hedged := 0
			for _, p := range calls {
				got := p.result()
				served := got.Meta.Served.Host
				if got.text() != tinymodels.Says.Answer || served == frozen {
					t.Errorf("got %+v, with %s frozen", got, frozen)
				}
				if strings.Contains(got.rest(), "Answered by "+served+", which was asked as well because another host was late.") {
					hedged++
				}
			}
			if err := hosts[frozen].Thaw(); err != nil {
				t.Fatal(err)
			}
			if hedged > 0 {
				if !strings.Contains(s.wire.String(), `"hedged":true`) {
					t.Error("the calls are not marked as hedged")
				}
				return
			}
		}
		t.Error("no call was on a host that is frozen")
	})
}

func TestWithNoRungLeftEachErrorNamesTheReasonOfEachInOneLine(t *testing.T) {
	t.Parallel()
	withAndWithoutCache(t, func(t *testing.T, env ...string) {
		s := startStorm(t, testLimit, env...)
		for _, host := range s.hosts {
			host.Kill()
		}
		before := atProvider(s.provider)
		s.all(`,"local_only":true`, "no model of the ladder answered: tiny-says (", "cloud/tiny-json (skipped: local_only forbids cloud models)")
		if a, err := s.call(""); err != nil || a.Meta.Served.Source != "cloud" {
			t.Errorf("got %+v, %v, want the provider's answer", a, err)
		}
		// The log is behind the answer, and one after another.
		eventually(t, "the provider has seen the one call that might leave", func() bool { return atProvider(s.provider) == before+1 })

		s.provider.Kill()
		s.all("", "no model of the ladder answered: tiny-says (", ": connection refused", "cloud/tiny-json (")
	})
}
