package config

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"ollama-mcp/internal/nearest"
)

// Alert is a webhook that is told of trouble.
type Alert struct {
	Name   string
	URL    string   // a secret
	Kind   string   // one of alertKinds
	Events []string // of AlertEvents; nil for all
	Secret string   // signs the bodies; "" for no signature
}

// alertKinds are the forms in which webhooks take messages.
var alertKinds = []string{"generic", "slack", "discord"}

// AlertEvents are the kinds of trouble that a webhook may be told of.
var AlertEvents = []string{
	"host_down", "all_hosts_down", "breaker_open", "ladder_degraded", "queue_saturated", "budget_spent", "expiring", "config_refused",
}

func (r *reader) alert(n *yaml.Node) error {
	a := Alert{Kind: alertKinds[0]}
	err := fields{
		"name":       text(&a.Name),
		"url_env":    r.secretInVariable(&a.URL),
		"kind":       text(&a.Kind),
		"events":     texts(&a.Events),
		"secret_env": r.secretInVariable(&a.Secret),
	}.read(n)
	if err != nil {
		return err
	}
	if a.Name == "" {
		a.Name = fmt.Sprintf("alerts[%d]", len(r.c.Alerts)+1)
	}
	u, bad := url.Parse(a.URL) // whose text no error may quote
	switch {
	case a.URL == "":
		return errors.New("url_env is missing: the environment variable that holds the URL of the webhook")
	case bad != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return errors.New("the URL in the variable of url_env must begin with https:// or http://")
	case !slices.Contains(alertKinds, a.Kind):
		return errors.New("kind must be one of " + strings.Join(alertKinds, ", "))
	case a.Kind != "generic" && a.Secret != "":
		return fmt.Errorf("secret_env is for kind generic: %s does not check signatures", a.Kind)
	case slices.ContainsFunc(r.c.Alerts, func(other Alert) bool { return other.Name == a.Name }):
		return errors.New("the name is that of another entry")
	}
	for _, event := range a.Events {
		if !slices.Contains(AlertEvents, event) {
			known := "known are " + strings.Join(AlertEvents, ", ")
			if near := nearest.Names(event, AlertEvents, 1); near != nil {
				known = "did you mean " + near[0] + "? " + known
			}
			return fmt.Errorf("events: there is no event of that name; %s", known)
		}
	}
	r.c.Alerts = append(r.c.Alerts, a)
	return nil
}
