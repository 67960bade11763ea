package inference

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/nearest"
	"ollama-mcp/internal/route"
)

// explain turns any failure of a request for a model into one that its caller can act on.
func explain(model string, err error) *fault.Error {
	e := fault.Of(err)
	failed, ok := errors.AsType[*backend.Error](err)
	if ok && e.Code == fault.ModelNotFound && model != "" {
		e.Message = fmt.Sprintf("%s: model %q is not installed", failed.Host, model)
		if pullable.MatchString(model) {
			e.Hint = fmt.Sprintf("install it with `ollama pull %s`", model)
		}
	}
	return e
}

// explainRung says why a rung did not answer.
func (t *task) explainRung(ctx context.Context, f failedRung) *fault.Error {
	e := explain(f.name(), f.err)
	switch {
	case f.rung.Provider != "":
		ofProvider(e, f.rung, f.err)
	case e.Code == fault.ModelNotFound:
		t.suggest(ctx, t.Caller, f.name(), t.settings.aliases(t.Caller, ""), e)
	default:
		e.Message = f.rung.String() + ": " + e.Message
		if e.Code == fault.NoHost {
			t.doubt(ctx, f, e)
		}
	}
	e.Partial = f.partial()
	return e
}

// doubt adds to the error of a host that is down, and may have the model, that no other has it, unless
// a host is known to have had it: its name may be wrong.
func (t *task) doubt(ctx context.Context, f failedRung, err *fault.Error) {
	if t.Ready() != nil || t.wasListed(f.rung.Model) {
		return
	}
	known := t.installed(ctx, t.Caller)
	isKnown := func(name string) bool { return backend.CanonicalModel(name) == f.rung.Model }
	if len(known) > 0 && !slices.ContainsFunc(known, isKnown) {
		err.Message += "; no host that answers has the model"
		addNames(err, f.name(), append(known, t.settings.aliases(t.Caller, "")...))
	}
}

// wasListed reports whether a host had a model when it last said which it has. It asks nobody.
func (e *Engine) wasListed(model string) bool {
	return e.opts.Listed != nil && slices.ContainsFunc(e.opts.Hosts.Hosts(), func(h backend.Backend) bool {
		_, ok := e.opts.Listed(h.Name(), model)
		return ok
	})
}

// ofProvider makes an explanation fit a rung that none of our own hosts serves.
func ofProvider(e *fault.Error, rung route.Rung, err error) {
	switch e.Code {
	case fault.ModelNotFound:
		e.Message = fmt.Sprintf("%s has no model %q", rung.Provider, rung.Model)
		e.Hint = "ask for one that it serves"
	case fault.NoHost:
		e.Hint = "try again later, or use another model"
	case fault.Unauthorized:
		e.Hint = "this server's key for " + rung.Provider + " is not accepted: tell the operator of the server"
		if errors.Is(err, backend.NoCredit) {
			e.Hint = "the account with " + rung.Provider + " has no credit left: tell the operator of the server, or use another model"
		}
	case fault.ContextTooLong:
		e.Hint = "send less, or use another model"
	case fault.InvalidArgument:
		if !backend.IsTooLarge(err) {
			e.Hint = "change what " + rung.Provider + " objects to, or use another model"
		}
	case fault.Upstream:
		switch {
		case backend.IsMisdirected(err): // the hint says what is configured wrongly
		case e.Retryable:
			e.Hint = "try again, or use another model"
		case errors.Is(err, backend.NoRoom), errors.Is(err, backend.Crashed), errors.Is(err, backend.Unloadable): // callers cannot set how it runs its models
			e.Hint = "use another model"
		}
	}
	e.Message = rung.String() + ": " + e.Message
}

// Suggest adds to a model_not_found the names of installed models that a caller may have meant.
// Other errors stay as they are. It asks the hosts, and does without those that are slow.
func (e *Engine) Suggest(ctx context.Context, who caller.Caller, model string, err *fault.Error) {
	if err.Code == fault.ModelNotFound {
		e.suggest(ctx, who, model, nil, err)
	}
}

// suggest is Suggest where aliases will do as well.
func (e *Engine) suggest(ctx context.Context, who caller.Caller, model string, aliases []string, err *fault.Error) {
	addNames(err, model, append(e.installed(ctx, who), aliases...))
}

