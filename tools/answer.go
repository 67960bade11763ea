package tools

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/pool"
)

// asksModel is the behaviour of the tools that ask a model for something: they
// change nothing, and no two answers need be alike.
var asksModel = hints{readOnly: true}

// question is what is asked of a model, whichever tool it came from.
type question struct {
	model  string
	args   textArgs
	wanted *shape // what the answer must look like; nil if text will do. answer sets it
	text   int    // bytes of text in the prompt
	see    int    // bytes of images
	ask    func(ctx context.Context, host backend.Backend, m manner, onPiece func(backend.Piece)) (*backend.Answer, error)
}

// served says what served a call. It goes into the result's _meta under
// "ollama-mcp/served". Times are in milliseconds.
type served struct {
	Trace           string   `json:"trace_id"`
	Requested       string   `json:"requested_model"`
	Model           string   `json:"model"`
	Host            string   `json:"host"`
	Source          string   `json:"source"` // "local"
	TokensIn        int      `json:"tokens_in"`
	TokensOut       int      `json:"tokens_out"`
	TokensPerSecond float64  `json:"tokens_per_second"`
	Retries         int      `json:"retries,omitempty"`
	Overridden      []string `json:"overridden_options,omitempty"`
	Queue           int64    `json:"queue_ms"`
	Load            int64    `json:"load_ms"`
	FirstToken      int64    `json:"first_token_ms"`
	Total           int64    `json:"total_ms"`
	DoneReason      string   `json:"done_reason,omitempty"`
}

// answer asks a model and composes the result. It is the only place that does:
// what every question shares, such as waiting for a host, progress, the time
// limit and the notes, is here.
func (d Deps) answer(ctx context.Context, c *call, q question) (*result, error) {
	if err := d.permit(ctx, q.model, q.args.modelArgs); err != nil {
		return nil, err
	}
	var err error
	if q.wanted, err = q.args.Format.compile(); err != nil {
		return nil, err
	}
	limit := q.args.timeout(d.Timeout)
	ctx, cancel := withLimit(ctx, limit)
	defer cancel()
	got, err := d.askModel(ctx, c, q)
	timedOut := errors.Is(err, context.DeadlineExceeded)
	if timedOut && q.wanted == nil && got.answer != nil && got.answer.Text != "" {
		got.answer.DoneReason, err = doneTimeout, nil // what there is beats nothing
	}
	if err != nil {
		return nil, d.explainAnswer(ctx, q.model, got, err)
	}

	r := &result{text: clean(got.answer.Text), served: got.served, notes: notes(q, got, limit)}
	r.served.count(got.answer)
	if q.args.Think != nil && q.args.Think.Bool() {
		r.thinking = clean(got.answer.Thinking)
	}
	if len(got.answer.ToolCalls) > 0 {
		r.data = map[string]any{"tool_calls": got.answer.ToolCalls}
		return r, nil
	}
	if r.data, err = q.wanted.read(got.answer); err != nil {
		return nil, err
	}
	return r, nil
}

// outcome is what came of a question.
type outcome struct {
	answer  *backend.Answer // nil if nothing came
	served  *served
	cut     bool   // the host has cut the prompt
	pinned  string // which options of the caller's were overridden; "" if none
	mended  string // why the model was asked once more; "" if it was not
	loading bool   // the call is over, and the host goes on loading the model
}

// askModel waits for a host and asks it. What it returns is never nil.
func (d Deps) askModel(ctx context.Context, c *call, q question) (*outcome, error) {
	began := time.Now()
	model := backend.CanonicalModel(q.model)
	got := &outcome{served: &served{Trace: c.trace, Requested: q.model, Model: q.model, Source: "local"}}
	need := d.need(ctx, c, q.model, q.args.modelArgs, q.text+q.see)
	err := d.Hosts.With(ctx, need, func(ctx context.Context, lease *pool.Lease) (err error) {
		host, sent := lease.Host, leased(q.args.Options, lease)
		got.lent(lease, began)
		c.progress.asked(d.warm.doing(host.Name(), model))
		if q.see > 0 {
			if err := canSee(ctx, host, q.model); err != nil {
				return err
			}
		}
		if err = d.warm.awaitLoading(ctx, host.Name(), model); err == nil {
			got.answer, got.cut, err = askWhole(ctx, host, q, manner{options: sent}, c.progress.answering())
		}
		switch {
		case err == nil:
			d.warm.answered(host.Name(), model)
			q.mend(ctx, host, c, sent, got)
		case got.answer == nil && errors.Is(err, context.DeadlineExceeded):
			got.loading = d.finishLoading(host, q)
		}
		return err
	})
	got.served.Total = time.Since(began).Milliseconds()
	return got, err
}

