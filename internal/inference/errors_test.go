package inference_test

import (
	"strings"
	"testing"

	"ollama-mcp/internal/backend/backendtest"
)

func TestRequestThatCrashesModelsIsNotRetryable(t *testing.T) {
	for tool, tc := range map[string]struct {
		args   string
		status int
		said   string
	}{
		"generate": {`{"model":"tiny","prompt":"?"}`, 500, "model runner has unexpectedly stopped"},
		"embed":    {`{"model":"tiny","input":["?"]}`, 400, `do embedding request: Post "http://127.0.0.1:35795/embedding": EOF`},
	} {
		story(t, func(t *testing.T, c *client) {
			host := c.use(backendtest.New("gpu-1").FailWhen(func(backendtest.Call) backendtest.Fault { return backendtest.Refuse(tc.status, tc.said) }))
			a := c.fails(tool, tc.args, "upstream", "this request crashes the model", "change the request")
			if n := len(host.Calls()); a.err.Retryable || n != 2 {
				t.Errorf("%s: got %v after %d tries, want 2", tool, a, n)
			}
		})
	}
}

func TestProvidersFailureHasAHintThatItsCallerCanFollow(t *testing.T) {
	for said, want := range map[string]struct {
		status int
		code   string
		hint   string
	}{
		"Your credit balance is too low.": {400, "unauthorized", "the account with openai has no credit left"},
		"CUDA error: out of memory":       {500, "upstream", "(HTTP 500); use another model"},
		"XML syntax error on line 5":      {500, "upstream", "offer fewer or simpler tools"},
		"boom":                            {500, "upstream", "(HTTP 500); try again, or use another model"},
		"what is this?":                   {400, "invalid_argument", "change what openai objects to"},
	} {
		story(t, func(t *testing.T, c *client) {
			_, cloud := c.ladder()
			failing(cloud, backendtest.Refuse(want.status, said), "gpt")
			if a := c.fails("generate", `{"model":"openai/gpt","prompt":"?"}`, want.code, want.hint); a.err.Retryable != (said == "boom") {
				t.Errorf("%s: retryable is %v", said, a.err.Retryable)
			}
		})
	}
}

func TestHostsRefusalHasAHintAtTheNextStep(t *testing.T) {
	const chat, generate = `{"model":"tiny","messages":[{"role":"user","content":"?"}]}`, `{"model":"tiny","prompt":"?"}`
	for said, tc := range map[string]struct{ tool, args, want string }{
		"registry.ollama.ai/library/tiny:latest does not support tools": {
			"chat", chat, `tiny: the model does not support tools; list-models with capability "tools" names those that have it`,
		},
		`"tiny" does not support thinking`: {
			"generate", generate, `tiny: the model does not support thinking; list-models with capability "thinking" names those that have it`,
		},
		"registry.ollama.ai/library/tiny:latest does not support insert": {
			"generate", generate, `tiny: the model does not support insert; list-models with capability "insert" names those that have it`,
		},
		`"tiny" does not support generate`: {
			"generate", generate, `tiny: the model does not support generate; list-models with capability "completion" names those that have it`,
		},
		"this model does not support embeddings": {
			"embed", `{"model":"tiny","input":["?"]}`, `tiny: the model does not support embeddings; list-models with capability "embedding" names those that have it`,
		},
		"invalid JSON schema in format": {
			"generate", generate, `invalid JSON schema in format (HTTP 400); Ollama knows a part of JSON schema only: use a simpler one`,
		},
		"what is this?": {
			"generate", generate, `what is this? (HTTP 400); it would fail again: change what the host objects to`,
		},
	} {
		story(t, func(t *testing.T, c *client) {
			c.use(backendtest.New("gpu-1").FailWhen(func(backendtest.Call) backendtest.Fault { return backendtest.Refuse(400, said) }))
			if a := c.fails(tc.tool, tc.args, "invalid_argument"); !strings.Contains(a.text, tc.want) {
				t.Errorf("%s: got %q, want %q", said, a.text, tc.want)
			}
		})
	}
}
