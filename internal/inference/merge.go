package inference

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"ollama-mcp/cache"
	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
)

// This file merges calls that embed a single text each into one request to a host. All else of a
// call stays its own: its cache key, record, deadline and cancellation.

// merges are the batches of the texts of several calls. The zero value has none.
type merges struct {
	flights cache.Flights[*merged, struct{}, struct{}] // that calls wait for

	mu   sync.Mutex            // guards open, and the calls of the batches in it; never held while a batch is sent
	open map[cache.Key]*merged // batches that calls may still join
}

// merged is a batch of texts, each of another call.
type merged struct {
	key   cache.Key
	calls []mergedCall  // does not change any more when the batch is sent
	full  chan struct{} // closed when no more calls may join
	once  sync.Once     // sends the batch
	texts *embedding    // embeds the texts, in the order of the calls

	waiting cache.Waiters // the calls that wait; set when the batch is sent
}

// mergedCall is a call with a single text, and the context of its caller.
type mergedCall struct {
	*embedding
	ctx context.Context
}

// mostMerged is how long a text may be, in bytes, that is sent with those of others: to embed a longer
// one takes far more time than a request, and the others would wait for it.
const mostMerged = 8 << 10

// mayMerge reports whether the request may go to a host together with those of other calls.
func (m *embedding) mayMerge() bool {
	return m.opts.MergeWindow > 0 && len(m.Input) == 1 && len(m.Input[0]) <= mostMerged && m.rung.Provider == ""
}

// embedMerged embeds the only text of a call in one batch with those of other calls. done is false
// if the text has to be sent alone: no other call has come within the window, or the batch has no
// vector for the text. That may be due to another text, so the call needs an attempt, and an error,
// of its own.
func (m *embedding) embedMerged(ctx context.Context) (done bool, err error) {
	b, err := m.joinBatch(ctx)
	if err != nil { // its options cannot be compared with those of others
		return false, nil
	}
	m.call.follow(b.texts.tracker)
	defer m.call.follow(m.tracker)
	send := func(ctx context.Context, waiting cache.Waiters) (none struct{}, err error) {
		b.once.Do(func() { b.send(ctx, waiting) })
		return none, nil
	}
	if _, _, err = m.merges.flights.Do(ctx, b, struct{}{}, nil, send); err == nil {
		return b.give(m), nil
	}
	m.merges.retire(b) // it may not even have begun to wait for others
	if ctx.Err() == nil {
		return false, nil // it panicked, or the engine is closed
	}
	return true, b.leave(m, err)
}

// joinBatch adds a call to the open batch of requests that differ only by their texts, or
// else opens one.
func (m *embedding) joinBatch(ctx context.Context) (*merged, error) {
	key, err := cache.KeyOf(cache.Scope{Tool: "embed", Model: m.rung.Model}, struct {
		Options    map[string]any
		Dimensions int
		KeepAlive  *backend.Duration
		MayCut     bool
		Host       string
		LocalOnly  bool
		Priority   route.Priority
		Others     int
	}{
		m.Options, m.Dimensions, m.settings.keepAlive(m.Model, m.KeepAlive), m.mayTruncate(&m.Common), m.Host,
		m.localOnly(&m.Common) != nil, m.Priority, m.others,
	})
	if err != nil {
		return nil, err
	}
	all := &m.merges
	all.mu.Lock()
	defer all.mu.Unlock()
	b := all.open[key]
	if b == nil {
		if all.open == nil {
			all.open = make(map[cache.Key]*merged)
		}
		b = &merged{key: key, full: make(chan struct{}), texts: &embedding{
			Engine: m.Engine, tracker: new(tracker), settings: m.settings, rung: m.rung, others: m.others,
		}}
		all.open[key] = b
	}
	b.calls = append(b.calls, mergedCall{m, ctx})
	if len(b.calls) == embedBatch {
		delete(all.open, key)
		close(b.full)
	}
	return b, nil
}

// retire lets no more calls join a batch.
func (all *merges) retire(b *merged) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.open[b.key] == b {
		delete(all.open, b.key)
	}
}

// send waits for further calls, and embeds their texts if there are at least two. In the queue the
// batch counts as a request of the caller who has the fewest others there, so that nobody waits
// behind the many requests of another caller. The observer is told of it as of that caller's call.
func (b *merged) send(ctx context.Context, waiting cache.Waiters) {
	t := b.texts
	select {
	case <-time.After(t.opts.MergeWindow):
	case <-b.full:
	case <-ctx.Done():
	}
	t.merges.retire(b)
	b.calls = slices.DeleteFunc(b.calls, func(c mergedCall) bool { return c.ctx.Err() != nil })
	if len(b.calls) < 2 {
		return
	}
	queued := t.opts.Hosts.Stats().Queue.Callers
	first := slices.MinFunc(b.calls, func(x, y mergedCall) int {
		return cmp.Compare(queued[x.Caller.ID], queued[y.Caller.ID])
	})
	t.EmbedRequest, t.call, t.tracker.fill = first.EmbedRequest, first.call, first.tracker.fill
	t.batches.Store(first.batches.Add(1) - 1)
	t.Input = nil
	for _, c := range b.calls {
		t.Input = append(t.Input, c.Input[0])
	}
	t.vectors, t.merged, b.waiting = make([][]float32, len(t.Input)), b, waiting
	_ = t.embedBatch(ctx, t.missing()) // calls that get no vector try it alone
	t.copyEqual()
}

// wants reports whether a call still waits for the vector of a text.
func (b *merged) wants(text string) bool {
	return slices.ContainsFunc(b.calls, func(c mergedCall) bool { return c.Input[0] == text && c.ctx.Err() == nil })
}

// give hands a call its vector and what is known of it, and reports whether there is one. The
// batch has ended.
func (b *merged) give(m *embedding) bool {
	t := b.texts
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waited = m.waited || t.waited
	i := slices.IndexFunc(b.calls, func(c mergedCall) bool { return c.embedding == m })
	if i < 0 || t.vectors == nil || t.vectors[i] == nil {
		return false
	}
	m.vectors[0] = t.vectors[i]
	if t.truncated[i] {
		m.truncated = map[int]bool{0: true}
	}
	m.unlisted, m.pinned = m.unlisted || t.unlisted, t.pinned
	m.load += t.load
	s := &m.served
	if t.served.Source == Cloud {
		s.Source = Cloud
	}
	s.Host, s.Overridden = t.served.Host, t.served.Overridden
	s.Queue += t.served.Queue
	s.Lost += t.served.Lost
	s.Retries += t.served.Retries
	s.TokensIn += b.tokensOf(i)
	m.keep([]int{0})
	return true
}

// tokensOf is the part of a call in the tokens of the batch, which hosts only count as a whole. It
// goes by the sizes of the texts, and the parts add up to the whole.
func (b *merged) tokensOf(call int) int {
	size := func(texts []string) (n int) {
		for i, text := range texts {
			if b.texts.vectors[i] != nil {
				n += len(text) + 1
			}
		}
		return n
	}
	all, texts := size(b.texts.Input), b.texts.Input
	return b.texts.served.TokensIn*size(texts[:call+1])/all - b.texts.served.TokensIn*size(texts[:call])/all
}

// leave returns the error of a call that ends before its batch: that of the queue if the batch
// waits for a slot, and else err.
func (b *merged) leave(m *embedding, err error) error {
	b.texts.mu.Lock()
	queued := b.texts.waited && b.texts.served.Host == ""
	b.texts.mu.Unlock()
	if !queued {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waited = true
	return b.texts.tracker.blockedBy()
}
