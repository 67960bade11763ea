package inference

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"ollama-mcp/cache"
	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/route"
	"ollama-mcp/internal/share"
	"ollama-mcp/pool"
)

// EmbedRequest asks a model for vectors.
type EmbedRequest struct {
	Common
	Input      []string // the texts; their vectors come in this order
	Dimensions int      // length of the vectors, for models that can shorten them; 0 leaves it to the model

	// Partial has texts that cannot be embedded told in Embeddings.Failed, instead of failing the
	// whole request. If there is no vector at all, the request fails in any case.
	Partial bool
}

// Embeddings are the answer to an EmbedRequest.
type Embeddings struct {
	Vectors [][]float32   // one for each input; nil for one that failed
	Failed  []FailedInput // in the order of the inputs; nil unless the request is Partial
	Notes   []string      // sentences that a reader of the vectors must know
	Served  Served
}

// Dimensions is the length of the vectors.
func (e *Embeddings) Dimensions() int { return lengthOf(e.Vectors) }

// FailedInput is a text that cannot be embedded.
type FailedInput struct {
	Input int // its place in EmbedRequest.Input
	Err   *fault.Error
}

// embedBatch is how many texts a host is sent at once. More save nothing, since it takes
// them one by one, and one bad text fails them all.
const embedBatch = 32

// embedParallel is how many batches of a call hosts work on at once, as far as they have slots
// free: each waits for one like any other request.
const embedParallel = 8

// embedding is one EmbedRequest on its way through the engine.
type embedding struct {
	*Engine
	EmbedRequest
	call     *Call
	settings *Settings
	tracker  *tracker
	began    time.Time
	limit    time.Duration // 0 for no limit
	merged   *merged       // whose calls' texts these are; nil for those of one call

	rung    route.Rung
	others  int          // rungs behind it
	failed  []failedRung // before it
	keys    []cache.Key  // under which the vectors are cached; nil if they are not
	batches atomic.Int64 // that have begun

	isolating sync.Mutex // held by the batch whose texts are sent apart, since they may crash the model

	mu        sync.Mutex    // guards what follows while batches are under way
	vectors   [][]float32   // one per input; nil while there is none
	unlisted  bool          // the host lists the model, and not for embedding
	pinned    string        // note about options of the caller that were overridden; "" if none were
	truncated map[int]bool  // inputs of which only the beginning was embedded
	bad       *badTexts     // inputs that the rung at hand cannot embed; nil for none
	probes    int           // requests that were sent to find them
	crashes   int           // of the model, on the way to those under which it crashes
	cached    int           // vectors that were found in the cache
	load      time.Duration // spent by hosts to load the model
	waited    bool          // for a slot
	served    Served
	used      Served // by the last rung that has embedded anything
}

// Embed answers a request for vectors. Vectors are cached text by text, equal texts are
// embedded once, and all texts go to hosts of one model, or to a provider that the settings
// say has the same model. The error is a *fault.Error.
func (e *Engine) Embed(ctx context.Context, req EmbedRequest) (got *Embeddings, err error) {
	call, end := e.callOf(&req.Common, "embed")
	defer func() { end(err) }()
	if err := e.permit(call, req.Common); err != nil {
		return nil, err
	}
	if len(req.Input) == 0 {
		return nil, fault.Invalidf(`argument "input" must not be empty`)
	}
	if call.observer != nil {
		bytes := 0
		for _, text := range req.Input {
			bytes += len(text)
		}
		call.asks(Asked{Messages: len(req.Input), PromptTokens: e.tokens.of(req.Model).count(bytes), Texts: req.Input})
	}
	m := &embedding{
		Engine: e, EmbedRequest: req, call: call, settings: e.opts.Settings(), tracker: new(tracker),
		began: time.Now(), limit: cmp.Or(req.Timeout, e.opts.Timeout), vectors: make([][]float32, len(req.Input)),
		served: Served{Trace: call.Trace, Requested: req.Model, Model: req.Model, Source: Local},
	}
	call.follow(m.tracker)
	if m.limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, call.Began.Add(m.limit))
		defer cancel()
	}
	err = m.run(ctx)
	var failed []FailedInput
	if bad := m.onlyBad(err); bad != nil && req.Partial {
		failed, err = m.explainTexts(ctx, bad), nil
	}
	m.served.Total, m.served.Load = time.Since(m.began).Milliseconds(), new(m.load.Milliseconds())
	call.served(m.served)
	call.cacheSaid(m.verdict(), 0)
	if err != nil {
		return nil, m.explain(ctx, err)
	}
	return &Embeddings{Vectors: m.vectors, Failed: failed, Notes: m.notes(), Served: m.served}, nil
}

