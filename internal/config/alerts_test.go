package config_test

import (
	"strings"
	"testing"

	"ollama-mcp/internal/config"
)

func TestMistakesInAlertsAreNamedWithoutTheURL(t *testing.T) {
	env := map[string]string{"HOOK": "https://hooks.example/secret-path", "NOT_URL": "ftp://secret-path", "ODD": "http://[secret-path", "SECRET": "s"}
	for file, want := range map[string]string{
		"alerts: [{kind: slack}]":                                        "url_env is missing",
		"alerts: [{url_env: MISSING_HOOK}]":                              "there is no environment variable MISSING_HOOK",
		"alerts: [{url_env: NOT_URL}]":                                   "must begin with https:// or http://",
		"alerts: [{url_env: ODD}]":                                       "must begin with https:// or http://",
		"alerts: [{url_env: HOOK, kind: teams}]":                         "kind must be one of generic, slack, discord",
		"alerts: [{url_env: HOOK, kind: slack, secret_env: SECRET}]":     "slack does not check signatures",
		"alerts: [{url_env: HOOK, events: [host_dwn]}]":                  "did you mean host_down?",
		"alerts: [{url_env: HOOK, name: a}, {url_env: HOOK, name: a}]":   "the name is that of another entry",
		"alerts: [{url: https://hooks.example/secret-path}]":             "url",
		"alerts: {url_env: HOOK}":                                        "must be a list",
		"alerts: [{url_env: HOOK}, {url_env: HOOK, secret_env: SECRET}]": "",
	} {
		c, err := parseFile(t, file, nil, env)
		switch {
		case want == "" && (err != nil || len(c.Alerts) != 2 || c.Alerts[1].Secret != "s" || c.Alerts[0].Kind != "generic"):
			t.Errorf("%s: got %+v, %v", file, c.Alerts, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret-path")):
			t.Errorf("%s: got %v, want %s", file, err, want)
		}
	}
}

func TestChangedAlertsNeedARestart(t *testing.T) {
	was, is := config.Config{}, config.Config{Alerts: []config.Alert{{Name: "a"}}}
	if got := config.NeedsRestart(was, is); len(got) != 1 || got[0] != "alerts" {
		t.Errorf("got %v", got)
	}
	if got := config.NeedsRestart(is, is); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}
