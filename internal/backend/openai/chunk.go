package openai

import (
	"bytes"
	"encoding/json"
	"strings"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/remote"
)

// chunk is an event of an answer, or a whole one, of /chat/completions or of /completions.
// What it does not name may be there in any form. The members that it names are taken in
// the forms that servers send, and are zero in all others.
type chunk struct {
	Error   json.RawMessage          `json:"error"`
	Choices remote.OneOrMore[choice] `json:"choices"`
	Usage   usage                    `json:"usage"`
}

type choice struct {
	Index        remote.Number `json:"index"`
	FinishReason remote.Label  `json:"finish_reason"`
	Usage        usage         `json:"usage"` // at Moonshot
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
	Content          textOrParts                `json:"content"`
	Refusal          textOrParts                `json:"refusal"`           // said in the place of content
	Reasoning        textOrParts                `json:"reasoning"`         // Ollama, OpenRouter, newer vLLM
	ReasoningContent textOrParts                `json:"reasoning_content"` // DeepSeek, llama.cpp, older vLLM
	ToolCalls        remote.OneOrMore[fragment] `json:"tool_calls"`
	FunctionCall     *fragmentFunction          `json:"function_call"` // before there were tools
}

// thoughts are the thoughts in a message, and the member that they are in. Some servers
// send them in two members, for clients that know either.
func (m *delta) thoughts() (name string, thoughts remote.Text) {
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

func (c textOrParts) all() remote.Text { return c.thinking + c.text }

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
	PromptTokens     remote.Number `json:"prompt_tokens"`
	CompletionTokens remote.Number `json:"completion_tokens"`
	InputTokens      remote.Number `json:"input_tokens"`
	OutputTokens     remote.Number `json:"output_tokens"`
}

// textOrParts is a text, or the parts of one. Some of the parts may be thoughts.
type textOrParts struct{ text, thinking remote.Text }

func (c *textOrParts) UnmarshalJSON(raw []byte) error {
	*c = textOrParts{}
	known, err := c.add(raw, false)
	if err == nil && !known && raw[0] != '[' && raw[0] != 'n' {
		c.text = remote.Text(raw) // a number or an object of another kind is an answer as well
	}
	return err
}

// add adds a text or its parts, and reports whether it knows what they are. Images and the
// like have no text.
func (c *textOrParts) add(raw json.RawMessage, thought bool) (known bool, err error) {
	if len(raw) == 0 {
		return false, nil
	}
	switch raw[0] {
	case '"':
		var text remote.Text
		err = json.Unmarshal(raw, &text)
		if thought {
			c.thinking += text
		} else {
			c.text += text
		}
		return true, err
	case '[':
		var parts []json.RawMessage
		if err := json.Unmarshal(raw, &parts); err != nil {
			return false, err
		}
		for _, part := range parts {
			isKnown, err := c.add(part, thought)
			if err != nil {
				return false, err
			}
			known = known || isKnown
		}
	case '{':
		var part map[string]json.RawMessage
		if err := json.Unmarshal(raw, &part); err != nil {
			return false, err
		}
		return c.addPart(part, thought)
	}
	return known, nil
}

func (c *textOrParts) addPart(part map[string]json.RawMessage, thought bool) (known bool, err error) {
	var kind string
	known = len(part["type"]) > 0 && part["type"][0] == '"' && json.Unmarshal(part["type"], &kind) == nil
	thought = thought || strings.Contains(kind, "think") || strings.Contains(kind, "reason")
	for _, name := range []string{"text", "value", "content", "refusal", "thinking", "reasoning", "summary"} {
		isKnown, err := c.add(part[name], thought || name == "thinking" || name == "reasoning" || name == "summary")
		if err != nil {
			return false, err
		}
		known = known || isKnown
	}
	return known, nil
}

// isNothing reports whether a member is missing, or has a value that says nothing.
func isNothing(raw json.RawMessage) bool {
	switch string(bytes.TrimSpace(raw)) {
	case "", "null", `""`, "false", "0", "{}", "[]":
		return true
	}
	return false
}
