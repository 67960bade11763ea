package tools

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
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
	ladder := d.ladders.of(q.model, rungs)
	missed := make([]miss, len(rungs))
	for i, rung := range rungs {
		why := d.leaveOut(rung, q)
		switch {
		case why != nil:
		case i == 0 && !ladder.tryFirst():
			why = errLeftAlone
		case i > 0:
			why = tooShort(q.until, ladder.needs(rung))
		}
		got := &outcome{}
		if why == nil {
			a.climbs(i, missed[:i])
			got, why = d.askNext(ctx, a, q, ladder, rungs[i:], nil)
		}
		if why == nil {
			return got.climbed(i, missed[:i]), nil
		}
		missed[i] = miss{rung, got, why, time.Now()}
		if ctx.Err() != nil || !curable(why) {
			return d.unanswered(ctx, missed[:i+1])
		}
	}
	return d.askAgain(ctx, a, q, ladder, missed)
}

// askAgain asks those once more that may answer by now, since there is nobody left to
// go on to.
func (d Deps) askAgain(ctx context.Context, a *asking, q question, ladder *ladder, missed []miss) (*outcome, error) {
	if len(missed) == 1 {
		return d.unanswered(ctx, missed)
	}
	for i := range missed {
		left := q.worthAsking(ladder, missed, i)
		if len(left) == 0 || left[0] != missed[i].rung {
			continue
		}
		a.climbs(i, missed[:i])
		got, why := d.askNext(ctx, a, q, ladder, left, missed[i].got.tried)
		if why == nil {
			return got.climbed(i, missed[:i]), nil
		}
		missed[i] = miss{left[0], got, why, time.Now()}
		if ctx.Err() != nil || !curable(why) {
			break
		}
	}
	return d.unanswered(ctx, missed)
}

// worthAsking are the rungs, from one on, that may answer by now, and in the time that
// is left.
func (q question) worthAsking(ladder *ladder, missed []miss, from int) (left []route.Rung) {
	for i, m := range missed {
		inTime := i == 0 || tooShort(q.until, ladder.needs(m.rung)) == nil
		if i >= from && m.mayHavePassed() && inTime {
			left = append(left, m.rung)
		}
	}
	return left
}

// askNext asks the first of the rungs that are left, and rather not the hosts of it that
// were tried before, and takes in how it did.
func (d Deps) askNext(ctx context.Context, a *asking, q question, ladder *ladder, left []route.Rung, tried []string) (*outcome, error) {
	got, why := d.askRung(ctx, a, q, left[0], share(q.until, len(left)-1), tried)
	if ladder != nil && left[0] == ladder.first {
		d.tell(ladder.record(ctx, why))
	}
	if why == nil {
		ladder.took(left[0], time.Duration(got.served.Total)*time.Millisecond)
	}
	return got, why
}

// miss is a rung that did not answer.
type miss struct {
	rung route.Rung
	got  *outcome
	why  error
	at   time.Time
}

// oldNews is the age of a failure after which a rung may be well again.
const oldNews = time.Second

// mayHavePassed reports whether a rung was only put off, or has failed some time ago.
func (m miss) mayHavePassed() bool {
	return errors.Is(m.why, errTooLate) || errors.Is(m.why, errLeftAlone) || m.hope() == mostHope && time.Since(m.at) > oldNews
}

// asked is the model of the rung, as its caller calls it where it is the one that was asked for.
func (m miss) asked() string {
	if name := m.got.served.Requested; m.rung.Provider == "" && backend.CanonicalModel(name) == m.rung.Model {
		return name
	}
	return m.rung.String()
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

// curable reports whether another rung could do what this one could not.
func curable(err error) bool {
	switch backend.ClassOf(err) {
	case backend.Transport, backend.Overload, backend.Server, backend.Crashed, backend.NoRoom,
		backend.ModelMissing, backend.TooLong, backend.Unauthorized:
		return true
	case backend.Request, backend.Caller:
		return errors.Is(err, pool.ErrNoHost)
	}
	_, explained := errors.AsType[*fault.Error](err)
	return !explained
}

// climbed notes the rungs that did not answer before the one that did.
func (got *outcome) climbed(rung int, missed []miss) *outcome {
	got.served.Rung, got.served.Passed = rung+1, passed(missed)
	return got
}

// passed are rungs that did not answer, and why.
func passed(missed []miss) (all []string) {
	for _, m := range missed {
		all = append(all, m.String())
	}
	return all
}

// unanswered says why no rung has answered. What could be done about it goes by the
// rung that is nearest to an answer: one that may yet give it, or else one that was
// asked at all.
func (d Deps) unanswered(ctx context.Context, missed []miss) (*outcome, error) {
	last := missed[len(missed)-1].got
	if len(missed) == 1 {
		return last, d.explainAnswer(ctx, missed[0])
	}
	reasons := make([]string, len(missed))
	nearest, hope := 0, -1
	for i, m := range missed {
		reasons[i] = m.String()
		if h := m.hope(); h > hope {
			nearest, hope = i, h
		}
	}
	e := d.explainAnswer(ctx, missed[nearest])
	e.Message = "no model of the ladder answered: " + strings.Join(reasons, ", ")
	return last, e
}

// hope is higher the better it would be to ask the rung once more.
func (m miss) hope() int {
	_, left := errors.AsType[*leftOut](m.why)
	switch {
	case left:
		return 0
	case !fault.Of(m.why).Retryable:
		return 1
	}
	return mostHope
}

const mostHope = 2
