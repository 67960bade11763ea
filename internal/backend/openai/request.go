package openai

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ollama-mcp/internal/backend"
)

// request is the body of a request. A map, for most of it are options that are
// there or not.
type request map[string]any

// parameters are the options that the API supports, by Ollama's names.
var parameters = map[string]string{
	"temperature":       "temperature",
	"top_p":             "top_p",
	"seed":              "seed",
	"stop":              "stop",
	"presence_penalty":  "presence_penalty",
	"frequency_penalty": "frequency_penalty",
}

// maxTokensParameter is a server's name for num_predict. OpenAI refuses the old name for
// its newer models; other servers, among them forks of llama.cpp, ignore the new name and
// would generate without limit.
func maxTokensParameter(host string) string {
	if host == "api.openai.com" || strings.HasSuffix(host, ".openai.azure.com") {
		return "max_completion_tokens"
	}
	return "max_tokens"
}

// Chat implements backend.Backend.
func (h *Host) Chat(ctx context.Context, req *backend.ChatRequest, onPiece func(backend.Piece)) (*backend.Answer, error) {
	if len(req.Messages) == 0 {
		return nil, h.conn.BadRequest("there are no messages; such a server cannot be told to load a model")
	}
	sent := h.begin(req.Model)
	sent["messages"] = messages(req.Messages, true)
	if len(req.Tools) > 0 {
		sent["tools"] = req.Tools
	}
	var dropped []string
	sent.format(req.Format)
	if req.Logprobs {
		sent["logprobs"] = true
		if req.TopLogprobs > 0 {
			sent["top_logprobs"] = req.TopLogprobs
		}
	}
	dropped = sent.think(dropped, req.Think)
	dropped = sent.options(dropped, h.maxTokens, req.Options)
	q := newQuestion("/chat/completions", sent, dropped)
	if haveThoughts(req.Messages) {
		plain := func(r request) string {
			r["messages"] = messages(req.Messages, false)
			return "thinking"
		}
		q.others = slices.Insert(q.others, 0, alternative{
			member: "thoughts", words: []string{"reasoning_content", ".reasoning", "'reasoning'", `"reasoning"`}, isPlain: true, forms: []form{plain},
		})
	}
	return h.ask(ctx, q, onPiece)
}

// Generate implements backend.Backend. A prompt becomes a chat of one message,
// since few servers still complete text; only raw prompts and those with a suffix
// need one that does.
func (h *Host) Generate(ctx context.Context, req *backend.GenerateRequest, onPiece func(backend.Piece)) (*backend.Answer, error) {
	if req.Prompt == "" && req.Suffix == "" && len(req.Images) == 0 {
		return nil, h.conn.BadRequest("there is no prompt; such a server cannot be told to load a model")
	}
	if req.Raw || req.Suffix != "" {
		return h.complete(ctx, req, onPiece)
	}
	chat := backend.ChatRequest{
		Model: req.Model, Format: req.Format, Think: req.Think, Options: req.Options, Logprobs: req.Logprobs, TopLogprobs: req.TopLogprobs,
		Messages: []backend.Message{{Role: "user", Content: req.Prompt, Images: req.Images}},
	}
	if req.System != "" {
		chat.Messages = append([]backend.Message{{Role: "system", Content: req.System}}, chat.Messages...)
	}
	got, err := h.Chat(ctx, &chat, onPiece)
	if got != nil {
		got.Dropped = drop(got.Dropped, "template", req.Template != "")
		got.Dropped = drop(got.Dropped, "context", len(req.Context) > 0)
	}
	return got, err
}

// complete requests the continuation of a text.
func (h *Host) complete(ctx context.Context, req *backend.GenerateRequest, onPiece func(backend.Piece)) (*backend.Answer, error) {
	if len(req.Images) > 0 {
		return nil, h.conn.BadRequest("the OpenAI API takes no images with a raw prompt or a suffix")
	}
	sent := h.begin(req.Model)
	sent["prompt"] = req.Prompt
	if req.Suffix != "" {
		sent["suffix"] = req.Suffix
	}
	var dropped []string
	dropped = drop(dropped, "system", req.System != "")
	dropped = drop(dropped, "template", req.Template != "")
	dropped = drop(dropped, "context", len(req.Context) > 0)
	dropped = drop(dropped, "format", len(req.Format) > 0)
	dropped = drop(dropped, "think", req.Think != nil)
	dropped = drop(dropped, "logprobs", req.Logprobs) // which have another form there
	dropped = sent.options(dropped, "max_tokens", req.Options)
	return h.ask(ctx, newQuestion("/completions", sent, dropped), onPiece)
}

func (h *Host) begin(model string) request {
	return request{"model": model, "stream": true, "stream_options": map[string]bool{"include_usage": true}}
}

func newQuestion(path string, sent request, dropped []string) *question {
	_, ends := sent["stop"]
	return &question{path: path, model: sent["model"].(string), sent: sent, dropped: dropped, others: sent.alternatives(), mayBeEmpty: ends}
}

// options sets the options that the API supports, and appends the others to dropped.
func (r request) options(dropped []string, maxTokens string, options map[string]any) []string {
	var missing []string
	for name, value := range options {
		if name == "num_predict" {
			// A value below 1 means no limit, which is the default.
			if n, err := strconv.ParseFloat(fmt.Sprint(value), 64); err != nil || n >= 1 {
				r[maxTokens] = value
			}
		} else if parameter, ok := parameters[name]; ok {
			r[parameter] = value
		} else {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	return append(dropped, missing...)
}

// format requests JSON, of any kind or conforming to a schema.
func (r request) format(format json.RawMessage) {
	switch string(format) {
	case "", "null", `""`:
	default:
		r["response_format"] = formatOf(string(format))
	}
}

// formatOf is a format in the API's form. It is not strict mode, which rejects schemas that
// leave anything open; Ollama accepts those.
func formatOf(format string) map[string]any {
	if format == `"json"` {
		return map[string]any{"type": "json_object"}
	}
	schema := map[string]any{"name": "answer", "schema": json.RawMessage(format), "strict": false}
	return map[string]any{"type": "json_schema", "json_schema": schema}
}

// think requests low, medium or high effort. The API has no way to just switch thinking
// on or off.
func (r request) think(dropped []string, think *backend.ThinkValue) []string {
	if think == nil {
		return dropped
	}
	effort, ok := think.Value.(string)
	if ok {
		r["reasoning_effort"] = effort
	}
	return drop(dropped, "think", !ok)
}

func drop(dropped []string, name string, given bool) []string {
	if given {
		return append(dropped, name)
	}
	return dropped
}
