package app

import (
	"fmt"
	"strings"
	"testing"

	"ollama-mcp/internal/backend/backendtest"
)

func TestResourcesPromptsAndCompletionsAreServed(t *testing.T) {
	t.Parallel()
	host := "--host=" + backendtest.New("gpu-1").Listen(t)
	asks := []struct{ method, params, want string }{
		{"initialize", `{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}`, `"completions":{}`},
		{"resources/list", `{}`, `"uri":"ollama://models"`},
		{"resources/templates/list", `{}`, `"uriTemplate":"ollama://models/{+name}"`},
		{"resources/read", `{"uri":"ollama://models/tiny:latest"}`, `\"model\":\"tiny:latest\"`},
		{"resources/read", `{"uri":"ollama://models/nothere"}`, `"code":-32002`},
		{"resources/read", `{"uri":"ollama://models/a%20b"}`, `"code":-32602`},
		{"prompts/list", `{}`, `"name":"review-diff"`},
		{"prompts/get", `{"name":"delegate","arguments":{"task":"say hi"}}`, `say hi`},
		{"prompts/get", `{"name":"delegate","arguments":{}}`, `"code":-32602,"message":"argument \"task\" is missing`},
		{"completion/complete", `{"ref":{"type":"ref/prompt","name":"delegate"},"argument":{"name":"model","value":"ti"}}`, `"values":["tiny"]`},
		{"completion/complete", `{"ref":{"type":"ref/resource","uri":"ollama://models/{+name}"},"argument":{"name":"name","value":"t"}}`, `"values":["tiny"]`},
	}
	var in strings.Builder
	for i, a := range asks {
		fmt.Fprintf(&in, `{"jsonrpc":"2.0","id":"ask-%d","method":%q,"params":%s}`+"\n", i, a.method, a.params)
	}
	out, errs, _ := program(t, in.String(), nil, host)
	for i, a := range asks {
		_, answer, found := strings.Cut(out, fmt.Sprintf(`"id":"ask-%d",`, i))
		answer, _, _ = strings.Cut(answer, "\n")
		if !found || !strings.Contains(answer, a.want) {
			t.Errorf("%s %s: got %s, want %s; %s", a.method, a.params, answer, a.want, errs)
		}
	}
}
