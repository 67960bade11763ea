package gateway

import (
	"encoding/json"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/inference"
)

// This file has the requests for text of Ollama's API, and their answers. Members that would
// change the answer and that the engine does not have are refused.

// textIn are the members that both requests for text have.
type textIn struct {
	seldom
	Stream      *bool               `json:"stream"`
	Format      json.RawMessage     `json:"format"`
	Think       *backend.ThinkValue `json:"think"`
	Shift       *bool               `json:"shift"`
	Logprobs    bool                `json:"logprobs"`
	TopLogprobs int                 `json:"top_logprobs"`
}

type generateIn struct {
	textIn
	Prompt   string              `json:"prompt"`
	Suffix   string              `json:"suffix"`
	System   string              `json:"system"`
	Template string              `json:"template"`
	Context  []int               `json:"context"`
	Raw      bool                `json:"raw"`
	Images   []backend.ImageData `json:"images"`
}

type chatIn struct {
	textIn
	Messages []backend.Message `json:"messages"`
	Tools    []backend.Tool    `json:"tools"`
}

// generate answers POST /api/generate.
func generate(x *exchange) (finish func(), err error) {
	in, err := decode[generateIn](x.body)
	if err != nil {
		return nil, err
	}
	switch {
	case in.Template != "":
		return nil, fault.Invalidf("template cannot be set in a request here: create a model with it, or send the prompt as it is, with raw")
	case len(in.Context) > 0:
		return nil, fault.Invalidf("context is not known here: send the conversation to /api/chat")
	}
	req, lost, err := x.text(in.textIn, inference.Generate)
	if err != nil {
		return nil, err
	}
	req.Prompt, req.Suffix, req.System, req.Raw, req.Images = in.Prompt, in.Suffix, in.System, in.Raw, in.Images
	return x.ask(req, lost, in.streams(), false, &generateOut{Model: in.Model})
}

// chat answers POST /api/chat. Without messages it loads the model, or takes it out of memory.
func chat(x *exchange) (finish func(), err error) {
	in, err := decode[chatIn](x.body)
	if err != nil {
		return nil, err
	}
	kind := inference.Chat
	if len(in.Messages) == 0 {
		kind = inference.Generate
	}
	req, lost, err := x.text(in.textIn, kind)
	if err != nil {
		return nil, err
	}
	req.Messages = in.Messages
	if len(in.Tools) > 0 {
		req.Tools = in.Tools
	}
	return x.ask(req, lost, in.streams(), false, &chatOut{Model: in.Model})
}

// streams reports whether the answer is wanted in pieces, as it is unless the request says no.
func (in textIn) streams() bool { return in.Stream == nil || *in.Stream }

// text is a request for text, but for its prompt.
func (x *exchange) text(in textIn, kind inference.Kind) (req inference.Request, lost []string, err error) {
	if in.TopLogprobs < 0 || in.TopLogprobs > backend.MostLogprobs {
		return req, nil, fault.Invalidf("top_logprobs must be between 0 and %d", backend.MostLogprobs)
	}
	if in.Shift != nil && !*in.Shift {
		return req, nil, fault.Invalidf("shift cannot be false here: set truncate to false to have a prompt refused that is too long, and options.num_predict to bound the answer")
	}
	c, lost, err := x.common(in.seldom)
	if err != nil {
		return req, nil, err
	}
	switch string(in.Format) {
	case `null`, `""`:
		in.Format = nil
	}
	return inference.Request{
		Common: c, Kind: kind, Format: in.Format, Think: in.Think,
		Logprobs: in.Logprobs, TopLogprobs: in.TopLogprobs,
	}, lost, nil
}

// metrics are what the last piece of an answer says of the work on it.
type metrics struct {
	Total         int64 `json:"total_duration,omitempty"` // nanoseconds, as are the others
	Load          int64 `json:"load_duration,omitempty"`
	PromptTokens  int   `json:"prompt_eval_count,omitempty"`
	PromptSeconds int64 `json:"prompt_eval_duration,omitempty"`
	Tokens        int   `json:"eval_count,omitempty"`
	Seconds       int64 `json:"eval_duration,omitempty"`
}

func metricsOf(m inference.Metrics) metrics {
	return metrics{int64(m.Total), int64(m.Load), m.PromptTokens, int64(m.PromptEval), m.Tokens, int64(m.Eval)}
}

// generateOut is an answer of /api/generate, or a piece of one.
type generateOut struct {
	Model      string    `json:"model"`
	Created    time.Time `json:"created_at"`
	Response   string    `json:"response"`
	Thinking   string    `json:"thinking,omitempty"`
	Done       bool      `json:"done"`
	DoneReason string    `json:"done_reason,omitempty"`
	metrics
	Logprobs []backend.Logprob `json:"logprobs,omitempty"`
	again
}

// again marks the first piece of an answer that replaces the pieces before it, for callers who
// have said that they know it.
type again struct {
	Again bool `json:"ollama_mcp_again,omitempty"`
}

func (o *generateOut) piece(p inference.Piece) []any {
	return []any{generateOut{Model: o.Model, Created: now(), Response: p.Text, Thinking: p.Thinking, Logprobs: p.Logprobs, again: again{p.Again}}}
}

func (o *generateOut) like() any {
	return generateOut{Model: o.Model, Created: markTime, Response: markText}
}

func (o *generateOut) end(r *inference.Response) []any {
	return []any{generateOut{Model: o.Model, Created: now(), Done: true, DoneReason: ollamaReason(r), metrics: metricsOf(r.Metrics)}}
}

func (o *generateOut) whole(r *inference.Response) any {
	return generateOut{
		Model: o.Model, Created: now(), Response: r.Text, Thinking: r.Thinking, Done: true, DoneReason: ollamaReason(r),
		metrics: metricsOf(r.Metrics), Logprobs: r.Logprobs,
	}
}

