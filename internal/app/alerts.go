package app

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"ollama-mcp/internal/alert"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/config"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/route"
)

// keyWarning is how long before a key expires that is told.
const keyWarning = 7 * 24 * time.Hour

// newAlerts makes what tells webhooks of trouble; nil if there are none.
func (s *service) newAlerts(c config.Config) *alert.Alerts {
	if len(c.Alerts) == 0 {
		return nil
	}
	o := alertOptions(c)
	o.Conditions, o.Log = s.conditions(), s.log
	return alert.New(o)
}

func alertOptions(c config.Config) alert.Options {
	o := alert.Options{Version: version()}
	o.Server, _ = os.Hostname() // "" names none
	for _, a := range c.Alerts {
		t := alert.Target{Name: a.Name, URL: a.URL, Kind: a.Kind, Secret: a.Secret}
		for _, event := range a.Events {
			t.Events = append(t.Events, alert.Event(event))
		}
		o.Targets = append(o.Targets, t)
	}
	return o
}

// conditions returns what finds the trouble that there is.
func (s *service) conditions() func() []alert.Condition {
	var certificate *alert.Condition
	var looked time.Time
	return func() []alert.Condition {
		if time.Since(looked) >= time.Hour { // it is in a file
			looked, certificate = time.Now(), expiringCertificate(s.config.TLSCert, time.Now())
		}
		all := append(ofEngine(s.engine.Status(caller.Caller{Admin: true})), s.ofProviders()...)
		if certificate != nil {
			all = append(all, *certificate)
		}
		for _, k := range s.keyStates() {
			if left := time.Until(k.Expires); !k.Expires.IsZero() && left > 0 && left < keyWarning {
				all = append(all, alert.Condition{Event: alert.Expiring, Subject: "Key " + k.Caller, Detail: "on " + k.Expires.UTC().Format(time.RFC3339)})
			}
		}
		if why := s.refusedConfig.Load(); why != nil {
			all = append(all, alert.Condition{Event: alert.ConfigRefused, Detail: *why})
		}
		return all
	}
}

// ofEngine is the trouble of hosts, queue and ladders.
func ofEngine(status inference.Status) (all []alert.Condition) {
	slots, isOneWell := 0, false
	for _, h := range status.Hosts.Hosts {
		if h.Well {
			isOneWell = true
			slots += h.Slots
		} else {
			all = append(all, alert.Condition{Event: alert.HostDown, Subject: h.Name, Detail: h.Why})
		}
		if h.Breaker != "closed" {
			all = append(all, alert.Condition{Event: alert.BreakerOpen, Subject: h.Name, Detail: h.Why})
		}
		for _, m := range h.Ejected {
			all = append(all, alert.Condition{Event: alert.BreakerOpen, Subject: m.Model + " on " + h.Name, Detail: m.Why})
		}
	}
	if len(status.Hosts.Hosts) > 0 && !isOneWell {
		all = append(all, alert.Condition{Event: alert.AllHostsDown})
	}
	if q := status.Hosts.Queue; q.Waiting > 0 && status.Hosts.InFlight >= slots {
		all = append(all, alert.Condition{Event: alert.QueueSaturated, Detail: fmt.Sprintf("%d calls wait, the oldest for %v.", q.Waiting, q.Oldest.Round(time.Second))})
	}
	for _, l := range status.Ladders {
		if l.State == route.Degraded {
			all = append(all, alert.Condition{Event: alert.LadderDegraded, Subject: l.Model, Detail: l.Reason})
		}
	}
	return all
}

// reasons says what is wrong with hosts and providers, in a line each.
func (s *service) reasons() (all []string) {
	for _, c := range append(ofEngine(s.engine.Status(caller.Caller{Admin: true})), s.ofProviders()...) {
		line := string(c.Event)
		for _, part := range []string{c.Subject, c.Detail} {
			if part != "" {
				line += ": " + part
			}
		}
		all = append(all, line)
	}
	return all
}

// ofProviders is the trouble of providers.
func (s *service) ofProviders() (all []alert.Condition) {
	s.spent.Range(func(name, until any) bool {
		if time.Now().Before(until.(time.Time)) {
			all = append(all, alert.Condition{Event: alert.BudgetSpent, Subject: name.(string), Detail: "The next day begins at " + until.(time.Time).UTC().Format(time.RFC3339) + "."})
		}
		return true
	})
	for name, p := range s.providerStats() {
		for _, h := range p.Hosts {
			if h.Breaker != "closed" {
				all = append(all, alert.Condition{Event: alert.BreakerOpen, Subject: "provider " + name, Detail: h.Why})
			}
		}
	}
	return all
}

// budgetSpent notes that a provider may not be asked any more today.
func (s *service) budgetSpent(provider string, until time.Time) {
	s.spent.Store(provider, until)
	s.lookForTrouble()
}

// lookForTrouble has alerts look now, and not when it is time to, since something has changed.
func (s *service) lookForTrouble() {
	if s.alerts != nil {
		s.alerts.Look()
	}
}

// onLadderChange is an inference.Watcher that calls the function when a ladder is in another state.
type onLadderChange func()

// Begin implements inference.Watcher.
func (onLadderChange) Begin(*inference.CallInfo) inference.Wants { return inference.NoEvents }

// Event implements inference.Watcher.
func (f onLadderChange) Event(e inference.Event) {
	if e.Kind == inference.LadderChanged {
		f()
	}
}

// Done implements inference.Observer.
func (onLadderChange) Done(inference.Record) {}

// expiringCertificate is the trouble with a certificate that is about to expire, or has; nil if
// there is none.
func expiringCertificate(file string, now time.Time) *alert.Condition {
	if file == "" {
		return nil
	}
	text, err := os.ReadFile(file)
	block, _ := pem.Decode(text)
	if err != nil || block == nil {
		return nil // the log says so when it is loaded
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil || now.Before(leaf.NotAfter.Add(-renewBefore)) {
		return nil
	}
	return &alert.Condition{Event: alert.Expiring, Subject: "The certificate in " + file, Detail: "on " + leaf.NotAfter.UTC().Format(time.RFC3339)}
}

// testAlerts sends a test to the webhooks of the configuration, or to one of them.
func testAlerts(ctx context.Context, args []string, std Stdio) int {
	var c config.Config
	fs := config.Flags(&c)
	if done, status := parse("alerts", fs, &c, args, std); done {
		return status
	}
	name := fs.Arg(1)
	switch {
	case fs.NArg() == 0 || fs.NArg() > 2 || fs.Arg(0) != "test":
		return complain(std, errors.New("want `ollama-mcp alerts test [NAME]`"))
	case len(c.Alerts) == 0:
		return complain(std, errors.New("there are no alerts in the configuration file; see --config, and docs/alerts.md"))
	case name != "" && !slices.ContainsFunc(c.Alerts, func(a config.Alert) bool { return a.Name == name }):
		return complain(std, fmt.Errorf("there are no alerts of the name %q", name))
	}
	results, status := alert.New(alertOptions(c)).Test(ctx, name), ok
	for _, name := range slices.Sorted(maps.Keys(results)) {
		said := "delivered"
		if err := results[name]; err != nil {
			said, status = "not delivered: "+err.Error(), failure
		}
		fmt.Fprintf(std.Out, "%s: %s\n", cmp.Or(name, "-"), said)
	}
	return status
}
