package fleet

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"ollama-mcp/internal/backend"
)

const (
	pollEvery   = 5 * time.Second  // between two polls of a host that is up
	pollAtMost  = 30 * time.Second // of one that has been down for long
	listEvery   = 30 * time.Second // between two looks at what is installed: models come and go seldom
	pollTimeout = 5 * time.Second  // of one poll, or one lookup
)

// member is one host of the fleet.
type member struct {
	Host
	fleet  *Fleet
	name   string
	slots  int
	weight float64

	// What follows belongs to run.
	listed time.Time         // when it was last asked what is installed
	found  map[string]string // digests of what was installed then
	polls  int
	failed int // polls in a row

	digests map[string]string // as found, guarded by the fleet's mutex
}

// run asks the host how it is, again and again while there are calls.
func (m *member) run(ctx context.Context) {
	for m.fleet.use.wait(ctx) {
		failedBefore := m.failed
		facts := m.poll(ctx)
		if ctx.Err() != nil {
			return // and what the poll found is not about the host
		}
		m.report(facts)
		switch log := m.fleet.opts.Log.With("host", m.name); {
		case m.failed == 1:
			log.Warn("host does not answer", "err", facts.Err)
		case m.failed == 0 && failedBefore > 0:
			log.Info("host answers again")
		}
		if !sleep(ctx, m.pause()) {
			return
		}
	}
}

func (m *member) close() { m.Close() }

// poll asks the host whether it is up, and then what there is to know. Only its
// version tells that it is up: many models take long to list, and Ollama since
// July 2026 does not say what is in memory while it loads a model, be it minutes.
func (m *member) poll(ctx context.Context) Facts {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	m.polls++
	version, err := m.Version(ctx)
	if err != nil {
		m.failed++
		return Facts{Err: m.inTime(ctx, err)}
	}
	m.failed = 0
	facts := Facts{Up: true, Version: version}
	if time.Since(m.listed) >= listEvery {
		m.listed = time.Now()
		if facts.Installed, err = m.installed(ctx); err != nil {
			facts.Err = m.inTime(ctx, err)
		}
	}
	if facts.Loaded, err = m.loaded(ctx); err != nil {
		facts.Err = m.inTime(ctx, err)
	}
	return facts
}

func (m *member) installed(ctx context.Context) ([]string, error) {
	models, err := m.Models(ctx)
	if err != nil {
		return nil, err
	}
	all := backend.CanonicalNames(models)
	m.found = make(map[string]string, len(models))
	for i, name := range all {
		m.found[name] = models[i].Digest
	}
	return all, nil
}

func (m *member) loaded(ctx context.Context) ([]Loaded, error) {
	running, err := m.Running(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]Loaded, len(running))
	for i, r := range running {
		all[i] = Loaded{
			Model:   backend.CanonicalModel(cmp.Or(r.Name, r.Model)),
			NumCtx:  r.ContextLength,
			VRAM:    share(r.SizeVRAM, r.Size),
			Expires: r.ExpiresAt,
		}
	}
	return all, nil
}

// share is a part as a share of the whole, whatever a host says the two are.
func share(part, whole int64) float64 {
	whole = max(1, whole)
	return float64(min(max(0, part), whole)) / float64(whole)
}

// inTime is err, unless the poll ran out of time: that is the host's failure, and
// not, as it looked to the host, that of a caller who gave up.
func (m *member) inTime(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	return &backend.Error{Host: m.name, Class: backend.Transport, Message: fmt.Sprintf("no answer within %v", pollTimeout)}
}

// report tells the pool what a poll found, unless the host has gone.
func (m *member) report(facts Facts) {
	f := m.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	asked, wanted := f.tasks[m]
	if !wanted {
		return
	}
	m.digests = m.found
	f.opts.Pool.Know(m.name, facts)
	if !asked {
		f.tasks[m] = true
		f.tell()
	}
}

// Digest tells models apart that have gone by the same name: it is another one once
// another model has been found installed under the name, on any host. It is "" as long
// as none has been. What was pulled since the last look, up to 30 s ago, does not show.
func (f *Fleet) Digest(model string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for t := range f.tasks {
		m, isHost := t.(*member)
		if !isHost {
			continue
		}
		if d, ok := m.digests[model]; ok && !slices.Contains(all, d) {
			all = append(all, d)
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// pause is the time to the next poll, which doubles with each that fails. The
// first is any up to the usual one, so that hosts which came together, or
// programs that watch the same host, do not ask together ever after.
func (m *member) pause() time.Duration {
	if m.polls == 1 {
		return rand.N(pollEvery)
	}
	return around(min(pollEvery<<min(max(m.failed-1, 0), 3), pollAtMost))
}