// run embeds what is not cached, by each rung in turn until one has embedded all. A rung that
// asks to be left alone is passed, and waited for if no other has done it.
func (m *embedding) run(ctx context.Context) (err error) {
	began := time.Now()
	m.recall(ctx)
	if m.keys != nil {
		m.call.part(Event{Kind: LookedUp, Model: m.Model, Cache: m.verdict(), Wait: time.Since(began)})
	}
	if m.cached < len(m.Input) || m.checkLengths() != nil {
		m.tracker.fill = m.fills.Add(1)
		m.call.part(Event{Kind: FillBegan, Fill: m.tracker.fill, Model: m.Model})
		defer func() { m.call.part(Event{Kind: FillEnded, Fill: m.tracker.fill, Cache: m.verdict(), Err: err}) }()
	}
	if err := m.reserve(); err != nil { // for those that were cached
		return err
	}
	defer m.copyEqual()
	rungs := m.rungs()
	for i, rung := range rungs {
		if err = m.try(ctx, i, rung, len(rungs)-1-i); err == nil {
			break
		}
		m.failed = append(m.failed, m.failure(rung, err))
		_, full := errors.AsType[vectorsError](err)
		if ctx.Err() != nil || full || refusedByAll(err) { // the others are the same model, and would refuse the text too
			return err
		}
	}
	if i := m.readySoonest(); err != nil && len(rungs) > 1 && i >= 0 {
		if err = m.try(ctx, i, rungs[i], 0); err != nil {
			m.failed[i] = m.failure(rungs[i], err)
		}
	}
	if err == nil && m.cached == len(m.Input) {
		m.served.Source = Cached
	}
	return err
}

// try embeds all by the rung with that index, which has so many others behind it.
func (m *embedding) try(ctx context.Context, i int, rung route.Rung, others int) error {
	m.rung, m.others = rung, others
	m.served.Model, m.served.Rung, m.served.Source = m.Model, 0, Local
	if i > 0 {
		m.served.Model, m.served.Rung = rung.String(), i+1
	}
	if isCloud(rung) && i > 0 {
		m.served.Source = Cloud
	}
	m.served.Passed = passed(m.failed[:min(i, len(m.failed))])
	m.rungEvent(RungBegan, i, nil)
	before := m.done()
	err := m.embedAll(ctx)
	if m.done() > before {
		m.used = m.served
	}
	m.rungEvent(RungEnded, i, err)
	return err
}

// rungEvent tells the watcher of the rung with that index.
func (m *embedding) rungEvent(kind EventKind, i int, err error) {
	if m.tracker.fill == 0 { // all is cached
		return
	}
	m.call.part(Event{Kind: kind, Fill: m.tracker.fill, Rung: i + 1, Model: m.rung.Model, Provider: m.rung.Provider, Err: err})
}

func (m *embedding) failure(rung route.Rung, err error) failedRung {
	return failedRung{rung, &result{served: Served{Requested: m.Model}}, err, time.Now()}
}

// readySoonest is the index of the failed rung that ends its rest first; -1 if none rests.
func (m *embedding) readySoonest() int {
	first := -1
	for i, f := range m.failed {
		if f.use() == retryable && f.untilReady() > 0 && (first < 0 || f.untilReady() < m.failed[first].untilReady()) {
			first = i
		}
	}
	return first
}

// rungs are the model on our own hosts, and the providers that have the same one, as far
// as the request may leave for them.
func (m *embedding) rungs() []route.Rung {
	own := route.Rung{Model: backend.CanonicalModel(m.Model)}
	all := []route.Rung{own}
	same, err := m.settings.ladders().Of(m.settings.Models[own.Model].SameAs...)
	if err != nil || m.Host != "" {
		return all
	}
	for _, rung := range same {
		if isCloud(rung) && m.localOnly(&m.Common) != nil || m.settings.lender(m.opts.Hosts, rung) == nil {
			continue
		}
		all = append(all, rung)
	}
	return all
}

// embedAll embeds the inputs that have no vector, by the rung at hand. Bad ones do not keep
// it from embedding the others.
func (m *embedding) embedAll(ctx context.Context) error {
	m.bad, m.probes, m.crashes = nil, 0, 0
	if m.checkLengths() != nil {
		m.dropVectors()
	}
	cached := m.cached
	err := m.embedBatches(ctx, slices.Collect(slices.Chunk(m.missing(), embedBatch)))
	if _, differ := errors.AsType[lengthsError](err); differ {
		m.dropVectors()
		if cached > 0 { // and they may be the wrong ones
			return m.embedAll(ctx)
		}
	}
	if err == nil && m.bad != nil {
		return m.bad
	}
	return err
}

