// Package alert tells people, by webhooks, that something is wrong with the server, and that it is
// well again.
//
// It promises that each change is told once, that what comes and goes is damped, and that nothing
// waits for a webhook: a target has one request under way at most, and what it has missed is not
// told later unless it is still so. No redirects are followed, and no error names a URL, which is
// a secret. What is wrong is found out by the function in Options.
package alert

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Event is a kind of trouble.
type Event string

// The kinds.
const (
	HostDown       Event = "host_down"
	AllHostsDown   Event = "all_hosts_down"
	BreakerOpen    Event = "breaker_open"
	LadderDegraded Event = "ladder_degraded"
	QueueSaturated Event = "queue_saturated"
	BudgetSpent    Event = "budget_spent"
	Expiring       Event = "expiring" // a certificate or a key
	ConfigRefused  Event = "config_refused"
	test           Event = "test"
)

const (
	checkEvery      = 5 * time.Second
	checkPause      = time.Second      // at least, however much changes
	startTime       = 10 * time.Second // in which hosts may start as well
	quietAfterFlaps = 30 * time.Minute
	maxHold         = 10 * time.Minute
	maxSubjects     = 500 // that are remembered
)

// Delay is how long a kind of trouble lasts before it is told.
type Delay struct {
	First time.Duration // when it comes out of the blue
	Again time.Duration // when it was over only lately, and while the server starts
}

var delays = map[Event]Delay{
	HostDown: {0, 10 * time.Second}, AllHostsDown: {0, 10 * time.Second}, BreakerOpen: {0, 5 * time.Second}, LadderDegraded: {0, 10 * time.Second},
	QueueSaturated: {time.Minute, time.Minute}, BudgetSpent: {}, Expiring: {}, ConfigRefused: {},
}

// Events are all kinds, with how long each lasts before it is told.
func Events() map[Event]Delay { return maps.Clone(delays) }

// Condition is trouble that there is now.
type Condition struct {
	Event   Event
	Subject string // what it is about, such as the name of a host; "" for the server as a whole
	Detail  string // why, in a line; "" if nothing is known
}

// Target is a webhook.
type Target struct {
	Name   string
	URL    string
	Kind   string  // "generic", "slack" or "discord"
	Events []Event // nil for all
	Secret string  // signs the bodies; "" for no signature
}

// Options describe what is told, and to whom.
type Options struct {
	Targets []Target
	// Conditions are those of now. It must not block.
	Conditions func() []Condition
	Server     string // its name in messages
	Version    string
	Log        *slog.Logger      // nil discards
	Transport  http.RoundTripper // nil for one of its own
}

// Alerts watches for trouble. Use New to make one.
type Alerts struct {
	opts    Options
	send    sender
	changed chan struct{} // something may be wrong, or well again
	began   time.Time

	mu     sync.Mutex // guards what follows
	states map[key]*state
	news   []chan struct{} // for each target: there may be something to tell
}

// key is a condition, whatever its detail.
type key struct {
	event   Event
	subject string
}

// state is how a condition is, and was.
type state struct {
	Condition
	active bool      // now
	since  time.Time // it is so
	firing bool      // it has been so for long enough
	began  time.Time // firing
	ended  time.Time // when it last ceased to fire; the zero Time if it never has
	flaps  int       // how often it has fired again soon after it had ended
}

// New makes alerts. It starts nothing.
func New(o Options) *Alerts {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &Alerts{opts: o, send: newSender(o), changed: make(chan struct{}, 1), began: time.Now(), states: make(map[key]*state)}
	for range o.Targets {
		a.news = append(a.news, make(chan struct{}, 1))
	}
	return a
}

