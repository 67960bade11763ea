package gateway

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"strings"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/inference"
)

// This file has the requests of OpenAI's API, read as Ollama reads them. It differs in two
// things: a temperature and a top_p that are left open are left to the model, so that answers can
// be cached, and max_completion_tokens counts as max_tokens does.

// samplingIn are the members that both requests for text have.
type samplingIn struct {
	Model            string            `json:"model"`
	KeepAlive        *backend.Duration `json:"keep_alive"` // not OpenAI's
	Stream           bool              `json:"stream"`
	StreamOptions    streamOptions     `json:"stream_options"`
	N                *int              `json:"n"`
	MaxTokens        *int              `json:"max_tokens"`
	Seed             *int              `json:"seed"`
	Stop             json.RawMessage   `json:"stop"`
	Temperature      *float64          `json:"temperature"`
	TopP             *float64          `json:"top_p"`
	FrequencyPenalty *float64          `json:"frequency_penalty"`
	PresencePenalty  *float64          `json:"presence_penalty"`
}

type streamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

type chatCompletionIn struct {
	samplingIn
	Messages            []messageIn     `json:"messages"`
	MaxCompletionTokens *int            `json:"max_completion_tokens"`
	Tools               []backend.Tool  `json:"tools"`
	ToolChoice          json.RawMessage `json:"tool_choice"`
	Logprobs            bool            `json:"logprobs"`
	TopLogprobs         int             `json:"top_logprobs"`
	ReasoningEffort     string          `json:"reasoning_effort"`
	Reasoning           struct {
		Effort string `json:"effort"`
	} `json:"reasoning"`
	ResponseFormat struct {
		Type       string `json:"type"`
		JSONSchema struct {
			Schema json.RawMessage `json:"schema"`
		} `json:"json_schema"`
	} `json:"response_format"`
}

type messageIn struct {
	Role             string             `json:"role"`
	Content          json.RawMessage    `json:"content"`
	Reasoning        string             `json:"reasoning"`
	ReasoningContent string             `json:"reasoning_content"`
	ToolCalls        []backend.ToolCall `json:"tool_calls"`
	Name             string             `json:"name"`
	ToolCallID       string             `json:"tool_call_id"`
}

type partIn struct {
	Type     string          `json:"type"`
	Text     *string         `json:"text"`
	ImageURL json.RawMessage `json:"image_url"`
	Audio    struct {
		Data []byte `json:"data"`
	} `json:"input_audio"`
}

// chatCompletion answers POST /v1/chat/completions.
func chatCompletion(x *exchange) (finish func(), err error) {
	in, err := decode[chatCompletionIn](x.body)
	if err != nil {
		return nil, err
	}
	if in.MaxCompletionTokens != nil {
		in.MaxTokens = in.MaxCompletionTokens
	}
	req, err := x.sampled(in.samplingIn, inference.Chat)
	if err != nil {
		return nil, err
	}
	if in.TopLogprobs < 0 || in.TopLogprobs > backend.MostLogprobs {
		return nil, fault.Invalidf("top_logprobs must be between 0 and %d", backend.MostLogprobs)
	}
	req.Logprobs, req.TopLogprobs = in.Logprobs, in.TopLogprobs
	if req.Messages, err = messages(in.Messages); err != nil {
		return nil, err
	}
	if len(in.Tools) > 0 && string(in.ToolChoice) != `"none"` {
		req.Tools = in.Tools
	}
	effort := in.ReasoningEffort
	if in.Reasoning.Effort != "" {
		effort = in.Reasoning.Effort
	}
	if req.Think, err = thinkOf(effort); err != nil {
		return nil, err
	}
	switch strings.ToLower(strings.TrimSpace(in.ResponseFormat.Type)) {
	case "json_object":
		req.Format = json.RawMessage(`"json"`)
	case "json_schema":
		req.Format = in.ResponseFormat.JSONSchema.Schema
	}
	out := &completionChat{completionHead: x.head("chat.completion", in.Model), usage: in.StreamOptions.IncludeUsage}
	return x.ask(req, nil, in.Stream, true, out)
}

type completionIn struct {
	samplingIn
	Prompt   json.RawMessage `json:"prompt"`
	Suffix   string          `json:"suffix"`
	Logprobs *int            `json:"logprobs"`
}