// embedBatches embeds batches of inputs. The first goes alone: it has a host load the model,
// and shows what is wrong with the request as a whole. The others are spread over all free
// slots, and go one by one if the queue has no room for more.
func (m *embedding) embedBatches(ctx context.Context, batches [][]int) error {
	if len(batches) == 0 {
		return nil
	}
	if err := m.embedBatch(ctx, batches[0]); err != nil {
		return err
	}
	if m.bad != nil && refusedByAll(m.bad) && m.done() == 0 { // it is not the texts
		return m.bad.first()
	}
	var group errgroup.Group
	group.SetLimit(embedParallel)
	var failed atomic.Bool
	for _, batch := range batches[1:] {
		group.Go(func() error {
			if failed.Load() {
				return nil
			}
			err := m.embedBatch(ctx, batch)
			if err != nil {
				failed.Store(true)
			}
			return err
		})
	}
	err := group.Wait()
	if _, full := errors.AsType[*pool.FullError](err); full {
		for batch := range slices.Chunk(m.missing(), embedBatch) {
			if err = m.embedBatch(ctx, batch); err != nil {
				return err
			}
		}
	}
	return err
}

// embedBatch embeds one batch on a host of its own choice.
func (m *embedding) embedBatch(ctx context.Context, batch []int) error {
	if m.mayMerge() {
		if done, err := m.embedMerged(ctx); done {
			return err
		}
	}
	err := m.lend(ctx, batch, false)
	if errors.Is(err, pool.ErrCrashes) && len(m.Input) > 1 && m.merged == nil { // each call of those merged tries its text alone
		m.isolating.Lock()
		defer m.isolating.Unlock()
		err = m.isolate(ctx, batch, int(math.Sqrt(float64(len(batch)))), err)
	}
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.checkLengths(); err != nil {
		return lengthsError{err}
	}
	if err := m.reserve(); err != nil {
		return err
	}
	m.keep(batch)
	return nil
}

// lend has some inputs embedded on a host that the pool lends. With oneCrash they are not sent again
// after the model has crashed.
func (m *embedding) lend(ctx context.Context, inputs []int, oneCrash bool) error {
	bytes := 0
	for _, i := range inputs {
		bytes += len(m.Input[i])
	}
	need, before := m.need(&m.Common, m.rung, bytes, nil), delay{began: time.Now()} // the deadline is that of ctx
	if m.merged != nil {
		need.Deadline = m.merged.waiting.Deadline
	}
	need.MaxPause, need.OneCrash = m.maxPause(m.others), oneCrash
	at := leg{fill: m.tracker.fill, api: "embed", batch: int(m.batches.Add(1)), rung: m.rung}
	m.call.watch(&need, at, m.tracker)
	queued := need.OnWait
	need.OnWait = func(now route.Standing, later func() route.Standing) {
		queued(now, later)
		m.mu.Lock()
		defer m.mu.Unlock()
		m.waited = true
	}
	var queue, lost int64 // that have been counted
	return m.settings.lender(m.opts.Hosts, m.rung).With(ctx, need, func(ctx context.Context, lease *pool.Lease) error {
		q, l := before.granted(lease)
		m.granted(lease, q-queue, l-lost)
		queue, lost = q, l
		var got backend.Answer
		err := m.embed(m.propagate(ctx, m.call, at, lease), lease, inputs, &got)
		if m.call.attempted(at, lease, &got, err); err != nil {
			return err
		}
		m.checkListing(ctx, lease.Host)
		return nil
	})
}

// lengthsError says that the vectors of several batches differ in length.
type lengthsError struct{ error }

func (e lengthsError) Unwrap() error { return e.error }

// checkLengths compares the vectors of several batches, cached ones included.
func (m *embedding) checkLengths() error {
	have := slices.DeleteFunc(slices.Clone(m.vectors), func(v []float32) bool { return v == nil })
	return backend.CheckVectors(have, len(have))
}

// dropVectors forgets all vectors, since it cannot be told which of them are wrong.
func (m *embedding) dropVectors() {
	clear(m.vectors)
	m.cached = 0
}

// checkListing notes whether a host says that the model is for something else. Ollama makes
// vectors with any model, and those of most are of little use.
func (m *embedding) checkListing(ctx context.Context, host backend.Backend) {
	m.mu.Lock()
	known := m.unlisted
	m.mu.Unlock()
	if m.rung.Provider != "" || known {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if about, err := m.detail(ctx, host, m.rung.Model); err == nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.unlisted = about.isNotFor("embedding")
	}
}

