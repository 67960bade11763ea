package inference

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ollama-mcp/cache"
	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
	"ollama-mcp/internal/semantic"
	"ollama-mcp/pool"
)

// SemanticOptions describe the semantic cache, which answers a question with the cached
// answer to a paraphrase of it.
type SemanticOptions struct {
	Model     string        // embeds the questions; required
	Threshold float64       // least similarity; 0 means semantic.DefaultThreshold
	Shadow    bool          // only count what would be answered
	TTL       time.Duration // how long a question is remembered; 0 means for ever
	Bytes     int64         // of the questions that are remembered; 0 means 64 MiB
	// Tell has the engines of other processes hear of a question; see Engine.HearQuestion. It must not
	// block. nil tells nobody.
	Tell func(scope cache.Scope, question []byte)
}

// SemanticStats are the counters of the semantic cache.
type SemanticStats struct {
	semantic.Stats
	Entries           int    // questions that are remembered now
	Bytes             int64  // that they take now
	VectorsCached     uint64 // vectors of questions that were found in the cache
	EmbeddingRequests uint64 // embedding requests sent for the vectors of questions
}

// semanticCache remembers questions whose answers are cached. A nil one remembers none.
type semanticCache struct {
	opts   SemanticOptions
	index  *semantic.Index[cache.Key]
	tally  semantic.Tally
	warned sync.Once

	vectorsCached, embeddingRequests atomic.Uint64
}

func newSemanticCache(o SemanticOptions) (*semanticCache, error) {
	if o.Model == "" {
		return nil, errors.New("Semantic.Model: must be set")
	}
	index, err := semantic.New[cache.Key](semantic.Options{TTL: o.TTL, Bytes: o.Bytes})
	return &semanticCache{opts: o, index: index}, err
}

// forget drops the questions to models that match.
func (s *semanticCache) forget(match func(model string) bool) {
	if s != nil {
		s.index.Clear(func(ns semantic.Namespace) bool { return match(ns.Model) })
	}
}

// stats are the counters of the semantic cache; nil if it is off.
func (s *semanticCache) stats() *SemanticStats {
	if s == nil {
		return nil
	}
	stats := &SemanticStats{Stats: s.tally.Stats(), VectorsCached: s.vectorsCached.Load(), EmbeddingRequests: s.embeddingRequests.Load()}
	stats.Entries, stats.Bytes = s.index.Size()
	return stats
}

// lookTime is what looking for a similar question may take: less than an answer does.
const lookTime = 500 * time.Millisecond

// Reasons of ours for not answering from a similar question.
const (
	noVector semantic.Reason = "embedding" // could not be had in time
	disabled semantic.Reason = "disabled"  // for the model, by the caller's key, or by the call
)

// similar looks for the cached answer to a paraphrase. If there is none, remember notes the
// question under the key of the answer that it then gets; nil if there is nothing to note.
func (t *task) similar(ctx context.Context) (found *result, remember func(cache.Key, *result)) {
	s := t.semantic
	if s == nil {
		return nil, nil
	}
	count := func(reason semantic.Reason, similarity float64) { s.tally.Count(reason, similarity, s.opts.Shadow) }
	w := t.wording()
	threshold, reason := t.similarityThreshold()
	if reason == "" {
		reason = semantic.Skip(semantic.Request{Question: w.question, Messages: w.messages, Images: t.images > 0, Tools: w.tools})
	}
	if reason != "" {
		count(reason, 0)
		return nil, nil
	}
	vector, err := t.questionVector(ctx, w.question)
	var ns semantic.Namespace
	if err == nil {
		ns, err = t.namespace(ctx, w)
	}
	if err != nil {
		count(noVector, 0)
		s.warned.Do(func() {
			t.opts.Log.Warn("semantic cache: questions cannot be embedded", "model", s.opts.Model, "error", err)
		})
		return nil, nil
	}
	verdict := semantic.Judge(w.question, s.index.Nearest(ns, vector, semantic.Considered), semantic.Rules{Threshold: threshold})
	if verdict.Refused == "" {
		found, verdict.Refused = t.answerOf(ctx, verdict.Match)
	}
	count(verdict.Refused, verdict.Match.Similarity)
	if s.opts.Shadow {
		found = nil
	}
	return found, func(key cache.Key, got *result) {
		e := semantic.Entry[cache.Key]{
			Key: key, Question: w.question, Answer: sha256.Sum256([]byte(got.answer.Text)), Stored: time.Now(),
		}
		// It is refused only if the index could not compare it with anything.
		if err := s.index.Add(ns, vector, e); err == nil && s.opts.Tell != nil && got.isForAll() {
			s.opts.Tell(key.Scope(), encodeQuestion(ns, vector, e))
		}
	}
}

