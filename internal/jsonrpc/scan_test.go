package jsonrpc_test

import (
	"testing"

	"ollama-mcp/internal/jsonrpc"
)

func TestStringEndsAtTheFirstQuoteThatIsNotEscaped(t *testing.T) {
	for text, want := range map[string]string{
		`"",1`:        `""`,
		`"a b","c"`:   `"a b"`,
		`"\"",1`:      `"\""`,
		`"a\\",1`:     `"a\\"`,
		`"a\\\"b",1`:  `"a\\\"b"`,
		`"never ends`: `"never ends`,
		`"nor\"`:      `"nor\"`,
		`"`:           `"`,
	} {
		const before = `{"n":`
		if got := jsonrpc.StringEnd([]byte(before+text), len(before)); (before + text)[len(before):got] != want {
			t.Errorf("%s ends at %d, want it to be %s", text, got, want)
		}
	}
}
