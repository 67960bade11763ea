package inference

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"ollama-mcp/cache"
	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/route"
)

// variant tells apart requests that may get the same cached answer, but must not share
// one in flight: one would be bound by what the other has asked for.
type variant struct {
	priority      route.Priority
	minSimilarity float64
	exactOnly     bool
	fallback      string // models that may stand in, of those that the caller may use
	ownTimeout    bool   // the rungs have all of the request's own time, and not Options.Patience; false where that is the same
}

// fetch gets the answer to a request: a cached one, that of an identical request in
// flight, or its own. It is clean.
func (t *task) fetch(ctx context.Context) (*result, error) {
	lookup := cache.Lookup{
		Deadline: t.deadline, Alone: t.asksForChance(), Replaces: t.KeptByCaller,
		Variant: variant{t.Priority, t.MinSimilarity, t.Caller.ExactOnly, strings.Join(t.fallback(), "\n"), t.Timeout > 0 && t.opts.Patience > 0 && t.hasLadder()},
	}
	began := time.Now()
	lookup.Policy, lookup.Key = t.cachePolicy(ctx)
	var remember func(cache.Key, *result)
	tr := &tracker{fill: t.fills.Add(1)}
	follow := func(tr *tracker) {
		t.tracker = tr
		t.call.follow(tr)
		t.call.shows(func() string { return t.partialText(tr) })
		t.stream.follow(tr)
	}
	follow(tr)
	fill := func(ctx context.Context, waiting cache.Waiters) (e cache.Entry, keep bool, err error) {
		t.lookedUp(began, verdict(lookup.Policy, e, cache.Miss), 0)
		t.call.part(Event{Kind: FillBegan, Fill: tr.fill, Model: t.Model})
		defer func() {
			t.call.part(Event{Kind: FillEnded, Fill: tr.fill, Cache: verdict(lookup.Policy, e, cache.Miss), Err: err})
		}()
		e, keep, remember, err = t.fill(ctx, lookup.Policy, tr, waiting)
		return e, keep, err
	}
	join := func(other *tracker) {
		follow(other)
		t.lookedUp(began, CacheCoalesced, other.fill)
	}
	entry, source, err := t.answers.Fetch(ctx, lookup, tr, join, fill)
	if source == cache.Hit || source == cache.SharedHit {
		t.lookedUp(began, verdict(lookup.Policy, entry, source), 0)
	}
	saved := time.Duration(0)
	if err == nil && source != cache.Miss {
		saved = entry.Took
	}
	t.call.cacheSaid(verdict(lookup.Policy, entry, source), saved)
	if err != nil {
		return t.missed(ctx, entry, source, err)
	}
	shared := entry.Value.(*result)
	if source == cache.Miss && remember != nil { // only now is the answer found under its key
		remember(lookup.Key, shared)
	}
	return shared.shared(source, entry, time.Since(t.began)), nil
}

// lookedUp tells the watcher what the cache has said, if it was asked.
func (t *task) lookedUp(began time.Time, said CacheVerdict, joined uint64) {
	if said != CacheOff && t.call.wants == AllEvents {
		t.call.event(Event{Kind: LookedUp, Model: t.Model, Cache: said, Fill: joined, Wait: time.Since(began)})
	}
}

// verdict says what the cache did for a request.
func verdict(policy cache.Policy, entry cache.Entry, source cache.Source) CacheVerdict {
	got, _ := entry.Value.(*result)
	switch {
	case policy == cache.Off:
		return CacheOff
	case got != nil && got.served.Source == CachedSimilar:
		return CacheSemantic
	case source == cache.Hit:
		return CacheHit
	case source == cache.SharedHit:
		return CacheShared
	case source == cache.Coalesced:
		return CacheCoalesced
	case policy == cache.Refresh:
		return CacheRefresh
	}
	return CacheMiss
}