// sharedQuestion is a question as processes share it; tenant and model are those of the scope of its
// answer. Its JSON is part of the form of their records.
type sharedQuestion struct {
	Key      string    `json:"k"` // of the answer
	Rest     string    `json:"r"` // of the namespace
	Question string    `json:"q"`
	Answer   []byte    `json:"a"` // hash of the answer
	Stored   time.Time `json:"s"`
	Vector   []byte    `json:"v"` // little-endian numbers of 32 bits
}

func encodeQuestion(ns semantic.Namespace, v vector, e semantic.Entry[cache.Key]) []byte {
	shared := sharedQuestion{Key: e.Key.String(), Rest: ns.Rest, Question: e.Question, Answer: e.Answer[:], Stored: e.Stored.Round(0)}
	shared.Vector = make([]byte, 0, v.Size())
	for _, number := range v {
		shared.Vector = binary.LittleEndian.AppendUint32(shared.Vector, math.Float32bits(number))
	}
	raw, _ := json.Marshal(shared) // cannot fail
	return raw
}

// mostDimensions is more than the vectors of any model have.
const mostDimensions = 16 << 10

// decodeQuestion undoes encodeQuestion, for an answer of a scope. It is not ok for bytes of which it can
// make nothing.
func decodeQuestion(scope cache.Scope, raw []byte) (ns semantic.Namespace, v vector, e semantic.Entry[cache.Key], ok bool) {
	var shared sharedQuestion
	if json.Unmarshal(raw, &shared) != nil || len(shared.Answer) != sha256.Size || len(shared.Vector)%4 != 0 || len(shared.Vector) > 4*mostDimensions ||
		semantic.Skip(semantic.Request{Question: shared.Question, Messages: 1}) != "" {
		return ns, nil, e, false
	}
	key, err := cache.ParseKey(scope, shared.Key)
	if err != nil {
		return ns, nil, e, false
	}
	for at := 0; at < len(shared.Vector); at += 4 {
		v = append(v, math.Float32frombits(binary.LittleEndian.Uint32(shared.Vector[at:])))
	}
	ns = semantic.Namespace{Tenant: scope.Tenant, Model: scope.Model, Rest: shared.Rest}
	return ns, v, semantic.Entry[cache.Key]{Key: key, Question: shared.Question, Answer: [sha256.Size]byte(shared.Answer), Stored: shared.Stored}, true
}

// HearQuestion has the semantic cache remember a question that another process has told of, with an
// answer of a scope. It is not ok for one of which it can make nothing.
func (e *Engine) HearQuestion(scope cache.Scope, question []byte) (ok bool) {
	s := e.semantic
	if s == nil {
		return true
	}
	ns, v, entry, ok := decodeQuestion(scope, question)
	if !ok {
		return false
	}
	now := time.Now()
	if s.opts.TTL > 0 && now.Sub(entry.Stored) >= s.opts.TTL {
		return true
	}
	if entry.Stored.After(now) { // the clocks of two machines differ
		entry.Stored = now
	}
	return s.index.Add(ns, v, entry) == nil
}

// similarityThreshold is how similar questions must be, or why none are similar enough.
// What is set for the model of the request goes before what is set for the one that embeds.
// A caller can only ask for more: with less, it would be given the answers of others.
func (t *task) similarityThreshold() (threshold float64, refused semantic.Reason) {
	threshold = cmp.Or(t.semantic.opts.Threshold, semantic.DefaultThreshold)
	s := t.settings
	own, embedder := s.Models[s.spell(t.Model)], s.Models[backend.CanonicalModel(t.semantic.opts.Model)]
	if set := cmp.Or(own.Semantic, embedder.Semantic); set != nil {
		threshold = *set
	}
	exact := t.MinSimilarity == 1 // the vectors of two questions may be equal
	if t.Caller.ExactOnly || threshold == 0 || exact {
		return 0, disabled
	}
	return max(threshold, t.MinSimilarity), ""
}

