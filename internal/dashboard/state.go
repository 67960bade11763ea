package dashboard

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/order"
	"ollama-mcp/pool"
)

// Bounds of the lists of a snapshot.
const (
	maxHosts    = 100
	maxOfHost   = 50 // models
	maxLive     = 200
	maxCallers  = 50
	maxUsage    = 50
	refreshTime = time.Second
	usageTime   = 10 * time.Second
)

// snapshot is the state of the program at some time, encoded.
type snapshot struct {
	text json.RawMessage // nil before the first
	at   time.Time
}

// current is the state of the program, at most a second old. One of the viewers reads it for all.
func (p *Page) current() json.RawMessage {
	p.building.Lock()
	defer p.building.Unlock()
	if p.state.text == nil || time.Since(p.state.at) >= refreshTime {
		p.state.at = time.Now()
		p.state.text, _ = json.Marshal(p.read()) // cannot fail: it is plain
	}
	return p.state.text
}

// stateOut is the state of the program, as the page is told of it. Times are those of Page.at.
type stateOut struct {
	Version   string       `json:"version"`
	Began     int64        `json:"began"`
	Local     bool         `json:"local"`
	Trouble   string       `json:"trouble,omitempty"` // why nothing can be answered
	Hosts     []hostOut    `json:"hosts"`
	Providers []hostOut    `json:"providers,omitempty"`
	Queue     queueOut     `json:"queue"`
	Live      []live       `json:"live"`
	MoreLive  int          `json:"more_live,omitempty"`
	Totals    totalsOut    `json:"totals"`
	Cache     cacheOut     `json:"cache"`
	Semantic  *semanticOut `json:"semantic,omitempty"`
	Ladders   []ladderOut  `json:"ladders"`
	Usage     usageView    `json:"usage"`
	Keys      []keyOut     `json:"keys,omitempty"`
}

type hostOut struct {
	Name      string       `json:"name"`
	Well      bool         `json:"well"`
	Why       string       `json:"why,omitempty"`
	Since     int64        `json:"since"` // when it last changed, or the server began
	Version   string       `json:"version,omitempty"`
	Busy      int          `json:"busy"`
	Slots     int          `json:"slots"`
	Learned   bool         `json:"learned"`
	Fewest    int          `json:"fewest"`
	Most      int          `json:"most"`
	Reason    string       `json:"reason,omitempty"` // of the last change of slots
	Breaker   string       `json:"breaker"`
	Until     int64        `json:"until,omitempty"`
	Latency   int64        `json:"latency,omitempty"`
	Installed int          `json:"installed"`
	Loaded    []loadedOut  `json:"loaded,omitempty"`
	Models    []slotsOut   `json:"models,omitempty"`
	Ejected   []ejectedOut `json:"ejected,omitempty"`
	Waiting   int          `json:"waiting,omitempty"` // for a provider
	Cloud     *hostOut     `json:"cloud,omitempty"`
}

type loadedOut struct {
	Model   string  `json:"model"`
	Context int     `json:"context,omitempty"`
	VRAM    float64 `json:"vram"`
	Expires int64   `json:"expires,omitempty"`
}

type slotsOut struct {
	Model  string `json:"model"`
	Busy   int    `json:"busy"`
	Slots  int    `json:"slots"`
	Reason string `json:"reason,omitempty"`
}

type ejectedOut struct {
	Model   string `json:"model"`
	Breaker string `json:"breaker"`
	Until   int64  `json:"until,omitempty"`
	Why     string `json:"why"`
}

type queueOut struct {
	Waiting     int       `json:"waiting"`
	Interactive int       `json:"interactive"`
	Batch       int       `json:"batch"`
	Bytes       int64     `json:"bytes"`
	Callers     []countOf `json:"callers,omitempty"`
	Models      []countOf `json:"models,omitempty"`
}

type countOf struct {
	Name string `json:"name"`
	N    int    `json:"n"`
}

type totalsOut struct {
	Calls       uint64  `json:"calls"`
	Served      uint64  `json:"served"`
	Failed      uint64  `json:"failed"`
	Cancelled   uint64  `json:"cancelled"`
	Refused     uint64  `json:"refused"`
	Open        uint64  `json:"open"`
	InFlight    int     `json:"in_flight"`
	Retries     uint64  `json:"retries"`
	RetriesLeft int     `json:"retries_left"`
	Hedges      uint64  `json:"hedges"`
	HedgesWon   uint64  `json:"hedges_won"`
	CallRate    float64 `json:"call_rate"`
	FailRate    float64 `json:"fail_rate"`
	PerSecond   float64 `json:"per_second,omitempty"`
}

