package cases_test

import (
	"fmt"
	"strings"
)

// meanings are cases of the semantic cache. The host finds every two questions equally
// similar, so what the words mean decides alone.
var meanings = meaningRows()

func meaningRows() (rows []row) {
	add := func(name, one, other string, asked int, source string) {
		both := []call{
			{tool: generate, args: fmt.Sprintf(`{"model":"m","prompt":%q}`, one), words: []string{`"source":"local"`}},
			{tool: generate, args: fmt.Sprintf(`{"model":"m","prompt":%q}`, other), words: []string{source}},
		}
		host := &backend{
			of:      map[string]reply{`"input"`: lines(`{"model":"e","embeddings":[[1,0]]}`)},
			replies: []reply{text("an answer")},
		}
		rows = append(rows, row{
			name: name + ": " + one + " / " + other, backends: backends{"a": host},
			flags: []string{"--semantic-cache=on", "--semantic-model=e"},
			calls: both, asked: map[string]int{"a": asked + 2}, // and a vector for each
		})
	}
	for _, pair := range [][2]string{
		{"Write letters to Anna", "Write letters about Anna"},
		{"Delete my files", "Delete your files"},
		{"Do I have to restart the server?", "How do I restart the server?"},
		{"Did it rain in Oslo?", "Does it rain in Oslo?"},
		{"Schreib eine Mail an Anna", "Schreib eine Mail für Anna"},
		{"把这封信给安娜", "把这封信被安娜"},
		{"Explain how to boil an egg", "Explain how to boil two eggs"},
	} {
		add("two questions are two", pair[0], pair[1], 2, `"source":"local"`)
	}
	for _, pair := range [][2]string{
		{"What is a Docker container?", "Please tell me what a Docker container is."},
		{"什么是 Docker 容器？", "Docker 容器是什么意思？"},
		{"What is the capital of France?", "What is the capital city of France?"},
		{"How do I boil an egg?", "Tell me how to boil eggs."},
		{"Erkläre mir die Abseitsregel.", "Könnten Sie mir bitte die Abseitsregel erklären?"},
	} {
		add("a paraphrase shares an answer", pair[0], pair[1], 1, `"source":"cache-semantic"`)
	}
	return rows
}

// abuses are cases of callers and models that take all they can get.
var abuses = []row{
	{
		name:     "a schema whose references double at each level is refused before a host is asked",
		backends: backends{"a": replies(text(`{}`))},
		calls:    slicesOf(4, call{tool: generate, args: `{"model":"m","prompt":"hi","format":{"not":{"$ref":"#/$defs/a0"},"$defs":{` + doubling(60) + `}}}`, code: "invalid_argument"}),
	}, {
		name:     "numbers outside the range of a double do not fit, and the text is not lost",
		backends: backends{"a": replies(text("[" + strings.Repeat("1e999999,", 399) + "1e999999]"))},
		calls:    []call{{tool: generate, args: `{"model":"m","prompt":"hi","format":{"type":"array","items":{"type":"number","minimum":0}}}`, code: "upstream", words: []string{"does not fit", "1e999999"}}},
		asked:    map[string]int{"a": 2},
	}, {
		name:     "a huge number does not fit, and the text is not lost",
		backends: backends{"a": replies(text(`{"a":1e99999999}`))},
		calls:    []call{{tool: generate, args: `{"model":"m","prompt":"hi","format":{"type":"object","properties":{"a":{"type":"number","minimum":0}}}}`, code: "upstream", words: []string{"does not fit", "1e99999999"}}},
		asked:    map[string]int{"a": 2},
	}, {
		name:     "a list that is too long is one fault",
		backends: backends{"a": replies(text("Paris"))},
		calls: []call{
			{tool: embed, args: `{"model":"e","input":["same"` + strings.Repeat(`,"same"`, 20_000) + `]}`, code: "invalid_argument", words: []string{"10000"}},
			{tool: chat, args: `{"model":"m","messages":[1` + strings.Repeat(`,1`, 20_000) + `]}`, code: "invalid_argument", words: []string{"10000"}},
		},
	}, {
		name:     "a message that two readers may take differently is refused",
		backends: backends{"a": replies(text("Paris"))},
		calls: []call{
			{message: `{"jsonrpc":"2.0","id":7,"method":"tools/list","Method":"tools/call","params":{"name":"generate","arguments":{"model":"m","prompt":"hi"}}}`, refused: true},
			{message: `{"jsonrpc":"2.0","id":7,"method":"tools/list","method":"tools/call","params":{"name":"generate","arguments":{"model":"m","prompt":"hi"}}}`, refused: true},
		},
	},
}

// doubling are definitions of which each refers twice to the next.
func doubling(levels int) string {
	var all []string
	for n := range levels {
		all = append(all, fmt.Sprintf(`"a%d":{"allOf":[{"$ref":"#/$defs/a%d"},{"$ref":"#/$defs/a%d"}]}`, n, n+1, n+1))
	}
	return strings.Join(append(all, fmt.Sprintf(`"a%d":{"type":"string"}`, levels)), ",")
}