// completion answers POST /v1/completions.
func completion(x *exchange) (finish func(), err error) {
	in, err := decode[completionIn](x.body)
	if err != nil {
		return nil, err
	}
	req, err := x.sampled(in.samplingIn, inference.Generate)
	if err != nil {
		return nil, err
	}
	prompts, err := inputs(in.Prompt)
	if err != nil || len(prompts) > 1 {
		return nil, fault.Invalidf("prompt must be one text")
	}
	if len(prompts) == 1 {
		req.Prompt = prompts[0]
	}
	if req.Suffix = in.Suffix; in.Logprobs != nil && *in.Logprobs > 0 {
		req.Logprobs, req.TopLogprobs = true, min(*in.Logprobs, backend.MostLogprobs)
	}
	out := &completionText{completionHead: x.head("text_completion", in.Model), usage: in.StreamOptions.IncludeUsage}
	return x.ask(req, nil, in.Stream, true, out)
}

// sampled is a request for text, but for its prompt.
func (x *exchange) sampled(in samplingIn, kind inference.Kind) (req inference.Request, err error) {
	if in.N != nil && *in.N != 1 {
		return req, fault.Invalidf("n must be 1: one request has one answer here")
	}
	c, _, err := x.common(seldom{Model: in.Model, KeepAlive: in.KeepAlive})
	if err != nil {
		return req, err
	}
	options := make(map[string]any)
	stops, err := inputs(in.Stop)
	if err != nil {
		return req, fault.Invalidf("stop must be a text, or a list of texts")
	}
	if len(stops) > 0 {
		options["stop"] = anyOf(stops)
	}
	setFloat(options, "temperature", in.Temperature)
	setFloat(options, "top_p", in.TopP)
	setFloat(options, "frequency_penalty", in.FrequencyPenalty)
	setFloat(options, "presence_penalty", in.PresencePenalty)
	if in.MaxTokens != nil {
		options["num_predict"] = float64(*in.MaxTokens)
	}
	if in.Seed != nil {
		options["seed"] = float64(*in.Seed)
	}
	if len(options) > 0 {
		c.Options = options
	}
	return inference.Request{Common: c, Kind: kind}, nil
}

func setFloat(options map[string]any, name string, value *float64) {
	if value != nil {
		options[name] = *value
	}
}

// anyOf is a list as encoding/json decodes it.
func anyOf(texts []string) []any {
	all := make([]any, len(texts))
	for i, text := range texts {
		all[i] = text
	}
	return all
}

// thinkOf is how much a model should think, by OpenAI's words and those that clients have added.
func thinkOf(effort string) (*backend.ThinkValue, error) {
	switch effort {
	case "":
		return nil, nil
	case "none":
		return &backend.ThinkValue{Value: false}, nil
	case "minimal":
		effort = "low"
	case "low", "medium", "high", "max":
	case "xhigh", "ultra":
		effort = "max"
	default:
		return nil, fault.Invalidf("invalid reasoning value: %.40q (must be none, minimal, low, medium, high, xhigh or max)", effort)
	}
	return &backend.ThinkValue{Value: effort}, nil
}

// messages are those of a conversation. Each part of a message becomes one, as for Ollama.
func messages(in []messageIn) (all []backend.Message, err error) {
	for _, m := range in {
		role, thinking := m.Role, m.Reasoning
		if thinking == "" {
			thinking = m.ReasoningContent
		}
		if role == "developer" {
			role = "system"
		}
		name := ""
		if strings.EqualFold(role, "tool") {
			if name = m.Name; name == "" {
				name = functionOf(in, m.ToolCallID)
			}
		}
		last := backend.Message{Role: role, Thinking: thinking, ToolCalls: m.ToolCalls, ToolName: name, ToolCallID: m.ToolCallID}
		var parts []partIn
		switch {
		case json.Unmarshal(m.Content, &last.Content) == nil: // null is ""
			if string(bytes.TrimSpace(m.Content)) == "null" && m.ToolCalls == nil {
				return nil, fault.Invalidf("invalid message content type: null")
			}
		case len(m.Content) == 0 && m.ToolCalls != nil:
		case json.Unmarshal(m.Content, &parts) == nil && len(parts) > 0:
			for i, part := range parts {
				message := backend.Message{Role: role}
				if i == len(parts)-1 {
					message = last
				}
				if err := part.addTo(&message); err != nil {
					return nil, err
				}
				all = append(all, message)
			}
			continue
		default:
			return nil, fault.Invalidf("invalid message content: send a text, or a list of parts")
		}
		all = append(all, last)
	}
	return all, nil
}

