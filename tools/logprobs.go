package tools

import (
	"context"
	"fmt"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/inference"
)

// logprobArgs are the arguments of tools that tell how probable the tokens of an answer are.
type logprobArgs struct {
	Logprobs    bool         `json:"logprobs,omitempty" jsonschema:"tell how sure the model is of its words; each token in a resource"`
	TopLogprobs alternatives `json:"top_logprobs,omitempty" jsonschema:"alternatives for each token"`
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
	doc := &document{kind: logprobsKind, data: mustMarshal(map[string]any{"logprobs": resp.Logprobs})}
	whole := ""
	if d.Documents.keep(caller.FromContext(ctx), doc) {
		out.URI, out.Expires = doc.uri, doc.expires.UTC().Format(time.RFC3339)
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
