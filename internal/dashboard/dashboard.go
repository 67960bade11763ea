// Package dashboard is the page that shows administrators what the server does, live.
//
// It promises that nothing is measured twice: what happens to calls comes from the engine's
// observer, and the rest is read from the counters of hosts, queue and caches. It remembers a
// bounded number of calls and changes, delays no call, and reads the state of the program only
// while somebody looks, at most once a second however many do. It names no prompt and no answer
// unless it is told to. Who may look and act is left to package server.
package dashboard

import (
	"log/slog"
	"sync"
	"time"

	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/share"
	"ollama-mcp/internal/usage"
	"ollama-mcp/pool"
)

// Options say where the page finds what it shows. All functions are called concurrently, and
// must not block for long. Nil ones leave their part of the page empty.
type Options struct {
	Version string
	Local   bool // the server speaks to one client, on stdio
	// Status is the state of hosts, queue and caches, as an administrator sees it.
	Status    func() inference.Status
	Ready     func() error // why the server cannot answer; nil if it can
	Providers func() map[string]pool.Stats
	// Calls are the calls under way, most at most; more is how many others there are.
	Calls func(most int) (calls []inference.LiveCall, more int)
	// Cancel ends a call under way, and reports whether it could.
	Cancel func(number uint64) bool
	// Usage is what callers have used today.
	Usage   func() ([]usage.Row, error)
	Keys    func() []Key // in the order in which they are shown
	Content bool         // prompts and answers are shown
	Log     *slog.Logger // nil discards
}

// Key is the key of a caller: what it has used today, what it may use in a day, and when it
// expires. Zero means no limit.
type Key struct {
	Caller                                   string
	Calls, CallsPerDay, Tokens, TokensPerDay int
	Expires                                  time.Time
}

// Bounds of what is remembered.
const (
	maxCalls    = 300 // that are over
	maxChanges  = 200 // of hosts, models and ladders
	maxSamples  = 240 // of the load of hosts
	sampleEvery = 5 * time.Second
)

// Page is what the page shows. Use New to make one. It implements inference.Watcher.
type Page struct {
	opts    Options
	began   time.Time
	viewers *share.Limit

	mu      sync.Mutex // guards what follows; nothing is called under it
	calls   ring[over]
	changes ring[change]
	samples ring[sample]
	sampled time.Time
	since   map[string]time.Time // when each host was last seen to change

	building sync.Mutex    // held while the state is read, so that all viewers share what one has read
	set      time.Duration // how far the clock was set forward since the page was made
	state    snapshot
	usage    usageView
	usedAt   time.Time
}

// New makes a page. It starts nothing.
func New(o Options) *Page {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Page{
		opts: o, began: time.Now(), viewers: share.New(MaxViewers), since: make(map[string]time.Time),
		calls: ring[over]{most: maxCalls}, changes: ring[change]{most: maxChanges}, samples: ring[sample]{most: maxSamples},
	}
}

// Begin implements inference.Watcher. What happens to a call is in its record.
func (p *Page) Begin(*inference.CallInfo) inference.Wants { return inference.NoEvents }

// Event implements inference.Watcher.
func (p *Page) Event(e inference.Event) {
	if e.Kind == inference.LadderChanged {
		p.changed(change{Kind: "ladder", Name: clip(e.Model, maxName), State: string(e.To), From: string(e.From), Why: clip(e.Reason, maxText)})
	}
}

// Done implements inference.Observer.
func (p *Page) Done(r inference.Record) {
	f := p.finished(&r)
	p.mu.Lock()
	p.calls.add(over{f, r.History})
	due := time.Since(p.sampled) >= sampleEvery
	if due {
		p.sampled = time.Now()
	}
	p.mu.Unlock()
	if due && p.opts.Status != nil {
		p.sample(p.opts.Status().Hosts)
	}
}

// HostChanged notes that a host, or a model on it, fares worse or better than before.
func (p *Page) HostChanged(c pool.Change) {
	one := change{Kind: "host", Name: clip(c.Host, maxName), State: "down", Why: clip(c.Why, maxText)}
	if c.Model != "" {
		one.Kind, one.Model = "model", clip(c.Model, maxName)
	}
	if c.Well {
		one.State = "up"
	}
	p.changed(one)
}

func (p *Page) changed(c change) {
	c.At = time.Now().UnixMilli()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changes.add(c)
	if c.Kind == "host" && (p.since[c.Name] != (time.Time{}) || len(p.since) < maxHosts) {
		p.since[c.Name] = time.Now()
	}
}

// sample remembers how busy the hosts are.
func (p *Page) sample(s pool.Stats) {
	one := sample{At: p.at(time.Now()), Waiting: s.Queue.Waiting, Hosts: make([]hostSample, 0, min(len(s.Hosts), maxHosts))}
	for _, h := range s.Hosts[:min(len(s.Hosts), maxHosts)] {
		one.Hosts = append(one.Hosts, hostSample{h.Name, h.Busy, h.Slots})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.samples.add(one)
}

// change is a change of a host, of a model on a host, or of a ladder.
type change struct {
	At    int64  `json:"at"`   // in milliseconds, by the clock of that moment
	Kind  string `json:"kind"` // host, model or ladder
	Name  string `json:"name"` // of the host or the ladder
	Model string `json:"model,omitempty"`
	From  string `json:"from,omitempty"`
	State string `json:"state"`
	Why   string `json:"why,omitempty"`
}

// sample is how busy the hosts were.
type sample struct {
	At      int64        `json:"at"` // see Page.at
	Waiting int          `json:"waiting"`
	Hosts   []hostSample `json:"hosts"`
}

type hostSample struct {
	Name  string `json:"name"`
	Busy  int    `json:"busy"`
	Slots int    `json:"slots"`
}
