package tools

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"ollama-mcp/cache"
	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/moderation"
)

// Answers are kept answers, and those that are in the making.
type Answers = cache.Cache[*asking]

// NewAnswers makes a place to keep answers in. Close it when no calls are left.
func NewAnswers(o cache.Options) (*Answers, error) { return cache.New[*asking](o) }

// fetching is the getting of one outcome.
type fetching struct {
	Deps
	question
	policy cache.Policy
	began  time.Time

	last     *asking                   // that the call looks on at
	remember func(cache.Key, *outcome) // notes its question as one that may be put in other words; nil if it is not
}

// fetch gets the outcome of a question: one that is kept, that of the same question
// in flight, or its own. It is clean.
func (d Deps) fetch(ctx context.Context, c *call, q question) (*outcome, error) {
	began := time.Now()
	policy, key := d.policy(ctx, q)
	if policy == cache.Auto {
		if entry, ok := d.Answers.Hit(key); ok {
			return entry.Value.(*outcome).recalled(cache.Hit, entry, time.Since(began)), nil
		}
	}
	ctx, cancel := q.limited(ctx)
	defer cancel()
	f := &fetching{Deps: d, question: q, policy: policy, began: began}
	look := func(a *asking) {
		f.last = a
		c.progress.Follow(a.progress)
	}
	entry, source, err := d.Answers.Fetch(ctx, cache.Lookup{Key: key, Policy: policy}, look, f.fill)
	if err != nil {
		return f.missed(ctx, source, err)
	}
	shared := entry.Value.(*outcome)
	if source == cache.Miss && f.remember != nil { // only now is the answer found under its key
		f.remember(key, shared)
	}
	return shared.recalled(source, entry, time.Since(began)), nil
}

// fill answers the question itself, or finds the answer to one that means the same.
func (f *fetching) fill(ctx context.Context, waiters cache.Waiters[*asking]) (e cache.Entry, keep bool, err error) {
	a := newAsking()
	waiters.Report(a)
	ctx = caller.NewContext(ctx, f.who)
	var remember func(cache.Key, *outcome)
	if f.policy == cache.Auto {
		var found *outcome
		if found, remember = f.like(ctx, f.question); found != nil {
			return cache.Entry{Value: found}, false, nil
		}
	}
	got, err := f.climb(ctx, a, f.question)
	if err != nil {
		return e, false, err
	}
	got.clean() // before it is kept, so that a hit need not
	if keep = got.mayBeKept(); keep {
		f.remember = remember
	}
	return cache.Entry{Value: got, Took: time.Since(f.began)}, keep, nil
}

// policy says what a question wants of what is kept, and by which key.
func (d Deps) policy(ctx context.Context, q question) (cache.Policy, cache.Key) {
	policy := cmp.Or(cache.Policy(q.args.Cache), cache.Auto)
	if d.CacheMode == "off" || d.CacheMode == "deterministic" && !q.args.deterministic() {
		policy = cache.Off
	}
	if policy == cache.Off {
		return cache.Off, cache.Key{}
	}
	key, err := d.keyOf(ctx, q, q.request)
	if err != nil { // cannot be told apart from others, so it is not kept
		return cache.Off, key
	}
	return policy, key
}

// keyOf is the key for the answer to a question, or for what a part of its request has
// in common with others.
func (d Deps) keyOf(ctx context.Context, q question, request any) (cache.Key, error) {
	model := d.settings().spell(q.model)
	digest, err := d.digest(ctx, model)
	if err != nil {
		return cache.Key{}, err
	}
	return cache.KeyOf(
		cache.Scope{Tenant: q.who.Tenant, Tool: q.tool, Model: model, Digest: digest},
		asked{
			Request: request, Options: q.args.Options, Format: q.args.Format.RawMessage, Think: q.args.Think,
			MayCut: d.mayCut(q.args.modelArgs), Fallback: q.args.Fallback, LocalOnly: q.args.LocalOnly || q.who.LocalOnly, Host: q.args.Host,
		})
}

// asked is all that an answer depends on beside what is in the scope of its key.
type asked struct {
	Request   any
	Options   options
	Format    json.RawMessage     `json:",omitempty"`
	Think     *backend.ThinkValue `json:",omitempty"`
	MayCut    bool
	Fallback  []string `json:",omitempty"`
	LocalOnly bool
	Host      string
}

// deterministic reports whether the same question gets the same answer.
func (a textArgs) deterministic() bool {
	_, seeded := a.Options["seed"]
	temperature, given := a.Options["temperature"].(float64)
	return seeded || given && temperature == 0
}

// digest tells apart what has gone by the name of a model, or of an alias, for which its
// first rung counts: no other answer is kept. What no host is known to have has none.
func (d Deps) digest(ctx context.Context, model string) (string, error) {
	if d.Digest == nil {
		return "", nil
	}
	rungs, err := d.settings().ladders().Of(model)
	if err != nil {
		return "", err
	}
	first := rungs[0]
	if first.Provider != "" {
		return first.Provider + "/" + first.Model, nil
	}
	digest := d.Digest(ctx, first.Model)
	if digest == "" {
		err = errors.New("no host is known to have " + first.Model)
	}
	return digest, err
}

// Size implements cache.Value. Lists are short, and in the rest.
func (got *outcome) Size() int {
	const rest = 1 << 10
	return rest + len(got.answer.Text) + len(got.answer.Thinking) + len(got.like)
}

// clone is an outcome that the call which gets it may change, but for its lists.
func (got *outcome) clone() *outcome {
	own, answer := *got, *got.answer
	own.answer = &answer
	return &own
}

// mayBeKept reports whether an answer is whole, and would be the same another time:
// what stood in for it, or asks for tools to be called, is for this once.
func (got *outcome) mayBeKept() bool {
	return got.answer.DoneReason == "stop" && len(got.answer.ToolCalls) == 0 && len(got.served.Passed) == 0
}

// clean frees what a model has said of what no reader sees, and of memory that was
// taken for more.
func (got *outcome) clean() {
	a := got.answer
	a.Text, a.Thinking = strings.Clone(moderation.Clean(a.Text)), strings.Clone(moderation.Clean(a.Thinking))
}

// sourceShared is the source of an answer that was made for another call.
const sourceShared = "coalesced"

// recalled is an outcome for the call that gets it, which notes that it was made for
// another.
func (got *outcome) recalled(source cache.Source, entry cache.Entry, took time.Duration) *outcome {
	got = got.clone()
	got.served.Total = took.Milliseconds()
	switch source {
	case cache.Coalesced:
		if got.served.Source != sourceLike {
			got.served.Source = sourceShared
		}
	case cache.Hit:
		got.isOld("cache", entry)
	}
	return got
}

// isOld notes that an answer was kept. What its first call waited for is not of this one.
func (got *outcome) isOld(source string, entry cache.Entry) {
	got.served.Source, got.served.Queue, got.served.Hedged = source, 0, false
	got.served.Age = rounded(time.Since(entry.Stored).Seconds())
	got.answer.Load, got.answer.FirstPiece = 0, 0
}
