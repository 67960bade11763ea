package loadtest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"ollama-mcp/internal/backend"
)

// Kind is what a model is asked for.
type Kind string

// The kinds.
const (
	Generate Kind = "generate" // a text
	Embed    Kind = "embed"    // a vector
)

// Question is one call.
type Question struct {
	Kind   Kind
	Model  string
	Prompt string
	Tokens int       // at which the answer is cut
	Asked  time.Time // when its caller began to wait
}

// Answer is what is counted of one.
type Answer struct {
	Tokens     int           // generated, or read where a vector was wanted; 0 if not known
	FirstToken time.Duration // from Question.Asked to the first token; 0 if there was none
}

// Contestant is a way to get questions to hosts.
type Contestant struct {
	Name string
	// Ask asks one question. It is called from many goroutines, ends with its
	// context, and is waited for: a time limit is its own affair.
	Ask func(context.Context, Question) (Answer, error)
	// Calls of a row, where Options.Calls would take this contestant too long; 0
	// means all. The report says so. Where they are too few for each caller to have one
	// in every round, they are made in the first.
	Calls int
	// Opened is how many connections were opened so far; nil where nobody counts.
	Opened func() int
}

// On asks a host. The runner options are sent along, those of a pool.Lease above all.
func (q Question) On(ctx context.Context, host backend.Backend, runner map[string]any) (a Answer, err error) {
	if q.Kind == Embed {
		got, err := host.Embed(ctx, &backend.EmbedRequest{Model: q.Model, Input: q.Prompt, Truncate: new(false), Options: runner})
		if err != nil {
			return Answer{}, err
		}
		return Answer{Tokens: got.PromptEvalCount}, nil
	}
	options := maps.Clone(runner)
	if options == nil {
		options = make(map[string]any)
	}
	options["num_predict"] = q.Tokens
	req := &backend.GenerateRequest{Model: q.Model, Prompt: q.Prompt, Truncate: new(false), Options: options}
	got, err := host.Generate(ctx, req, func(backend.Piece) {
		a.FirstToken = cmp.Or(a.FirstToken, time.Since(q.Asked))
	})
	if err != nil {
		return Answer{}, err
	}
	a.Tokens = got.Tokens
	return a, nil
}

// words are common enough to be one token each for most models.
var words = strings.Fields("the sky is blue and the sea is deep so we went out in a small boat to see what was there")

// prompt is a text of about so many tokens. It begins with its number, so that no
// part of it is known from another: hosts keep what they have read.
func prompt(nonce uint32, number uint64, tokens int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%x.%x", nonce, number)
	for i := range max(1, tokens-4) { // the number takes some
		b.WriteString(" " + words[i%len(words)])
	}
	return b.String()
}

// class is what an error is called unless the options say otherwise.
func class(err error) string {
	return cmp.Or(string(backend.ClassOf(err)), "other")
}