// missing are the inputs that have no vector, and of equal ones the first.
func (m *embedding) missing() (all []int) {
	seen := make(map[string]bool)
	for i, text := range m.Input {
		if m.vectors[i] == nil && !seen[text] {
			seen[text] = true
			all = append(all, i)
		}
	}
	return all
}

// copyEqual gives inputs the vector of an equal one.
func (m *embedding) copyEqual() {
	first := make(map[string]int)
	for i, text := range m.Input {
		if m.vectors[i] != nil {
			first[text] = i
		}
	}
	for i, text := range m.Input {
		from, ok := first[text]
		if m.vectors[i] == nil && ok {
			m.vectors[i] = m.vectors[from]
			if m.truncated[from] {
				m.truncated[i] = true
			}
		}
	}
}

const (
	// bytesPerNumber is how much memory a number of a vector takes, with what a result makes of it: four
	// bytes, and its text.
	bytesPerNumber = 16
	// fewVectorBytes is up to how much is not counted: calls in flight bound it well enough.
	fewVectorBytes = 64 << 10
)

// vectorsError says that there is no memory for the vectors of a call.
type vectorsError struct{ why *fault.Error }

func (e vectorsError) Error() string { return e.why.Error() }
func (e vectorsError) Unwrap() error { return e.why }

// reserve takes memory for the vectors of all inputs, once the length of one is known. Its error is a
// vectorsError.
func (m *embedding) reserve() error {
	n := lengthOf(m.vectors)
	bytes := int64(len(m.Input)) * int64(n) * bytesPerNumber
	if m.merged != nil || bytes <= fewVectorBytes { // calls are merged for a text each
		return nil
	}
	m.call.mu.Lock()
	defer m.call.mu.Unlock()
	if m.call.vectors == nil {
		m.call.vectors = m.Engine.vectors.Part(m.Caller.ID)
	}
	more := bytes - m.call.vectors.Taken()
	if more <= 0 {
		return nil
	}
	most := m.Engine.vectors.Most(m.Caller.ID)
	if bytes > most {
		e := fault.Invalidf("%d vectors of %d numbers take more memory than one call may have", len(m.Input), n)
		e.Hint = fmt.Sprintf("embed at most %d texts in a call", most/int64(n)/bytesPerNumber)
		return vectorsError{e}
	}
	over, full := errors.AsType[*share.Over](m.call.vectors.Take(more))
	if !full {
		return nil
	}
	e := &fault.Error{
		Code: fault.Overloaded, Message: "vectors of calls under way take all of the memory for them", Retryable: true, RetryAfter: time.Second,
		Hint: "call again when some of these calls have ended, or embed fewer texts in a call",
	}
	if over.OfCaller {
		e.Message = "the vectors of your calls under way take as much memory as they may at the moment"
	}
	return vectorsError{e}
}

// done is how many inputs have a vector.
func (m *embedding) done() (n int) {
	for _, v := range m.vectors {
		if v != nil {
			n++
		}
	}
	return n
}

// granted takes in what a lease says about a batch, and how long it has waited since it had the lease
// before, in ms: for a slot, and otherwise.
func (m *embedding) granted(lease *pool.Lease, queue, lost int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.served.Host = lease.Host.Name()
	if lease.Cloud {
		m.served.Source = Cloud
	}
	m.served.Queue += queue
	m.served.Lost += lost
	if lease.Attempt > 1 {
		m.served.Retries++
	}
	if m.served.Overridden = lease.Overridden; len(lease.Overridden) > 0 {
		m.pinned = overridden(lease)
	}
	now := Progress{State: Embedding, Host: lease.Host.Name(), Since: time.Now(), Done: m.done(), Of: len(m.Input)}
	if m.merged != nil { // each call has one of the texts
		now.Done, now.Of = 0, 1
	}
	m.tracker.is(now)
}

func (m *embedding) send(ctx context.Context, lease *pool.Lease, batch []int, truncate bool, total *backend.Answer) error {
	texts := make([]string, len(batch))
	for at, i := range batch {
		texts[at] = m.Input[i]
	}
	req := &backend.EmbedRequest{Model: m.rung.Model, Input: texts, Truncate: &truncate, Dimensions: m.Dimensions, Options: leasedOptions(m.Options, lease)}
	if m.rung.Provider == "" {
		req.Model, req.KeepAlive = m.Model, m.settings.keepAlive(m.Model, m.KeepAlive)
	}
	got, err := lease.Host.Embed(ctx, req)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for at, i := range batch {
		m.vectors[i] = got.Embeddings[at]
	}
	m.served.TokensIn += got.PromptEvalCount
	m.load += got.LoadDuration
	total.PromptTokens += got.PromptEvalCount
	total.Load += got.LoadDuration
	return nil
}

