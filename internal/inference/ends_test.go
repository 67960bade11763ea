package inference_test

import (
	"strings"
	"testing"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/inference"
)

// ending is a host whose answers all end for a reason.
func ending(name string, reason backend.EndReason) *backendtest.Host {
	return backendtest.New(name).AnswerWith(func(backendtest.Call) backendtest.Reply {
		return backendtest.Reply{Text: "half a", DoneReason: string(reason)}
	})
}

func TestModelWhoseAnswerFailedIsLeftForTheNext(t *testing.T) {
	for _, reason := range []backend.EndReason{"error", "abort", "insufficient_system_resource", "unload", "NETWORK_ERROR"} {
		story(t, func(t *testing.T, c *client) {
			host, _ := c.ladder()
			host.AnswerWith(func(call backendtest.Call) backendtest.Reply {
				if strings.HasPrefix(call.Model, "big") {
					return backendtest.Reply{Text: "half a", DoneReason: string(reason)}
				}
				return backendtest.Reply{Text: "whole"}
			})
			a := c.succeeds("generate", `{"model":"pro","prompt":"?"}`)
			if a.text != "whole" || a.served.Model != "small" || !strings.Contains(strings.Join(a.served.Passed, " "), string(reason)) {
				t.Errorf("%s: got %v, want the answer of small", reason, a)
			}
			a = c.fails("generate", `{"model":"big","prompt":"?"}`, "upstream", `the host ended its answer with the reason "`+string(reason))
			if a.partial != "half a" {
				t.Errorf("%s: beside the error is %q, want what had come", reason, a.partial)
			}
		})
	}
}

func TestAnswerThatIsNotWholeSaysSoAndIsNotCached(t *testing.T) {
	for reason, want := range map[backend.EndReason]string{
		"max_tokens": "cut after", "content_filter": "filter", "bored": "bored", backend.NoReason: "did not say why",
	} {
		cacheStory(t, func(t *testing.T, c *client) {
			host := c.use(ending("gpu-1", reason))
			for range 2 {
				a := c.succeeds("generate", `{"model":"tiny","prompt":"?"}`)
				if a.text != "half a" || !strings.Contains(a.notes, want) || a.served.Source != inference.Local {
					t.Errorf("%s: got %v, want a note with %q", reason, a, want)
				}
			}
			if n := len(host.Calls()); n != 2 {
				t.Errorf("%s: the host was asked %d times, want 2", reason, n)
			}
		})
	}
}

func TestReasonsOfOtherServersForAWholeAnswerAreCachedToo(t *testing.T) {
	for _, reason := range []backend.EndReason{"eos_token", "END_TURN", "complete"} {
		cacheStory(t, func(t *testing.T, c *client) {
			host := c.use(ending("gpu-1", reason))
			c.succeeds("generate", `{"model":"tiny","prompt":"?"}`)
			if a := c.succeeds("generate", `{"model":"tiny","prompt":"?"}`); a.served.Source != inference.Cached || len(host.Calls()) != 1 {
				t.Errorf("%s: got %v, asked %d times", reason, a, len(host.Calls()))
			}
		})
	}
}