type cacheOut struct {
	Entries   int64  `json:"entries"`
	Bytes     int64  `json:"bytes"`
	Hits      uint64 `json:"hits"`
	Misses    uint64 `json:"misses"`
	Coalesced uint64 `json:"coalesced"`
	Evicted   uint64 `json:"evicted"`
	Expired   uint64 `json:"expired"`
	Refused   uint64 `json:"refused"`
	Saved     int64  `json:"saved"`
}

type semanticOut struct {
	Entries int       `json:"entries"`
	Bytes   int64     `json:"bytes"`
	Hits    uint64    `json:"hits"`
	Shadow  uint64    `json:"shadow"`
	Refused []countOf `json:"refused,omitempty"`
}

type ladderOut struct {
	Model  string `json:"model"`
	State  string `json:"state"`
	Since  int64  `json:"since"`
	Reason string `json:"reason"`
}

type keyOut struct {
	Caller      string `json:"caller"`
	Calls       int    `json:"calls"`
	CallsPerDay int    `json:"calls_per_day,omitempty"`
	Tokens      int    `json:"tokens"`
	TokensPer   int    `json:"tokens_per_day,omitempty"`
	Expires     int64  `json:"expires,omitempty"`
}

// usageView is what was used today, by caller and model.
type usageView struct {
	Rows []usageOut `json:"rows"`
	More int        `json:"more,omitempty"`
	Bad  bool       `json:"bad,omitempty"` // some of it could not be read
}

type usageOut struct {
	Caller    string  `json:"caller"`
	Model     string  `json:"model"`
	Source    string  `json:"source"`
	Calls     int     `json:"calls"`
	Failed    int     `json:"failed,omitempty"`
	TokensIn  int     `json:"in"`
	TokensOut int     `json:"out"`
	Seconds   float64 `json:"seconds"`
	Saved     float64 `json:"saved,omitempty"`
}

func (p *Page) read() stateOut {
	p.lookAtClock()
	o := &p.opts
	out := stateOut{Version: o.Version, Began: p.at(p.began), Local: o.Local, Hosts: []hostOut{}, Live: []live{}, Ladders: []ladderOut{}}
	if o.Ready != nil {
		if err := o.Ready(); err != nil {
			out.Trouble = clip(err.Error(), maxText)
		}
	}
	if o.Status != nil {
		p.readStatus(&out, o.Status())
	}
	if o.Providers != nil {
		all := o.Providers()
		for _, name := range first(slices.Sorted(maps.Keys(all)), maxHosts) {
			for _, h := range all[name].Hosts { // there is one
				one := p.host(h)
				one.Name, one.Waiting = clip(name, maxName), all[name].Queue.Waiting
				out.Providers = append(out.Providers, one)
			}
		}
	}
	if o.Calls != nil {
		p.readCalls(&out)
	}
	if o.Keys != nil {
		out.Keys = p.keysOf(o.Keys())
	}
	out.Usage = p.used()
	return out
}

func (p *Page) readStatus(out *stateOut, s inference.Status) {
	h := s.Hosts
	for _, one := range first(h.Hosts, maxHosts) {
		out.Hosts = append(out.Hosts, p.host(one))
	}
	out.Queue = queueOut{
		Waiting: h.Queue.Waiting, Interactive: h.Queue.Interactive, Batch: h.Queue.Batch, Bytes: h.Queue.Bytes,
		Callers: counts(h.Queue.Callers), Models: counts(h.Queue.Models),
	}
	out.Totals = totalsOut{
		Calls: h.Calls, Served: h.Served, Failed: h.Failed, Cancelled: h.Cancelled + h.GaveUp, Refused: h.Refused, Open: h.Open, InFlight: h.InFlight,
		Retries: h.Retried, RetriesLeft: h.RetriesLeft, Hedges: h.Hedged, HedgesWon: h.HedgesWon,
		CallRate: rounded(h.Rates.Calls), FailRate: rounded(h.Rates.Failed), PerSecond: rounded(h.PerSecond),
	}
	c := s.Cache
	out.Cache = cacheOut{
		Entries: c.Entries, Bytes: c.Bytes, Hits: c.Hits, Misses: c.Misses, Coalesced: c.Coalesced, Evicted: c.Evicted, Expired: c.Expired,
		Refused: c.TooLarge + c.CrowdedOut, Saved: c.Saved.Milliseconds(),
	}
	if s.Semantic != nil {
		refused := make(map[string]int)
		for why, n := range s.Semantic.Refused {
			refused[string(why)] = int(n)
		}
		out.Semantic = &semanticOut{s.Semantic.Entries, s.Semantic.Bytes, s.Semantic.Hits, s.Semantic.Shadow, counts(refused)}
	}
	for _, l := range first(s.Ladders, maxHosts) {
		out.Ladders = append(out.Ladders, ladderOut{clip(l.Model, maxName), string(l.State), p.at(l.Since), clip(l.Reason, maxText)})
	}
	p.mu.Lock()
	due := time.Since(p.sampled) >= sampleEvery
	if due {
		p.sampled = time.Now()
	}
	p.mu.Unlock()
	if due {
		p.sample(h)
	}
}

