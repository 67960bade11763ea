package inference

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ollama-mcp/cache"
	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/moderation"
	"ollama-mcp/internal/route"
)

// climb is the way of one request along its ladder of models, until one answers.
type climb struct {
	*task
	tracker *tracker
	waiting cache.Waiters // for the answer
	ladder  *ladder       // what is known of the ladder's rungs; nil for a single rung
	failed  []failedRung  // one for each rung that was passed
	again   bool          // all rungs have failed, and some are tried once more
	rung    int           // that is tried, from 1
}

// failedRung is a rung that did not answer.
type failedRung struct {
	rung route.Rung
	got  *result
	err  error
	at   time.Time
}

// run tries the rungs in turn, and those once more that may answer by the time all have
// failed. Whatever a host or provider refuses is a fact about its rung, so another rung is
// tried unless all calls that wait for the answer have left or run out of time. Its error is
// a *fault.Error. What it returns is never nil.
func (c *climb) run(ctx context.Context) (*result, error) {
	if c.only != nil {
		return c.runOnly(ctx)
	}
	rungs, err := c.rungs()
	if err != nil {
		return new(result), err
	}
	c.ladder = c.ladders.of(c.Model, rungs)
	for i, rung := range rungs {
		c.rung = i + 1
		got, err := new(result), c.skip(i, rung)
		if err == nil {
			c.tracker.climbs(i, passed(c.failed))
			got, err = c.try(ctx, rungs[i:], nil)
		} else {
			c.rungEvent(RungEnded, rung, err)
		}
		if err == nil {
			got.served.Rung, got.served.Passed = i+1, passed(c.failed)
			return got, nil
		}
		c.failed = append(c.failed, failedRung{rung, got, err, time.Now()})
		if c.isOver(ctx) {
			return c.unanswered(ctx)
		}
		if isForWantOfTime(err) {
			c.waiting.LimitJoins()
		}
	}
	if len(rungs) == 1 {
		return c.unanswered(ctx)
	}
	return c.runAgain(ctx)
}

// runOnly tries the one rung that the request is for.
func (c *climb) runOnly(ctx context.Context) (got *result, err error) {
	rung := c.only.rung
	c.rung = 1
	if got, err = new(result), c.exclude(rung); err == nil {
		c.rungEvent(RungBegan, rung, nil)
		got, err = c.tryRung(ctx, rung, c.only.others, nil)
	}
	c.rungEvent(RungEnded, rung, err)
	if err != nil {
		c.failed = append(c.failed, failedRung{rung, got, err, time.Now()})
		return c.unanswered(ctx)
	}
	got.served.Rung = 1
	return got, nil
}

// runAgain tries those rungs once more that may answer by now, or in the time that is left:
// the one that should be ready soonest first.
func (c *climb) runAgain(ctx context.Context) (*result, error) {
	c.again = true
	done := make(map[route.Rung]bool)
	for !c.isOver(ctx) {
		left := c.worthRetrying(done)
		if len(left) == 0 {
			break
		}
		i := left[0]
		rungs := make([]route.Rung, len(left))
		for n, i := range left {
			rungs[n] = c.failed[i].rung
		}
		done[rungs[0]] = true
		c.rung = i + 1
		c.tracker.climbs(i, passed(c.failed[:i]))
		got, err := c.try(ctx, rungs, c.failed[i].got.tried)
		if err == nil {
			got.served.Rung, got.served.Passed = i+1, passed(c.failed[:i])
			return got, nil
		}
		c.failed[i] = failedRung{rungs[0], got, err, time.Now()}
	}
	return c.unanswered(ctx)
}

// deadline is the latest of the calls that wait for the answer; the zero Time for none.
func (c *climb) deadline() time.Time { return c.waiting.Deadline() }

// isForWantOfTime reports whether a rung was passed that might answer callers with more time.
func isForWantOfTime(err error) bool {
	code := fault.Of(err).Code
	return code == fault.Timeout || code == fault.QueueTimeout
}

// isOver reports whether all calls that wait for the answer have left or run out of time. An
// attempt may fail at the deadline a moment before the context of the climb ends.
func (c *climb) isOver(ctx context.Context) bool {
	deadline := c.deadline()
	return ctx.Err() != nil || !deadline.IsZero() && !time.Now().Before(deadline)
}

// rungs are the ways to get an answer, the first to be tried first.
func (t *task) rungs() ([]route.Rung, error) {
	names := append([]string{t.settings.spell(t.Model)}, t.fallback()...)
	return t.settings.ladders().Of(names...)
}

// hasLadder reports whether there is more than one rung.
func (t *task) hasLadder() bool {
	rungs, err := t.rungs()
	return err == nil && len(rungs) > 1
}

