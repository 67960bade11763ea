package backendtest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/ollama/ollama/api"

	"ollama-mcp/internal/backend"
)

// openAIPath is the prefix of the OpenAI API's paths.
const openAIPath = "/v1/"

func isOpenAI(path string) bool { return strings.HasPrefix(path, openAIPath) }

// readOpenAI reads the parts of a request that the host supports.
func (c *Call) readOpenAI() error {
	var req struct {
		Model    string
		Prompt   string
		Suffix   string
		Messages []struct {
			Role    string
			Content any // a text, or a list of parts
		}
		Input         any
		Dimensions    int
		MaxTokens     *float64 `json:"max_tokens"`
		Logprobs      any      // a truth, or the number of alternatives in /completions
		TopLogprobs   int      `json:"top_logprobs"`
		StreamOptions struct {
			IncludeUsage bool `json:"include_usage"`
		} `json:"stream_options"`
	}
	if err := json.Unmarshal(c.Body, &req); err != nil {
		return err
	}
	c.Model, c.truncate, c.wantsUsage = req.Model, new(false), req.StreamOptions.IncludeUsage
	if req.MaxTokens != nil {
		c.Options = map[string]any{"num_predict": *req.MaxTokens}
	}
	switch strings.TrimPrefix(c.Path, openAIPath) {
	case "chat/completions":
		c.Chat = &api.ChatRequest{Model: req.Model, Logprobs: req.Logprobs == true, TopLogprobs: req.TopLogprobs}
		for _, m := range req.Messages {
			c.Prompt, _ = m.Content.(string)
			c.text += c.Prompt
			c.Chat.Messages = append(c.Chat.Messages, api.Message{Role: m.Role, Content: c.Prompt})
		}
	case "completions":
		c.Generate = &api.GenerateRequest{Model: req.Model, Prompt: req.Prompt, Suffix: req.Suffix}
		c.Prompt, c.text = req.Prompt, req.Prompt
	case "embeddings":
		c.Embed = &api.EmbedRequest{Model: req.Model, Input: req.Input, Dimensions: req.Dimensions}
		if in := c.inputs(); len(in) > 0 {
			c.Prompt = in[0]
		}
	}
	return nil
}

// openAIModels lists the models that the host has.
func (h *Host) openAIModels(w http.ResponseWriter) {
	list := []map[string]any{}
	for _, m := range h.tags().Models {
		list = append(list, map[string]any{"id": m.Name, "object": "model", "created": 1, "owned_by": "library"})
	}
	respond(w, http.StatusOK, map[string]any{"object": "list", "data": list})
}

// event sends a piece as the OpenAI API does; the last one takes three events.
func (o *output) event(p piece) {
	if o.w.Header().Get("Content-Type") == "" {
		o.w.Header().Set("Content-Type", "text/event-stream")
	}
	if p.done == "" {
		for _, delta := range o.deltas(p) {
			o.choice(delta, nil, p.logprobs)
		}
		return
	}
	o.choice(map[string]any{}, p.done, nil)
	if o.call.wantsUsage {
		in, out := p.metrics.PromptEvalCount, p.metrics.EvalCount
		o.data(map[string]any{"choices": []any{}, "usage": map[string]int{"prompt_tokens": in, "completion_tokens": out, "total_tokens": in + out}})
	}
	fmt.Fprint(o.w, "data: [DONE]\n\n")
}

// deltas are the additions of a piece to a message. A tool call comes in two parts.
func (o *output) deltas(p piece) []map[string]any {
	if len(p.calls) == 0 {
		return []map[string]any{{"role": "assistant", "content": p.text, "reasoning_content": p.thinking}}
	}
	var all []map[string]any
	for i, call := range p.calls {
		arguments := cmp.Or(string(call.Function.Arguments), "{}")
		half := len(arguments) / 2
		for _, part := range []map[string]any{
			{"index": i, "id": fmt.Sprintf("call_%d", i), "type": "function", "function": map[string]string{"name": call.Function.Name, "arguments": arguments[:half]}},
			{"index": i, "function": map[string]string{"arguments": arguments[half:]}},
		} {
			all = append(all, map[string]any{"tool_calls": []any{part}})
		}
	}
	return all
}

func (o *output) choice(delta map[string]any, finish any, logprobs []backend.Logprob) {
	choice := map[string]any{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": nil}
	if logprobs != nil {
		choice["logprobs"] = map[string]any{"content": logprobs, "refusal": nil}
	}
	if o.call.Generate != nil {
		choice = map[string]any{"index": 0, "text": delta["content"], "finish_reason": finish}
	}
	o.data(map[string]any{"choices": []any{choice}})
}

func (o *output) data(fields map[string]any) {
	fields["id"], fields["model"], fields["created"] = "1", o.call.Model, time.Now().Unix()
	line, _ := json.Marshal(fields) // such maps always can be
	fmt.Fprintf(o.w, "data: %s\n\n", line)
}

// openAIVectors puts the answer to an embed request into the OpenAI API's form.
func openAIVectors(got api.EmbedResponse) any {
	data := make([]map[string]any, len(got.Embeddings))
	for i, vector := range got.Embeddings {
		data[len(data)-1-i] = map[string]any{"object": "embedding", "index": i, "embedding": vector} // any order is right
	}
	return map[string]any{"object": "list", "data": data, "model": got.Model, "usage": map[string]int{"prompt_tokens": got.PromptEvalCount}}
}
