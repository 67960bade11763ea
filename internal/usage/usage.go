// Package usage counts what callers use, by caller, model and day in UTC, and enforces the
// daily budgets of callers.
//
// It promises that no call waits for a disk, that counts outlast the program if there is a
// directory for them, and that several programs may share that directory. A program that is
// killed loses the counts of its last ten seconds. Memory and files are bounded whatever
// names callers send. Daily budgets of providers are left to package budget.
package usage

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/order"
	"ollama-mcp/internal/tally"
)

// Options describe where usage is counted. All fields may be zero.
type Options struct {
	Dir      string                 // for the counts; "" keeps them in memory
	Tally    *tally.Tally           // counts against budgets on all replicas; nil if there is only this one
	Shared   Shared                 // has what other replicas have counted; nil for none
	HasModel func(name string) bool // whether a model exists, by its canonical name; nil knows all
	Log      *slog.Logger           // nil discards
}

// Usage is what callers have used. Use New to make one. It implements inference.Observer.
type Usage struct {
	opts Options

	mu      sync.Mutex // guards what follows; no file is touched under it
	pending map[string]*day
	stored  map[string]*day // of today, as it was last read; what other programs have added is in it
	own     history         // what this program has counted, if that is shared
	unsent  map[string]bool // days of it that the other replicas have not been told of

	flushing sync.Mutex // held while files are written
	down     bool       // the last time failed
}

// key is what counts are kept by.
type key struct{ Caller, Model, Source string }

// Counts are what was used.
type Counts struct {
	Calls     int     `json:"calls"`
	Failed    int     `json:"failed,omitempty"`
	TokensIn  int     `json:"tokens_in"`
	TokensOut int     `json:"tokens_out"`
	Seconds   float64 `json:"seconds"`
	Saved     float64 `json:"saved_seconds,omitempty"` // that cached and shared answers would have taken
}

// Add adds other counts.
func (c *Counts) Add(other Counts) {
	c.Calls += other.Calls
	c.Failed += other.Failed
	c.TokensIn += other.TokensIn
	c.TokensOut += other.TokensOut
	c.Seconds += other.Seconds
	c.Saved += other.Saved
}

// Spent is what counts against the budget of a caller.
type Spent struct {
	Calls  int `json:"calls"`
	Tokens int `json:"tokens"` // that models have read and generated; cached answers cost none
}

func (s Spent) plus(more Spent) Spent { return Spent{s.Calls + more.Calls, s.Tokens + more.Tokens} }

// day is what was used on a day.
type day struct {
	rows  map[key]Counts
	spent map[string]Spent // by caller
}

func newDay() *day { return &day{rows: make(map[key]Counts), spent: make(map[string]Spent)} }

// LocalCaller stands for the user who started the program, on stdio.
const LocalCaller = "local"

const (
	other      = "other" // stands for names that have no counts of their own
	maxRows    = 5000    // of a day
	maxName    = 128     // bytes of a name
	maxPending = 35      // days in memory
	flushEvery = 10 * time.Second
)

// New makes a count of usage. It starts nothing. What cannot be read in the directory is set
// aside, and said.
func New(o Options) *Usage {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	u := &Usage{opts: o, pending: make(map[string]*day), stored: make(map[string]*day)}
	if o.Dir != "" {
		u.Flush() // for budgets that other programs, or this one, have spent today
	}
	return u
}