// recall takes the vectors that are cached, and sets the keys of all that may be.
func (m *embedding) recall(ctx context.Context) {
	if m.Cache == cache.Off || m.opts.CacheMode == "off" {
		return
	}
	model := m.settings.spell(m.Model)
	digest, err := m.digest(ctx, m.settings, model)
	if err != nil {
		return
	}
	m.unlisted = m.details.known(digest).isNotFor("embedding")
	scope := cache.Scope{Tenant: m.Caller.Tenant, Tool: "embed", Model: model, Digest: digest}
	keys := make([]cache.Key, len(m.Input))
	for i, text := range m.Input {
		if keys[i], err = cache.KeyOf(scope, []any{text, m.Dimensions, m.Options, m.Host}); err != nil {
			return
		}
		if m.Cache == cache.Refresh {
			continue
		}
		if entry, ok := m.answers.Get(keys[i]); ok {
			m.vectors[i] = entry.Value.(vector)
			m.cached++
		}
	}
	m.keys = keys
}

// verdict says what the cache did for the request.
func (m *embedding) verdict() CacheVerdict {
	switch {
	case m.keys == nil:
		return CacheOff
	case m.cached == len(m.Input):
		return CacheHit
	case m.Cache == cache.Refresh:
		return CacheRefresh
	}
	return CacheMiss
}

// keep caches the vectors of a batch that are of the whole text, and of our own model.
func (m *embedding) keep(batch []int) {
	if m.keys == nil || m.rung.Provider != "" {
		return
	}
	for _, i := range batch {
		if m.vectors[i] != nil && !m.truncated[i] {
			m.answers.Set(m.keys[i], cache.Entry{Value: vector(slices.Clone(m.vectors[i]))})
		}
	}
}

// notes are what the reader of the vectors must know about them.
func (m *embedding) notes() (notes []string) {
	if len(m.served.Passed) > 0 {
		notes = append(notes, fmt.Sprintf("Embedded by %s instead of %s.", m.served.Model, strings.Join(m.served.Passed, ", ")))
	}
	if m.unlisted && (m.served.Rung == 0 || m.cached > 0) {
		notes = append(notes, fmt.Sprintf("%s is not listed as an embedding model, so its vectors may say little about meaning. list-models with capability \"embedding\" names those that are.", m.Model))
	}
	if note := unchecked(m.Options, nil); note != "" && (m.served.Rung == 0 || m.cached > 0) { // providers are sent no options
		notes = append(notes, note)
	}
	if m.pinned != "" {
		notes = append(notes, m.pinned)
	}
	if len(m.truncated) > 0 {
		notes = append(notes, "Longer than the model's context, so only their beginning was embedded: "+InputNames(slices.Sorted(maps.Keys(m.truncated)))+".")
	}
	if length := lengthOf(m.vectors); m.Dimensions != 0 && m.Dimensions != length {
		notes = append(notes, fmt.Sprintf("The model gives vectors of %s, not %d.", fault.Count(length, "dimension"), m.Dimensions))
	}
	return notes
}

// lengthOf is that of the first vector, 0 if there are none.
func lengthOf(vectors [][]float32) int {
	for _, v := range vectors {
		if v != nil {
			return len(v)
		}
	}
	return 0
}

// explain says why texts were not embedded, or not all.
func (m *embedding) explain(ctx context.Context, err error) *fault.Error {
	long, ok := errors.AsType[*pool.QueueTimeoutError](err)
	queued := ok && (m.waited || long.RetryAfter > 0)
	full, isFull := errors.AsType[vectorsError](err)
	switch {
	case isFull:
		return full.why
	case errors.Is(ctx.Err(), context.Canceled):
		return cancelled(ctx)
	case ctx.Err() == nil || queued:
		t := &task{Engine: m.Engine, Request: Request{Common: m.Common}, settings: m.settings}
		e := t.explainAll(ctx, m.failed)
		if e.Code == fault.ModelNotFound && m.settings.isAlias(m.Model) {
			e.Hint = "it is an alias, which embed does not know, since the vectors of two models do not compare; name the model itself"
		}
		return e
	}
	late := &fault.Error{
		Code: fault.Timeout, Retryable: true, Hint: "allow more with timeout_seconds, or embed fewer texts in a call",
		Message: fmt.Sprintf("%s: %d of %d texts were embedded when the time limit of %v was reached", m.Model, m.done(), len(m.Input), m.limit),
	}
	if m.keys != nil && len(m.Input) > 1 {
		late.Hint += "; the same call continues from there, since vectors are cached"
	}
	return late
}