// Run watches, and tells, until ctx ends.
func (a *Alerts) Run(ctx context.Context) {
	var telling sync.WaitGroup
	defer telling.Wait()
	for i := range a.opts.Targets {
		telling.Go(func() { a.tell(ctx, i) })
	}
	tick, pause := time.NewTicker(checkEvery), time.NewTicker(checkPause)
	defer tick.Stop()
	defer pause.Stop()
	for {
		a.check()
		pause.Reset(checkPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
		select {
		case <-tick.C:
		case <-a.changed:
		case <-ctx.Done():
			return
		}
	}
}

// Look has the conditions looked at, instead of when it is time to. It is for those who know that
// something has changed; it does not block.
func (a *Alerts) Look() {
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// check takes in the conditions of now.
func (a *Alerts) check() {
	now := time.Now()
	current := a.opts.Conditions()
	a.mu.Lock()
	defer a.mu.Unlock()
	seen := make(map[key]bool)
	for _, c := range current {
		k := key{c.Event, c.Subject}
		s := a.states[k]
		if s == nil {
			if len(a.states) >= maxSubjects {
				continue
			}
			s = &state{since: now}
			a.states[k] = s
		}
		if !s.active {
			s.active, s.since = true, now
		}
		s.Condition, seen[k] = c, true
	}
	for k, s := range a.states {
		if s.active && !seen[k] {
			s.active, s.since = false, now
		}
		a.settle(s, now)
		if !s.active && !s.firing && now.Sub(s.since) > quietAfterFlaps {
			delete(a.states, k) // targets that still have to be told have given up long ago
		}
	}
	for _, news := range a.news {
		select {
		case news <- struct{}{}:
		default:
		}
	}
}

// settle decides whether a condition fires. One that comes and goes has to be away for longer and
// longer before it counts as over.
func (a *Alerts) settle(s *state, now time.Time) {
	lasts := now.Sub(s.since)
	switch {
	case s.active && !s.firing && lasts >= a.delayOf(s, now):
		s.firing, s.began = true, now
		if s.wasLately(now) {
			s.flaps++
		} else {
			s.flaps = 0
		}
	case !s.active && s.firing && lasts >= holdAfter(s):
		s.firing, s.ended = false, now
	}
}

// delayOf is how long a condition lasts before it fires.
func (a *Alerts) delayOf(s *state, now time.Time) time.Duration {
	if s.wasLately(now) || s.since.Sub(a.began) < startTime {
		return delays[s.Event].Again
	}
	return delays[s.Event].First
}

// wasLately reports whether the condition has ceased to fire not long ago.
func (s *state) wasLately(now time.Time) bool {
	return !s.ended.IsZero() && now.Sub(s.ended) < quietAfterFlaps
}

// holdAfter is how long a condition has to be away before it counts as over.
func holdAfter(s *state) time.Duration {
	hold := max(delays[s.Event].Again/2, checkEvery)
	if s.flaps > 0 {
		hold = time.Minute << min(s.flaps-1, 4)
	}
	return min(hold, maxHold)
}

// tell tells a target what it does not know yet, one thing after the other.
func (a *Alerts) tell(ctx context.Context, i int) {
	target, told := a.opts.Targets[i], make(map[key]bool)
	failed := false
	for {
		for {
			k, ok := a.untold(target, told)
			if !ok {
				break
			}
			m, err := a.send.retry(ctx, target, func() (message, bool) { return a.toTell(told, k) })
			switch {
			case ctx.Err() != nil:
				return
			case err == nil && m.Event == "": // it is no news any more
				continue
			case err != nil:
				a.opts.Log.Warn("an alert was not delivered", "target", target.Name, "event", m.Event, "error", err)
				failed = true
			case failed:
				a.opts.Log.Info("alerts are delivered again", "target", target.Name)
				failed = false
			}
			if told[k] = m.State == firing; !told[k] {
				delete(told, k)
			}
		}
		select {
		case <-a.news[i]:
		case <-ctx.Done():
			return
		}
	}
}

// untold is the oldest thing that a target has not been told.
func (a *Alerts) untold(t Target, told map[key]bool) (k key, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var oldest *state
	for key, s := range a.states {
		if s.firing == told[key] || t.Events != nil && !slices.Contains(t.Events, s.Event) {
			continue
		}
		if oldest == nil || s.changedAt().Before(oldest.changedAt()) {
			oldest, k = s, key
		}
	}
	return k, oldest != nil
}

// toTell is what to tell of a condition now; not ok if a target knows it.
func (a *Alerts) toTell(told map[key]bool, k key) (m message, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.states[k]
	if s == nil || s.firing == told[k] {
		return message{}, false
	}
	return a.messageOf(s), true
}

func (s *state) changedAt() time.Time {
	if s.firing {
		return s.began
	}
	return s.ended
}

const (
	firing   = "firing"
	resolved = "resolved"
)

// message is what a webhook is told.
type message struct {
	Event   Event  `json:"event"`
	State   string `json:"state"` // firing or resolved
	Subject string `json:"subject,omitempty"`
	Text    string `json:"text"` // one sentence for people
	Detail  string `json:"detail,omitempty"`
	Since   string `json:"since"`
	Server  string `json:"server,omitempty"`
	Version string `json:"version,omitempty"`
}

func (a *Alerts) messageOf(s *state) message {
	m := message{
		Event: s.Event, State: resolved, Subject: line(s.Subject), Detail: line(s.Detail), Since: s.changedAt().UTC().Format(time.RFC3339),
		Server: a.opts.Server, Version: a.opts.Version,
	}
	if s.firing {
		m.State = firing
	}
	m.Text = sentence(s.Event, m.Subject, s.firing)
	if !s.firing {
		m.Detail = ""
	}
	return m
}

// sentence says in words what has happened.
func sentence(e Event, subject string, isFiring bool) string {
	words := map[Event][2]string{
		HostDown:       {"Host %s is down.", "Host %s is back."},
		AllHostsDown:   {"All hosts are down.", "A host is back."},
		BreakerOpen:    {"The circuit breaker of %s is open: it is sent no calls.", "The circuit breaker of %s is closed again."},
		LadderDegraded: {"Calls of %s are answered by a fallback.", "Calls of %s are answered by their first model again."},
		QueueSaturated: {"Calls have been waiting, with all slots in use, for a minute.", "The queue is no longer saturated."},
		BudgetSpent:    {"The daily budget of provider %s is spent.", "Provider %s has a budget again."},
		Expiring:       {"%s is about to expire.", "%s is no longer about to expire: it was renewed or removed, or has expired."},
		ConfigRefused:  {"The changed configuration was refused; the old one stays in force.", "The configuration is accepted again."},
		test:           {"This is a test of alerts%s.", "This is a test of alerts%s."},
	}[e]
	text := words[1]
	if isFiring {
		text = words[0]
	}
	if !strings.Contains(text, "%s") {
		return text
	}
	return fmt.Sprintf(text, subject)
}

// line is a text without line breaks and other controls, of 300 bytes at most.
func line(text string) string {
	text = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "?"), func(r rune) bool { return r < ' ' || r == 0x7f }), " ")
	const most = 300
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// Test sends a test to each target, or to the one of that name, and returns what came of it by
// name.
func (a *Alerts) Test(ctx context.Context, name string) map[string]error {
	all := make(map[string]error)
	for _, t := range a.opts.Targets {
		if name != "" && t.Name != name {
			continue
		}
		m := message{
			Event: test, State: firing, Text: sentence(test, cmp.Or(" of "+a.opts.Server, ""), true), Since: time.Now().UTC().Format(time.RFC3339),
			Server: a.opts.Server, Version: a.opts.Version,
		}
		all[t.Name] = a.send.once(ctx, t, m)
	}
	return all
}