// fill answers the request itself, or finds the answer to a similar one. remember notes
// the request as one that may be paraphrased; it is nil if there is nothing to note.
func (t *task) fill(ctx context.Context, policy cache.Policy, tr *tracker, waiting cache.Waiters) (e cache.Entry, keep bool, remember func(cache.Key, *result), err error) {
	if policy == cache.Auto && !t.Logprobs { // the tokens of another answer are not wanted
		found, note := t.compare(ctx, tr.fill)
		if remember = note; found != nil {
			return cache.Entry{Value: found}, false, nil, nil
		}
	}
	c := &climb{task: t, tracker: tr, waiting: waiting}
	got, err := c.run(ctx)
	if err != nil {
		return cache.Entry{Value: got}, false, nil, err
	}
	got.clean() // before it is cached, so that a hit need not
	keep = got.cacheable() && t.isOfUse(got.answer)
	if !keep || t.KeptByCaller {
		remember = nil
	}
	return cache.Entry{Value: got, Took: time.Since(t.began)}, keep, remember, nil
}

// compare looks for the answer to a similar request, and tells the watcher of it.
func (t *task) compare(ctx context.Context, fill uint64) (found *result, remember func(cache.Key, *result)) {
	began := time.Now()
	found, remember = t.similar(ctx)
	if t.semantic != nil {
		said := CacheMiss
		if found != nil {
			said = CacheSemantic
		}
		t.call.part(Event{Kind: Compared, Fill: fill, Model: t.Model, Cache: said, Wait: time.Since(began)})
	}
	return found, remember
}

// isOfUse reports whether an answer is worth keeping: there is something in it to read, and
// it fits the format. Another attempt may do better than one that does not.
func (t *task) isOfUse(a *backend.Answer) bool {
	if isEmpty(a) || t.format == nil {
		return !isEmpty(a)
	}
	_, err := t.format.parse(a.Text)
	return err == nil
}

// cachePolicy says how a request may use the cache, and under which key.
func (t *task) cachePolicy(ctx context.Context) (cache.Policy, cache.Key) {
	policy := cmp.Or(t.Cache, cache.Auto)
	switch {
	case t.opts.CacheMode == "off",
		t.opts.CacheMode == "deterministic" && !t.deterministic(),
		t.opts.CacheMode == "auto" && t.asksForChance():
		policy = cache.Off
	}
	if policy == cache.Off {
		return cache.Off, cache.Key{}
	}
	key, err := t.cacheKey(ctx, t.identity())
	if err != nil { // it cannot be told apart from others, so it is not cached
		return cache.Off, key
	}
	return policy, key
}

// cacheKey is the key of the answer to a request, of whose prompt identity is the whole
// or a part.
func (t *task) cacheKey(ctx context.Context, identity any) (cache.Key, error) {
	digest, err := t.digest(ctx, t.settings, t.settings.spell(t.Model))
	if err != nil {
		return cache.Key{}, err
	}
	return t.keyWith(digest, identity)
}

// keyWith is cacheKey for a model with a digest.
func (t *task) keyWith(digest string, identity any) (cache.Key, error) {
	return cache.KeyOf(
		cache.Scope{Tenant: t.Caller.Tenant, Tool: t.scope, Model: t.settings.spell(t.Model), Digest: digest},
		// All that an answer depends on beside the scope. Names and order are part of keys.
		struct {
			Request   any
			Options   map[string]any
			Format    json.RawMessage     `json:",omitempty"`
			Think     *backend.ThinkValue `json:",omitempty"`
			MayCut    bool
			Fallback  []string `json:",omitempty"`
			LocalOnly bool
			Host      string
			Logprobs  int  `json:",omitempty"` // alternatives for each token, and the token itself
			Rung      bool `json:",omitempty"` // no other rung may answer
		}{
			identity, t.Options, t.Format, t.Think, t.mayTruncate(&t.Common), t.Fallback, t.LocalOnly || t.Caller.LocalOnly, t.Host,
			t.logprobs(), t.only != nil,
		})
}

