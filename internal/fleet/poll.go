package fleet

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"ollama-mcp/internal/backend"
)

const (
	pollInterval    = 5 * time.Second        // between two polls of a host that answers, unless there are many
	maxPollInterval = 30 * time.Second       // between two polls of a host that has been down for long
	pollsPerList    = 6                      // since the installed models change seldom
	pollTimeout     = 5 * time.Second        // of one poll, and of one lookup
	pollBeat        = time.Second            // the hosts that are due within a beat are polled together
	slowBeat        = pollInterval / 2       // the beat if there are many hosts
	pollShare       = 100 * time.Millisecond // of the time between two polls for each host there is, at least
)

// member is one host of the fleet.
type member struct {
	Host
	fleet  *Fleet
	name   string
	slots  int
	weight float64

	// These belong to run.
	listed  time.Time // when the last list of models was asked for, by the wall clock
	polls   int
	failed  int  // polls in a row
	updated bool // to a version with other defaults, which is not published yet

	// The fleet's mutex guards these.
	silent bool      // the last poll failed
	look   *look     // that is under way; nil for none
	looked time.Time // when the last look began, by the wall clock

	questions atomic.Uint64        // lists that were asked for
	models    atomic.Pointer[list] // the newest list; nil before the first
	version   atomic.Value         // a string, by the last poll; nil before the first

	// mu is held while the pool is told about the host, so that it hears nothing of a host
	// that has gone, and nothing old after something new. It may be locked while the
	// fleet's mutex is held, but not the other way round.
	mu   sync.Mutex
	gone bool
}

// list is what a host said when it was asked for its models.
type list struct {
	number uint64 // of the question; a later question has a higher number
	*contents
}

// contents is what a list says. Lists of a host that say the same share it.
type contents struct {
	models  []backend.Model   // as the host listed them
	names   []string          // canonical, of each of the models
	digests map[string]string // by canonical name
	at      map[string]int    // index in models by canonical name
	cloud   []string          // canonical names of those that Ollama's cloud runs
}

// has reports whether the host has a model, or says that it needs none of that name.
func (l *list) has(model string) bool {
	if _, ok := l.digests[model]; ok || backend.IsCloudName(model) {
		return true
	}
	local, ok := backend.WithoutLocal(model)
	if ok {
		_, ok = l.digests[local]
	}
	return ok
}

// replaced are the models that are others than an older list had by their names.
func (l *list) replaced(older *list) (names []string) {
	if older == nil {
		return nil
	}
	for _, name := range l.names {
		if was, ok := older.digests[name]; ok && was != l.digests[name] {
			names = append(names, name)
		}
	}
	return names
}

// run polls the host again and again, while there are calls.
func (m *member) run(ctx context.Context) {
	for m.fleet.use.wait(ctx) {
		failedBefore := m.failed
		facts, models := m.poll(ctx)
		if ctx.Err() != nil {
			return // and the outcome of the poll says nothing about the host
		}
		m.report(facts, models)
		m.polled()
		switch log := m.fleet.opts.Log.With("host", m.name); {
		case m.failed == 1:
			log.Warn("host does not answer", "error", facts.Err)
		case m.failed == 0 && failedBefore > 0:
			log.Info("host answers again")
		}
		if !sleep(ctx, m.pause()) {
			return
		}
	}
}

func (m *member) close() { m.Close() }

// poll asks the host whether it is up, and then for everything else. Only its version
// tells that it is up: a list of many models takes long, and Ollama since July 2026 does
// not say what is in memory while it loads a model, which may take minutes.
func (m *member) poll(ctx context.Context) (Facts, *list) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	m.polls++
	version, err := m.Version(ctx)
	if err != nil {
		m.failed++
		return Facts{Err: m.inTime(ctx, err)}, nil
	}
	m.failed = 0
	before := m.defaults()
	m.version.Store(version)
	m.updated = m.updated || m.defaults() != before
	facts := Facts{Up: true, Version: version}
	var models *list
	if overdue(m.listed, pollsPerList*m.interval()) {
		m.listed = wallTime()
		if models, err = m.list(ctx); err != nil {
			facts.Err = m.inTime(ctx, err)
		}
	}
	if facts.Loaded, err = m.loaded(ctx); err != nil {
		facts.Err = m.inTime(ctx, err)
	}
	return facts, models
}