func (p *Page) host(h pool.HostStats) hostOut {
	p.mu.Lock()
	since, changed := p.since[clip(h.Name, maxName)]
	p.mu.Unlock()
	if !changed {
		since = p.began
	}
	out := hostOut{
		Name: clip(h.Name, maxName), Well: h.Well, Why: clip(h.Why, maxText), Since: p.at(since), Version: clip(h.Version, maxName),
		Busy: h.Busy, Slots: h.Slots, Learned: h.Learned, Fewest: h.Fewest, Most: h.Most, Reason: clip(h.Reason, maxText),
		Breaker: h.Breaker, Until: p.at(h.Until), Latency: h.Latency.Milliseconds(), Installed: h.Installed,
	}
	for _, m := range first(h.Checked, maxOfHost) {
		out.Loaded = append(out.Loaded, loadedOut{clip(m.Model, maxName), m.NumCtx, rounded(m.VRAM), p.at(m.Expires)})
	}
	for _, m := range first(h.Models, maxOfHost) {
		out.Models = append(out.Models, slotsOut{clip(m.Model, maxName), m.Busy, m.Slots, clip(m.Reason, maxText)})
	}
	for _, m := range first(h.Ejected, maxOfHost) {
		out.Ejected = append(out.Ejected, ejectedOut{clip(m.Model, maxName), m.Breaker, p.at(m.Until), clip(m.Why, maxText)})
	}
	if c := h.Cloud; c != nil {
		out.Cloud = &hostOut{Name: "Ollama's cloud", Well: c.Well, Why: clip(c.Why, maxText), Busy: c.Busy, Slots: c.Slots, Breaker: c.Breaker, Until: p.at(c.Until)}
	}
	return out
}

func (p *Page) readCalls(out *stateOut) {
	calls, more := p.opts.Calls(maxLive)
	out.MoreLive = more
	for i := range calls {
		out.Live = append(out.Live, p.liveOf(&calls[i]))
	}
	explainPlaces(out.Live)
}

// used is what was used today. It may be on a disk, so it is not read every second.
func (p *Page) used() usageView {
	if p.opts.Usage == nil {
		return usageView{Rows: []usageOut{}}
	}
	if !p.usedAt.IsZero() && time.Since(p.usedAt) < usageTime {
		return p.usage
	}
	rows, err := p.opts.Usage()
	view := usageView{Rows: []usageOut{}, Bad: err != nil}
	for _, r := range first(rows, maxUsage) {
		view.Rows = append(view.Rows, usageOut{
			callerName(r.Caller), clip(r.Model, maxName), r.Source, r.Calls, r.Failed, r.TokensIn, r.TokensOut, rounded(r.Seconds), rounded(r.Saved),
		})
	}
	view.More = len(rows) - len(view.Rows)
	p.usage, p.usedAt = view, time.Now()
	return view
}

func (p *Page) keysOf(keys []Key) (out []keyOut) {
	for _, k := range keys {
		if len(out) < maxCallers && (k.CallsPerDay > 0 || k.TokensPerDay > 0 || !k.Expires.IsZero()) {
			out = append(out, keyOut{callerName(k.Caller), k.Calls, k.CallsPerDay, k.Tokens, k.TokensPerDay, p.at(k.Expires)})
		}
	}
	return out
}

// counts are the entries of a map, the largest first.
func counts(of map[string]int) (all []countOf) {
	for name, n := range of {
		all = append(all, countOf{clip(name, maxName), n})
	}
	order.Stable(all, func(a, b countOf) int { return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Name, b.Name)) })
	return first(all, maxCallers)
}

func first[T any](all []T, most int) []T { return all[:min(len(all), most)] }

func rounded(f float64) float64 { return float64(int64(f*100+0.5)) / 100 }

// lookAtClock notices that the server's clock was set. Differences below a second are left alone, or
// the state would change with each correction by a few microseconds.
func (p *Page) lookAtClock() {
	now := time.Now()
	if set := now.Round(0).Sub(p.steady(now).Round(0)); (set - p.set).Abs() >= time.Second {
		p.set = set
	}
}

// steady is a time by a clock that was right when the page was made, and is never set.
func (p *Page) steady(t time.Time) time.Time { return p.began.Add(t.Sub(p.began)) }

// at is a time in milliseconds by the steady clock, of which the page makes ages: they stay right
// when the server's clock is set. It is 0 for the zero Time, and for never.
func (p *Page) at(t time.Time) int64 {
	switch {
	case t.IsZero() || t.Year() > 9999:
		return 0
	case t == t.Round(0): // it was read from a file or an answer, and has no monotonic reading
		return t.Add(-p.set).UnixMilli()
	}
	return p.steady(t).UnixMilli()
}
