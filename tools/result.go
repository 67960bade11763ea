package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/schema"
)

// This file is the one place where results are put into content blocks, structured content
// and metadata. Many hosts show their model only one of the first two, some join the blocks
// with nothing between them, and some show the metadata too. So each of the first two is
// enough: neither lacks what the other tells.

// succeeded makes the result of a call that was answered:
//
//   - Data of ours is the structured content, with the notes in it, and also the only block,
//     as JSON.
//   - Text is the first block and nothing else in it. Notes are a second block. There is no
//     structured content unless the caller asked for JSON and there is no note, since notes do
//     not belong into the caller's object and would be lost beside it.
func (d Deps) succeeded(r *result) *mcp.CallToolResult {
	if r.whole != nil {
		return r.whole
	}
	res := &mcp.CallToolResult{Result: mcp.Result{Meta: d.meta(r)}}
	if len(r.ignored) > 0 && r.object == nil {
		r.notes = append(r.notes, ignoredNote(r.ignored))
	}
	if r.data != nil {
		r.data.note(r.notes)
		res.StructuredContent = r.data
		res.Content = []mcp.Content{mcp.NewTextContent(string(schema.Readable(r.data)))}
		return res
	}
	res.Content = []mcp.Content{mcp.NewTextContent(r.text)}
	if len(r.notes) > 0 {
		// The blank line keeps the note apart where blocks are joined.
		res.Content = append(res.Content, mcp.NewTextContent("\n\nNote: "+strings.Join(r.notes, " ")))
	} else if r.object != nil {
		res.StructuredContent = r.object
	}
	return res
}

func ignoredNote(arguments []string) string {
	return fmt.Sprintf("Ignored, since this tool has no such argument: %s.", strings.Join(arguments, ", "))
}

// meta is what a result says about its answer beside it; nil for nothing.
func (d Deps) meta(r *result) *mcp.Meta {
	fields := map[string]any{}
	if served := d.served(r.served); served != nil {
		fields["ollama-mcp/served"] = served
	}
	if r.logprobs != nil {
		fields["ollama-mcp/logprobs"] = r.logprobs
	}
	if r.thinking != "" {
		fields["ollama-mcp/thinking"] = r.thinking
	}
	if len(r.ignored) > 0 && r.object != nil && d.ResultMeta != "off" { // where a note would spoil the caller's JSON
		fields["ollama-mcp/notes"] = []string{ignoredNote(r.ignored)}
	}
	if len(fields) == 0 {
		return nil
	}
	return &mcp.Meta{AdditionalFields: fields}
}

// briefServed is what most readers want to know of inference.Served. Some hosts show a
// result's metadata to their model, which pays for each word.
type briefServed struct {
	Trace  string           `json:"trace_id"`
	Model  string           `json:"model"`
	Host   string           `json:"host"`
	Source inference.Source `json:"source"`
}

// served is what the metadata of a result says about what served it; nil for nothing.
func (d Deps) served(s *inference.Served) any {
	switch {
	case s == nil || d.ResultMeta == "off":
		return nil
	case d.ResultMeta == "short":
		return briefServed{s.Trace, s.Model, s.Host, s.Source}
	}
	return s
}

// failed makes the result of a call that failed: a line that says what to do next, and what
// the model had answered by then.
func failed(e *fault.Error) *mcp.CallToolResult {
	code := string(e.Code)
	if e.Retryable {
		code += ", retryable"
	}
	res := &mcp.CallToolResult{
		IsError: true, StructuredContent: e,
		Content: []mcp.Content{mcp.NewTextContent(fmt.Sprintf("%v [%s]", e, code))},
	}
	if e.Partial != "" {
		res.Content = append(res.Content, mcp.NewTextContent(e.Partial))
		res.StructuredContent = failure{e}
	}
	if e.Thinking != "" {
		res.Meta = &mcp.Meta{AdditionalFields: map[string]any{"ollama-mcp/thinking": e.Thinking}}
	}
	return res
}

// failure is an error with what the model had answered.
type failure struct{ *fault.Error }

// MarshalJSON adds the answer to the error.
func (f failure) MarshalJSON() ([]byte, error) {
	raw, err := json.Marshal(f.Error)
	if err != nil {
		return nil, err
	}
	return slices.Concat(raw[:len(raw)-1], []byte(`,"partial":`), schema.MustMarshal(f.Partial), []byte("}")), nil
}

// logprobArgs are the arguments of tools that tell how probable the tokens of an answer are.
type logprobArgs struct {
	Logprobs    bool         `json:"logprobs,omitempty" jsonschema:"tell how sure the model is of each token"`
	TopLogprobs alternatives `json:"top_logprobs,omitempty" jsonschema:"unlisted: alternatives for each token"`
}

type alternatives int // to a token; backend.MostLogprobs at most

// ask has a request ask for what the arguments say.
func (a logprobArgs) ask(req *inference.Request) {
	req.Logprobs, req.TopLogprobs = a.Logprobs || a.TopLogprobs > 0, int(a.TopLogprobs)
}

// logprobsOut is what is to say of the tokens of an answer in short.
type logprobsOut struct {
	Tokens   int     `json:"tokens"`
	Mean     float64 `json:"mean"`          // of their logarithms
	Lowest   float64 `json:"lowest"`        // logarithm
	LowestAt string  `json:"lowest_token"`  // the token that has it
	Unlikely int     `json:"unlikely"`      // tokens whose logarithm is below -1
	URI      string  `json:"uri,omitempty"` // of the resource that has all
	Expires  string  `json:"expires_at,omitempty"`
}

// addLogprobs adds what there is to say of the tokens of an answer, if the call asked for that.
func (d Deps) addLogprobs(ctx context.Context, r *result, resp *inference.Response) {
	if len(resp.Logprobs) == 0 {
		return
	}
	out := summarise(resp.Logprobs)
	doc := &document{kind: logprobsKind, data: schema.Readable(map[string]any{"logprobs": resp.Logprobs})}
	whole := ""
	if d.Documents.keep(ctx, caller.FromContext(ctx), doc) {
		out.URI, out.Expires = doc.uri, timestamp(doc.expires)
		whole = fmt.Sprintf(" All of them are at %s for %d minutes.", doc.uri, int(doc.ttl.Minutes()))
	}
	r.logprobs = out
	r.notes = append(r.notes, fmt.Sprintf("Logprobs of %d tokens: mean %.2f, lowest %.2f (%q), %d below -1.%s",
		out.Tokens, out.Mean, out.Lowest, out.LowestAt, out.Unlikely, whole))
}

func summarise(tokens []backend.Logprob) *logprobsOut {
	out := &logprobsOut{Tokens: len(tokens), Lowest: tokens[0].Logprob, LowestAt: tokens[0].Token}
	for _, t := range tokens {
		out.Mean += t.Logprob / float64(len(tokens))
		if t.Logprob < out.Lowest {
			out.Lowest, out.LowestAt = t.Logprob, t.Token
		}
		if t.Logprob < -1 {
			out.Unlikely++
		}
	}
	return out
}
