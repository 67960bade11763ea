package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
)

// A gate is a caller of the gateway. It says in the words of Ollama's API, or of OpenAI's, what the
// others say as a call of a tool, and holds the response to the form of that API: one answer, whole or
// as a stream with one end, or one error.
type gate struct {
	base, key string
	http      *http.Client
	random    *rand.Rand // draws APIs and forms
	violate   func(format string, args ...any)
}

func newGate(base, key string, random *rand.Rand, violate func(string, ...any)) *gate {
	return &gate{base: base, key: key, http: &http.Client{Transport: &http.Transport{}}, random: random, violate: violate}
}

func (g *gate) close() { g.http.CloseIdleConnections() }

// call makes a call of a tool as a request of one of the APIs.
func (g *gate) call(ctx context.Context, _ string, params any) (response, error) {
	p, _ := params.(map[string]any)
	tool, _ := p["name"].(string)
	args, _ := p["arguments"].(map[string]any)
	q := question{openAI: g.random.IntN(2) == 0, streams: g.random.IntN(3) > 0, resumes: g.random.IntN(3) == 0}
	q.write(tool, args)

	body, _ := json.Marshal(q.body) // of maps and texts
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.base+q.path, bytes.NewReader(body))
	if err != nil {
		return response{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+g.key)
	req.Header.Set("X-Ollama-MCP-Timeout", fmt.Sprint(args["timeout_seconds"]))
	if policy, ok := args["cache"].(string); ok {
		req.Header.Set("X-Ollama-MCP-Cache", policy)
	}
	if q.resumes {
		req.Header.Set("X-Ollama-MCP-Resume", "whole")
	}
	resp, err := g.http.Do(req)
	if err != nil {
		return response{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return response{}, err
	}
	return g.judge(q, resp, text)
}

// question is a request of one of the APIs.
type question struct {
	openAI, streams, resumes bool
	path                     string
	body                     map[string]any
	format                   bool // the answer is JSON
}

// write puts a call of a tool in the words of the API. What OpenAI's has no word for is said in those of Ollama's.
func (q *question) write(tool string, args map[string]any) {
	_, q.format = args["format"]
	q.openAI = q.openAI && !q.format && args["images"] == nil
	q.body = make(map[string]any)
	for name, value := range args {
		switch name {
		case "timeout_seconds", "cache": // headers
		case "options":
			if options, ok := value.(map[string]any); ok && q.openAI {
				q.body["max_tokens"] = options["num_predict"]
				continue
			}
			q.body[name] = value
		default:
			q.body[name] = value
		}
	}
	paths := map[string][2]string{
		"generate": {"/api/generate", "/v1/completions"},
		"chat":     {"/api/chat", "/v1/chat/completions"},
		"embed":    {"/api/embed", "/v1/embeddings"},
	}
	q.path = paths[tool][0]
	if q.openAI {
		q.path = paths[tool][1]
	}
	if q.streams = q.streams && tool != "embed"; tool == "embed" {
		return
	}
	q.body["stream"] = q.streams
	if q.openAI && q.streams {
		q.body["stream_options"] = map[string]any{"include_usage": true}
	}
}

// judge makes what a tool would have said of a response.
func (g *gate) judge(q question, resp *http.Response, text []byte) (response, error) {
	if resp.StatusCode != http.StatusOK {
		said := g.errorIn(q, text)
		code := resp.Header.Get("X-Ollama-MCP-Error")
		if code == "" || resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusRequestEntityTooLarge {
			return response{}, &errStatus{resp.StatusCode, said}
		}
		return failed(code, said), nil
	}
	chunks := [][]byte{text}
	if q.streams {
		chunks = g.chunks(q, text)
	}
	var a answer
	for i, raw := range chunks {
		var c chunk
		if err := json.Unmarshal(raw, &c); err != nil {
			g.violate("%s: not JSON: %.200q", q.path, raw)
			return response{}, errLost
		}
		if len(c.Error) > 0 {
			if i != len(chunks)-1 {
				g.violate("%s: the stream goes on after an error: %.300s", q.path, text)
			}
			return brokenOff(g.errorIn(q, raw)), nil
		}
		a.add(c)
	}
	return g.whole(q, a, text)
}

// brokenOff is a stream that ended with an error, which has no code in either API.
func brokenOff(said string) response {
	if strings.Contains(said, "no longer valid") {
		var r response
		_ = json.Unmarshal([]byte(`{"Error":{"Message":"the key is no longer valid"}}`), &r)
		return r
	}
	return failed("upstream", said)
}

func failed(code, said string) response {
	r := &result{IsError: true, StructuredContent: map[string]any{"code": code}}
	r.say(said)
	return response{Result: r}
}

func (r *result) say(text string) {
	r.Content = append(r.Content, struct{ Type, Text string }{"text", text})
}

// chunks are the values in a stream, which has to end as its API says.
func (g *gate) chunks(q question, text []byte) (all [][]byte) {
	const done = "data: [DONE]\n\n"
	if !q.openAI {
		if !bytes.HasSuffix(text, []byte("\n")) {
			g.violate("%s: the stream breaks off in the middle of a line: %.300q", q.path, last(text))
		}
		return bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	}
	rest, ended := bytes.CutSuffix(text, []byte(done))
	for event := range bytes.SplitSeq(bytes.TrimSuffix(rest, []byte("\n\n")), []byte("\n\n")) {
		data, ok := bytes.CutPrefix(event, []byte("data: "))
		if !ok {
			g.violate("%s: an event without data: %.300q", q.path, event)
		}
		all = append(all, data)
	}
	if isError := bytes.HasPrefix(all[len(all)-1], []byte(`{"error":`)); isError == ended {
		g.violate("%s: the stream has an error: %v, and its end: %v: %.300q", q.path, isError, ended, last(text))
	}
	return all
}

func last(text []byte) []byte { return text[max(0, len(text)-300):] }

// errorIn is the text of an error in the form of the API.
func (g *gate) errorIn(q question, text []byte) string {
	var plain struct{ Error string }
	var typed struct {
		Error struct{ Message, Type, Code string }
	}
	said := ""
	if q.openAI {
		if err := json.Unmarshal(text, &typed); err == nil && typed.Error.Type != "" {
			said = typed.Error.Message
		}
	} else if err := json.Unmarshal(text, &plain); err == nil {
		said = plain.Error
	}
	if said == "" {
		g.violate("%s: an error in another form: %.300q", q.path, text)
	}
	return said
}

// A chunk is an answer, or a piece of one, of any of the paths.
type chunk struct {
	Error json.RawMessage
	Again bool `json:"ollama_mcp_again"`

	Response        string // of Ollama's
	Message         words
	Done            *bool
	DoneReason      string `json:"done_reason"`
	PromptEvalCount int    `json:"prompt_eval_count"`
	Embeddings      []any

	Choices []struct { // of OpenAI's
		Text           string
		Message, Delta words
		FinishReason   *string `json:"finish_reason"`
	}
	Usage struct {
		PromptTokens int `json:"prompt_tokens"`
	}
	Data []struct {
		Index     int
		Embedding any
	}
}

type words struct {
	Content   string
	ToolCalls []any `json:"tool_calls"`
}

// An answer is what the chunks of a response say together.
type answer struct {
	text    string
	calls   []any
	reason  string
	ends    int // how often it was said to be the end
	after   int // pieces after that
	tokens  int
	vectors []any
}

func (a *answer) add(c chunk) {
	if c.Again {
		a.text, a.calls = "", nil
	}
	piece := c.Response + c.Message.Content
	calls := c.Message.ToolCalls
	tokens, ends := c.PromptEvalCount+c.Usage.PromptTokens, c.Done != nil && *c.Done
	for _, choice := range c.Choices {
		piece += choice.Text + choice.Message.Content + choice.Delta.Content
		calls = slices.Concat(calls, choice.Message.ToolCalls, choice.Delta.ToolCalls)
		if choice.FinishReason != nil {
			ends, c.DoneReason = true, *choice.FinishReason
		}
	}
	if a.ends > 0 && (piece != "" || len(calls) > 0) {
		a.after++
	}
	if ends {
		a.ends++
		a.reason = c.DoneReason
	}
	a.text, a.calls = a.text+piece, append(a.calls, calls...)
	a.tokens = max(a.tokens, tokens)
	a.vectors = append(a.vectors, c.Embeddings...)
	for _, one := range c.Data {
		a.vectors = append(a.vectors, one.Embedding)
	}
}

// whole is an answer as the tool would have given it.
func (g *gate) whole(q question, a answer, raw []byte) (response, error) {
	r := &result{StructuredContent: make(map[string]any)}
	r.Meta.Served.TokensIn = a.tokens
	if strings.HasSuffix(q.path, "/embed") || strings.HasSuffix(q.path, "/embeddings") {
		r.StructuredContent["vectors"] = a.vectors
		return response{Result: r}, nil
	}
	if a.ends != 1 || a.after > 0 {
		g.violate("%s: the answer has %d ends and %d pieces after them: %.300q", q.path, a.ends, a.after, last(raw))
		return response{}, errors.New("an answer without an end")
	}
	switch {
	case len(a.calls) > 0:
		calls, _ := json.Marshal(a.calls) // of decoded JSON
		r.StructuredContent["tool_calls"] = a.calls
		r.say(a.text + string(calls))
	default:
		r.say(a.text)
	}
	if a.reason == "length" && a.tokens == 0 {
		r.say("The answer was cut by its time limit.")
	}
	if q.format {
		if err := json.Unmarshal([]byte(a.text), &r.StructuredContent); err != nil {
			return response{}, fmt.Errorf("the answer is no JSON: %w", err)
		}
	}
	return response{Result: r}, nil
}
