package budget

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/tally"
)

// Limits are the most that a host is asked in a day. A zero field sets no limit.
type Limits struct {
	Calls  int // calls for an answer or for embeddings
	Tokens int // tokens of prompts and answers together
}

// Guard returns host with a budget, which the ledger keeps under the name of the host. When
// it is used up, calls fail with class Overload until midnight UTC. Lists of models cost
// nothing and are not counted.
func (l *Ledger) Guard(host backend.Backend, limits Limits) backend.Backend {
	if limits == (Limits{}) {
		return host
	}
	return &guarded{Backend: host, ledger: l, limits: limits}
}

// guarded is a host with a budget.
type guarded struct {
	backend.Backend
	ledger *Ledger
	limits Limits
}

func (g *guarded) Generate(ctx context.Context, req *backend.GenerateRequest, onPiece func(backend.Piece)) (*backend.Answer, error) {
	return g.answer(ctx, func() (*backend.Answer, error) { return g.Backend.Generate(ctx, req, onPiece) })
}

func (g *guarded) Chat(ctx context.Context, req *backend.ChatRequest, onPiece func(backend.Piece)) (*backend.Answer, error) {
	return g.answer(ctx, func() (*backend.Answer, error) { return g.Backend.Chat(ctx, req, onPiece) })
}

func (g *guarded) answer(ctx context.Context, ask func() (*backend.Answer, error)) (got *backend.Answer, err error) {
	if err := g.begin(ctx); err != nil {
		return nil, err
	}
	got, err = ask()
	tokens := 0
	if got != nil {
		tokens = got.PromptTokens + got.Tokens
	}
	g.end(ctx, tokens, err)
	return got, err
}

// Embed implements backend.Backend.
func (g *guarded) Embed(ctx context.Context, req *backend.EmbedRequest) (*backend.EmbedResponse, error) {
	if err := g.begin(ctx); err != nil {
		return nil, err
	}
	got, err := g.Backend.Embed(ctx, req)
	tokens := 0
	if got != nil {
		tokens = got.PromptEvalCount
	}
	g.end(ctx, tokens, err)
	return got, err
}

// begin counts a call before it is made, so that several calls at once cannot all be the
// last. A call that cannot be counted is not made.
func (g *guarded) begin(ctx context.Context) error {
	switch g.ledger.Tally.Admit(g.budget(), tally.Limits(g.limits)) {
	case tally.UsedUp:
		words, n := "calls", g.limits.Calls
		if spent := g.ledger.Tally.Spent(g.budget()); n == 0 || g.limits.Tokens > 0 && spent.Tokens >= g.limits.Tokens {
			words, n = "tokens", g.limits.Tokens
		}
		return g.usedUp(time.Now().UTC().Format(time.DateOnly), n, words)
	case tally.UsedUpHere:
		return &backend.Error{
			Host: g.Name(), Class: backend.Overload, RetryAfter: partRetry,
			Message: "this server's part of the daily budget is used up, and it cannot reach the other servers that have the rest",
		}
	}
	err := g.count(ctx)
	if err != nil {
		g.ledger.Tally.Add(g.budget(), tally.Count{Calls: -1})
	}
	return err
}

// partRetry is when a provider may be asked again whose budget is used up on this replica alone.
const partRetry = 10 * time.Second

// budget is the name of the host's budget among all that have one.
func (g *guarded) budget() string { return "provider " + g.Name() }

// count counts a call in the file.
func (g *guarded) count(ctx context.Context) error {
	err := g.ledger.update(ctx, g.Name(), func(u *used) error {
		switch {
		case g.limits.Calls > 0 && u.Calls >= g.limits.Calls:
			return g.usedUp(u.Day, g.limits.Calls, "calls")
		case g.limits.Tokens > 0 && u.Tokens >= g.limits.Tokens:
			return g.usedUp(u.Day, g.limits.Tokens, "tokens")
		}
		u.Calls++
		return nil
	})
	if err == nil {
		return nil
	}
	if full, ok := errors.AsType[*backend.Error](err); ok {
		return full
	}
	if ctx.Err() != nil {
		return &backend.Error{Host: g.Name(), Class: backend.Caller, Err: ctx.Err()}
	}
	g.ledger.log.Error("call not counted, so it was not made", "provider", g.Name(), "file", g.ledger.file, "error", err)
	return &backend.Error{Host: g.Name(), Class: backend.Server, Message: "its calls of today cannot be counted, for a reason that is in the log of this server"}
}

// end counts the tokens, and does not count the call if the host did nothing for it: an
// hour in which the host cannot be reached should not use up the day.
func (g *guarded) end(ctx context.Context, tokens int, err error) {
	undone := false
	switch backend.ClassOf(err) {
	case backend.Transport, backend.Overload, backend.Unauthorized, backend.NoCredit, backend.NoRoom, backend.ModelMissing, backend.TooLong, backend.Request, backend.Unsupported:
		undone = tokens == 0
	}
	if tokens == 0 && !undone {
		return
	}
	calls := 0
	if undone {
		calls = -1
	}
	g.ledger.Tally.Add(g.budget(), tally.Count{Calls: calls, Tokens: tokens})
	ctx = context.WithoutCancel(ctx) // what was used counts whether or not somebody waits for it
	failed := g.ledger.update(ctx, g.Name(), func(u *used) error {
		u.Tokens += tokens
		if undone && u.Calls > 0 { // 0 if midnight has passed
			u.Calls--
		}
		return nil
	})
	if failed != nil {
		g.ledger.owe(g.Name(), tokens)
	}
}

// usedUp refuses a call until the end of a day.
func (g *guarded) usedUp(day string, n int, what string) error {
	now := time.Now().UTC()
	message := fmt.Sprintf("the daily budget of %d %s is used up", n, what)
	if day > now.Format(time.DateOnly) {
		message += " for " + day + ", which the clock of this server has gone back from"
	}
	began, _ := time.Parse(time.DateOnly, day) // cannot fail: see read and update
	until := began.AddDate(0, 0, 1)
	if g.ledger.OnSpent != nil {
		g.ledger.OnSpent(g.Name(), until)
	}
	return &backend.Error{Host: g.Name(), Class: backend.Overload, RetryAfter: until.Sub(now), Message: message}
}