// functionOf is the function of the call with that id; "" if there is none. The last one counts.
func functionOf(in []messageIn, id string) (name string) {
	for _, m := range in {
		for _, call := range m.ToolCalls {
			if id != "" && call.ID == id {
				name = call.Function.Name
			}
		}
	}
	return name
}

// addTo makes a part the content of a message.
func (p partIn) addTo(m *backend.Message) error {
	switch p.Type {
	case "text":
		if p.Text == nil {
			return fault.Invalidf("invalid message format: a part of type text needs a text")
		}
		m.Content = *p.Text
		return nil
	case "image_url":
		image, err := p.image()
		if err != nil {
			return err
		}
		m.Images = []backend.ImageData{image}
		return nil
	case "input_audio":
		m.Images = []backend.ImageData{p.Audio.Data}
		return nil
	}
	return fault.Invalidf("invalid message format: parts of type %.40q are not known", p.Type)
}

// image is the image of a part, which has to be in it: no address is followed.
func (p partIn) image() ([]byte, error) {
	var url string
	var object struct {
		URL string `json:"url"`
	}
	if json.Unmarshal(p.ImageURL, &url) != nil {
		if err := json.Unmarshal(p.ImageURL, &object); err != nil {
			return nil, fault.Invalidf("invalid message format: image_url needs a url")
		}
		url = object.URL
	}
	kind, encoded, isData := strings.Cut(url, ";base64,")
	if !isData || !strings.HasPrefix(kind, "data:") {
		return nil, fault.Invalidf("image URLs are not currently supported, please use base64 encoded data instead")
	}
	image, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, fault.Invalidf("invalid image input: it is not base64")
	}
	return image, nil
}

type embeddingsIn struct {
	Model      string            `json:"model"`
	KeepAlive  *backend.Duration `json:"keep_alive"` // not OpenAI's
	Input      json.RawMessage   `json:"input"`
	Dimensions int               `json:"dimensions"`
	Encoding   string            `json:"encoding_format"`
}

// embeddings answers POST /v1/embeddings.
func embeddings(x *exchange) (finish func(), err error) {
	type vector struct {
		Object    string `json:"object"`
		Embedding any    `json:"embedding"`
		Index     int    `json:"index"`
	}
	type usage struct {
		Prompt int `json:"prompt_tokens"`
		Total  int `json:"total_tokens"`
	}
	in, err := decode[embeddingsIn](x.body)
	if err != nil {
		return nil, err
	}
	isBase64 := strings.EqualFold(in.Encoding, "base64")
	if !isBase64 && in.Encoding != "" && !strings.EqualFold(in.Encoding, "float") {
		return nil, fault.Invalidf("encoding_format must be float or base64, not %.40q", in.Encoding)
	}
	texts, err := inputs(in.Input)
	if err != nil {
		return nil, err
	}
	if len(texts) == 0 {
		return nil, fault.Invalidf("invalid input: there is no text to embed")
	}
	got, err := x.embed(seldom{Model: in.Model, KeepAlive: in.KeepAlive}, texts, in.Dimensions)
	if err != nil {
		return nil, err
	}
	data := make([]vector, len(got.Vectors))
	for i, v := range got.Vectors {
		data[i] = vector{"embedding", v, i}
		if isBase64 {
			data[i].Embedding = littleEndian(v)
		}
	}
	return x.answer(map[string]any{
		"object": "list", "data": data, "model": in.Model, "usage": usage{got.Served.TokensIn, got.Served.TokensIn},
	}), nil
}

// littleEndian are the bytes of a vector, which encoding/json writes in base64.
func littleEndian(vector []float32) []byte {
	raw := make([]byte, 0, 4*len(vector))
	for _, number := range vector {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(number))
	}
	return raw
}
