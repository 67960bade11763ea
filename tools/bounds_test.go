package tools_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/tools"
)

func TestEveryListOfArgumentsHasAMaximumLength(t *testing.T) {
	var visit func(path string, s map[string]any)
	visit = func(path string, s map[string]any) {
		if s["type"] == "array" && s["maxItems"] == nil {
			t.Errorf("%s has no maxItems", path)
		}
		for name, inside := range s {
			switch inside := inside.(type) {
			case map[string]any:
				visit(path+"."+name, inside)
			case []any:
				for _, item := range inside {
					if item, ok := item.(map[string]any); ok {
						visit(path+"."+name, item)
					}
				}
			}
		}
	}
	for _, tool := range tools.Describe(everything) {
		visit(tool.Name, decoded(t, tool.Arguments))
	}
}

func TestListThatIsTooLongIsOneFaultHoweverManyItemsAreWrong(t *testing.T) {
	list := func(n int, item string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(item+",", n), ",") + "]"
	}
	quoted := func(s string) string {
		raw, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	for _, tc := range []struct{ tool, args, want string }{
		{"chat", `{"model":"tiny","messages":` + list(10001, `{"role":"boss"}`) + `}`, `chat: argument "messages" has 10001 items, and at most 10000 are allowed`},
		{"chat", `{"model":"tiny","messages":` + list(10001, `7`) + `}`, `chat: argument "messages" has 10001 items`},
		{"chat", `{"model":"tiny","messages":` + quoted(list(10001, `7`)) + `}`, `chat: argument "messages" has 10001 items`},
		{"chat", `{"model":"tiny","messages":[{"role":"user","images":` + list(10001, `1`) + `}]}`, `chat: argument "messages[0].images" has 10001 items`},
		{"chat", `{"model":"tiny","messages":[{"role":"user"}],"tools":` + list(10001, `1`) + `}`, `chat: argument "tools" has 10001 items`},
		{"embed", `{"model":"tiny","input":` + list(10001, `"x"`) + `}`, `embed: argument "input" has 10001 items`},
		{"generate", `{"model":"tiny","prompt":"?","options":{"stop":` + list(10001, `"x"`) + `}}`, `generate: argument "options.stop" has 10001 items`},
		{"generate", `{"model":"tiny","prompt":"?","fallback_models":` + list(33, `"x"`) + `}`, `generate: argument "fallback_models" has 33 items, and at most 32`},
	} {
		storyWith(t, &client{}, func(t *testing.T, c *client) {
			host := c.use(backendtest.New("gpu-1"))
			a := c.call(c.context(), tc.tool, tc.args)
			if text := a.Content[0].Text; !a.IsError || a.StructuredContent["code"] != "invalid_argument" || !strings.HasPrefix(text, tc.want) || len(text) > 200 {
				t.Errorf("%.80s: got %.300s, want %s", tc.args, text, tc.want)
			}
			if n := len(host.Calls()); n > 0 {
				t.Errorf("%.80s: the host was asked %d times", tc.args, n)
			}
		})
	}
}

func TestNumberBeyondTheRangeOfNumbersIsInvalid(t *testing.T) {
	places := map[string]string{
		"generate": `{"model":"tiny","prompt":"?","options":{"num_ctx":%s,"temperature":%[1]s}}|{"model":"tiny","prompt":"?","timeout_seconds":%s}|{"model":"tiny","prompt":"?","min_similarity":%s}`,
		"embed":    `{"model":"tiny","input":"x","dimensions":%s}`,
	}
	for tool, all := range places {
		for _, place := range strings.Split(all, "|") {
			for _, number := range []string{`"1e999"`, `"1e99999999"`, `"-1e999999"`, `1e-99999999`, `"1e-99999999"`, `"` + strings.Repeat("9", 3000) + `"`} {
				args := fmt.Sprintf(place, number)
				storyWith(t, &client{}, func(t *testing.T, c *client) {
					c.use(backendtest.New("gpu-1").Answer("x"))
					a := c.call(c.context(), tool, args)
					code := a.StructuredContent["code"]
					if tiny := number == `1e-99999999`; code != "invalid_argument" && !(tiny && code != "internal") {
						t.Errorf("%.120s: got %+v", args, a)
					}
				})
			}
		}
	}
}

func TestTimeLimitRunsFromTheArrivalOfTheRequest(t *testing.T) {
	for tool, args := range map[string]string{
		"generate": `{"model":"tiny","prompt":"?","timeout_seconds":5}`,
		"embed":    `{"model":"tiny","input":["x"],"timeout_seconds":5}`,
	} {
		story(t, func(t *testing.T, c *client) {
			c.use(backendtest.New("gpu-1").LoadTime(time.Hour))
			began := time.Now()
			a := c.call(caller.WithArrival(c.context(), began.Add(-4*time.Second)), tool, args)
			if took := time.Since(began); took != time.Second || a.StructuredContent["code"] != "timeout" {
				t.Errorf("%s: %v after %v, want a time-out after the second that was left", tool, a.StructuredContent["code"], took)
			}
		})
	}
}
