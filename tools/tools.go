// Package tools is what a client may ask for, one file per tool.
//
// It promises that arguments are checked before anything is done, that every
// failure reads as one line with a code and a next step, and that every answer
// says what served it. How a tool is described to clients and called by them is
// in define.go alone; what all questions to a model share is in answer.go. Finding
// a host is left to the pool, and carrying messages to package server.
package tools

import (
	"context"
	"log/slog"
	"time"

	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/quota"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// Lender lends out hosts that can serve a model.
type Lender interface {
	// With lends use a host that meets the need, and takes it back. It may call
	// use again when a host fails, and twice at once if the need says HedgeAfter.
	With(ctx context.Context, need route.Need, use func(context.Context, *pool.Lease) error) error
}

// Hosts are the hosts that there are; *pool.Pool is one.
type Hosts interface {
	Lender
	// Hosts are all hosts there are, for questions that need no slot.
	Hosts() []backend.Backend
	// Stats tell how the hosts and the queue do.
	Stats() pool.Stats
}

// Deps is what the tools need from the rest of the program.
type Deps struct {
	Hosts   Hosts
	Vectors *Vectors // keeps embeddings that are too large to return

	// Timeout ends a call that brings no timeout_seconds; 0 means none.
	Timeout time.Duration
	// InlineBytes is up to what size embeddings are returned in the result
	// itself when the caller leaves it to us; 0 means never.
	InlineBytes int
	// RawRunner sends the options that a model is loaded with as each caller wants
	// them, even if the model has to be loaded anew for that.
	RawRunner bool

	// Settings are what holds at the moment; nil means nothing.
	Settings func() *Settings
	// FallbackAfter is how long a call waits for a slot before the next model of its
	// ladder is asked; 0 means while its share of the time lasts.
	FallbackAfter time.Duration
	// HedgeAfter is how long a host may take to begin an answer before another of ours
	// is asked too, and the first to answer is taken; 0 means never.
	HedgeAfter time.Duration
	NoCloud    bool // nothing leaves for a cloud
	// OnLadder is told when a ladder of models changes its state, such as that its
	// first is left alone, and why; nil: nobody is. It may be called from many
	// goroutines, with no lock held, and a call waits until it returns.
	OnLadder func(model string, from, to route.State, reason string)
	// ContextGuard is what to do about a prompt that exceeds the context: "warn" has it
	// cut and says so, "off" has it cut unasked, and all else leaves it to the next
	// model of the ladder, or refuses it.
	ContextGuard string

	// Answers keeps answers, and shares those in the making; it is needed.
	Answers *Answers
	// CacheMode says for which questions: "off" for none, "deterministic" for those
	// that would get the same answer again, and all else for all.
	CacheMode string
	// Likeness answers questions that mean the same as one whose answer is kept; nil
	// compares none.
	Likeness *Likeness
	// Digest tells models of the same name apart; nil leaves them alike. Of a model for
	// which it is "" nothing is kept.
	Digest func(ctx context.Context, model string) string
	// Refresh waits, though not for long, until hosts that have been idle were asked how they
	// are; nil leaves them as they were last seen.
	Refresh func(context.Context)
	Log     *slog.Logger
	// Background runs work that outlives the call that began it, until the
	// context that it is given ends with the program. nil: there is no such work.
	Background func(work func(context.Context))

	details *details
	warm    *warmth
	ladders *ladders
	tokens  *tokens
	quota   *quota.Quota
}

// All are the tools, in the order of the documentation.
func All(d Deps) []mcpserver.ServerTool {
	d.details, d.warm, d.ladders, d.tokens, d.quota = new(details), new(warmth), new(ladders), new(tokens), new(quota.Quota)
	return []mcpserver.ServerTool{
		generate(d),
		chat(d),
		embed(d),
		listModels(d),
		status(d),
		clearCache(d),
	}
}

// Resources are what results point to when they are too large for a result.
func Resources(d Deps) []mcpserver.ServerResourceTemplate {
	return []mcpserver.ServerResourceTemplate{embeddings(d)}
}

// Instructions tell a client's model, once, how to use the tools.
const Instructions = `Tools to use language models that run on the user's own machines through Ollama.
Call list-models first: other tools need the exact name of an installed model, and its capabilities say what it is for.
Results carry a second text block when there is something to know about the answer, such as that it was cut.
A failed call says what to do next; when it is marked retryable, wait for retry_after_seconds and call again.`
