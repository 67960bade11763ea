package tools

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
	"ollama-mcp/internal/caller"
	"ollama-mcp/pool"
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

	last     *asking                 // that the call looks on at
	own      *outcome                // of its own fill, which needs no decoding
	remember func(cache.Key, string) // notes its question as one that may be put in other words; nil if it is not
}

// fetch gets the outcome of a question: one that is kept, that of the same question
// in flight, or its own.
func (d Deps) fetch(ctx context.Context, c *call, q question) (*outcome, error) {
	policy, key := d.policy(q)
	f := &fetching{Deps: d, question: q, policy: policy, began: time.Now()}
	look := func(a *asking) {
		f.last = a
		c.progress.follow(a.progress)
	}
	entry, source, err := d.Answers.Fetch(ctx, key, policy, look, f.fill)
	if err != nil {
		return d.missed(ctx, q, f.last, err)
	}
	if source == cache.Miss && f.remember != nil { // only now is the answer found under its key
		f.remember(key, entry.Value)
	}
	got := f.own
	if source != cache.Miss || got == nil {
		got = decodeOutcome(entry.Value)
	}
	got.recalled(source, entry, time.Since(f.began))
	return got, nil
}

// fill answers the question itself, or finds the answer to one that means the same.
func (f *fetching) fill(ctx context.Context, report func(*asking)) (e cache.Entry, keep bool, err error) {
	a := newAsking()
	report(a)
	ctx = caller.NewContext(ctx, f.who)
	var remember func(cache.Key, string)
	if f.policy == cache.Auto {
		var found *outcome
		if found, remember = f.like(ctx, f.question); found != nil {
			return cache.Entry{Value: found.encode()}, false, nil
		}
	}
	if f.own, err = f.climb(ctx, a, f.question); err != nil || f.policy == cache.Off {
		return e, false, err
	}
	if keep = f.own.mayBeKept(); keep {
		f.remember = remember
	}
	return cache.Entry{Value: f.own.encode(), Took: time.Since(f.began)}, keep, nil
}

// policy says what a question wants of what is kept, and by which key.
func (d Deps) policy(q question) (cache.Policy, cache.Key) {
	policy := cmp.Or(cache.Policy(q.args.Cache), cache.Auto)
	if d.CacheMode == "off" || d.CacheMode == "deterministic" && !q.args.deterministic() {
		policy = cache.Off
	}
	if policy == cache.Off {
		return cache.Off, cache.Key{}
	}
	key, err := d.keyOf(q, q.request)
	if err != nil { // cannot be told apart from others, so it is not kept
		return cache.Off, key
	}
	return policy, key
}

// keyOf is the key for the answer to a question, or for what a part of its request has
// in common with others.
func (d Deps) keyOf(q question, request any) (cache.Key, error) {
	model := d.settings().spell(q.model)
	return cache.KeyOf(
		cache.Scope{Tenant: q.who.Tenant, Tool: q.tool, Model: model, Digest: d.digest(model)},
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

func (d Deps) digest(model string) string {
	if d.Digest == nil {
		return ""
	}
	return d.Digest(model)
}

// kept is an outcome as it is kept.
type kept struct {
	Answer *backend.Answer
	Served served
	Cut    bool   `json:",omitempty"`
	Pinned string `json:",omitempty"`
	Mended string `json:",omitempty"`
	Like   string `json:",omitempty"`
}

// encode writes an outcome as a line of JSON, and the text, which needs no decoding, as
// it is.
func (got *outcome) encode() string {
	answer := *got.answer
	answer.Text = ""
	head := mustMarshal(kept{&answer, got.served, got.cut, got.pinned, got.mended, got.like})
	return string(head) + "\n" + got.answer.Text
}

func decodeOutcome(value string) *outcome {
	var k kept
	head, text, _ := strings.Cut(value, "\n")
	if err := json.Unmarshal([]byte(head), &k); err != nil {
		panic(err) // encode made it
	}
	k.Answer.Text = text
	return &outcome{answer: k.Answer, served: k.Served, cut: k.Cut, pinned: k.Pinned, mended: k.Mended, like: k.Like}
}

// mayBeKept reports whether an answer is whole, and would be the same another time:
// what stood in for it, or asks for tools to be called, is for this once.
func (got *outcome) mayBeKept() bool {
	return got.answer.DoneReason == "stop" && len(got.answer.ToolCalls) == 0 && len(got.served.Passed) == 0
}

// recalled notes that an answer was made for another call.
func (got *outcome) recalled(source cache.Source, entry cache.Entry, took time.Duration) {
	got.served.Total = took.Milliseconds()
	switch source {
	case cache.Coalesced:
		if got.served.Source != sourceLike {
			got.served.Source = "coalesced"
		}
	case cache.Hit:
		got.isOld("cache", entry)
	}
}

// isOld notes that an answer was kept. What its first call waited for is not of this one.
func (got *outcome) isOld(source string, entry cache.Entry) {
	got.served.Source, got.served.Queue, got.served.Hedged = source, 0, false
	got.served.Age = rounded(time.Since(entry.Stored).Seconds())
	got.answer.Load, got.answer.FirstPiece = 0, 0
}

// missed is what there is for a call that gets no answer: as much of one as had come
// when its time was over, or the reason.
func (d Deps) missed(ctx context.Context, q question, a *asking, err error) (*outcome, error) {
	got := &outcome{served: served{Requested: q.model, Model: q.model}}
	if p, ok := errors.AsType[*cache.PanicError](err); ok {
		panic(fmt.Sprintf("%v\n%s", p.Value, p.Stack)) // as if it had happened here
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return got, cancelled(ctx)
	case ctx.Err() == nil:
		return got, explain(q.model, err)
	}
	come, working := backend.Answer{}, work{}
	if a != nil {
		come, working = a.partial()
	}
	if q.wanted == nil && come.Text != "" {
		come.DoneReason = doneTimeout
		got.answer = &come // what there is beats nothing
		got.served.Model, got.served.Host, got.served.Source = working.rung.String(), working.host.Name(), sourceOf(working.rung)
		return got, nil
	}
	loading := d.warm.isLoading(backend.CanonicalModel(q.model))
	if working.host == nil && !loading {
		return got, explain(q.model, pool.ErrQueueTimeout)
	}
	e := explain(q.model, context.DeadlineExceeded)
	e.Message = q.model + ": " + e.Message
	if loading || come.Tokens == 0 && d.finishLoading(working) {
		e.Hint = "the model was not in memory yet; it is being loaded on, so call again in a minute"
	}
	return got, e
}
