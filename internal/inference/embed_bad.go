package inference

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
	"ollama-mcp/pool"
)

// This file finds the texts of a call that cannot be embedded, so that they fail alone: those that a
// host refuses, and those under which the model crashes.

// mostProbes is how many requests a call spends at most on finding the bad ones among its
// texts, beyond one for each text that it has embedded. Then a part of a batch counts as bad as
// a whole. It is enough for a batch of nothing else.
const mostProbes = 4 * embedBatch

// embed embeds those of a batch's inputs that have no vector. If they cannot be embedded
// together, it halves the batch until the bad ones are found, and notes them.
func (m *embedding) embed(ctx context.Context, lease *pool.Lease, batch []int, got *backend.Answer) error {
	batch = m.open(batch)
	if len(batch) == 0 {
		return nil
	}
	err := m.send(ctx, lease, batch, false, got)
	if isOfTexts(err) || isUnclear(err) && lease.Attempt > 1 && m.embedsOthers(ctx, lease, batch, got) {
		return m.split(ctx, lease, batch, err, got)
	}
	return err
}

// isOfTexts reports whether the words of a host blame the texts that it was sent, or the vectors
// that the model made of them.
func isOfTexts(err error) bool {
	return errors.Is(err, backend.TooLong) || errors.Is(err, backend.BadOutput) || errors.Is(err, backend.Request) && !backend.IsLack(err)
}

// isUnclear reports whether a failure may be due to a text or to the host: its words are unknown.
func isUnclear(err error) bool {
	failed, ok := errors.AsType[*backend.Error](err)
	return ok && failed.Class == backend.Server && (failed.Status >= 500 || errors.Is(err, backend.ErrVectorCount)) && !backend.IsMisdirected(err)
}

// embedsOthers reports whether a host that has failed to embed a batch embeds another text of the
// call, or a single one of the batch: then the host is well, and texts are to blame.
func (m *embedding) embedsOthers(ctx context.Context, lease *pool.Lease, batch []int, got *backend.Answer) bool {
	if len(m.Input) == 1 {
		return false
	}
	samples := []int{batch[0], batch[len(batch)/2], batch[len(batch)-1]}
	m.mu.Lock()
	if known := slices.IndexFunc(m.vectors, func(v []float32) bool { return v != nil }); known >= 0 {
		samples = []int{known}
	}
	m.mu.Unlock()
	return slices.ContainsFunc(slices.Compact(samples), func(i int) bool {
		return m.send(ctx, lease, []int{i}, false, got) == nil
	})
}

// split finds the bad ones of a batch that could not be embedded together, and embeds the others.
// Like a prompt, a text that is too long is only cut when the host is asked to, so that the
// caller can be told.
func (m *embedding) split(ctx context.Context, lease *pool.Lease, batch []int, err error, got *backend.Answer) error {
	if len(batch) > 1 && m.mayProbe() {
		half := len(batch) / 2
		for _, part := range [][]int{batch[:half], batch[half:]} {
			if part = m.open(part); len(part) == 0 {
				continue
			}
			err := m.send(ctx, lease, part, false, got)
			if len(part) == 1 && isUnclear(err) { // it may have failed by chance
				err = m.send(ctx, lease, part, false, got)
			}
			if isOfTexts(err) || isUnclear(err) {
				err = m.split(ctx, lease, part, err, got)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	tooLong := errors.Is(err, backend.TooLong)
	switch {
	case len(batch) > 1:
		err = &unsureError{err}
	case tooLong && m.mayTruncate(&m.Common):
		m.cut(batch[0])
		return m.send(ctx, lease, batch, true, got)
	case tooLong:
		a := &attempt{host: lease.Host, rung: m.rung, params: attemptParams{options: leasedOptions(m.Options, lease)}}
		long := m.tooLong(ctx, a, &m.Common, len(m.Input[batch[0]]), err)
		long.ofEmbed = true
		err = long
	}
	if len(m.Input) == 1 {
		return err
	}
	m.isBad(batch, err)
	return nil
}

// open are those of a batch's inputs that have no vector, are not known to be bad, and that somebody
// still waits for.
func (m *embedding) open(batch []int) []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(batch), func(i int) bool {
		return m.vectors[i] != nil || m.bad != nil && m.bad.errs[i] != nil || m.merged != nil && !m.merged.wants(m.Input[i])
	})
}

// mayProbe reports whether a batch may be halved once more, and counts the two requests.
func (m *embedding) mayProbe() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.probes >= mostProbes+m.done()-m.cached {
		return false
	}
	m.probes += 2
	return true
}

// cut notes that only the beginning of an input is embedded.
func (m *embedding) cut(input int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.truncated == nil {
		m.truncated = make(map[int]bool)
	}
	m.truncated[input] = true
}

// badTexts are the inputs that a host cannot embed.
type badTexts struct {
	errs map[int]error // by the places of the inputs; never empty
	kept bool          // the vectors of the others are cached
}

