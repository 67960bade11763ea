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

func TestCallerWhoLeavesEndsTheClimb(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host, cloud := c.ladder()
		failing(host, backendtest.Hang, "big")
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if a := c.call(ctx, "generate", askPro); a.code() != "cancelled" {
			t.Errorf("got %+v", a)
		}
		for _, call := range append(host.Calls(), cloud.Calls()...) {
			if !strings.HasPrefix(call.Model, "big") {
				t.Errorf("%s was asked", call.Model)
			}
		}
	})
}

// refusals are what hosts and providers object to in a request that others may answer.
var refusals = map[string]backendtest.Fault{
	"a value":        backendtest.Refuse(400, "Unsupported value: 'temperature' does not support 0 with this model."),
	"a role":         backendtest.Refuse(400, "System role not supported"),
	"thinking":       backendtest.Refuse(400, `"gpt" does not support thinking`),
	"tools":          backendtest.Refuse(400, "registry.ollama.ai/library/small:latest does not support tools"),
	"no body at all": backendtest.Respond(400, "text/plain", ""),
	"credit":         backendtest.Refuse(402, "Insufficient credits. Add more using the billing page."),
	"credit, as 400": backendtest.Refuse(400, "Your credit balance is too low to access the API."),
	"forbidden":      backendtest.Refuse(403, "Country, region, or territory not supported"),
	"a wrong path":   backendtest.Refuse(404, "404 page not found"),
	"gone":           backendtest.Refuse(410, "The model has been deprecated."),
	"too large":      backendtest.Refuse(413, "Request body too large"),
	"unprocessable":  backendtest.Refuse(422, "Input should be a valid string"),
	"the law":        backendtest.Refuse(451, "not available where you are"),
	"a teapot":       backendtest.Refuse(418, "I'm a teapot"),
}

func TestRefusalByAnyRungLeavesTheRequestToTheNext(t *testing.T) {
	for name, refusal := range refusals {
		story(t, func(t *testing.T, c *client) {
			host, cloud := c.ladder()
			failing(host, refusal, "big")
			failing(cloud, refusal, "gpt")
			for _, kind := range []string{`"prompt":"?"`, `"messages":[{"role":"user","content":"?"}]`} {
				tool := map[bool]string{true: "generate", false: "chat"}[strings.Contains(kind, "prompt")]
				a := c.call(t.Context(), tool, `{"model":"big",`+kind+`,"fallback_models":["openai/gpt","small"]}`)
				if a.served.Model != "small" || a.served.Rung != 3 || len(a.served.Passed) != 2 {
					t.Errorf("%s: got %v", name, a)
				}
			}
			if all := c.status().Ladders; name == "a value" && all != nil {
				t.Errorf("%s: status tells of %v", name, all)
			}
		})
	}
}

func TestModelThatCannotSeeLeavesImagesToTheNext(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := backendtest.New("gpu-1").Answer("a cat").Install(
			backendtest.Model{Name: "blind", Capabilities: []string{"completion"}},
			backendtest.Model{Name: "sees", Capabilities: []string{"completion", "vision"}})
		c.use(host)
		a := c.succeeds("generate", `{"model":"blind","prompt":"what is this?","images":["aGk="],"fallback_models":["sees"]}`)
		if a.served.Model != "sees" || !strings.Contains(a.notes, "cannot see images") {
			t.Errorf("got %v", a)
		}
	})
}

// Code, hint and time to wait are those of one rung.
func TestErrorIsThatOfTheRungOfWhichACallerCanMakeMost(t *testing.T) {
	value, key := refusals["a value"], faults["no key"]
	for _, tc := range []struct {
		name              string
		big, cloud, small backendtest.Fault
		code, hint        string
		after             time.Duration
	}{
		{"a refusal before a key", key, value, key, "invalid_argument", "openai/gpt: change what openai objects to", 0},
		{"a failure before a refusal", value, value, faults["fail"], "upstream", "small: try again", 0},
		{"the shortest wait", faults["fail"], backendtest.Refuse(429, "slow down", "Retry-After", "40"), value, "overloaded", "openai/gpt: try again in 40 s", 40 * time.Second},
		{"a key alone", key, key, key, "unauthorized", "big: set OLLAMA_API_KEY", 0},
		{"the first of equals", faults["missing"], faults["missing"], faults["missing"], "model_not_found", "big: install it", 0},
	} {
		story(t, func(t *testing.T, c *client) {
			host, cloud := c.ladder()
			host.FailWhen(func(call backendtest.Call) backendtest.Fault {
				if strings.HasPrefix(call.Model, "big") {
					return tc.big
				}
				return tc.small
			})
			failing(cloud, tc.cloud, "gpt")
			a := c.fails("generate", `{"model":"big","prompt":"?","timeout_seconds":20,"fallback_models":["openai/gpt","small"]}`, tc.code,
				"big (gpu-1: ", "openai/gpt (openai: ", "small (gpu-1: ")
			if !strings.HasPrefix(a.err.Hint, tc.hint) || a.err.RetryAfter.Round(time.Second) != tc.after {
				t.Errorf("%s: hint %q after %v, want %q after %v", tc.name, a.err.Hint, a.err.RetryAfter, tc.hint, tc.after)
			}
		})
	}
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
