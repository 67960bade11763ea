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

// Kind is the kind of request.
type Kind string

// The kinds.
const (
	Generate Kind = "generate" // a text
	Embed    Kind = "embed"    // a vector
)

// Request is a call to measure.
type Request struct {
	Kind   Kind
	Model  string
	Prompt string
	Tokens int       // most tokens to generate
	Began  time.Time // when the caller made the call
}

// Result is what is measured of a call besides its time.
type Result struct {
	Tokens     int           // generated, or of the prompt for Embed; 0 if not known
	FirstToken time.Duration // from Request.Began to the first token; 0 if there was none
}

// Contestant is a way to make calls that is compared with others, such as a pool.
type Contestant struct {
	Name string
	// Do makes one call. It is called from many goroutines, ends with its
	// context, and is waited for: a time limit is its own affair.
	Do func(context.Context, Request) (Result, error)
	// Calls bounds the calls of a row for a contestant that Options.Calls would take too
	// long; 0 means Options.Calls. The report says so. If there is not one for each caller
	// in every round, all are made in the first.
	Calls int
	// Opened is how many connections were opened so far; nil if that is not counted.
	Opened func() int
}

// On makes the call on a host. runner are options to send along, such as those of a pool.Lease.
func (r Request) On(ctx context.Context, host backend.Backend, runner map[string]any) (result Result, err error) {
	if r.Kind == Embed {
		got, err := host.Embed(ctx, &backend.EmbedRequest{Model: r.Model, Input: r.Prompt, Truncate: new(false), Options: runner})
		if err != nil {
			return Result{}, err
		}
		return Result{Tokens: got.PromptEvalCount}, nil
	}
	options := maps.Clone(runner)
	if options == nil {
		options = make(map[string]any)
	}
	options["num_predict"] = r.Tokens
	req := &backend.GenerateRequest{Model: r.Model, Prompt: r.Prompt, Truncate: new(false), Options: options}
	got, err := host.Generate(ctx, req, func(backend.Piece) {
		result.FirstToken = cmp.Or(result.FirstToken, time.Since(r.Began))
	})
	if err != nil {
		return Result{}, err
	}
	result.Tokens = got.Tokens
	return result, nil
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
