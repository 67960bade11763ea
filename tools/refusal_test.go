package tools_test

import (
	"strings"
	"testing"

	"ollama-mcp/internal/backend/backendtest"
)

func TestRefusalByAHostNamesTheNextStep(t *testing.T) {
	const chat, generate = `{"model":"tiny","messages":[{"role":"user","content":"?"}]}`, `{"model":"tiny","prompt":"?"}`
	for said, tc := range map[string]struct{ tool, args, want string }{
		"registry.ollama.ai/library/tiny:latest does not support tools": {
			"chat", chat, `chat: tiny: the model cannot call tools; list-models with capability "tools" names those that can`,
		},
		`"tiny" does not support thinking`: {
			"generate", generate, `generate: tiny: the model cannot think; list-models with capability "thinking" names those that can`,
		},
		"registry.ollama.ai/library/tiny:latest does not support insert": {
			"generate", generate, `generate: tiny: the model cannot fill in before a suffix; list-models with capability "insert" names those that can`,
		},
		`"tiny" does not support generate`: {
			"generate", generate, `generate: tiny: the model cannot answer with text; list-models with capability "completion" names those that can`,
		},
		"this model does not support embeddings": {
			"embed", `{"model":"tiny","input":"?"}`, `embed: tiny: the model cannot embed; list-models with capability "embedding" names those that can`,
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
			if a := c.fails(tc.tool, tc.args, "invalid_argument"); !strings.Contains(a.Content[0].Text, tc.want) {
				t.Errorf("%s: got %q, want %q", said, a.Content[0].Text, tc.want)
			}
		})
	}
}
