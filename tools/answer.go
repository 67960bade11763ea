package tools

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/moderation"
)

// asksModel is the behaviour of the tools that ask a model for something: they
// change nothing, and no two answers need be alike.
var asksModel = hints{readOnly: true}

// served says what served a call. It goes into the result's _meta under
// "ollama-mcp/served". Times are in milliseconds.
type served struct {
	Trace           string   `json:"trace_id"`
	Requested       string   `json:"requested_model"`
	Model           string   `json:"model"`
	Host            string   `json:"host"`
	Source          string   `json:"source"`                // "local", "cloud", "cache", "cache-semantic" or "coalesced"
	Age             float64  `json:"age_seconds,omitempty"` // of an answer from the cache
	Similarity      float64  `json:"similarity,omitempty"`  // of the question that it was given to
	Rung            int      `json:"rung,omitempty"`        // of the model's ladder, from 1
	Passed          []string `json:"passed,omitempty"`      // the rungs before, and why they did not answer
	TokensIn        int      `json:"tokens_in,omitempty"`   // 0 if not known, as of an answer that was cut
	TokensOut       int      `json:"tokens_out"`
	TokensPerSecond float64  `json:"tokens_per_second,omitempty"` // 0 if not known
	Retries         int      `json:"retries,omitempty"`
	Hedged          bool     `json:"hedged,omitempty"` // the host was asked since another was late
	Overridden      []string `json:"overridden_options,omitempty"`
	Queue           int64    `json:"queue_ms"`
	Load            *int64   `json:"load_ms,omitempty"` // nil if not known, as of an answer that was cut
	FirstToken      int64    `json:"first_token_ms"`
	Total           int64    `json:"total_ms"`
	DoneReason      string   `json:"done_reason,omitempty"`
	Filtered        []string `json:"filtered,omitempty"` // rules that have removed parts of the answer
}

// answer asks a model and composes the result. It is the only place that does:
// what every question shares, such as waiting for a host, progress, the time
// limit and the notes, is here.
func (d Deps) answer(ctx context.Context, c *call, q question) (*result, error) {
	err := d.permit(ctx, q.model, q.args.modelArgs)
	if err != nil {
		return nil, err
	}
	for i, name := range q.args.Fallback {
		if err := checkName(fmt.Sprintf("fallback_models[%d]", i), name); err != nil {
			return nil, err
		}
	}
	if q.wanted, err = q.args.Format.compile(); err != nil {
		return nil, err
	}
	if q.limit = q.args.timeout(d.Timeout); q.limit > 0 {
		q.until = time.Now().Add(q.limit)
	}
	q.who = caller.FromContext(ctx)
	r, err := d.compose(ctx, c, q)
	if err != nil {
		return nil, d.screenError(err)
	}
	return d.screen(ctx, c, q, r)
}

// compose makes a result of the outcome of a question.
func (d Deps) compose(ctx context.Context, c *call, q question) (*result, error) {
	got, err := d.fetch(ctx, c, q)
	if err != nil {
		return nil, err
	}
	got.served.Trace = c.trace
	got.served.count(got.answer)
	r := &result{text: got.answer.Text, served: &got.served, notes: d.notes(q, got)}
	if q.wantsThoughts() {
		r.thinking = got.answer.Thinking
	}
	if len(got.answer.ToolCalls) > 0 {
		r.data = map[string]any{"tool_calls": got.answer.ToolCalls}
		return r, nil
	}
	if r.data, err = readAs(q.wanted, got.answer); err != nil {
		if misfit, ok := errors.AsType[*fault.Error](err); ok {
			misfit.Thinking = r.thinking
		}
		return nil, err
	}
	return r, nil
}

// explainAnswer says why a rung did not answer.
func (d Deps) explainAnswer(ctx context.Context, m miss) *fault.Error {
	e := explain(m.asked(), m.why)
	switch {
	case m.rung.Provider != "":
		ofProvider(e, m.rung)
	case e.Code == fault.ModelNotFound:
		d.explainMissing(ctx, m.asked(), e)
	default:
		e.Message = m.rung.String() + ": " + e.Message
	}
	if m.got.answer != nil {
		e.Partial = moderation.Clean(m.got.answer.Text)
	}
	return e
}

func (s *served) count(a *backend.Answer) {
	s.TokensIn, s.TokensOut, s.DoneReason = a.PromptTokens, a.Tokens, a.DoneReason
	s.FirstToken = a.FirstPiece.Milliseconds()
	if a.DoneReason != doneTimeout { // hosts tell at the end
		s.Load = new(a.Load.Milliseconds())
	}
	if a.Eval > 0 {
		s.TokensPerSecond = math.Round(float64(a.Tokens)/a.Eval.Seconds()*10) / 10
	}
}

// doneTimeout is the done reason of an answer that our own time limit has cut.
const doneTimeout = "timeout"

// notes are what the model that reads an answer must know about it.
func (d Deps) notes(q question, got *outcome) []string {
	a, ratio := got.answer, d.tokens.of(got.served.Model)
	var notes []string
	add := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	if got.like != "" {
		add("This answer was given %.0f s ago to a question that means the same (similarity %.3f): %q. With cache \"refresh\" the model is asked anew.",
			math.Ceil(got.served.Age), got.served.Similarity, moderation.Clean(got.like))
	}
	if got.served.Source == "cache" {
		add("This answer was kept from %.0f s ago. With cache \"refresh\" the model is asked anew.", math.Ceil(got.served.Age))
	}
	if len(got.served.Passed) > 0 {
		add("Answered by %s instead of %s.", got.served.Model, strings.Join(got.served.Passed, ", "))
	}
	if got.served.Hedged {
		add("Answered by %s, which was asked too since another host was late.", got.served.Host)
	}
	for _, note := range []string{got.pinned, got.clamped, got.mended} {
		if note != "" {
			notes = append(notes, note)
		}
	}
	switch {
	case got.cut != nil:
		add("The prompt (about %d tokens) did not fit the model's context: its oldest part was cut and only %d tokens were read. To be read as a whole: %s.",
			got.cut.prompt, a.PromptTokens, got.cut.remedy())
	case ratio.looksCut(q.text, a.PromptTokens):
		add("The prompt (about %d tokens) may have been cut: the host says that only %d tokens were read. Send less, or raise options.num_ctx.",
			ratio.count(q.text), a.PromptTokens)
	}
	if len(a.Dropped) > 0 {
		add("%s has no word for these options, so they were left out: %s.", got.served.Host, strings.Join(a.Dropped, ", "))
	}
	empty := isEmpty(a)
	switch {
	case a.DoneReason == doneTimeout:
		add("The answer was cut by the time limit of %v. Allow more with timeout_seconds.", q.limit)
	case a.DoneReason == "load":
		add("The prompt was empty: the model was loaded and asked nothing.")
	case empty && a.Thinking != "":
		add("The model spent all its %d tokens on thinking and answered nothing. Raise options.num_predict, or set think to false.", a.Tokens)
	case a.DoneReason == "length":
		add("The answer was cut after %d tokens. Raise options.num_predict, or options.num_ctx if the context is full.", a.Tokens)
	case empty:
		add("The model answered nothing.")
	}
	return notes
}
