package tools

import (
	"context"
	"errors"
	"slices"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/route"
	"ollama-mcp/internal/schema"
	"ollama-mcp/pool"
)

// question is what is asked of a model, whichever tool it came from.
type question struct {
	tool    string
	model   string // as the caller calls it
	args    textArgs
	wording wording
	request any // all of it that the answer depends on, as JSON, but for model and args
	text    int // bytes of text in the prompt
	see     int // bytes of images
	ask     func(ctx context.Context, host backend.Backend, m manner, onPiece func(backend.Piece)) (*backend.Answer, error)

	// What follows is set by answer.

	who    caller.Caller
	wanted *schema.Format // what the answer must look like; nil if text will do
	limit  time.Duration  // that the call may take; 0 for none
	until  time.Time      // when that is over; the zero Time if never
}

// limited ends a context when the question has to be answered. What is kept is given out
// without, since a timer costs as much as finding it.
func (q question) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if q.until.IsZero() {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, q.until)
}

// wantsThoughts reports whether what the model thinks is to be returned.
func (q question) wantsThoughts() bool { return q.args.Think != nil && q.args.Think.Bool() }

// outcome is what came of a question.
type outcome struct {
	answer  *backend.Answer // nil if nothing came
	served  served
	cut     *promptTooLong // for which the host has cut the prompt; nil if it has not
	clamped string         // that the caller asked for more context than the model can have; "" if not
	pinned  string         // which options of the caller's were overridden; "" if none
	mended  string         // why the model was asked once more; "" if it was not
	like    string         // the question that it was given to; "" for this one
	tried   []string       // hosts that were asked in vain; nil if it was answered
}

// askRung has a question answered by a model of ours or a provider's, and rather not by the
// hosts that were tried before. What it returns is never nil. The model has to begin its
// answer in time, if patience is not 0.
func (d Deps) askRung(ctx context.Context, a *asking, q question, rung route.Rung, patience time.Duration, tried []string) (*outcome, error) {
	began := time.Now()
	blank := outcome{served: served{Requested: q.model, Model: rung.String(), Source: sourceOf(rung)}}
	all := outcomes{best: &blank}
	ctx, timers := d.impatient(ctx, patience, q.until)
	defer timers.stop()
	need := d.need(q.who, a.progress, rung.Model, q.args.modelArgs, q.text+q.see)
	need.OnWait = timers.watch(a.queued)
	need.HedgeAfter, need.Tried = d.hedgeAfter(rung, need), tried
	err := d.lender(rung).With(ctx, need, func(ctx context.Context, lease *pool.Lease) error {
		timers.lent()
		got := blank
		got.lent(lease, began)
		err := d.askHost(ctx, a, q, rung, lease, &got, timers.answered)
		all.add(&got, err)
		return err
	})
	if why := context.Cause(ctx); errors.Is(why, errTooLate) {
		if come, w := a.partial(); come.answer.Tokens == 0 && w.host != nil {
			d.finishLoading(w) // for the next call
		}
		err = why
	}
	if err != nil {
		all.best.tried = all.tried
	}
	all.best.served.Total = time.Since(began).Milliseconds()
	return all.best, err
}

// askHost asks the host of a lease.
func (d Deps) askHost(ctx context.Context, a *asking, q question, rung route.Rung, lease *pool.Lease, got *outcome, onFirst func()) error {
	w := work{lease.Host, rung, d.mannerOf(q, rung, lease)}
	if err := d.fits(ctx, q, w); err != nil {
		return err
	}
	if rung.Provider == "" {
		got.served.Model = w.m.model
	}
	t := a.begins(w, *got, d.doing(w), lease.Hedge)
	err := d.askTry(ctx, q, t, got, onFirst)
	if err != nil {
		t.failed(ctx, err)
	}
	return err
}

// askTry asks the host of a try.
func (d Deps) askTry(ctx context.Context, q question, t *try, got *outcome, onFirst func()) error {
	host, rung := t.host, t.rung
	if q.see > 0 {
		if err := d.canSee(ctx, host, rung.Model); err != nil {
			return err
		}
	}
	if err := d.warm.awaitLoading(ctx, host.Name(), rung.Model); err != nil {
		return err
	}
	var err error
	got.answer, got.cut, err = d.askWhole(ctx, q, t.work, t.answering(onFirst))
	if err != nil {
		return err
	}
	d.warm.answered(host.Name(), rung.Model)
	if got.cut == nil && !t.m.mayCut && q.see == 0 {
		d.tokens.learn(rung.String(), q.text, got.answer.PromptTokens)
	}
	got.clamped = d.clamped(ctx, q, t.work)
	d.mend(ctx, q, t, got)
	if rung.Provider != "" && q.args.KeepAlive != nil {
		got.answer.Dropped = append(got.answer.Dropped, "keep_alive") // nothing of a provider's memory is ours
	}
	return nil
}

// doing is what a host probably does first when it is asked.
func (d Deps) doing(w work) string {
	if w.rung.Provider != "" {
		return "asking " + w.rung.String()
	}
	return d.warm.doing(w.host.Name(), w.rung.Model)
}

// sourceOf is where an answer of a rung comes from.
func sourceOf(rung route.Rung) string {
	if rung.Cloud {
		return "cloud"
	}
	return "local"
}

// lent takes in what a lease says about the call that began then.
func (got *outcome) lent(lease *pool.Lease, began time.Time) {
	got.served.Host, got.served.Queue = lease.Host.Name(), time.Since(began).Milliseconds()
	got.served.Retries, got.served.Overridden, got.served.Hedged = lease.Attempt-1, lease.Overridden, lease.Hedge
	if len(lease.Overridden) > 0 {
		got.pinned = overridden(lease)
	}
}

// askWhole asks so that a prompt which the host would have to cut is noticed:
// left to itself Ollama drops the oldest part and says nothing. So it is told
// not to cut, and only when it refuses is it asked again and allowed to, if that is
// wanted.
func (d Deps) askWhole(ctx context.Context, q question, w work, onPiece func(backend.Piece)) (answer *backend.Answer, cut *promptTooLong, err error) {
	began := time.Now()
	answer, err = q.ask(ctx, w.host, w.m, onPiece)
	if !errors.Is(err, backend.TooLong) {
		return answer, nil, err
	}
	cut = d.tooLong(ctx, w, q.args.Options, q.text, err)
	if !d.mayCut(q.args.modelArgs) {
		return answer, nil, cut
	}
	refused := time.Since(began)
	w.m.mayCut = true
	answer, err = q.ask(ctx, w.host, w.m, onPiece)
	if answer != nil {
		answer.FirstPiece += refused
	}
	return answer, cut, err
}

// canSee refuses images for a model without vision: Ollama would drop them
// without a word, and the model invent what it cannot see.
func (d Deps) canSee(ctx context.Context, host backend.Backend, model string) error {
	about, err := d.detail(ctx, host, model)
	if err != nil {
		return err
	}
	if can := about.capabilities; len(can) > 0 && !slices.Contains(can, "vision") {
		return backend.LacksCapability("the model cannot see images", "vision")
	}
	return nil
}
