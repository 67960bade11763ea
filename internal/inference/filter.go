package inference

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/moderation"
	"ollama-mcp/internal/schema"
)

// This file checks what leaves against the filter of the settings. Answers are cached
// without that, so that rules hold for all that is cached as soon as they change.

// filter removes from a response what it may not say, or refuses it.
func (t *task) filter(ctx context.Context, resp *Response) error {
	f := t.settings.Filter
	if f == nil {
		return nil
	}
	review := f.Review()
	resp.Thinking = review.Text(resp.Thinking)
	text := resp.Text
	resp.Text = review.Text(text)
	if resp.Data != nil {
		resp.Data, _ = review.Value(generic(resp.Data)).(map[string]any)
		whole := string(schema.Readable(resp.Data))
		if len(review.Found()) > 0 && json.Valid([]byte(text)) {
			resp.Text = whole // the text is the data, and has to stay JSON
		}
		review.Whole(whole)
	}
	quotes := f.Review() // in the notes, which are our own words
	for i, note := range resp.Notes {
		resp.Notes[i] = quotes.Text(note)
	}
	names := review.Found()
	if review.Withheld() {
		return withheld("rule " + strings.Join(quoted(names), ", "))
	}
	if guard := f.Guard(); guard != nil {
		if err := t.askGuard(ctx, guard, resp); err != nil {
			return err
		}
	}
	if len(names) > 0 {
		resp.Served.Filtered = names
		resp.Notes = append(resp.Notes, fmt.Sprintf("This server's rules have removed parts of the answer: %s.", strings.Join(names, ", ")))
	}
	return nil
}

// filterError removes what an error quotes of an answer and may not say.
func (t *task) filterError(err error) error {
	f := t.settings.Filter
	e, ok := errors.AsType[*fault.Error](err)
	if f == nil || !ok {
		return err
	}
	review := f.Review()
	e = e.Fault() // a copy: it may be the error of other calls too
	e.Message, e.Hint = review.Text(e.Message), review.Text(e.Hint)
	e.Partial, e.Thinking = review.Text(e.Partial), review.Text(e.Thinking)
	if review.Withheld() || f.Guard() != nil { // which is not asked about a call that has failed
		e.Partial, e.Thinking = "", ""
	}
	return e
}

func withheld(by string) *fault.Error {
	return &fault.Error{Code: fault.Refused, Message: "the answer was withheld by this server's " + by, Hint: "ask for something else"}
}

// verdictSchema is the form in which the guard answers.
var verdictSchema = json.RawMessage(`{"type":"object","properties":{"pass":{"type":"boolean"}},"required":["pass"]}`)

// askGuard has a guard model say whether a response may pass, within the time of the
// request and with no more permissions than it has. An answer about which the guard cannot
// be asked does not pass.
func (t *task) askGuard(ctx context.Context, guard *moderation.Guard, resp *Response) error {
	parts := []string{resp.Thinking, resp.Text}
	if resp.Data != nil {
		parts = append(parts, string(schema.Readable(resp.Data)))
	}
	text := strings.TrimSpace(strings.Join(parts, "\n"))
	if text == "" {
		return nil
	}
	g := &task{
		Engine: t.Engine, call: &Call{parent: t.call}, settings: t.settings, scope: "guard",
		text: len(guard.Prompt) + len(text), began: time.Now(), limit: t.limit, deadline: t.deadline,
		Request: Request{
			Common: Common{
				Model: guard.Model, Options: map[string]any{"temperature": 0.0}, LocalOnly: t.LocalOnly, Caller: t.Caller,
			},
			Kind: Chat, Format: verdictSchema,
			Messages: []backend.Message{{Role: "system", Content: guard.Prompt}, {Role: "user", Content: text}},
			Fallback: []string{guard.Model}, // and nobody else
		},
	}
	g.Caller.Models = nil // the guard is the server's choice
	var verdict struct{ Pass bool }
	got, err := g.fetch(ctx)
	if err == nil {
		err = json.Unmarshal([]byte(got.answer.Text), &verdict)
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return cancelled(ctx)
	case err != nil:
		t.opts.Log.Warn("answer withheld: the guard model cannot be asked", "trace", t.call.Trace, "guard", guard.Model, "error", err)
		e := withheld("guard, which cannot be asked")
		e.Hint, e.Retryable = "try again later", true
		if why := fault.Of(err); why.Code == fault.Forbidden {
			e.Code, e.Retryable = fault.Forbidden, false
			e.Message += ": " + why.Message
			e.Hint = "this server needs a guard model that runs on its own hosts: tell its operator"
		}
		return e
	case !verdict.Pass:
		return withheld("guard")
	}
	return nil
}

// generic is a value as JSON has it, with all digits of its numbers.
func generic(v any) any {
	plain, err := schema.Decode(string(schema.MustMarshal(v)))
	if err != nil {
		panic(err) // MustMarshal made it
	}
	return plain
}
