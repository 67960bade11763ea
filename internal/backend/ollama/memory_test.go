package ollama_test

import (
	"errors"
	"strings"
	"testing"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/backend/ollama"
	"ollama-mcp/internal/backend/remote"
)

func TestAnswerThatIsTooLargeFailsAndGivesItsMemoryBack(t *testing.T) {
	const toolCall = `{"message":{"tool_calls":[{"function":{"name":"f","arguments":{"a":"b"}}}]}}` + "\n"
	for name, fault := range map[string]backendtest.Fault{
		"many pieces": nil,
		"one line":    backendtest.HugeLine(1 << 20),
		"tool calls":  backendtest.Respond(200, "application/x-ndjson", strings.Repeat(toolCall, 5_000)),
		"one value":   backendtest.Respond(200, "application/json", "{\n\"response\":\""+strings.Repeat("x", 1<<20)+"\",\"done\":true}"),
	} {
		memory := remote.NewMemory(0, 256<<10)
		fake := backendtest.New("a").Answer(strings.Repeat(strings.Repeat("x", 1<<13)+" ", 100))
		if fault != nil {
			fake.Break(fault)
		}
		host := open(t, ollama.Options{Name: "a", URL: fake.Listen(t), Memory: memory})
		for _, way := range []string{"generate", "chat"} {
			err := ways[way](t.Context(), host)
			if !errors.Is(err, backend.TooLarge) || err.Error() != "a: answer too large: it takes more than the 262144 bytes allowed for one answer" {
				t.Errorf("%s, %s: got %v", name, way, err)
			}
			if held := memory.Held(); held != 0 {
				t.Errorf("%s, %s: %d bytes are held afterwards", name, way, held)
			}
		}
	}
}

func TestListsAndVectorsAreBoundedToo(t *testing.T) {
	memory := remote.NewMemory(0, 64<<10)
	fake := backendtest.New("a").Break(backendtest.Respond(200, "application/json", `{"version":"`+strings.Repeat("x", 256<<10)+`"}`))
	host := open(t, ollama.Options{URL: fake.Listen(t), Memory: memory})
	for _, way := range []string{"embed", "models", "running", "show", "version"} {
		if err := ways[way](t.Context(), host); !errors.Is(err, backend.TooLarge) {
			t.Errorf("%s: got %v", way, err)
		}
		if held := memory.Held(); held != 0 {
			t.Errorf("%s: %d bytes are held afterwards", way, held)
		}
	}
}
