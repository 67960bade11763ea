package inference_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/inference"
	"ollama-mcp/pool"
)

// Why the model big does not answer, by what ladder it is asked, and what may be done
// about it, make who answers or what the error is.
func TestFaultLadderAndPolicyDecideWhichRungAnswers(t *testing.T) {
	const (
		alone = `{"model":"big","prompt":"?","timeout_seconds":9`
		other = alone + `,"fallback_models":["small"]`
		cloud = alone + `,"fallback_models":["openai/gpt"]`
		pro   = `{"model":"pro","prompt":"?","timeout_seconds":9`
		local = `,"local_only":true`
	)
	for _, c := range []struct {
		fault, args string
		noCloud     bool
		want        string // who answers, or a code
		says        string // in the note or the error
	}{
		{"refuse", alone, false, "no_host", "big: gpu-1: unreachable"},
		{"refuse", other, false, "small", "instead of big (gpu-1: unreachable"},
		{"refuse", cloud, false, "openai/gpt", "instead of big (gpu-1: unreachable"},
		{"refuse", cloud + local, false, "no_host", "openai/gpt (skipped: local_only forbids cloud models)"},
		{"refuse", cloud, true, "no_host", "--no-cloud"},
		{"refuse", pro + local, false, "small", "instead of big (gpu-1: unreachable"},
		{"fail", cloud, false, "openai/gpt", "internal error"},
		{"cut", pro, false, "small", "instead of big (gpu-1: failed"},
		{"fall mute", alone, false, "big", "cut by the time limit"},
		{"hang", alone, false, "timeout", "time limit"},
		{"hang", cloud, false, "openai/gpt", "no answer had begun within its share of the time, 4.5s"},
		{"hang", cloud + local, false, "timeout", "time limit"},
		{"busy", alone, false, "overloaded", "server busy"},
		{"busy", cloud, false, "openai/gpt", "overloaded"},
		{"busy", cloud, true, "overloaded", "--no-cloud"},
		{"slow load", cloud, false, "openai/gpt", "within its share"},
		{"too long", alone, false, "context_too_long", "num_ctx"},
		{"too long", other, false, "small", "context too long"},
		{"no room", alone, false, "upstream", "num_ctx"},
		{"no room", other, false, "small", "not enough memory for the model"},
		{"missing", alone, false, "model_not_found", "ollama pull big"},
		{"missing", cloud, false, "openai/gpt", "model not found"},
		{"missing", cloud + local, false, "model_not_found", "local_only"},
		{"no key", other, false, "small", "unauthorized"},
		{"mistaken", alone, false, "invalid_argument", "what is this?"},
		{"mistaken", pro, false, "small", "instead of big (gpu-1: bad request: what is this?"},
	} {
		story(t, func(t *testing.T, client *client) {
			client.opts.NoCloud = c.noCloud
			host, asked := client.ladder()
			failing(host, faults[c.fault], "big")
			a := client.call(t.Context(), "generate", c.args+"}")
			name, got := c.fault+" "+c.args, a.served.Model
			if a.err != nil {
				got = a.code()
			}
			if got != c.want || !strings.Contains(fmt.Sprint(a), c.says) {
				t.Errorf("%s: got %v, want %s and %q: %+v", name, got, c.want, c.says, a)
			}
			if n := len(asked.Calls()); n > 0 && (c.noCloud || strings.Contains(c.args, local)) {
				t.Errorf("%s: %d calls left for the cloud", name, n)
			}
		})
	}
}

// A ladder in trouble leaves its first rung to others. One who has no other gets it.
func TestRungWithAnOpenCircuitIsTriedWhenNoOtherRungMayAnswer(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host, cloud := c.ladder()
		const args = `{"model":"big","prompt":"?","fallback_models":["openai/gpt"]`
		failing(host, backendtest.Refuse(500, "internal error"), "big")
		for range 4 {
			c.succeeds("generate", args+`}`)
		}
		host.Mend()
		time.Sleep(time.Second) // less than to the next look at it
		if a := c.succeeds("generate", args+`}`); a.served.Model != "openai/gpt" || !strings.Contains(a.notes, "circuit open") {
			t.Errorf("the ladder is not in trouble: %+v", a)
		}
		if a := c.succeeds("generate", args+`,"local_only":true}`); a.served.Model != "big" || a.served.Rung != 1 {
			t.Errorf("local only: got %+v", a)
		}
		cloud.Down()
		if a := c.succeeds("generate", args+`}`); a.served.Model != "big" {
			t.Errorf("without the cloud: got %+v", a)
		}
	})
}

// The second rung fails at once, and there is time enough left to wait for the first.
func TestBusyRungIsTriedAgainOnceTheOthersHaveFailed(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.opts.FallbackAfter = time.Second
		host, cloud := c.ladder()
		cloud.Down()
		host.FirstTokenTime(8 * time.Second)
		first := make(chan answer)
		go func() { first <- c.call(t.Context(), "generate", `{"model":"big","prompt":"first"}`) }()
		time.Sleep(time.Second)
		a := c.succeeds("generate", `{"model":"big","prompt":"?","fallback_models":["openai/gpt"]}`)
		if a.served.Model != "big" || a.served.Rung != 1 || a.notes != "" {
			t.Errorf("got %+v", a)
		}
		<-first
	})
}

