package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"ollama-mcp/internal/backend"
)

// chunk is an event of an answer, or a whole one, of /chat/completions or of /completions.
// What it does not name may be there in any form. The members that it names are taken in
// the forms that servers send, and are zero in all others.
type chunk struct {
	Error   json.RawMessage   `json:"error"`
	Choices oneOrMore[choice] `json:"choices"`
	Usage   usage             `json:"usage"`
}

type choice struct {
	Index        number `json:"index"`
	FinishReason label  `json:"finish_reason"`
	Usage        usage  `json:"usage"` // at Moonshot
	Error        json.RawMessage
	Text         textOrParts
	Delta        *delta // nil if there is none
	Message      *delta // of an answer that is not streamed
	Logprobs     logprobs
}

// logprobs are those of the tokens in a part of an answer. What has another form is left out,
// like that of the older API.
type logprobs []backend.Logprob

func (l *logprobs) UnmarshalJSON(raw []byte) error {
	var of struct {
		Content []backend.Logprob `json:"content"`
	}
	if err := json.Unmarshal(raw, &of); err != nil {
		return nil // the text of the answer is there all the same
	}
	*l = of.Content
	return nil
}

// delta is a part of an answer, or the whole of one.
type delta struct {
	Content          textOrParts         `json:"content"`
	Refusal          textOrParts         `json:"refusal"`           // said in the place of content
	Reasoning        textOrParts         `json:"reasoning"`         // Ollama, OpenRouter, newer vLLM
	ReasoningContent textOrParts         `json:"reasoning_content"` // DeepSeek, llama.cpp, older vLLM
	ToolCalls        oneOrMore[fragment] `json:"tool_calls"`
	FunctionCall     *fragmentFunction   `json:"function_call"` // before there were tools
}

// thoughts are the thoughts in a message, and the member that they are in. Some servers
// send them in two members, for clients that know either.
func (m *delta) thoughts() (name, thoughts string) {
	one, other := m.ReasoningContent.all(), m.Reasoning.all()
	switch {
	case one == "":
		name, thoughts = "reasoning", other
	case other == "" || one == other:
		name, thoughts = "reasoning_content", one
	default:
		name, thoughts = "reasoning_content", one+other
	}
	return name, m.Content.thinking + thoughts
}

func (c textOrParts) all() string { return c.thinking + c.text }

// fragments are the parts of tool calls in a message.
func (m *delta) fragments() []fragment {
	if m.FunctionCall != nil && len(m.ToolCalls) == 0 {
		return []fragment{{Function: *m.FunctionCall}}
	}
	return m.ToolCalls
}

func (m *delta) isEmpty() bool {
	_, thoughts := m.thoughts()
	return m.Content.text+m.Refusal.text+thoughts == "" && len(m.fragments()) == 0
}

// usage are the counts of tokens, under either name.
type usage struct {
	PromptTokens     number `json:"prompt_tokens"`
	CompletionTokens number `json:"completion_tokens"`
	InputTokens      number `json:"input_tokens"`
	OutputTokens     number `json:"output_tokens"`
}

// decode decodes JSON, and leaves out members of another type than is expected.
func decode(raw []byte, into any) error {
	err := json.Unmarshal(raw, into)
	if _, ok := errors.AsType[*json.SyntaxError](err); ok { // nothing has been decoded
		err = json.Unmarshal(valid(raw), into)
	}
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return nil // encoding/json goes on behind such a member
	}
	return err
}

// noNumbers are what Python writes for numbers that JSON does not have.
var noNumbers = []string{"NaN", "-Infinity", "Infinity"}

// valid is the JSON that some servers mean which write none: NaN and the like are null, and
// control characters in texts are escaped.
func valid(raw []byte) []byte {
	fixed := make([]byte, 0, len(raw)+16)
	inText := false
	for i := 0; i < len(raw); i++ {
		b := raw[i]
		switch {
		case inText && b < ' ':
			fixed = fmt.Appendf(fixed, `\u%04x`, b)
			continue
		case inText && b == '\\' && i+1 < len(raw):
			fixed = append(fixed, b)
			i++
			b = raw[i]
		case b == '"':
			inText = !inText
		case !inText:
			at := slices.IndexFunc(noNumbers, func(word string) bool { return bytes.HasPrefix(raw[i:], []byte(word)) })
			if at >= 0 {
				fixed = append(fixed, "null"...)
				i += len(noNumbers[at]) - 1
				continue
			}
		}
		fixed = append(fixed, b)
	}
	return fixed
}

// oneOrMore is a list, or a single element in its place.
type oneOrMore[T any] []T

func (l *oneOrMore[T]) UnmarshalJSON(raw []byte) error {
	switch raw[0] {
	case '[':
		return decode(raw, (*[]T)(l))
	case '{':
		*l = make([]T, 1)
		return decode(raw, &(*l)[0])
	}
	*l = nil
	return nil
}

// number is a whole number from 0 by its value, in whatever way it is written.
type number int

func (n *number) UnmarshalJSON(raw []byte) error {
	*n = 0
	text := strings.TrimSpace(strings.Trim(string(raw), `"`))
	if value, err := strconv.ParseFloat(text, 64); err == nil && value > 0 {
		*n = number(min(value, math.MaxInt32))
	}
	return nil
}

// label is a word or an id, by its text.
type label string

func (l *label) UnmarshalJSON(raw []byte) error {
	*l = ""
	switch {
	case raw[0] == '"':
		return json.Unmarshal(raw, (*string)(l))
	case raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9':
		*l = label(raw)
	}
	return nil
}

// textOrParts is a text, or the parts of one. Some of the parts may be thoughts.
type textOrParts struct{ text, thinking string }

func (c *textOrParts) UnmarshalJSON(raw []byte) error {
	*c = textOrParts{}
	switch raw[0] {
	case '"':
		return json.Unmarshal(raw, &c.text)
	case 'n': // null
		return nil
	case '[', '{':
		var parts any
		if err := json.Unmarshal(raw, &parts); err != nil {
			return err
		}
		if c.add(parts, false) || raw[0] == '[' {
			return nil
		}
	}
	c.text = string(raw) // a number or an object of another kind is an answer as well
	return nil
}

// add adds a text or its parts, and reports whether it knows what they are. Images and the
// like have no text.
func (c *textOrParts) add(part any, thought bool) (known bool) {
	switch part := part.(type) {
	case string:
		if thought {
			c.thinking += part
		} else {
			c.text += part
		}
		return true
	case []any:
		for _, p := range part {
			known = c.add(p, thought) || known
		}
	case map[string]any:
		kind, known := part["type"].(string)
		thought = thought || strings.Contains(kind, "think") || strings.Contains(kind, "reason")
		for _, name := range []string{"text", "value", "content", "refusal"} {
			known = c.add(part[name], thought) || known
		}
		for _, name := range []string{"thinking", "reasoning", "summary"} {
			known = c.add(part[name], true) || known
		}
		return known
	}
	return known
}

// isNothing reports whether a member is missing, or has a value that says nothing.
func isNothing(raw json.RawMessage) bool {
	switch string(bytes.TrimSpace(raw)) {
	case "", "null", `""`, "false", "0", "{}", "[]":
		return true
	}
	return false
}
