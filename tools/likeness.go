package tools

import (
	"cmp"
	"context"
	"crypto/sha256"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ollama-mcp/cache"
	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/progress"
	"ollama-mcp/internal/semantic"
	"ollama-mcp/pool"
)

// Likeness finds questions that mean the same as one whose answer is kept. Use
// NewLikeness to make one.
type Likeness struct {
	opts   LikenessOptions
	index  *semantic.Index[cache.Key]
	tally  semantic.Tally
	warned sync.Once

	vectorsKept, vectorsAsked atomic.Uint64 // look-ups of questions' vectors
}

// LikenessOptions describe a Likeness.
type LikenessOptions struct {
	Model     string        // that embeds questions; required
	Threshold float64       // least similarity; 0 means semantic.DefaultThreshold
	Shadow    bool          // only count what would be answered
	TTL       time.Duration // how long answers are kept; 0 means for ever
}

// NewLikeness makes one that knows no questions yet.
func NewLikeness(o LikenessOptions) (*Likeness, error) {
	index, err := semantic.New[cache.Key](semantic.Options{TTL: o.TTL})
	return &Likeness{opts: o, index: index}, err
}

// wording is the part of a question that others may put in other words, and the rest.
type wording struct {
	question string // the last message of the user; "" where there is none
	rest     any    // of the request, as JSON
	messages int    // of the conversation
	tools    bool   // are offered, called or answered
}

// lookTime is what looking for a like question may take: less than an answer does.
const lookTime = 500 * time.Millisecond

// Reasons of ours for not answering from a like question.
const (
	noVector semantic.Reason = "embedding" // could not be had in time
	disabled semantic.Reason = "disabled"  // for the model, by the caller's key, or by the call
)

// like looks for the answer to a question that means the same. If there is none,
// remember notes the question under the key of the answer that it then gets.
func (d Deps) like(ctx context.Context, q question) (found *outcome, remember func(cache.Key, *outcome)) {
	remember = func(cache.Key, *outcome) {}
	l := d.Likeness
	if l == nil {
		return nil, remember
	}
	count := func(reason semantic.Reason, similarity float64) { l.tally.Count(reason, similarity, l.opts.Shadow) }
	threshold, reason := d.likeThreshold(q)
	if reason == "" {
		reason = semantic.Skip(semantic.Request{
			Question: q.wording.question, Messages: q.wording.messages, Images: q.see > 0, Tools: q.wording.tools,
		})
	}
	if reason != "" {
		count(reason, 0)
		return nil, remember
	}
	vector, err := d.questionVector(ctx, q)
	var ns semantic.Namespace
	if err == nil {
		ns, err = d.namespace(ctx, q)
	}
	if err != nil {
		count(noVector, 0)
		l.warned.Do(func() { d.Log.Warn("questions cannot be compared", "model", l.opts.Model, "error", err) })
		return nil, remember
	}
	verdict := semantic.Judge(q.wording.question, l.index.Nearest(ns, vector, semantic.Considered), semantic.Rules{Threshold: threshold})
	if verdict.Refused == "" {
		found, verdict.Refused = d.answerOf(verdict.Match)
	}
	count(verdict.Refused, verdict.Match.Similarity)
	if l.opts.Shadow {
		found = nil
	}
	return found, func(key cache.Key, got *outcome) {
		// It is refused only where the index could not compare it with anything.
		_ = l.index.Add(ns, vector, semantic.Entry[cache.Key]{
			Key: key, Question: q.wording.question, Answer: sha256.Sum256([]byte(got.answer.Text)), Stored: time.Now(),
		})
	}
}

// likeThreshold is how alike questions must be, or why none are alike enough. What is
// set for the model that is asked goes before what is set for the one that embeds. A
// caller can ask for more, never for less: who could would be given others' answers.
func (d Deps) likeThreshold(q question) (threshold float64, refused semantic.Reason) {
	threshold = cmp.Or(d.Likeness.opts.Threshold, semantic.DefaultThreshold)
	s := d.settings()
	asked, embedder := s.Models[s.spell(q.model)], s.Models[backend.CanonicalModel(d.Likeness.opts.Model)]
	if own := cmp.Or(asked.Semantic, embedder.Semantic); own != nil {
		threshold = *own
	}
	exact := q.args.Alike == 1 // since the vectors of two questions may be the same
	if q.who.ExactOnly || threshold == 0 || exact {
		return 0, disabled
	}
	return max(threshold, float64(q.args.Alike)), ""
}

// namespace holds the questions that differ from this one in their last words only.
func (d Deps) namespace(ctx context.Context, q question) (ns semantic.Namespace, err error) {
	rest, err := d.keyOf(ctx, q, q.wording.rest)
	if err != nil {
		return ns, err
	}
	embedder := backend.CanonicalModel(d.Likeness.opts.Model)
	digest, err := d.digest(ctx, embedder)
	return semantic.Namespace{
		Tenant: q.who.Tenant, Model: d.settings().spell(q.model),
		Rest: rest.String() + " " + embedder + " " + digest,
	}, err
}

// answerOf is the kept answer to the question of a match.
func (d Deps) answerOf(m semantic.Match[cache.Key]) (*outcome, semantic.Reason) {
	entry, ok := d.Answers.Hit(m.Key)
	if !ok {
		d.Likeness.index.Delete(m.Key)
		return nil, semantic.Gone
	}
	got := entry.Value.(*outcome).clone()
	got.isOld(sourceLike, entry)
	got.served.Similarity, got.like = rounded(m.Similarity), m.Question
	return got, ""
}

// sourceLike is the source of an answer to another question that means the same.
const sourceLike = "cache-semantic"

// questionVector embeds a question, or remembers its vector.
func (d Deps) questionVector(ctx context.Context, q question) (vector, error) {
	model := backend.CanonicalModel(d.Likeness.opts.Model)
	digest, err := d.digest(ctx, model)
	if err != nil {
		return nil, err
	}
	key, err := cache.KeyOf(cache.Scope{Tenant: q.who.Tenant, Tool: "semantic", Model: model, Digest: digest}, q.wording.question)
	if err != nil {
		return nil, err
	}
	if entry, ok := d.Answers.Peek(key); ok {
		d.Likeness.vectorsKept.Add(1)
		return entry.Value.(vector), nil
	}
	d.Likeness.vectorsAsked.Add(1)
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	var embedded vector
	need := d.need(q.who, progress.New(nil), model, modelArgs{}, len(q.wording.question))
	err = d.Hosts.With(ctx, need, func(ctx context.Context, lease *pool.Lease) error {
		got, err := lease.Host.Embed(ctx, &backend.EmbedRequest{
			Model: d.Likeness.opts.Model, Input: []string{q.wording.question}, Truncate: new(false),
			Options: leased(nil, lease), KeepAlive: d.keepAlive(model, modelArgs{}),
		})
		if err == nil {
			embedded = got.Embeddings[0]
		}
		return err
	})
	if err == nil {
		d.Answers.Set(key, cache.Entry{Value: slices.Clone(embedded)})
	}
	return embedded, err
}
