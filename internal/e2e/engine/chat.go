package engine

import (
	"encoding/json"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"unicode"
)

type message struct {
	Role    string
	Content json.RawMessage // text, or a list of parts
}

type kwargs struct {
	Thinking *bool `json:"enable_thinking"` // nil leaves it to the model
}

// chat answers models that have their chat template in their file. Ollama renders the
// templates of Modelfiles itself and asks for a completion.
func (e *Engine) chat(w http.ResponseWriter, r *http.Request, s Script) {
	var in struct {
		Messages []message
		Tools    []json.RawMessage
		NPredict *int     `json:"n_predict"`
		Stop     []string `json:"stop"`
		Kwargs   kwargs   `json:"chat_template_kwargs"`
	}
	if !decode(w, r, &in) {
		return
	}
	prompt := e.runner.Tokenize(e.render(in.Messages, len(in.Tools) > 0, in.Kwargs.Thinking))
	if !e.fits(w, prompt) {
		return
	}
	events := stream(w)
	send := func(delta map[string]any, finish any, t *timings) error {
		event := map[string]any{"choices": []any{map[string]any{"index": 0, "delta": delta, "finish_reason": finish}}}
		if t != nil {
			event["timings"] = t
		}
		return events(event)
	}
	// One of these holds the pieces that come: the answer, the thought, or a call.
	var inside string
	var call strings.Builder
	reason, t := e.generate(r, s, prompt, limitOf(in.NPredict), in.Stop, func(piece string) error {
		switch {
		case piece == "<think>", piece == "<tool_call>" && len(in.Tools) > 0:
			inside = piece
		case piece == "</think>", piece == "</tool_call>":
			inside = ""
		case inside == "<think>":
			return send(map[string]any{"reasoning_content": piece}, nil, nil)
		case inside == "<tool_call>":
			call.WriteString(piece)
		default:
			return send(map[string]any{"content": piece}, nil, nil)
		}
		return nil
	})
	finish := "stop"
	if reason == "limit" {
		finish = "length"
	}
	if call.Len() > 0 {
		finish = "tool_calls"
		var c struct {
			Name      string
			Arguments json.RawMessage
		}
		_ = json.Unmarshal([]byte(call.String()), &c) // a call that is broken goes out without a name
		_ = send(map[string]any{"tool_calls": []any{map[string]any{
			"index": 0, "id": "call_1", "type": "function",
			"function": map[string]any{"name": c.Name, "arguments": string(c.Arguments)},
		}}}, nil, nil)
	}
	_ = send(map[string]any{}, finish, &t) // the client may have gone
	_, _ = w.Write([]byte("data: [DONE]\n\n"))
}

func (e *Engine) applyTemplate(w http.ResponseWriter, r *http.Request, _ Script) {
	var in struct {
		Messages []message
		Tools    []json.RawMessage
		Kwargs   kwargs `json:"chat_template_kwargs"`
	}
	if decode(w, r, &in) {
		reply(w, map[string]any{"prompt": e.render(in.Messages, len(in.Tools) > 0, in.Kwargs.Thinking)})
	}
}

// render writes messages as the templates of the tiny models do.
func (e *Engine) render(messages []message, tools bool, think *bool) string {
	var prompt strings.Builder
	next := "<|assistant|>"
	if think != nil && !*think || !tools && strings.Contains(e.Model.ChatTemplate, "tools") {
		next = "<|answer|>"
	}
	for _, m := range messages {
		prompt.WriteString("<|" + m.Role + "|>" + text(m.Content) + "<|end|>")
		if m.Role == "tool" {
			next = "<|answer|>"
		}
	}
	return prompt.String() + next
}

func text(content json.RawMessage) string {
	var plain string
	if json.Unmarshal(content, &plain) == nil {
		return plain
	}
	var parts []struct{ Text string }
	_ = json.Unmarshal(content, &parts) // no text in it is no text
	var all strings.Builder
	for _, p := range parts {
		all.WriteString(p.Text)
	}
	return all.String()
}

func (e *Engine) embed(w http.ResponseWriter, r *http.Request, _ Script) {
	var in struct{ Input string }
	if !decode(w, r, &in) {
		return
	}
	tokens := len(e.runner.Tokenize(in.Input))
	reply(w, map[string]any{
		"data":  []any{map[string]any{"index": 0, "embedding": vector(in.Input)}},
		"usage": map[string]any{"prompt_tokens": tokens},
	})
}

const width = 256

// vector is of length one, and near those of texts with the same words.
func vector(text string) []float32 {
	sum := make([]float64, width)
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	for _, word := range append(words, "") {
		hash := fnv.New64()
		hash.Write([]byte(word))
		random := rand.New(rand.NewPCG(hash.Sum64(), 0))
		for i := range sum {
			sum[i] += random.NormFloat64()
		}
	}
	var squares float64
	for _, x := range sum {
		squares += x * x
	}
	v := make([]float32, width)
	for i, x := range sum {
		v[i] = float32(x / math.Sqrt(squares))
	}
	return v
}
