package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/alert"
	"ollama-mcp/internal/config"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

func TestTroubleIsFoundInTheStateOfTheEngine(t *testing.T) {
	well := pool.HostStats{Name: "a", Well: true, Slots: 2, Breaker: "closed"}
	ill := pool.HostStats{Name: "b", Why: "refused", Breaker: "open"}
	for name, tc := range map[string]struct {
		status inference.Status
		want   []string
	}{
		"no hosts":   {inference.Status{}, nil},
		"all well":   {inference.Status{Hosts: pool.Stats{Hosts: []pool.HostStats{well}}}, nil},
		"one down":   {inference.Status{Hosts: pool.Stats{Hosts: []pool.HostStats{well, ill}}}, []string{"host_down b", "breaker_open b"}},
		"all down":   {inference.Status{Hosts: pool.Stats{Hosts: []pool.HostStats{ill}}}, []string{"host_down b", "breaker_open b", "all_hosts_down"}},
		"a model":    {inference.Status{Hosts: pool.Stats{Hosts: []pool.HostStats{{Name: "a", Well: true, Breaker: "closed", Ejected: []pool.ModelHealth{{Model: "m"}}}}}}, []string{"breaker_open m on a"}},
		"saturated":  {inference.Status{Hosts: pool.Stats{Hosts: []pool.HostStats{well}, Totals: pool.Totals{InFlight: 2}, Queue: pool.QueueStats{Waiting: 1}}}, []string{"queue_saturated"}},
		"a wait":     {inference.Status{Hosts: pool.Stats{Hosts: []pool.HostStats{well}, Totals: pool.Totals{InFlight: 1}, Queue: pool.QueueStats{Waiting: 1}}}, nil},
		"degraded":   {inference.Status{Ladders: []inference.LadderStatus{{Model: "pro", State: route.Degraded}}}, []string{"ladder_degraded pro"}},
		"recovering": {inference.Status{Ladders: []inference.LadderStatus{{Model: "pro", State: route.Recovering}}}, nil},
	} {
		var got []string
		for _, c := range ofEngine(tc.status) {
			got = append(got, strings.TrimSpace(fmt.Sprint(c.Event, " ", c.Subject)))
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}

func TestEventsOfTheFileAreThoseOfAlerts(t *testing.T) {
	events := alert.Events()
	if len(events) != len(config.AlertEvents) {
		t.Errorf("the file knows %d events, and alerts %d", len(config.AlertEvents), len(events))
	}
	for _, name := range config.AlertEvents {
		if _, ok := events[alert.Event(name)]; !ok {
			t.Errorf("there is no event %s", name)
		}
	}
}

func TestSpentBudgetRefusedConfigurationAndExpiringKeysAreTrouble(t *testing.T) {
	dir := t.TempDir()
	keys := filepath.Join(dir, "keys.yaml")
	soon, later := time.Now().Add(3*24*time.Hour).UTC().Format(time.DateOnly), time.Now().Add(30*24*time.Hour).UTC().Format(time.DateOnly)
	sum := strings.Repeat("ab", 32)
	if err := os.WriteFile(keys, []byte(fmt.Sprintf("- {name: soon, sha256: %s, expires: %s}\n- {name: later, sha256: %s, expires: %s}\n", sum, soon, strings.Repeat("cd", 32), later)), 0o600); err != nil {
		t.Fatal(err)
	}
	var c config.Config
	args := []string{"--host=127.0.0.1:9", "--listen=127.0.0.1:0", "--token-file=" + keys}
	if err := config.Parse(config.Flags(&c), &c, args, func(name string) string { return map[string]string{"HOME": dir}[name] }); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", dir)
	s, err := newService(c, args, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer s.engine.Close()
	s.log = slog.New(slog.DiscardHandler)
	now := s.conditions()
	find := func() (all []string) {
		for _, one := range now() {
			all = append(all, strings.TrimSpace(fmt.Sprint(one.Event, " ", one.Subject)))
		}
		return all
	}
	if got := find(); !slices.Equal(got, []string{"expiring Key soon"}) {
		t.Errorf("got %q", got)
	}
	s.budgetSpent("openai", time.Now().Add(time.Hour))
	s.budgetSpent("other", time.Now().Add(-time.Hour))
	s.refusedConfig.Store(new("no such option"))
	if got := find(); !slices.Equal(got, []string{"budget_spent openai", "expiring Key soon", "config_refused"}) {
		t.Errorf("got %q", got)
	}
}

func TestCertificateIsTroubleFromTwoWeeksBeforeItsEnd(t *testing.T) {
	end := time.Now().AddDate(0, 1, 0).Truncate(time.Second)
	file, _ := certificate(t, end)
	for left, want := range map[time.Duration]bool{15 * 24 * time.Hour: false, 13 * 24 * time.Hour: true, -time.Hour: true} {
		got := expiringCertificate(file, end.Add(-left))
		if (got != nil) != want || want && (got.Event != alert.Expiring || !strings.Contains(got.Subject, file) || got.Detail != "on "+end.UTC().Format(time.RFC3339)) {
			t.Errorf("%v before its end: %+v", left, got)
		}
	}
	broken := filepath.Join(t.TempDir(), "cert.pem")
	write(t, broken, "no certificate")
	for _, file := range []string{"", broken, broken + ".gone"} {
		if got := expiringCertificate(file, end); got != nil {
			t.Errorf("%q: %+v", file, got)
		}
	}
}

func TestWhatTheServerLearnsOfIsLookedAtAtOnce(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "config.yaml")
		good := "alerts: [{name: ops, url_env: OPS_HOOK}]\nproviders:\n  cloud: {kind: openai, url: \"http://127.0.0.1:9/v1\"}\n"
		write := func(text string) {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(good)
		t.Setenv("OPS_HOOK", "http://127.0.0.1:9/")
		var c config.Config
		args := []string{"--host=127.0.0.1:9", "--config=" + file}
		if err := config.Parse(config.Flags(&c), &c, args, os.Getenv); err != nil {
			t.Fatal(err)
		}
		s, err := newService(c, args, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		defer s.engine.Close()
		var looked atomic.Int64
		s.alerts = alert.New(alert.Options{Conditions: func() []alert.Condition { looked.Add(1); return nil }})
		life, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { s.alerts.Run(life) })
		time.Sleep(1700 * time.Millisecond) // so that events are between two looks
		for _, event := range []struct {
			what    string
			happens func()
		}{
			{"a budget is spent", func() { s.providers.spent("cloud", time.Now().Add(time.Hour)) }},
			{"a host changes", func() { s.hostChanged(pool.Change{Host: "a"}) }},
			{"a provider changes", func() { s.providers.changed(pool.Change{Host: "cloud"}) }},
			{"a ladder changes", func() { s.observers().(inference.Watcher).Event(inference.Event{Kind: inference.LadderChanged}) }},
			{"a configuration is refused", func() { write("nonsense: 1\n"); s.reload() }},
			{"a configuration is accepted", func() { write(good); s.reload() }},
		} {
			time.Sleep(time.Hour)
			before := looked.Load()
			event.happens()
			synctest.Wait()
			if n := looked.Load() - before; n != 1 {
				t.Errorf("%s: looked %d times, want once", event.what, n)
			}
		}
		stop()
		running.Wait()
	})
}

func TestCommandSendsATestToTheWebhooksOfTheFile(t *testing.T) {
	t.Parallel()
	well := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer well.Close()
	ill := httptest.NewServer(http.NotFoundHandler())
	defer ill.Close()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte("alerts:\n  - {name: ops, url_env: OPS_HOOK}\n  - {name: chat, url_env: CHAT_HOOK, kind: slack}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"OPS_HOOK=" + well.URL, "CHAT_HOOK=" + ill.URL + "/secret-path"}
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"test", "--config=" + file}, failure, "chat: not delivered: the webhook answered 404 Not Found\nops: delivered\n"},
		{[]string{"test", "ops", "--config=" + file}, ok, "ops: delivered\n"},
		{[]string{"test", "nobody", "--config=" + file}, misuse, `no alerts of the name "nobody"`},
		{[]string{"test"}, misuse, "there are no alerts in the configuration file"},
		{[]string{"--config=" + file}, misuse, "alerts test [NAME]"},
	} {
		out, errs, code := program(t, "", env, append([]string{"alerts"}, tc.args...)...)
		if code != tc.code || !strings.Contains(out+errs, tc.want) || strings.Contains(out+errs, "secret-path") {
			t.Errorf("%v: status %d, %q %q", tc.args, code, out, errs)
		}
	}
}