func (o *generateOut) failed(_ int, _, text string) any { return ollamaError{text} }

// chatOut is an answer of /api/chat, or a piece of one.
type chatOut struct {
	Model      string            `json:"model"`
	Created    time.Time         `json:"created_at"`
	Message    messageOut        `json:"message"`
	Done       bool              `json:"done"`
	DoneReason string            `json:"done_reason,omitempty"`
	Logprobs   []backend.Logprob `json:"logprobs,omitempty"`
	metrics
	again
}

type messageOut struct {
	Role      string             `json:"role"`
	Content   string             `json:"content"`
	Thinking  string             `json:"thinking,omitempty"`
	ToolCalls []backend.ToolCall `json:"tool_calls,omitempty"`
}

func (o *chatOut) piece(p inference.Piece) []any {
	return []any{chatOut{
		Model: o.Model, Created: now(), Message: messageOut{"assistant", p.Text, p.Thinking, p.ToolCalls}, Logprobs: p.Logprobs, again: again{p.Again},
	}}
}

func (o *chatOut) like() any {
	return chatOut{Model: o.Model, Created: markTime, Message: messageOut{Role: "assistant", Content: markText}}
}

func (o *chatOut) end(r *inference.Response) []any {
	return []any{chatOut{
		Model: o.Model, Created: now(), Message: messageOut{Role: "assistant"}, Done: true, DoneReason: ollamaReason(r), metrics: metricsOf(r.Metrics),
	}}
}

func (o *chatOut) whole(r *inference.Response) any {
	return chatOut{
		Model: o.Model, Created: now(), Message: messageOut{"assistant", r.Text, r.Thinking, r.ToolCalls()}, Done: true, DoneReason: ollamaReason(r),
		metrics: metricsOf(r.Metrics), Logprobs: r.Logprobs,
	}
}

func (o *chatOut) failed(_ int, _, text string) any { return ollamaError{text} }

// ollamaReason is why an answer has ended, in one of the words of Ollama where there is one.
func ollamaReason(r *inference.Response) string {
	if r.Served.TimedOut() {
		return "length"
	}
	switch backend.EndReason(r.Served.DoneReason).End() {
	case backend.EndWhole, backend.EndCalls:
		return "stop"
	case backend.EndCut:
		return "length"
	}
	return r.Served.DoneReason
}

func now() time.Time { return time.Now().UTC() }

type embedIn struct {
	seldom
	Input      json.RawMessage `json:"input"`
	Dimensions int             `json:"dimensions"`
}

type embedOut struct {
	Model        string      `json:"model"`
	Embeddings   [][]float32 `json:"embeddings"`
	Total        int64       `json:"total_duration,omitempty"`
	Load         int64       `json:"load_duration,omitempty"`
	PromptTokens int         `json:"prompt_eval_count,omitempty"`
}

// embed answers POST /api/embed.
func embed(x *exchange) (finish func(), err error) {
	in, err := decode[embedIn](x.body)
	if err != nil {
		return nil, err
	}
	texts, err := inputs(in.Input)
	if err != nil {
		return nil, err
	}
	got, err := x.embed(in.seldom, texts, in.Dimensions)
	if err != nil {
		return nil, err
	}
	out := embedOut{Model: in.Model, Embeddings: got.Vectors, Total: int64(time.Since(x.call.Began)), PromptTokens: got.Served.TokensIn}
	if got.Served.Load != nil {
		out.Load = *got.Served.Load * int64(time.Millisecond)
	}
	return x.answer(out), nil
}

type embedOneIn struct {
	seldom
	Prompt string `json:"prompt"`
}

// embedOne answers POST /api/embeddings, which Ollama had first.
func embedOne(x *exchange) (finish func(), err error) {
	in, err := decode[embedOneIn](x.body)
	if err != nil {
		return nil, err
	}
	var texts []string
	if in.Prompt != "" {
		texts = []string{in.Prompt}
	}
	got, err := x.embed(in.seldom, texts, 0)
	if err != nil {
		return nil, err
	}
	out := struct {
		Embedding []float64 `json:"embedding"` // with as many digits as Ollama writes at this path
	}{[]float64{}}
	if len(got.Vectors) > 0 {
		for _, number := range got.Vectors[0] {
			out.Embedding = append(out.Embedding, float64(number))
		}
	}
	return x.answer(out), nil
}

// inputs are the texts to embed: one, or a list of them. An empty text alone is none, as for
// Ollama.
func inputs(raw json.RawMessage) (texts []string, err error) {
	var one string
	switch {
	case len(raw) == 0:
		return nil, nil
	case json.Unmarshal(raw, &one) == nil:
		if one == "" {
			return nil, nil
		}
		return []string{one}, nil
	case json.Unmarshal(raw, &texts) == nil:
		return texts, nil
	}
	return nil, fault.Invalidf("invalid input type: send a text, or a list of texts")
}

// embed has the engine turn texts into vectors, and tells what served it. Without texts there are
// no vectors, and no host is asked.
func (x *exchange) embed(in seldom, texts []string, dimensions int) (*inference.Embeddings, error) {
	if dimensions < 0 {
		return nil, fault.Invalidf("dimensions must be 0 or more")
	}
	c, lost, err := x.common(in)
	if err != nil {
		return nil, err
	}
	if len(texts) == 0 {
		return &inference.Embeddings{Vectors: [][]float32{}}, nil
	}
	got, err := x.opts.Engine.Embed(x.ctx, inference.EmbedRequest{Common: c, Input: texts, Dimensions: dimensions})
	if err != nil {
		return nil, err
	}
	x.tell(got.Served, append(lostNote(lost), got.Notes...)...)
	return got, nil
}