// fallback names the models that may stand in for the one of the request: those that it
// names itself, or else those of the settings that its caller may use.
func (t *task) fallback() (names []string) {
	for _, name := range t.Fallback {
		names = append(names, t.settings.spell(name))
	}
	if len(t.Fallback) > 0 {
		return names
	}
	for _, name := range t.settings.ladders().Fallback() {
		if t.Caller.MayUse(backend.CanonicalModel(name)) {
			names = append(names, t.settings.spell(name))
		}
	}
	return names
}

// skip says why a rung is not to be tried; nil if it is.
func (c *climb) skip(i int, rung route.Rung) error {
	switch err := c.exclude(rung); {
	case err != nil:
		return err
	case i == 0 && !c.ladder.tryFirst():
		return errCircuitOpen
	case i > 0:
		return tooShort(c.deadline(), c.ladder.needs(rung))
	}
	return nil
}

// try tries the first of the rungs that are left, avoiding the hosts of it that were tried
// before, and learns from how it did.
func (c *climb) try(ctx context.Context, left []route.Rung, tried []string) (got *result, err error) {
	c.rungEvent(RungBegan, left[0], nil)
	defer func() { c.rungEvent(RungEnded, left[0], err) }()
	got, err = c.tryRung(ctx, left[0], len(left)-1, tried)
	if err == nil && c.ladder != nil && isEmpty(got.answer) && got.answer.DoneReason.End() != backend.EndNoAnswer {
		err = errEmpty
	}
	if c.ladder != nil && left[0] == c.ladder.first {
		c.tell(c.ladder.record(ctx, err))
	}
	if err == nil {
		c.ladder.took(left[0], time.Duration(got.served.Total)*time.Millisecond)
	}
	return got, err
}

// rungEvent tells the watcher of the rung that is tried.
func (c *climb) rungEvent(kind EventKind, rung route.Rung, err error) {
	c.call.part(Event{Kind: kind, Fill: c.tracker.fill, Rung: c.rung, Model: rung.Model, Provider: rung.Provider, Err: err})
}

// worthRetrying are the failed rungs, by their index, that may answer by now or in the time
// that is left, the one that is ready soonest first. Those that are done are left out.
func (c *climb) worthRetrying(done map[route.Rung]bool) (left []int) {
	for i, f := range c.failed {
		needs := c.ladder.needs(f.rung)
		if i == 0 {
			needs = 0 // it is the model that was asked for
		}
		if !done[f.rung] && f.mayHavePassed() && tooShort(c.deadline(), f.untilReady()+needs) == nil {
			left = append(left, i)
		}
	}
	slices.SortStableFunc(left, func(i, j int) int {
		return cmp.Compare(c.failed[i].untilReady(), c.failed[j].untilReady())
	})
	return left
}

// unanswered says why no rung has answered.
func (c *climb) unanswered(ctx context.Context) (*result, error) {
	if !slices.ContainsFunc(c.failed, func(f failedRung) bool { return f.err != errEmpty }) {
		return c.failed[0].got, nil // the caller is told that it is empty
	}
	last := c.failed[len(c.failed)-1].got
	if len(c.failed) > 1 {
		last.served.Passed = passed(c.failed)
	}
	return last, c.explainAll(ctx, c.failed)
}

// explainAll says why no rung has answered. Code, hint and the time to wait are those of one
// rung, the one of which they are of most use. What there is of an answer may be another's.
func (t *task) explainAll(ctx context.Context, failed []failedRung) *fault.Error {
	most := slices.MinFunc(failed, failedRung.compareUse)
	e := t.explainRung(ctx, most)
	if len(failed) == 1 {
		return e
	}
	e.Message = "no model of the ladder answered: " + strings.Join(passed(failed), ", ")
	if e.Hint != "" {
		e.Hint = most.rung.String() + ": " + e.Hint
	}
	for _, f := range slices.Backward(failed) {
		if e.Partial == "" {
			e.Partial = f.partial()
		}
	}
	return e
}

// partial is the text that a rung had answered when it failed.
func (f failedRung) partial() string {
	if f.got.answer == nil {
		return ""
	}
	return moderation.Clean(f.got.answer.Text)
}

// failureMaxAge is the age of a failure after which a rung may be well again.
const failureMaxAge = time.Second

// mayHavePassed reports whether a rung was only put off, or has failed some time ago.
func (f failedRung) mayHavePassed() bool {
	return errors.Is(f.err, errTooLate) || errors.Is(f.err, errCircuitOpen) ||
		f.use() == retryable && (time.Since(f.at) > failureMaxAge || f.untilReady() > 0)
}

// untilReady is how long the rung has asked to be left alone from now on; 0 if it has not.
func (f failedRung) untilReady() time.Duration {
	if asked, ok := errors.AsType[*backend.Error](f.err); ok {
		return max(0, asked.RetryAfter-time.Since(f.at))
	}
	return 0
}

// use is how much a caller can do with the reason for which a rung did not answer.
type use int

