package tools

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// rungs are the ways to get an answer to a question, the first to be tried first.
func (d Deps) rungs(q question) ([]route.Rung, error) {
	s := d.settings()
	instead := q.args.Fallback
	for _, name := range instead {
		if err := mayUse(q.who, name); err != nil {
			return nil, err
		}
	}
	if len(instead) == 0 {
		for _, name := range s.ladders().Fallback() {
			if q.who.MayUse(backend.CanonicalModel(name)) {
				instead = append(instead, name)
			}
		}
	}
	names := []string{s.spell(q.model)}
	for _, name := range instead {
		names = append(names, s.spell(name))
	}
	return s.ladders().Of(names...)
}

// climb asks down the ladder of a model until a rung answers. Its error is explained.
func (d Deps) climb(ctx context.Context, a *asking, q question) (*outcome, error) {
	rungs, err := d.rungs(q)
	if err != nil {
		return &outcome{}, err
	}
	ladder := d.ladders.of(q.model, len(rungs))
	first := ladder.tryFirst()
	var missed []miss
	for i, rung := range rungs {
		left := rungs[i+1:]
		why := d.leaveOut(rung, q)
		switch least := ladder.needs(rung); {
		case i == 0 && !first:
			why = errors.New("left alone for a while, since it has failed")
		case i > 0 && !q.until.IsZero() && time.Until(q.until) < least:
			why = fmt.Errorf("never answered in less than %v", least.Round(time.Millisecond))
		}
		got := &outcome{}
		if why == nil {
			got, why = d.askRung(ctx, a, q, rung, share(q.until, len(left)))
			if i == 0 {
				d.tell(ladder.record(ctx, why))
			}
		}
		if why == nil {
			ladder.took(rung, time.Duration(got.served.Total)*time.Millisecond)
			got.climbed(i, missed)
			return got, nil
		}
		missed = append(missed, miss{rung, got, why})
		if ctx.Err() != nil || !curable(why) {
			break
		}
	}
	return d.unanswered(ctx, missed)
}

// miss is a rung that did not answer.
type miss struct {
	rung route.Rung
	got  *outcome
	why  error
}

func (m miss) String() string { return fmt.Sprintf("%s (%v)", m.rung, m.why) }

// share is what a rung may take to begin its answer, so that each of the others has
// as much; 0 for no limit.
func share(until time.Time, others int) time.Duration {
	if others == 0 || until.IsZero() {
		return 0
	}
	return max(time.Until(until)/time.Duration(others+1), time.Millisecond)
}

// leaveOut says why a rung is not to be asked; nil if it is.
func (d Deps) leaveOut(rung route.Rung, q question) error {
	switch {
	case rung.Cloud && (q.args.LocalOnly || q.who.LocalOnly):
		return errLocalOnly
	case rung.Cloud && d.NoCloud:
		return errNoCloud
	case rung.Provider != "" && q.args.Host != "":
		return fmt.Errorf("only the host %s is wanted", q.args.Host)
	case d.lender(rung) == nil:
		return errors.New("the provider is there no more")
	}
	return nil
}

var (
	errLocalOnly = errors.New("not asked, since nothing of this call may leave for a cloud: local_only")
	errNoCloud   = errors.New("not asked, since nothing may leave for a cloud: --no-cloud")
)

// curable reports whether another rung could do what this one could not.
func curable(err error) bool {
	switch backend.ClassOf(err) {
	case backend.Transport, backend.Overload, backend.Server, backend.ModelMissing, backend.TooLong, backend.Unauthorized:
		return true
	case backend.Request, backend.Caller:
		return errors.Is(err, pool.ErrNoHost)
	}
	_, explained := errors.AsType[*Error](err)
	return !explained
}

// climbed notes the rungs that did not answer before the one that did.
func (got *outcome) climbed(rung int, missed []miss) {
	got.served.Rung = rung + 1
	for _, m := range missed {
		got.passed = append(got.passed, m.String())
	}
	got.served.Passed = got.passed
}

// unanswered says why no rung has answered.
func (d Deps) unanswered(ctx context.Context, missed []miss) (*outcome, error) {
	last := missed[len(missed)-1]
	if len(missed) == 1 {
		return last.got, d.explainAnswer(ctx, last)
	}
	reasons := make([]string, len(missed))
	worst := d.explainAnswer(ctx, missed[0])
	for i, m := range missed {
		reasons[i] = m.String()
		if e := explain(m.rung.String(), m.why); e.Retryable && !worst.Retryable {
			worst = e
		}
	}
	worst.Message = "no model of the ladder answered: " + strings.Join(reasons, ", ")
	return last.got, worst
}

// ladders remember how the ladder of each model fares.
type ladders struct {
	mu  sync.Mutex
	all map[string]*ladder
}

// mostLadders bounds how many ladders are remembered.
const mostLadders = 1000

// ladder is what is remembered of a model's ladder.
type ladder struct {
	name string
	long bool // there is more than one rung

	mu     sync.Mutex
	health route.Health
	least  map[route.Rung]time.Duration // that each has ever taken to answer
}

func (l *ladders) of(model string, rungs int) *ladder {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := backend.CanonicalModel(model)
	one, ok := l.all[name]
	if !ok {
		one = &ladder{name: name, least: make(map[route.Rung]time.Duration)}
		if rungs == 1 {
			return one // nothing to remember: there is no choice
		}
		if l.all == nil || len(l.all) >= mostLadders {
			l.all = make(map[string]*ladder) // callers may name what they like
		}
		l.all[name] = one
	}
	one.long = rungs > 1
	return one
}

func (l *ladder) state() (route.State, time.Time, string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.health.State()
}

func (l *ladder) tryFirst() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.long || l.health.TryFirst(time.Now())
}

// record takes in what came of asking the first rung. It tells of a change of state.
func (l *ladder) record(ctx context.Context, err error) (change *ladderChange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	outcome, reason := route.Answered, "it answers again"
	if err != nil {
		if ctx.Err() != nil && !errors.Is(err, errTooLate) || !curable(err) || errors.Is(err, backend.TooLong) {
			return nil // says nothing about the rung
		}
		outcome, reason = route.Failed, err.Error()
		if isBusy(err) {
			outcome = route.Busy
		}
	}
	if !l.long || !l.health.Record(time.Now(), outcome, reason) {
		return nil
	}
	state, _, reason := l.health.State()
	return &ladderChange{l.name, state, reason}
}

func isBusy(err error) bool {
	_, full := errors.AsType[*pool.FullError](err)
	return full || errors.Is(err, pool.ErrQueueTimeout) || errors.Is(err, backend.Overload) || errors.Is(err, errTooLate)
}

func (l *ladder) took(rung route.Rung, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if least, known := l.least[rung]; !known || d < least {
		l.least[rung] = d
	}
}

func (l *ladder) needs(rung route.Rung) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.least[rung]
}

// ladderChange is a change of a ladder's state.
type ladderChange struct {
	model  string
	state  route.State
	reason string
}

func (d Deps) tell(change *ladderChange) {
	if change != nil {
		d.Log.Warn("a model's ladder has changed its state", "model", change.model, "state", change.state, "reason", change.reason)
	}
}
