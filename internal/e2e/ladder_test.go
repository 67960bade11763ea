package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

// ladderFile is a configuration file with hosts a, b and so on, and with the OpenAI
// API of another Ollama as the provider cloud. The ladder of the alias pro are the
// models that it tries.
func ladderFile(t *testing.T, try string, provider *ollamatest.Server, hosts ...*ollamatest.Server) (name string) {
	t.Helper()
	var yaml strings.Builder
	fmt.Fprintf(&yaml, "providers:\n  cloud: {kind: openai, url: %q}\n", provider.URL()+"/v1")
	fmt.Fprintf(&yaml, "models:\n  pro: {try: [%s]}\nhosts:\n", try)
	for i, host := range hosts {
		fmt.Fprintf(&yaml, "  - {name: %c, url: %q}\n", 'a'+i, host.URL())
	}
	name = filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(name, []byte(yaml.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// atProvider counts the requests that a provider is done with.
func atProvider(s *ollamatest.Server) int {
	return ended(s, "/v1/chat/completions") + ended(s, "/v1/completions")
}

func TestProviderServesWhatAHostDoes(t *testing.T) {
	s := connect(t, shared, "OLLAMA_MCP_CONFIG="+ladderFile(t, "tiny-says", shared, shared), fullMeta)
	for tool, args := range map[string]string{
		"generate": `{"model":"cloud/tiny-says","prompt":"hi"}`,
		"chat":     `{"model":"cloud/tiny-says","messages":[{"role":"user","content":"hi"}]}`,
	} {
		a := s.succeeds(tool, args)
		got := a.Meta.Served
		if a.text() != tinymodels.Says.Answer || got.Source != "cloud" || got.Host != "cloud" || got.Model != "cloud/tiny-says" || got.TokensOut == 0 {
			t.Errorf("%s: got %+v", tool, a)
		}
	}

	const tools = `"tools":[{"type":"function","function":{"name":"get_weather","description":"d","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}]`
	const ask = `{"model":"cloud/tiny-toolcall",` + tools + `,"messages":[{"role":"user","content":"weather?"}`
	a := s.succeeds("chat", ask+`]}`)
	if !strings.Contains(a.text(), `"city":"Oslo"`) || a.StructuredContent["tool_calls"] == nil {
		t.Errorf("tools: got %+v, want a call for Oslo", a)
	}
	if a := s.succeeds("chat", ask+`,{"role":"assistant",`+strings.TrimPrefix(a.text(), "{")+`,{"role":"tool","tool_name":"get_weather","content":"sunny"}]}`); a.text() != tinymodels.ToolCall.Answer {
		t.Errorf("the tool's result: got %+v", a)
	}

	s.fails("chat", `{"model":"cloud/none","messages":[{"role":"user","content":"hi"}]}`, "model_not_found", "cloud")
	s.fails("chat", `{"model":"cloud/tiny-words","messages":[{"role":"user","content":"hi"}]}`, "invalid_argument", "does not support chat")

	p := s.start("chat", `{"model":"cloud/tiny-loops","messages":[{"role":"user","content":"hi"}]}`)
	p.until(" tokens, ")
	before := atProvider(shared) // by now it has logged the calls that ended before
	p.cancel()
	eventually(t, "the provider has stopped", func() bool { return atProvider(shared) == before+1 })
}

func TestAnswerComesFromTheProviderWhenTheHostDiesInTheMiddleOfIt(t *testing.T) {
	t.Parallel()
	withAndWithoutCache(t, func(t *testing.T, env ...string) {
		host := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Loops}})
		provider := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Says}})
		s := connect(t, host, append(env, "OLLAMA_MCP_CONFIG="+ladderFile(t, "tiny-loops, cloud/tiny-says", provider, host), fullMeta)...)
		p := s.start("chat", `{"model":"pro","messages":[{"role":"user","content":"hi"}]}`)
		p.until(" tokens, ")
		host.Kill()
		a := p.result()
		got := a.Meta.Served
		if a.IsError || a.text() != tinymodels.Says.Answer {
			t.Errorf("got %+v, want the provider's answer and nothing of the host's", a)
		}
		if got.Requested != "pro" || got.Model != "cloud/tiny-says" || got.Source != "cloud" || !strings.Contains(s.wire.String(), `"rung":2`) {
			t.Errorf("served by %+v, want the second rung", got)
		}
		if !strings.Contains(a.rest(), "Answered by cloud/tiny-says instead of tiny-loops (a: ") {
			t.Errorf("the reader is not told: %q", a.rest())
		}

		eventually(t, "the provider has seen that call", func() bool { return atProvider(provider) == 1 }) // its log is behind the answer
		s.fails("generate", `{"model":"pro","prompt":"hi","local_only":true}`, "no_host", "tiny-loops (a: ", "local_only")
		s.fails("generate", `{"model":"cloud/tiny-says","prompt":"hi","local_only":true}`, "forbidden", "local_only")
		s.succeeds("chat", `{"model":"pro","messages":[{"role":"user","content":"hello"}]}`)
		eventually(t, "the provider has seen one call more, that of one who let it", func() bool { return atProvider(provider) == 2 })
	})
}