// installed names the models that a caller may use on those hosts that say so in time. Hosts that are
// not well are not asked if others are.
func (e *Engine) installed(ctx context.Context, who caller.Caller) (names []string) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	ill := e.IllHosts()
	var asked sync.WaitGroup
	var mu sync.Mutex // guards names; not held while a host is asked
	for _, host := range e.opts.Hosts.Hosts() {
		if slices.Contains(ill, host.Name()) {
			continue
		}
		asked.Go(func() {
			models, _ := host.Models(ctx)
			mu.Lock()
			defer mu.Unlock()
			for _, m := range models {
				if who.MayUse(backend.CanonicalModel(m.Name)) {
					names = append(names, m.Name)
				}
			}
		})
	}
	asked.Wait()
	return names
}

// addNames adds to the hint of an error which of the names that are known may be meant.
func addNames(err *fault.Error, model string, known []string) {
	for i := range known {
		known[i] = strings.TrimSuffix(known[i], ":latest")
	}
	slices.Sort(known)
	known = slices.Compact(known) // several hosts may have the same
	const most = 5
	switch near := nearest.Names(model, known, most); {
	case len(near) > 0:
		err.Hint += "; or did you mean " + strings.Join(quoted(near), " or ") + "?"
	case len(known) > 0:
		err.Hint += "; known are " + strings.Join(quoted(known[:min(len(known), most)]), ", ")
	}
}

// tooLate says why a request had no answer, or no complete one, when its time was over.
// a is the attempt that was under way; nil for none.
func (t *task) tooLate(come *backend.Answer, a *attempt) *fault.Error {
	if a == nil {
		return t.notAsked()
	}
	e := &fault.Error{Code: fault.Timeout, Retryable: true, Hint: "allow more with timeout_seconds"}
	switch {
	case come.Text != "":
		e.Message = fmt.Sprintf("the time limit of %v was reached before the answer was complete", t.limit)
	case come.Tokens > 0:
		e.Message = fmt.Sprintf("the model was still thinking, after %s, when the time limit of %v was reached", fault.Count(come.Tokens, "token"), t.limit)
		e.Hint = "set think to false, or to \"low\" for models that know that, or allow more with timeout_seconds"
	case t.finishLoading(a):
		e = t.stillLoading()
	default:
		e.Message = fmt.Sprintf("%s had not begun to answer when the time limit of %v was reached", a.host.Name(), t.limit)
		e.Hint = "allow more with timeout_seconds; if it happens again, check with status whether the host is well"
	}
	e.Message = t.Model + ": " + e.Message
	return e
}

// notAsked says why no host was at work on a request when its time was over.
func (t *task) notAsked() *fault.Error {
	if t.loads.isLoading(backend.CanonicalModel(t.Model)) {
		e := t.stillLoading()
		e.Message = t.Model + ": " + e.Message
		return e
	}
	blocked := t.tracker.blockedBy()
	if blocked == nil {
		return &fault.Error{
			Code: fault.Timeout, Message: fmt.Sprintf("the time limit of %v was reached before a host was asked", t.limit),
			Retryable: true, Hint: "allow more with timeout_seconds",
		}
	}
	e := explain(t.Model, blocked)
	if e.Code != fault.QueueTimeout {
		e.Message = fmt.Sprintf("%s: the time limit of %v was reached; %s", t.Model, t.limit, e.Message)
	}
	return e
}

// stillLoading is the error of a request that has waited for its model in vain.
func (t *task) stillLoading() *fault.Error {
	return &fault.Error{
		Code: fault.Timeout, Message: fmt.Sprintf("the time limit of %v was reached before there was an answer", t.limit), Retryable: true,
		Hint: "the model was probably not in memory; it goes on loading, so call again in a minute",
	}
}

// cancelled is the error of a call that was ended, by its client or by the server.
func cancelled(ctx context.Context) *fault.Error {
	e := fault.Of(context.Canceled)
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errByOperator):
		e.Message += ": " + cause.Error()
		e.Hint, e.Retryable = "ask the administrator before you call again", false
	case !errors.Is(cause, context.Canceled):
		e.Message += ": " + cause.Error()
		e.Hint, e.Retryable = "call again when the server is back", true
	}
	return e
}

func quoted(names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = strconv.Quote(name)
	}
	return out
}