// list asks the host for its models.
func (m *member) list(ctx context.Context) (*list, error) {
	l := &list{number: m.questions.Add(1)}
	models, err := m.Models(ctx)
	if err != nil {
		return nil, err
	}
	if newest := m.models.Load(); newest != nil && reflect.DeepEqual(newest.contents.models, models) {
		l.contents = newest.contents
		return l, nil
	}
	l.contents = &contents{models: models, names: backend.CanonicalNames(models)}
	l.digests, l.at = make(map[string]string, len(models)), make(map[string]int, len(models))
	for i, name := range l.names {
		l.digests[name], l.at[name] = models[i].Digest, i
		if backend.IsListedInCloud(models[i]) {
			l.cloud = append(l.cloud, name)
		}
	}
	return l, nil
}

// defaults are those of the host's version; "" while that is not known.
func (m *member) defaults() string {
	version, _ := m.version.Load().(string)
	return backend.Defaults(version)
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
			VRAM:    fraction(r.SizeVRAM, r.Size),
			Expires: r.ExpiresAt,
		}
	}
	return all, nil
}

// fraction is part / whole, from 0 to 1 whatever a host says the two are.
func fraction(part, whole int64) float64 {
	whole = max(1, whole)
	return float64(min(max(0, part), whole)) / float64(whole)
}

// inTime is err, unless the poll ran out of time. That is a failure of the host, though to
// package backend it looked like a caller who had left.
func (m *member) inTime(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	return &backend.Error{Host: m.name, Class: backend.Transport, Message: fmt.Sprintf("no answer within %v", pollTimeout)}
}

// report tells the pool what the host said, unless the host has gone. models is its list of
// models; nil if it was not asked for one or did not give one. A list that was asked for
// before the newest one is old news.
func (m *member) report(facts Facts, models *list) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone {
		return
	}
	if newest := m.models.Load(); models != nil && (newest == nil || newest.number < models.number) {
		m.models.Store(models)
		facts.Installed, facts.Cloud, facts.Replaced = models.names, models.cloud, models.replaced(newest)
	}
	m.fleet.opts.Pool.Know(m.name, facts)
}

// leave ends the reports about the host.
func (m *member) leave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gone = true
}

// polled publishes the outcome of a poll within the fleet.
func (m *member) polled() {
	f := m.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	before, wanted := f.tasks[m]
	if !wanted {
		return
	}
	m.silent = m.failed > 0
	if l := m.models.Load(); f.catalog.Load().hosts[m.name] != l || m.updated {
		f.publish(m.updated)
		m.updated = false
	}
	if !before {
		f.tasks[m] = true
		f.tell()
	}
}

// interval is the usual time between two polls. With more than fifty hosts it is longer, since calls
// tell of most failures before polls do.
func (m *member) interval() time.Duration {
	return max(pollInterval, pollShare*time.Duration(len(m.fleet.catalog.Load().hosts)))
}

// pause is the time to the next poll, which doubles with each that fails. The first is
// random, so that hosts which were added together, and servers that were started together,
// do not poll in step for ever. Polls begin on the beat of the fleet: to wake up for each of
// many hosts would cost more than to poll it.
func (m *member) pause() time.Duration {
	usual, beat := m.interval(), pollBeat
	if usual > pollInterval {
		beat = slowBeat
	}
	d := jitter(min(usual<<min(max(m.failed-1, 0), 3), max(usual, maxPollInterval)))
	if m.polls == 1 {
		d = rand.N(usual)
	}
	now := time.Since(m.fleet.began)
	next := (now + d).Round(beat)
	if next <= now {
		next += beat
	}
	return next - now
}
