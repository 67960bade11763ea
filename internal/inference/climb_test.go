package inference_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/route"
)

const askPro = `{"model":"pro","prompt":"?"}`

func TestAliasIsAnsweredByTheFirstRungThatCan(t *testing.T) {
	for name, tc := range map[string]struct {
		down   []string
		model  string
		source inference.Source
		rung   int
		note   string
	}{
		"all is well":      {nil, "big", "local", 1, ""},
		"one fails":        {[]string{"big"}, "small", "local", 2, "Answered by small instead of big ("},
		"only a cloud can": {[]string{"big", "small"}, "openai/gpt", "cloud", 3, "Answered by openai/gpt instead of big ("},
	} {
		story(t, func(t *testing.T, c *client) {
			host, _ := c.ladder()
			failing(host, backendtest.Refuse(500, "internal error"), tc.down...)
			a := c.succeeds("generate", askPro)
			if s := a.served; s.Model != tc.model || s.Source != tc.source || s.Rung != tc.rung || s.Requested != "pro" {
				t.Errorf("%s: served by %v", name, s)
			}
			if passed := a.served.Passed; len(passed) != len(tc.down) {
				t.Errorf("%s: passed %v", name, passed)
			}
			if said := a.notes != ""; said != (tc.note != "") || said && !strings.Contains(a.notes, tc.note) {
				t.Errorf("%s: got %+v, want the note %q", name, a, tc.note)
			}
		})
	}
}

func TestPromptTooLongForARungGoesToTheNext(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.ladder()
		a := c.succeeds("generate", `{"model":"pro","prompt":"`+strings.Repeat("word ", 1000)+`"}`)
		if a.served.Model != "small" || !strings.Contains(a.notes, "context too long") {
			t.Errorf("got %+v", a)
		}
	})
}

func TestNoRequestLeavesForACloudWhereThatIsForbidden(t *testing.T) {
	for _, tc := range []struct {
		name, args, says string
		noCloud          bool
		who              caller.Caller
	}{
		{name: "by the call", args: `{"model":"pro","prompt":"?","local_only":true}`, says: "local_only"},
		{name: "by the key", args: askPro, who: caller.Caller{ID: "ci", LocalOnly: true}, says: "local_only"},
		{name: "by the operator", args: askPro, noCloud: true, says: "--no-cloud"},
		{name: "though it is asked for", args: `{"model":"openai/gpt","prompt":"?","local_only":true}`, says: "local_only"},
	} {
		story(t, func(t *testing.T, c *client) {
			c.opts.NoCloud = tc.noCloud
			host, cloud := c.ladder()
			failing(host, backendtest.Refuse(500, "internal error"), "big", "small")
			a := c.as(tc.who).call(t.Context(), "generate", tc.args)
			if a.err == nil || !strings.Contains(a.text, tc.says) || !strings.Contains(a.text, "openai/gpt") {
				t.Errorf("%s: got %+v, want an error that says %s", tc.name, a, tc.says)
			}
			if n := len(cloud.Calls()); n != 0 {
				t.Errorf("%s: %d calls left for the cloud", tc.name, n)
			}
		})
	}
}

func TestErrorNamesTheReasonOfEachRungInOneLine(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host, cloud := c.ladder()
		failing(host, backendtest.Refuse(500, "internal error"), "big", "small")
		failing(cloud, backendtest.Busy, "gpt")
		c.fails("generate", askPro, "upstream", "big (gpu-1: failed: internal error", "small (gpu-1:", "openai/gpt (openai: overloaded")
	})
}

func TestErrorThatNoOtherRungCanCureIsFinal(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host, cloud := c.ladder()
		failing(host, backendtest.Refuse(400, "what is this?"), "big")
		c.fails("generate", askPro, "invalid_argument", "what is this?")
		failing(host, backendtest.Hang, "big")
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if a := c.call(ctx, "generate", askPro); a.code() != "cancelled" {
			t.Errorf("cancelled: got %+v", a)
		}
		for _, call := range append(host.Calls(), cloud.Calls()...) {
			if !strings.HasPrefix(call.Model, "big") {
				t.Errorf("%s was asked", call.Model)
			}
		}
	})
}

