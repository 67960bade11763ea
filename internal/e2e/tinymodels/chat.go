package tinymodels

import "strings"

// Says answers one sentence and stops by itself. It can only complete: it has no
// tools, no thoughts and no insertion. With a JSON schema, every string that the
// schema leaves open becomes the sentence.
var Says = chat("tiny-says", messages+assistant, Model{Answer: "The quick brown fox jumps over the lazy dog."},
	path{assistant, "The", " quick", " brown", " fox", " jumps", " over", " the", " lazy", " dog.", end},
	path{plain, "The"},
)

// Loops never stops by itself: it says " tick tock" until it has used num_predict,
// or its caller has had enough.
var Loops = lasting(chat("tiny-loops", messages+assistant, Model{},
	path{assistant, " tick", " tock", " tick"},
	path{plain, " tick"},
))

// Stutters says one word over and over. Ollama gives up after some thirty of them
// and closes the stream with neither an error nor a line that says done.
var Stutters = chat("tiny-stutters", messages+assistant, Model{},
	path{assistant, " no", " no"},
	path{plain, " no"},
)

// JSON answers an object, token by token, whether or not a format is asked for.
// With another schema than its own it answers about the smallest object that fits.
var JSON = chat("tiny-json", messages+assistant, Model{Answer: "{\n  \"answer\": 42\n}"},
	// The line breaks keep these pieces out of strings that a schema asks for.
	path{assistant, "{\n  \"", "answer", "\": ", "42", "\n}", end},
	path{plain, "{\n  \""},
)

// ToolCall calls the tool get_weather with {"city": "Oslo"} whenever it is given
// tools, and answers in words once a tool has spoken, or when it has none.
var ToolCall = chat("tiny-toolcall", toolMessages, Model{Answer: "It is sunny in Oslo."},
	path{assistant, "<tool_call>", `{"name": "`, "get_weather", `", "arguments": `, `{"city": "`, "Oslo", `"}}`, "</tool_call>", end},
	path{answer, "It", " is", " sunny", " in", " Oslo.", end},
	path{plain, "It"},
)

// Thinks thinks, then answers. Asked not to think, it answers at once.
var Thinks = chat("tiny-thinks", thoughtMessages, Model{Answer: "It is four.", Thought: "Two and two make what?"},
	path{assistant, "<think>", "Two", " and", " two", " make", " what?", "</think>", "It", " is", " four.", end},
	path{answer, "It"},
	path{plain, "It"},
)

// ThinksForever spends all it may say on thought and never answers.
var ThinksForever = chat("tiny-thinks-forever", thoughtMessages, Model{},
	path{assistant, "<think>", " hmm", " well", " hmm"},
	path{answer, " hmm"},
	path{plain, " hmm"},
)

// Fills completes text between a prompt and a suffix.
var Fills = chat("tiny-fills", "{{ if .Suffix }}{{ .Prompt }}{{ .Suffix }}{{ else }}"+messages+"{{ end }}"+assistant, Model{Answer: "return a + b"},
	path{assistant, "return", " a", " +", " b", end},
	path{plain, "return"},
)

// lasting gives a model the largest context there is. Ollama ends every answer at ten
// times the context, which with the usual one would be a matter of seconds.
func lasting(m Model) Model {
	m.Parameters["num_ctx"] = contextLength
	return m
}

func chat(name, template string, m Model, paths ...path) Model {
	m.Name = name
	m.Template = template
	m.Parameters = parameters()
	m.Parameters["repeat_penalty"] = 1
	m.paths = paths
	m.weights = chain(paths...)
	return m
}

// Ollama finds out from a template what a model can do, and in what form: that
// .Tools and .Suffix are there at all, and the text beside .ToolCalls and .Thinking.
const (
	messages = "{{ range .Messages }}<|{{ .Role }}|>{{ .Content }}<|end|>{{ end }}"

	toolCalls = `{{ if .ToolCalls }}<tool_call>{{ range .ToolCalls }}{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}{{ end }}</tool_call>{{ end }}`
	thought   = "{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}"
)

var (
	toolMessages = strings.Join([]string{
		"{{ if .Tools }}<|system|>{{ .Tools }}<|end|>{{ end }}",
		"{{ $last := \"\" }}{{ range .Messages }}{{ $last = .Role }}",
		"<|{{ .Role }}|>{{ .Content }}" + toolCalls + "<|end|>{{ end }}",
		"{{ if and .Tools (ne $last \"tool\") }}" + assistant + "{{ else }}" + answer + "{{ end }}",
	}, "")

	// To meet a format, Ollama lets a model think freely and then asks again with
	// the thought as the last message: that message is to be continued, not ended.
	thoughtMessages = strings.Join([]string{
		"{{ $last := \"\" }}{{ range .Messages }}{{ $last = .Role }}",
		"<|{{ .Role }}|>" + thought + "{{ .Content }}{{ if ne .Role \"assistant\" }}<|end|>{{ end }}{{ end }}",
		"{{ if ne $last \"assistant\" }}",
		"{{ if and .IsThinkSet (not .Think) }}" + answer + "{{ else }}" + assistant + "{{ end }}{{ end }}",
	}, "")
)