// Done implements inference.Observer. Calls that asked no model are not counted.
func (u *Usage) Done(r inference.Record) {
	s := &r.Served
	if s.Requested == "" {
		return
	}
	counts := Counts{Calls: 1, TokensIn: s.TokensIn, TokensOut: s.TokensOut, Seconds: r.Took.Seconds(), Saved: r.Saved.Seconds()}
	if r.Code != "" {
		counts.Failed = 1
	}
	k := key{callerOf(r.Caller), u.modelOf(&r), r.Origin()}
	spent := 0
	if k.Source != "cache" {
		spent = s.TokensIn + s.TokensOut
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	d := u.today()
	if _, known := d.rows[k]; !known && len(d.rows) >= maxRows {
		k.Caller, k.Model = other, other
	}
	c := d.rows[k]
	c.Add(counts)
	d.rows[k] = c
	if spent > 0 {
		d.spend(callerOf(r.Caller), Spent{Tokens: spent})
		u.opts.Tally.Add(budgetOf(r.Caller), tally.Count{Tokens: spent})
	}
	if u.opts.Shared != nil {
		u.noteOwn(k, counts)
	}
}

// budgetOf is the name of a caller's budget among all that have one.
func budgetOf(id string) string { return "key " + callerOf(id) }

// spend counts against the budget of a caller.
func (d *day) spend(who string, more Spent) {
	if _, known := d.spent[who]; !known && len(d.spent) >= maxRows {
		who = other
	}
	d.spent[who] = d.spent[who].plus(more)
}

func callerOf(id string) string { return shortened(cmp.Or(id, LocalCaller)) }

func shortened(name string) string { return name[:min(len(name), maxName)] }

// modelOf is the model that a call is counted for: the one that answered, or else the one that
// was asked for, if it exists.
func (u *Usage) modelOf(r *inference.Record) string {
	s := &r.Served
	name := cmp.Or(s.Model, s.Requested)
	if s.Host == "" || !strings.HasPrefix(name, s.Host+"/") { // or it is a provider's
		name = backend.CanonicalModel(name)
	}
	if r.Code != "" && u.opts.HasModel != nil && !u.opts.HasModel(name) {
		return other
	}
	return shortened(name)
}

// today are the counts of today that are in no file. The mutex is held.
func (u *Usage) today() *day {
	name := today()
	if u.pending[name] == nil {
		u.pending[name] = newDay()
		for len(u.pending) > maxPending { // without a directory, or with one that cannot be written
			delete(u.pending, slices.Min(slices.Collect(maps.Keys(u.pending))))
		}
	}
	return u.pending[name]
}

// today is the date by UTC. Each call asks for it, so it is put into words only once a day.
func today() string {
	now := time.Now().UTC()
	number := now.Unix() / (24 * 60 * 60)
	d := lastDate.Load()
	if d == nil || d.number != number {
		d = &date{number, now.Format(time.DateOnly)}
		lastDate.Store(d)
	}
	return d.name
}

// date is a day.
type date struct {
	number int64  // counted from 1 January 1970
	name   string // 2006-01-02
}

// lastDate is what today has told last; nil before.
var lastDate atomic.Pointer[date]

// Exhausted is the error for a call whose caller has used up the budget of the day.
type Exhausted struct {
	Budget string        // in words: "500 calls"
	Left   time.Duration // of the day
	// Here says that only the part is used up that this program has while it cannot ask the
	// other replicas.
	Here bool
}

func (e *Exhausted) Error() string {
	if e.Here {
		return "this server's part of your daily budget of " + e.Budget + " is used up, and it cannot reach the other servers that have the rest"
	}
	return "your daily budget of " + e.Budget + " is used up"
}

// partRetry is when a caller may try again whose budget is used up here.
const partRetry = 10 * time.Second

// Fault implements fault.Explainer. The day may last long, so nobody should wait for its end.
func (e *Exhausted) Fault() *fault.Error {
	if e.Here {
		return &fault.Error{Code: fault.RateLimited, Message: e.Error(), Hint: fault.TryAgain(partRetry), Retryable: true, RetryAfter: partRetry}
	}
	return &fault.Error{
		Code: fault.RateLimited, Message: e.Error(), RetryAfter: e.Left,
		Hint: fmt.Sprintf("the next day begins at 00:00 UTC, in %s; or ask the operator of this server for more", e.Left.Round(time.Minute)),
	}
}

// Admit counts a call against the daily budget of its caller. It returns *Exhausted if that is
// used up.
func (u *Usage) Admit(who caller.Caller) error {
	l := tally.Limits{Calls: who.Limits.CallsPerDay, Tokens: who.Limits.TokensPerDay}
	if l.Calls <= 0 && l.Tokens <= 0 {
		return nil
	}
	if err := u.admitHere(who.ID, l); err != nil {
		return err
	}
	switch u.opts.Tally.Admit(budgetOf(who.ID), l) {
	case tally.Admitted:
		return nil
	case tally.UsedUpHere:
		u.takeBack(who.ID)
		return &Exhausted{Budget: budgetWords(l, u.Spent(who.ID)), Here: true}
	}
	u.takeBack(who.ID)
	return exhausted(l, u.Spent(who.ID))
}

// admitHere counts a call against what this program, and others with the same directory, have
// counted.
func (u *Usage) admitHere(id string, l tally.Limits) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if s := u.spent(id); l.Calls > 0 && s.Calls >= l.Calls || l.Tokens > 0 && s.Tokens >= l.Tokens {
		return exhausted(l, s)
	}
	u.today().spend(callerOf(id), Spent{Calls: 1})
	return nil
}