// Keyer returns a function that names requests which differ from one by their prompts: requests
// of one tenant that would get the same answer have the same name, and all others have another.
// digests are those that hosts have the model by at the moment, "" if none is known to have it: a
// model that is pulled anew has others. Keyer fails if Do would refuse all of them without asking
// a host, with its error.
func (e *Engine) Keyer(ctx context.Context, like Request) (key func(Request) (string, error), digests string, err error) {
	if _, err := e.newTask(like, new(Call)); err != nil {
		return nil, "", err
	}
	settings := e.opts.Settings()
	if rungs, err := settings.ladders().Of(settings.spell(like.Model)); err == nil && e.opts.Digest != nil && rungs[0].Provider == "" {
		digests = e.opts.Digest(ctx, rungs[0].Model)
	}
	return func(req Request) (string, error) {
		t := &task{Engine: e, Request: req, settings: settings, scope: req.Kind.String()}
		key, err := t.keyWith("", t.identity())
		return key.String(), err
	}, digests, nil
}

// digest tells apart what has gone by the name of a model, or of an alias, for which its
// first rung counts: no other answer is cached. It fails for a model that no host is known
// to have.
func (e *Engine) digest(ctx context.Context, s *Settings, model string) (string, error) {
	if e.opts.Digest == nil {
		return "", nil
	}
	rungs, err := s.ladders().Of(model)
	if err != nil {
		return "", err
	}
	first := rungs[0]
	if first.Provider != "" {
		return first.Provider + "/" + first.Model, nil
	}
	digest := e.opts.Digest(ctx, first.Model)
	if digest == "" {
		return "", errors.New("no host is known to have " + first.Model)
	}
	if e.opts.Defaults != nil {
		digest += " " + e.opts.Defaults(first.Model)
	}
	return digest, nil
}

// missed is what there is for a request that gets no complete answer: as much of one as
// had arrived when its time was over, or the reason. source is where it was to come from.
func (t *task) missed(ctx context.Context, entry cache.Entry, source cache.Source, err error) (*result, error) {
	if p, ok := errors.AsType[*cache.PanicError](err); ok {
		panic(fmt.Sprintf("%v\n%s", p.Value, p.Stack)) // as if it had happened here
	}
	isOver := errors.Is(ctx.Err(), context.DeadlineExceeded) || !t.deadline.IsZero() && !time.Now().Before(t.deadline)
	if ctx.Err() == nil && !isOver {
		if shared, ok := entry.Value.(*result); ok {
			t.notServed(*shared, source)
		}
		return nil, explain(t.Model, err)
	}
	got, a := t.tracker.partial()
	t.separateThoughts(got.answer)
	got.clean()
	got.served = t.notServed(*got, source)
	if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return nil, t.withPartial(cancelled(ctx), got)
	}
	if (t.format == nil || t.Unfit) && got.answer.Text != "" { // some text is better than none
		got.answer.DoneReason = doneTimeout
		return got, nil
	}
	return nil, t.withPartial(t.tooLate(got.answer, a), got)
}

// partialText is what has arrived of an answer, without thoughts; "" where answers are filtered,
// since a part of one cannot be judged.
func (t *task) partialText(tr *tracker) string {
	if t.settings.Filter != nil {
		return ""
	}
	got, _ := tr.partial()
	t.separateThoughts(got.answer)
	got.clean()
	return got.answer.Text
}

// notServed notes for the record how far a request came that gets no complete answer.
func (t *task) notServed(got result, source cache.Source) Served {
	got.served.Requested = t.Model
	if got.answer != nil {
		got.count()
	}
	if source == cache.Coalesced {
		got.served.Source = Coalesced
	}
	got.served.Total = time.Since(t.began).Milliseconds()
	t.call.served(got.served)
	return got.served
}

// withPartial is an error with what had arrived of an answer.
func (t *task) withPartial(e *fault.Error, got *result) *fault.Error {
	e.Partial = got.answer.Text
	if t.wantsThoughts() {
		e.Thinking = got.answer.Thinking
	}
	return e
}
