package tools

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
)

// This file holds what leaves against the filter of the settings. Answers are kept
// without that, so that rules hold for all that is kept as soon as they change.

// screen removes from a result what it may not say, or refuses it.
func (d Deps) screen(ctx context.Context, c *call, q question, r *result) (*result, error) {
	f := d.settings().Filter
	if f == nil {
		return r, nil
	}
	m := f.Review()
	r.thinking = m.Text(r.thinking)
	text := r.text
	r.text = m.Text(text)
	if r.data != nil {
		r.data = m.Value(generic(r.data))
		whole := string(mustMarshal(r.data))
		if len(m.Found()) > 0 && json.Valid([]byte(text)) {
			r.text = whole // the text is the data, and has to stay JSON
		}
		m.Whole(whole)
	}
	quotes := f.Review() // in the notes, which are our own words
	for i, note := range r.notes {
		r.notes[i] = quotes.Text(note)
	}
	names := m.Found()
	if m.Withheld() {
		return nil, withheld("rule " + strings.Join(quoted(names), ", "))
	}
	if err := d.askGuard(ctx, c, q, r); err != nil {
		return nil, err
	}
	if len(names) > 0 {
		r.served.Filtered = names
		r.notes = append(r.notes, fmt.Sprintf("This server's rules have removed parts of the answer: %s.", strings.Join(names, ", ")))
	}
	return r, nil
}

// screenError does so with what an error quotes of an answer.
func (d Deps) screenError(err error) error {
	f := d.settings().Filter
	e, ok := errors.AsType[*fault.Error](err)
	if f == nil || !ok {
		return err
	}
	m := f.Review()
	e = e.Fault() // it may be the error of other calls too
	e.Message, e.Hint = m.Text(e.Message), m.Text(e.Hint)
	e.Partial, e.Thinking = m.Text(e.Partial), m.Text(e.Thinking)
	if m.Withheld() || f.Guard() != nil { // which is not asked of a call that has failed
		e.Partial, e.Thinking = "", ""
	}
	return e
}

func withheld(by string) *fault.Error {
	return &fault.Error{Code: fault.Refused, Message: "the answer was withheld by this server's " + by, Hint: "ask for something else"}
}

// askGuard has the guard say whether a result may pass, within the time of the call and
// with no more leave than it has. What it cannot be asked of does not pass.
func (d Deps) askGuard(ctx context.Context, c *call, q question, r *result) error {
	guard := d.settings().Filter.Guard()
	if guard == nil {
		return nil
	}
	text := strings.TrimSpace(strings.Join([]string{r.thinking, r.text, dataText(r)}, "\n"))
	if text == "" {
		return nil
	}
	asks := question{
		tool: "guard", model: guard.Model, request: []any{guard.Prompt, text}, text: len(guard.Prompt) + len(text),
		who: q.who, limit: q.limit, until: q.until,
	}
	asks.who.Models = nil // the guard is the server's choice
	asks.args.LocalOnly, asks.args.Format = q.args.LocalOnly, format{verdictSchema}
	asks.args.Options = options{"temperature": 0.0}
	asks.args.Fallback = []string{guard.Model} // and nobody else
	asks.ask = func(ctx context.Context, host backend.Backend, m manner, onPiece func(backend.Piece)) (*backend.Answer, error) {
		return host.Chat(ctx, &backend.ChatRequest{
			Model: m.model, Options: m.sent(), KeepAlive: m.keepAlive, Truncate: &m.mayCut, Format: verdictSchema,
			Messages: []backend.Message{{Role: "system", Content: guard.Prompt}, {Role: "user", Content: text}},
		}, onPiece)
	}
	var verdict struct{ Pass bool }
	got, err := d.fetch(ctx, c, asks)
	if err == nil {
		err = json.Unmarshal([]byte(got.answer.Text), &verdict)
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return fault.Of(ctx.Err())
	case err != nil:
		d.Log.Warn("the guard cannot be asked, so an answer is withheld", "trace", c.trace, "error", err)
		e := withheld("guard, which cannot be asked")
		e.Hint, e.Retryable = "try again later", true
		return e
	case !verdict.Pass:
		return withheld("guard")
	}
	return nil
}

// verdictSchema is the form in which the guard answers.
var verdictSchema = json.RawMessage(`{"type":"object","properties":{"pass":{"type":"boolean"}},"required":["pass"]}`)

// dataText is the data of a result where that is not its text.
func dataText(r *result) string {
	if r.data == nil {
		return ""
	}
	return string(mustMarshal(r.data))
}

// generic is a value as JSON has it.
func generic(v any) (plain any) {
	if err := json.Unmarshal(mustMarshal(v), &plain); err != nil {
		panic(err) // mustMarshal made it
	}
	return plain
}
