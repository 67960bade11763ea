package tools

import (
	"encoding/json"
	"strings"
	"testing"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
)

func TestFormatThatCannotBeUsedIsNamedAsTheArgument(t *testing.T) {
	for raw, want := range map[string]string{
		`{"type":"objekt"}`:                  `argument "format" is not a valid JSON schema`,
		`{"$ref":"#/nope"}`:                  `argument "format" is not a valid JSON schema: it refers to "#/nope", which is not in it`,
		`{"$ref":"#"}`:                       `argument "format" refers at "#" to itself and to nothing else`,
		`{"type":"string","maxLength":2001}`: `argument "format" has a maxLength of 2001 at "#"`,
	} {
		_, err := format{json.RawMessage(raw)}.compile()
		if err == nil || !strings.HasPrefix(err.Error(), want) || fault.Of(err).Code != fault.InvalidArgument {
			t.Errorf("%s: got %v, want %s", raw, err, want)
		}
	}
}

func TestAnswerIsHeldAgainstTheFormat(t *testing.T) {
	schema := `{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}`
	for _, tc := range []struct{ format, answer, want, done string }{
		{schema, `{"n":1}`, "", "stop"},
		{schema, `{"n":"one"}`, "/n", "stop"},
		{schema, `{}`, "missing", "stop"},
		{schema, `{"n":`, "does not fit the format: unexpected EOF; try again", "stop"},
		{schema, `{"n":`, "since it was cut after 0 tokens; raise options.num_predict", "length"},
		{schema, ` `, "does not fit the format: it is empty; try again", "stop"},
		{`"json"`, `{"anything":true}`, "", "stop"},
		{`"json"`, `[1]`, "want object", "stop"},
		{`{"type":"array"}`, `[1]`, "", "stop"},
	} {
		wanted, err := format{json.RawMessage(tc.format)}.compile()
		if err != nil {
			t.Fatal(err)
		}
		_, err = readAs(wanted, &backend.Answer{Text: tc.answer, DoneReason: tc.done})
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s for %s: got %v, want %q", tc.answer, tc.format, err, tc.want)
		}
	}
}