func TestRetriedRungHasAShareOfTheTimeToo(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host, cloud := c.ladder()
		cloud.Down()
		for _, model := range []string{"big", "small"} { // so that nothing is loaded on after a call
			c.succeeds("generate", `{"model":"`+model+`","prompt":"?"}`)
		}
		began := time.Now()
		host.FailWhen(func(call backendtest.Call) backendtest.Fault {
			if strings.HasPrefix(call.Model, "small") && time.Since(began) > 22*time.Second {
				return nil
			}
			return backendtest.Hang
		})
		a := c.succeeds("generate", `{"model":"pro","prompt":"?","timeout_seconds":30}`)
		if a.served.Model != "small" || time.Since(began).Round(time.Second) > 26*time.Second {
			t.Errorf("after %v: %+v", time.Since(began), a)
		}
	})
}

func TestRetriedRungPrefersAnotherHost(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.ladder()
		hosts := []*backendtest.Host{backendtest.New("gpu-1"), backendtest.New("gpu-2")}
		for _, host := range hosts {
			host.Answer("yes").Install(backendtest.Model{Name: "big"})
		}
		hosts[1].FirstTokenTime(time.Second) // so that it is the second choice
		c.useAll(pool.Options{Slots: 1}, hosts...)
		for _, host := range hosts { // so that nothing is loaded on after a call
			c.succeeds("generate", `{"model":"big","prompt":"?","host":"`+host.Name()+`"}`)
		}
		failing(hosts[0], backendtest.Hang, "big")
		a := c.succeeds("generate", `{"model":"big","prompt":"?","timeout_seconds":12,"fallback_models":["absent"]}`)
		if a.served.Host != "gpu-2" || len(askedOf(hosts[0], "big")) != 2 {
			t.Errorf("answered by %v, and gpu-1 was asked %d times, want gpu-2 after gpu-1", a.served.Host, len(askedOf(hosts[0], "big")))
		}
	})
}

// Neither on the way down nor when it is asked once more.
func TestRungIsSkippedWithLessTimeThanItHasEverNeeded(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host, cloud := c.ladder()
		failing(host, backendtest.Refuse(500, "internal error"), "big")
		cloud.Down()
		host.FirstTokenTime(16 * time.Second)
		c.succeeds("generate", `{"model":"pro","prompt":"?","timeout_seconds":60}`)
		before := len(askedOf(host, "small"))
		failing(host, backendtest.Refuse(500, "internal error"), "big")
		a := c.fails("generate", `{"model":"pro","prompt":"?","timeout_seconds":15}`, "upstream", "small (skipped: it never answered in less than 16s)")
		if n := len(askedOf(host, "small")) - before; n != 0 {
			t.Errorf("with 15 s it was asked %d times: %+v", n, a)
		}
		c.call(t.Context(), "generate", `{"model":"pro","prompt":"?","timeout_seconds":30}`)
		if n := len(askedOf(host, "small")) - before; n != 1 {
			t.Errorf("with 30 s, of which half are its share, it was asked %d times, want once", n)
		}
	})
}

func TestProviderIgnoresKeepAliveAndANoteSaysSo(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.ladder()
		a := c.succeeds("generate", `{"model":"openai/gpt","prompt":"?","keep_alive":"1h"}`)
		if a.notes == "" || !strings.Contains(a.notes, "left out: keep_alive") {
			t.Errorf("got %+v", a)
		}
	})
}

func TestObserverIsToldOfLadderChanges(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		var told []string
		c.opts.Observer = observer{event: func(e inference.Event) {
			if e.Kind != inference.LadderChanged {
				return
			}
			told = append(told, fmt.Sprintf("%s %s→%s", e.Model, e.From, e.To))
			if e.Reason == "" {
				t.Errorf("%s: no reason", told)
			}
		}}
		host, _ := c.ladder()
		failing(host, backendtest.Refuse(500, "internal error"), "big")
		for i := range 200 {
			if i == 30 {
				host.Mend()
			}
			c.succeeds("generate", askPro)
			time.Sleep(time.Second)
		}
		want := []string{"pro:latest normal→degraded", "pro:latest degraded→recovering", "pro:latest recovering→normal"}
		if !slices.Equal(told, want) {
			t.Errorf("told were %q, want %q", told, want)
		}
	})
}

// Else one caller could have all the others served by another model.
func TestRequestThatDoesNotFitARungLeavesItsLadderNormal(t *testing.T) {
	for _, fault := range []string{"too long", "no room"} {
		story(t, func(t *testing.T, c *client) {
			host, _ := c.ladder()
			failing(host, faults[fault], "big")
			for range 10 {
				if a := c.succeeds("generate", askPro); a.served.Model != "small" {
					t.Errorf("%s: got %+v", fault, a)
				}
			}
			if all := c.status().Ladders; all != nil {
				t.Errorf("%s: status tells of %v", fault, all)
			}
		})
	}
}

func TestLocalOnlyRequestForACloudModelIsForbidden(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.ladder()
		c.fails("generate", `{"model":"openai/gpt","prompt":"?","local_only":true}`, "forbidden", "local_only", "list-models")
		who := caller.Caller{ID: "ci", LocalOnly: true}
		if a := c.as(who).call(t.Context(), "chat", `{"model":"openai/gpt","messages":[{"role":"user"}]}`); a.code() != "forbidden" {
			t.Errorf("by the key: got %+v", a)
		}
	})
}