// takeBack undoes the counting of a call that was not admitted after all.
func (u *Usage) takeBack(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.today().spend(callerOf(id), Spent{Calls: -1})
}

func exhausted(l tally.Limits, s Spent) *Exhausted {
	now := time.Now().UTC()
	return &Exhausted{Budget: budgetWords(l, s), Left: now.Truncate(24 * time.Hour).Add(24 * time.Hour).Sub(now)}
}

// budgetWords name the budget that is used up.
func budgetWords(l tally.Limits, s Spent) string {
	if l.Calls > 0 && (s.Calls >= l.Calls || l.Tokens <= 0 || s.Tokens < l.Tokens) {
		return fmt.Sprintf("%d calls", l.Calls)
	}
	return fmt.Sprintf("%d tokens", l.Tokens)
}

// Spent is what counts today against the budget of a caller, on all replicas as far as is known.
func (u *Usage) Spent(who string) Spent {
	all := u.opts.Tally.Spent(budgetOf(who))
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.spent(who)
	return Spent{max(s.Calls, all.Calls), max(s.Tokens, all.Tokens)}
}

// spent is what this program, and others with the same directory, have counted today. The mutex
// is held.
func (u *Usage) spent(who string) (all Spent) {
	for _, d := range []*day{u.pending[today()], u.stored[today()]} {
		if d != nil {
			all = all.plus(d.spent[callerOf(who)])
		}
	}
	return all
}

// Run writes the counts to files, and tells the other replicas of them, until ctx ends, and then
// once more.
func (u *Usage) Run(ctx context.Context) {
	ticker := time.NewTicker(flushEvery)
	defer ticker.Stop()
	for ended := false; !ended; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			ended = true
		}
		if u.opts.Dir != "" {
			u.Flush()
		}
		u.share()
	}
}

// Row is what a caller has used of a model on a day. Source is where the answers came from:
// local, cloud, cache, or none for calls that failed.
type Row struct {
	Day    string `json:"day"` // as 2006-01-02
	Caller string `json:"caller"`
	Model  string `json:"model"`
	Source string `json:"source"`
	Counts
}

// Rows returns what was used on the last days, today included, by one caller, or by all if
// all is set: the latest day first, and of a day the row with the most tokens.
func (u *Usage) Rows(days int, who string, all bool) ([]Row, error) {
	since := time.Now().UTC().AddDate(0, 0, 1-days).Format(time.DateOnly)
	sum, err := u.readSince(since)
	u.mu.Lock()
	for name, d := range u.pending {
		if name >= since {
			sum.add(name, d)
		}
	}
	u.mu.Unlock()
	sum.raise(u.everywhere(since))
	return sum.rows(callerOf(who), all), err
}

// history are days by their names.
type history map[string]*day

func (h history) add(name string, d *day) {
	if h[name] == nil {
		h[name] = newDay()
	}
	h[name].merge(d)
}

func (d *day) merge(more *day) {
	for k, c := range more.rows {
		sum := d.rows[k]
		sum.Add(c)
		d.rows[k] = sum
	}
	for who, s := range more.spent {
		d.spent[who] = d.spent[who].plus(s)
	}
}

func (h history) rows(who string, all bool) []Row {
	rows := []Row{}
	for name, d := range h {
		for k, c := range d.rows {
			if all || k.Caller == who {
				rows = append(rows, Row{name, k.Caller, k.Model, k.Source, c})
			}
		}
	}
	order.Stable(rows, func(a, b Row) int {
		return cmp.Or(
			cmp.Compare(b.Day, a.Day), cmp.Compare(b.TokensIn+b.TokensOut, a.TokensIn+a.TokensOut), cmp.Compare(b.Calls, a.Calls),
			cmp.Compare(a.Caller, b.Caller), cmp.Compare(a.Model, b.Model), cmp.Compare(a.Source, b.Source),
		)
	})
	return rows
}