const (
	skipped    use = iota // nobody was asked
	operator              // only who runs the server can do something
	changeable            // the same request would fail again
	retryable             // a second attempt may succeed
)

func (f failedRung) use() use {
	_, wasSkipped := errors.AsType[*skippedError](f.err)
	e := fault.Of(f.err)
	switch {
	case wasSkipped || e.Code == fault.Forbidden:
		return skipped
	case e.Retryable:
		return retryable
	case e.Code == fault.Unauthorized || e.Code == fault.Internal:
		return operator
	}
	return changeable
}

// compareUse orders failed rungs, the one of most use to the caller first: of those that may
// be tried again, the one that should answer soonest.
func (f failedRung) compareUse(g failedRung) int {
	return cmp.Or(cmp.Compare(g.use(), f.use()), cmp.Compare(f.wait(), g.wait()))
}

// wait is after what time the rung has asked to be tried again, or should have a free slot;
// a minute if neither is known.
func (f failedRung) wait() time.Duration {
	if asked, ok := errors.AsType[*backend.Error](f.err); ok {
		return cmp.Or(asked.RetryAfter, time.Minute)
	}
	return cmp.Or(fault.Of(f.err).RetryAfter, time.Minute)
}

// name is the model of the rung, as the caller names it if it is the one that was asked for.
func (f failedRung) name() string {
	if name := f.got.served.Requested; f.rung.Provider == "" && backend.CanonicalModel(name) == f.rung.Model {
		return name
	}
	return f.rung.String()
}

func (f failedRung) String() string { return fmt.Sprintf("%s (%v)", f.rung, f.err) }

// passed are rungs that did not answer, and why.
func passed(failed []failedRung) (all []string) {
	for _, f := range failed {
		all = append(all, f.String())
	}
	return all
}

// emptyError is why a rung is left whose model has answered nothing.
type emptyError struct{}

var errEmpty error = emptyError{}

func (emptyError) Error() string { return "answered nothing" }

// Fault implements fault.Explainer.
func (emptyError) Fault() *fault.Error {
	return &fault.Error{
		Code: fault.Upstream, Message: "the model's answer is empty", Retryable: true,
		Hint: "try again, rephrase the request, or use another model",
	}
}

// skippedError is why a rung was not tried.
type skippedError struct {
	code      fault.Code // of the call, if no other rung answers
	why, hint string
}

func (e *skippedError) Error() string { return e.why }

// Fault implements fault.Explainer.
func (e *skippedError) Fault() *fault.Error {
	return &fault.Error{Code: e.code, Message: e.why, Hint: e.hint, Retryable: e.code == fault.NoHost || e.code == fault.Timeout}
}

var (
	errLocalOnly = &skippedError{
		code: fault.Forbidden, why: "skipped: local_only forbids cloud models",
		hint: "use a model of this server's own hosts; list-models names them",
	}
	errNoCloud = &skippedError{
		code: fault.Forbidden, why: "skipped: this server forbids cloud models (--no-cloud)",
		hint: "use a model of this server's own hosts; list-models names them",
	}
	errGone        = &skippedError{code: fault.NoHost, why: "skipped: the provider was removed from the configuration"}
	errCircuitOpen = &skippedError{code: fault.NoHost, why: "skipped: circuit open after repeated failures"}
)

// localOnly says why a request may not leave for a cloud; nil if it may.
func (e *Engine) localOnly(r *Common) error {
	switch {
	case r.LocalOnly || r.Caller.LocalOnly:
		return errLocalOnly
	case e.opts.NoCloud:
		return errNoCloud
	}
	return nil
}

// isCloud reports whether a cloud answers for a rung, as far as its name tells: a provider
// on this machine may be an Ollama that passes requests on.
func isCloud(rung route.Rung) bool { return rung.Cloud || backend.IsCloudName(rung.Model) }

// exclude says why a rung may not be tried; nil if it may.
func (t *task) exclude(rung route.Rung) error {
	forbidden := t.localOnly(&t.Common)
	switch {
	case isCloud(rung) && forbidden != nil:
		return forbidden
	case rung.Provider != "" && t.Host != "":
		return &skippedError{
			code: fault.InvalidArgument, why: fmt.Sprintf("skipped: only the host %s is wanted", t.Host),
			hint: "leave host out: a provider is not one",
		}
	case t.lender(rung) == nil:
		return errGone
	}
	return nil
}

// tooShort says that a rung which stands in for another has never been so quick as it
// would have to be; nil if it may be tried.
func tooShort(deadline time.Time, least time.Duration) error {
	if deadline.IsZero() || time.Until(deadline) >= least {
		return nil
	}
	return &skippedError{
		code: fault.Timeout, why: fmt.Sprintf("skipped: it never answered in less than %v", least.Round(time.Millisecond)),
		hint: "allow more with timeout_seconds",
	}
}
