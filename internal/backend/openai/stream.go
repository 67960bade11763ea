package openai

import (
	"bytes"
	"encoding/json"
	"io"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/remote"
)

// chunk is one event of an answer, of /chat/completions or of /completions.
type chunk struct {
	Error   json.RawMessage `json:"error"`
	Choices []choice        `json:"choices"`
	Usage   *usage          `json:"usage"`
}

type choice struct {
	Index        int    `json:"index"`
	FinishReason string `json:"finish_reason"`
	Text         string `json:"text"`
	Delta        struct {
		Content          string     `json:"content"`
		Refusal          string     `json:"refusal"`           // said in the place of content
		Reasoning        string     `json:"reasoning"`         // Ollama, OpenRouter, newer vLLM
		ReasoningContent string     `json:"reasoning_content"` // DeepSeek, llama.cpp, older vLLM
		ToolCalls        []fragment `json:"tool_calls"`
	} `json:"delta"`
}

type usage struct {
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
}

// reading is the state of an answer that is being read.
type reading struct {
	*remote.Assembly
	finish string // why the model stopped; empty until it says so
	done   bool   // the end mark has been read
	usage  *usage // nil until the server reports it
	calls  []*call
}

// read reads an answer to its end, which is [DONE], or the end of the body after a
// finish_reason. An answer with neither was cut off.
func read(a *remote.Assembly, lines *remote.Lines) error {
	r := reading{Assembly: a}
	var limit *time.Timer
	for !r.done {
		line, err := lines.Next()
		switch {
		case err != nil && r.finish != "":
			return r.end()
		case err != nil:
			return err
		}
		if err := r.line(line); err != nil {
			return err
		}
		if r.finish != "" && limit == nil { // the token counts come next, or never
			limit = time.AfterFunc(remote.DrainTimeout, func() { lines.Close() })
			defer limit.Stop()
		}
	}
	if r.finish == "" {
		return io.EOF
	}
	return r.end()
}

func (r *reading) line(line []byte) error {
	switch data := payload(line); string(data) {
	case "":
		return nil
	case "[DONE]":
		r.done = true
		if r.finish == "" && r.Pieces() > 0 { // without any, there was no answer
			r.finish = "stop"
		}
		return nil
	default:
		return r.add(data)
	}
}

// payload is the data in a line of an event stream. A line that belongs to no event
// stream is returned as it is: it may be an error in JSON.
func payload(line []byte) []byte {
	field, value, _ := bytes.Cut(line, []byte(":"))
	switch string(field) {
	case "data":
		return bytes.TrimSpace(value)
	case "", "event", "id", "retry": // "" is a comment, which some servers send to keep the connection alive
		return nil
	}
	return bytes.TrimSpace(line)
}

// add adds an event.
func (r *reading) add(data []byte) error {
	var c chunk
	if err := json.Unmarshal(data, &c); err != nil {
		return err
	}
	if len(c.Error) > 0 && string(c.Error) != "null" {
		return streamError(data)
	}
	if c.Usage != nil {
		r.usage = c.Usage
	}
	for _, choice := range c.Choices {
		if choice.Index != 0 { // only one answer was requested
			continue
		}
		d := &choice.Delta
		if err := r.Add(choice.Text+d.Content+d.Refusal, d.Reasoning+d.ReasoningContent); err != nil {
			return err
		}
		for _, f := range d.ToolCalls {
			r.Arrived()
			if err := r.Hold(len(data)); err != nil {
				return err
			}
			r.calls = f.addTo(r.calls)
		}
		if choice.FinishReason != "" {
			r.finish = choice.FinishReason
		}
	}
	return nil
}

// end completes the answer.
func (r *reading) end() error {
	got := &r.Answer
	switch r.finish {
	case "tool_calls", "function_call":
		got.DoneReason = "stop" // as Ollama says
	default:
		got.DoneReason = backend.EndReason(r.finish)
	}
	got.Tokens = r.Pieces()
	if r.usage != nil {
		got.PromptTokens, got.Tokens = r.usage.PromptTokens, r.usage.CompletionTokens
	}
	for _, c := range r.calls {
		complete, err := c.complete()
		switch {
		case err == nil:
			got.ToolCalls = append(got.ToolCalls, complete)
		case r.finish != "length": // then the last call is cut, as the reason says
			return err
		}
	}
	return nil
}
