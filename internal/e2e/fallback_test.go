package e2e_test

import (
	"os"
	"strings"
	"testing"
	"time"
)

// OLLAMA_MCP_STORM is how long it blows, such as 5m; without it, for one spell.
func TestStormLeavesNoCallUnansweredWhileARungLives(t *testing.T) {
	last, err := time.ParseDuration(os.Getenv("OLLAMA_MCP_STORM"))
	if err != nil {
		last = 0
	}
	s := startStorm(t, last+2*testLimit)
	stop := make(chan struct{})
	callers := s.blow(stop)
	for began := time.Now(); ; {
		if s.spell(); time.Since(began) >= last {
			break
		}
	}
	for limit := time.After(40 * time.Second); s.troubled(); time.Sleep(50 * time.Millisecond) {
		select {
		case <-limit:
			t.Fatal("the ladder is still in trouble")
		default:
		}
	}
	close(stop)
	callers.Wait()
	for _, state := range []string{"state=degraded", "state=recovering", "state=normal"} {
		if !strings.Contains(s.program.stderr.String(), state) {
			t.Errorf("the log never tells of %s", state)
		}
	}
	t.Logf("%d calls answered, %d of them by the provider; %d were not", s.answered.Load()-s.failed.Load(), s.byProvider.Load(), s.failed.Load())
}

func TestWithNoRungLeftEachErrorNamesTheReasonOfEachInOneLine(t *testing.T) {
	s := startStorm(t, testLimit)
	for _, host := range s.hosts {
		host.Kill()
	}
	before := atProvider(s.provider)
	s.all(`,"local_only":true`, "no model of the ladder answered: tiny-says (", "cloud/tiny-json (not asked, since nothing of this call may leave for a cloud: local_only)")
	if a, err := s.call(0, ""); err != nil || a.Meta.Served.Source != "cloud" {
		t.Errorf("got %+v, %v, want the provider's answer", a, err)
	}
	// The log is behind the answer, and one after another.
	eventually(t, "the provider has seen the one call that might leave", func() bool { return atProvider(s.provider) == before+1 })

	s.provider.Kill()
	s.all("", "no model of the ladder answered: tiny-says (", ": connection refused", "cloud/tiny-json (")
}