// isBad notes inputs that cannot be embedded, and those that are equal to one of them.
func (m *embedding) isBad(batch []int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bad == nil {
		m.bad = &badTexts{errs: make(map[int]error), kept: m.keys != nil}
	}
	texts := make(map[string]bool)
	for _, i := range batch {
		texts[m.Input[i]] = true
	}
	for i, text := range m.Input {
		if texts[text] {
			m.bad.errs[i] = err
		}
	}
}

// refusedByAll reports whether every host would refuse what one has refused.
func refusedByAll(err error) bool {
	bad, ok := err.(*badTexts)
	if !ok {
		return errors.Is(err, backend.Request)
	}
	for _, err := range bad.errs {
		if !errors.Is(err, backend.Request) {
			return false
		}
	}
	return true
}

// inputs are the places of the bad texts, in order.
func (e *badTexts) inputs() []int { return slices.Sorted(maps.Keys(e.errs)) }

// first is the error of the first.
func (e *badTexts) first() error { return e.errs[e.inputs()[0]] }

func (e *badTexts) Error() string { return InputNames(e.inputs()) + ": " + e.first().Error() }

// Unwrap makes errors.Is and errors.As see the error of the first.
func (e *badTexts) Unwrap() error { return e.first() }

// InputNames names inputs by their places, such as input[3]; of many only the first.
func InputNames(inputs []int) string {
	names := make([]string, len(inputs))
	for at := range names {
		names[at] = fmt.Sprintf("input[%d]", inputs[at])
	}
	return fault.List(names, 20)
}

// Fault implements fault.Explainer.
func (e *badTexts) Fault() *fault.Error {
	f := fault.Of(e.first())
	f.Message = InputNames(e.inputs()) + ": " + f.Message
	f.Retryable = false
	if e.kept {
		f.Hint += "; the vectors of the other texts are cached, so a call without the failing ones is quick"
	}
	return f
}

// unsureError is the error of texts that failed together, and were not tried one by one because
// too many others of their call had failed.
type unsureError struct{ err error }

func (e *unsureError) Error() string { return e.err.Error() }
func (e *unsureError) Unwrap() error { return e.err }

// Fault implements fault.Explainer.
func (e *unsureError) Fault() *fault.Error {
	f := fault.Of(e.err)
	f.Hint = "it failed together with others, and too many had failed for each to be tried: embed fewer texts in a call"
	return f
}

// onlyBad are the bad texts of a request that has failed for no other reason: all its other texts
// have vectors. It is nil if there are none.
func (m *embedding) onlyBad(err error) *failedRung {
	if err == nil || m.done() == 0 {
		return nil
	}
	for i := len(m.failed) - 1; i >= 0; i-- {
		bad, ok := m.failed[i].err.(*badTexts)
		if !ok {
			continue
		}
		for input, vector := range m.vectors {
			if vector == nil && bad.errs[input] == nil {
				return nil
			}
		}
		return &m.failed[i]
	}
	return nil
}

// explainTexts says of each text that a rung could not embed, and no other, why.
func (m *embedding) explainTexts(ctx context.Context, f *failedRung) (failed []FailedInput) {
	if m.used.Model != "" {
		m.served = m.used
	}
	t := &task{Engine: m.Engine, Request: Request{Common: m.Common}, settings: m.settings}
	bad := f.err.(*badTexts)
	for _, input := range bad.inputs() {
		if m.vectors[input] != nil {
			continue
		}
		e := t.explainRung(ctx, failedRung{f.rung, f.got, bad.errs[input], f.at})
		e.Retryable = false
		failed = append(failed, FailedInput{input, e})
	}
	return failed
}

// mostCrashes is how many crashes a call causes at most on the way to the texts under which the model
// crashes, beyond those of the batches that had them. It is enough for three such texts.
const mostCrashes = 6

// isolate embeds inputs that have crashed the model together, in parts of a size, and notes those that
// crash it alone. A crash costs the host a load of the model, and its other calls a retry, while a
// request costs little: so a batch is not halved again and again, but sent in as many parts as a part
// has texts, and the texts of a part that crashes one by one. That is two crashes for each bad text.
func (m *embedding) isolate(ctx context.Context, inputs []int, size int, crash error) error {
	for part := range slices.Chunk(m.open(inputs), size) {
		err := m.lend(ctx, part, true)
		switch {
		case err == nil:
		case !errors.Is(err, backend.Crashed):
			return err
		case !m.mayCrashAgain():
			return crash
		case len(part) == 1:
			m.isBad(part, crash)
		default:
			if err := m.isolate(ctx, part, 1, crash); err != nil {
				return err
			}
		}
	}
	return nil
}

// mayCrashAgain counts a crash of the model, and reports whether the look for the texts behind it goes
// on. If nothing has been embedded after three crashes, it is not the texts.
func (m *embedding) mayCrashAgain() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.crashes++
	return m.crashes <= mostCrashes && (m.crashes < 3 || m.done() > m.cached)
}