func TestHungRungLeavesTimeForTheOthers(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host, _ := c.ladder()
		failing(host, backendtest.Hang, "big")
		began := time.Now()
		a := c.succeeds("generate", `{"model":"big","prompt":"?","fallback_models":["openai/gpt"],"timeout_seconds":30}`)
		if a.served.Model != "openai/gpt" || time.Since(began).Round(time.Second) != 15*time.Second {
			t.Errorf("after %v: %+v; want the cloud after 15 s", time.Since(began), a.served)
		}
	})
}

func TestAnswerThatHasBegunMayUseAllOfTheTime(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host, _ := c.ladder()
		host.Answer(strings.Repeat("word ", 25)).TokenTime(time.Second)
		a := c.succeeds("generate", `{"model":"pro","prompt":"?","timeout_seconds":30}`)
		if a.served.Model != "big" || strings.Count(a.text, "word") != 25 {
			t.Errorf("got %+v", a)
		}
	})
}

func TestLongQueueSendsARequestToTheNextRung(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.opts.FallbackAfter = 3 * time.Second
		host, _ := c.ladder()
		host.FirstTokenTime(20 * time.Second)
		var busy sync.WaitGroup
		busy.Go(func() { c.succeeds("generate", `{"model":"big","prompt":"first"}`) })
		synctest.Wait()
		began := time.Now()
		a := c.succeeds("generate", `{"model":"big","prompt":"?","fallback_models":["openai/gpt"]}`)
		if a.served.Model != "openai/gpt" || time.Since(began).Round(time.Second) != 3*time.Second || !strings.Contains(a.notes, "no slot came free within 3s") {
			t.Errorf("after %v: %+v", time.Since(began), a)
		}
		busy.Wait()
	})
}

func TestFallbackIsLimitedToModelsThatTheCallerMayUse(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host, _ := c.ladder()
		failing(host, backendtest.Refuse(500, "internal error"), "big")
		ci := c.as(caller.Caller{ID: "ci", Models: []string{"big*"}})
		ci.fails("generate", `{"model":"big","prompt":"?","fallback_models":["small"]}`, "forbidden", "small")
		ci.fails("generate", `{"model":"big","prompt":"?"}`, "upstream")
	})
}

// A first rung that fails again and again is not asked by each call, and gets its calls
// back once it has recovered.
func TestCircuitOfAFailingFirstRungOpensAndRecovers(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host, _ := c.ladder()
		failing(host, backendtest.Refuse(500, "internal error"), "big")
		began, asked := time.Now(), 0 // calls that went to the first rung, however often it was tried for them
		for range 60 {
			if passed := c.succeeds("generate", askPro).served.Passed; !strings.Contains(fmt.Sprint(passed), "circuit open") {
				asked++
			}
			time.Sleep(time.Second)
		}
		if most := 3 + 1 + int(time.Since(began)/(5*time.Second)); asked > most {
			t.Errorf("in %v of failure it was asked for %d calls, want at most %d", time.Since(began), asked, most)
		}
		trouble := c.status().Ladders
		if len(trouble) != 1 || trouble[0].Model != "pro" || trouble[0].State != route.Degraded {
			t.Errorf("status tells of %v, want pro degraded", trouble)
		}
		host.Mend()
		var served any
		for range 120 {
			served = c.succeeds("generate", askPro).served.Model
			time.Sleep(time.Second)
		}
		if served != "big" {
			t.Errorf("two minutes after it was mended calls are served by %v", served)
		}
		if all := c.status().Ladders; all != nil {
			t.Errorf("status still tells of %v", all)
		}
	})
}