// namespace holds the questions that differ from this one in their last words only.
func (t *task) namespace(ctx context.Context, w wording) (ns semantic.Namespace, err error) {
	rest, err := t.cacheKey(ctx, w.rest)
	if err != nil {
		return ns, err
	}
	embedder := backend.CanonicalModel(t.semantic.opts.Model)
	digest, err := t.digest(ctx, t.settings, embedder)
	return semantic.Namespace{
		Tenant: t.Caller.Tenant, Model: t.settings.spell(t.Model),
		Rest: rest.String() + " " + embedder + " " + digest,
	}, err
}

// answerOf is the cached answer to the question of a match. Without one the question is forgotten, unless
// other processes may have it.
func (t *task) answerOf(ctx context.Context, m semantic.Match[cache.Key]) (*result, semantic.Reason) {
	entry, ok := t.answers.Find(ctx, m.Key)
	if !ok {
		if shared := t.opts.Cache.Shared; shared == nil || shared.State().Up {
			t.semantic.index.Delete(m.Key)
		}
		return nil, semantic.Gone
	}
	got := entry.Value.(*result).clone()
	got.aged(CachedSimilar, entry)
	got.served.Similarity, got.similarTo = rounded(m.Similarity), m.Question
	return got, ""
}

// questionVector embeds a question, unless its vector is cached.
func (t *task) questionVector(ctx context.Context, question string) (vector, error) {
	model := backend.CanonicalModel(t.semantic.opts.Model)
	digest, err := t.digest(ctx, t.settings, model)
	if err != nil {
		return nil, err
	}
	key, err := cache.KeyOf(cache.Scope{Tenant: t.Caller.Tenant, Tool: "semantic", Model: model, Digest: digest}, question)
	if err != nil {
		return nil, err
	}
	if entry, ok := t.answers.Peek(key); ok {
		t.semantic.vectorsCached.Add(1)
		return entry.Value.(vector), nil
	}
	t.semantic.embeddingRequests.Add(1)
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	need := t.need(&Common{Caller: t.Caller, Priority: t.Priority, LocalOnly: t.LocalOnly}, route.Rung{Model: model}, len(question), nil)
	var embedded vector
	err = t.opts.Hosts.With(ctx, need, func(ctx context.Context, lease *pool.Lease) error {
		got, err := lease.Host.Embed(ctx, &backend.EmbedRequest{
			Model: t.semantic.opts.Model, Input: []string{question}, Truncate: new(false),
			Options: leasedOptions(nil, lease), KeepAlive: t.settings.keepAlive(model, nil),
		})
		if err == nil {
			embedded = got.Embeddings[0]
		}
		return err
	})
	if err == nil && !t.KeptByCaller { // whose question is not remembered either
		t.answers.Set(key, cache.Entry{Value: slices.Clone(embedded)})
	}
	return embedded, err
}

// vector is an embedding.
type vector []float32

// Size implements cache.Value.
func (v vector) Size() int { return 4 * len(v) }

// wording is the part of a request that may be paraphrased, and the rest.
type wording struct {
	question string // the last message of the user; "" if there is none
	rest     any    // of the request, as JSON
	messages int    // of the conversation
	tools    bool   // are offered, called or answered
}

func (t *task) wording() wording {
	if t.Kind == Generate {
		w := wording{rest: []any{t.System}, messages: 1}
		if !t.Raw && t.Suffix == "" { // such a prompt is no question
			w.question = t.Prompt
		}
		return w
	}
	last := len(t.Messages) - 1
	w := wording{rest: withHashes(t.Messages[:last]), tools: len(t.Tools) > 0}
	if t.Messages[last].Role == "user" {
		w.question = t.Messages[last].Content
	}
	for _, m := range t.Messages {
		if m.Role != "system" {
			w.messages++
		}
		w.tools = w.tools || m.Role == "tool" || len(m.ToolCalls) > 0
	}
	return w
}