// lent takes in what a lease says about the call that began then.
func (got *outcome) lent(lease *pool.Lease, began time.Time) {
	got.served.Host, got.served.Queue = lease.Host.Name(), time.Since(began).Milliseconds()
	got.served.Retries, got.served.Overridden = lease.Attempt-1, lease.Overridden
	if got.pinned = ""; len(lease.Overridden) > 0 {
		got.pinned = overridden(lease)
	}
}

// askWhole asks so that a prompt which the host would have to cut is noticed:
// left to itself Ollama drops the oldest part and says nothing. So it is told
// not to cut, and only when it refuses is it asked again and allowed to, if the
// caller allows it.
func askWhole(ctx context.Context, host backend.Backend, q question, m manner, onPiece func(backend.Piece)) (answer *backend.Answer, cut bool, err error) {
	began := time.Now()
	answer, err = q.ask(ctx, host, m, onPiece)
	if !errors.Is(err, backend.TooLong) || !q.args.mayCut() {
		return answer, false, err
	}
	refused := time.Since(began)
	m.mayCut = true
	answer, err = q.ask(ctx, host, m, onPiece)
	if answer != nil {
		answer.FirstPiece += refused
	}
	return answer, true, err
}

// canSee refuses images for a model without vision: Ollama would drop them
// without a word, and the model invent what it cannot see.
func canSee(ctx context.Context, host backend.Backend, model string) error {
	info, err := host.Show(ctx, model)
	if err != nil {
		return err
	}
	can := detailOf(info).capabilities
	if len(can) > 0 && !slices.Contains(can, "vision") {
		return &Error{
			Code: InvalidArgument, Message: "the model cannot see images",
			Hint: `list-models with capability "vision" names those that can`,
		}
	}
	return nil
}

// explainAnswer says why a question was not answered.
func (d Deps) explainAnswer(ctx context.Context, model string, got *outcome, err error) *Error {
	e := explain(model, err)
	if e.Code == ModelNotFound {
		d.explainMissing(ctx, model, e)
	} else {
		e.Message = model + ": " + e.Message
	}
	if got.loading {
		e.Hint = "the model was not in memory yet; it is being loaded on, so call again in a minute"
	}
	if got.answer != nil {
		e.Partial = clean(got.answer.Text)
	}
	return e
}

func (s *served) count(a *backend.Answer) {
	s.TokensIn, s.TokensOut, s.DoneReason = a.PromptTokens, a.Tokens, a.DoneReason
	s.Load, s.FirstToken = a.Load.Milliseconds(), a.FirstPiece.Milliseconds()
	if a.Eval > 0 {
		s.TokensPerSecond = math.Round(float64(a.Tokens)/a.Eval.Seconds()*10) / 10
	}
}

// doneTimeout is the done reason of an answer that our own time limit has cut.
const doneTimeout = "timeout"

// notes are what the model that reads an answer must know about it.
func notes(q question, got *outcome, limit time.Duration) []string {
	a := got.answer
	var notes []string
	add := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	for _, note := range []string{got.pinned, got.mended} {
		if note != "" {
			notes = append(notes, note)
		}
	}
	switch {
	case got.cut:
		add("The prompt (about %d tokens) did not fit the model's context: its oldest part was cut and only %d tokens were read. Send less, or raise options.num_ctx.",
			q.text/bytesPerToken, a.PromptTokens)
	case looksCut(q.text, a.PromptTokens):
		add("The prompt (about %d tokens) may have been cut: the host says that only %d tokens were read. Send less, or raise options.num_ctx.",
			q.text/bytesPerToken, a.PromptTokens)
	}
	empty := isEmpty(a)
	switch {
	case a.DoneReason == doneTimeout:
		add("The answer was cut by the time limit of %v. Allow more with timeout_seconds.", limit)
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

// bytesPerToken is what a token stands for in English text, roughly.
const bytesPerToken = 4

// looksCut tells from the size of a prompt and the tokens that were read of it
// whether the host cut it after all, as servers do that are too old to be told
// not to. Hardly any text has more than 12 bytes to a token.
func looksCut(bytes, tokens int) bool {
	return tokens > 0 && bytes > 4096 && bytes/tokens > 3*bytesPerToken
}
