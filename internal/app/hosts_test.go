package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/config"
	"ollama-mcp/internal/fleet"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

func TestHostBehindANameIsReachedByItsAddressAndCalledByTheName(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1") // would look the name up itself
	var asked string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Host
		io.WriteString(w, `{"version":"1.0"}`)
	}))
	defer srv.Close()
	address := netip.MustParseAddrPort(srv.Listener.Addr().String())
	name := fmt.Sprintf("gpus.example.com:%d", address.Port())
	host, err := opener{}.open(fleet.Spec{Name: "gpus@127.0.0.1", URL: "http://" + name}, address.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	if v, err := host.Version(t.Context()); v != "1.0" || err != nil || asked != name {
		t.Errorf("got %q, %v, asked as %q; want to be asked as %q", v, err, asked, name)
	}
}

// watchedHosts are the hosts of a server on stdio with these arguments.
func watchedHosts(t *testing.T, args ...string) *hosts {
	t.Helper()
	var c config.Config
	if err := config.Parse(config.Flags(&c), &c, args, func(string) string { return "" }); err != nil {
		t.Fatal(err)
	}
	h, err := newHosts(c, 0, nil, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.watch())
	return h
}

// generate has a host answer.
func (h *hosts) generate(t *testing.T, model string) error {
	return h.With(t.Context(), route.Need{Model: model}, func(ctx context.Context, l *pool.Lease) error {
		_, err := l.Host.Generate(ctx, &backend.GenerateRequest{Model: model, Prompt: "hi"}, nil)
		return err
	})
}

func TestReloadThatChangesTheSlotsOfAHostForgetsNothingOfIt(t *testing.T) {
	host := backendtest.New("gpu-1").Answer("quick brown fox")
	c := config.Config{Hosts: []config.Host{{Name: "gpu-1", URL: host.Listen(t), Slots: 2}}, Route: "warmest"}
	h, err := newHosts(c, 0, nil, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.watch())
	if err := h.fleet.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := h.generate(t, backendtest.Tiny); err != nil {
		t.Fatal(err)
	}
	before, opened := h.Stats().Hosts[0], host.Stats().Opened
	c.Hosts = []config.Host{c.Hosts[0]}
	c.Hosts[0].Slots = 5
	if err := h.set(c); err != nil {
		t.Fatal(err)
	}
	after := h.Stats().Hosts[0]
	if after.Slots != 5 || after.Latency != before.Latency || after.Latency == 0 || len(after.Loaded) != 1 {
		t.Errorf("the host is %+v, want it as before with 5 slots: %+v", after, before)
	}
	if err := h.generate(t, backendtest.Tiny); err != nil {
		t.Fatal(err)
	}
	if more := host.Stats().Opened - opened; more > 1 { // of polls, which have connections of their own
		t.Errorf("%d connections were opened for a host that stays", more)
	}
}

func TestCallsAtOnceForAModelJustPulledAreAllAnsweredAndCountedOnce(t *testing.T) {
	host := backendtest.New("gpu-1").Answer("quick brown fox")
	h := watchedHosts(t, "--host="+host.Listen(t))
	if err := h.fleet.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	host.Install(backendtest.Model{Name: "new:1b"})
	const calls = 8
	results := make(chan error, calls)
	for range calls {
		go func() { results <- h.generate(t, "new:1b") }()
	}
	for range calls {
		if err := <-results; err != nil {
			t.Errorf("a call for a model that was just pulled: %v", err)
		}
	}
	if s := h.Stats(); s.Calls != calls || s.Served != calls || s.Refused != 0 {
		t.Errorf("%d calls were counted, %d served, %d refused; want %d, all served", s.Calls, s.Served, s.Refused, calls)
	}
	if err := h.generate(t, "unheard:of"); backend.ClassOf(err) != backend.ModelMissing {
		t.Errorf("a model that no host has: got %v", err)
	}
	if s := h.Stats(); s.Calls != calls+1 || s.Refused != 1 {
		t.Errorf("%d calls were counted, %d refused; want %d and 1", s.Calls, s.Refused, calls+1)
	}
}

func TestModelThatHasMovedToAnotherHostSinceTheLastPollIsFound(t *testing.T) {
	moved := backendtest.Model{Name: "moved:1b"}
	a, b := backendtest.New("a").Install(moved), backendtest.New("b").Answer("quick brown fox")
	h := watchedHosts(t, "--host="+a.Listen(t), "--host="+b.Listen(t))
	if err := h.fleet.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.Remove("moved:1b")
	b.Install(moved)
	if err := h.generate(t, "moved:1b"); err != nil {
		t.Error(err)
	}
}

func TestOptionRouteHasEveryPolicy(t *testing.T) {
	var c config.Config
	choices := config.Flags(&c).Lookup("route").Usage
	for _, p := range route.Policies() {
		if !strings.Contains(choices, "\n"+p.Name+": ") {
			t.Errorf("%s cannot be chosen with --route", p.Name)
		}
	}
	if got, want := strings.Count(choices, "\n"), len(route.Policies()); got != want {
		t.Errorf("--route has %d choices, want %d", got, want)
	}
}

func TestNoRequestIsSentToOllamasCloudAsAHostWhereThatIsForbidden(t *testing.T) {
	for _, address := range []string{"https://ollama.com", "ollama.com", "https://OLLAMA.com:443/"} {
		for how, forbidden := range map[string]bool{"by the server": true, "by the call": true, "not": false} {
			var c config.Config
			args := []string{"--host=" + address}
			if how == "by the server" {
				args = append(args, "--no-cloud")
			}
			if err := config.Parse(config.Flags(&c), &c, args, func(string) string { return "" }); err != nil {
				t.Fatal(err)
			}
			h, err := newHosts(c, 0, nil, nil, slog.New(slog.DiscardHandler)) // which are not watched, and so asked nothing
			if err != nil {
				t.Fatal(err)
			}
			lent := false
			err = h.With(t.Context(), route.Need{Model: "gpt-oss:120b", LocalOnly: how == "by the call"}, func(_ context.Context, l *pool.Lease) error {
				if lent = true; !l.Cloud {
					t.Errorf("%s: the lease does not say that it is a cloud's", address)
				}
				return nil
			})
			if lent == forbidden || errors.Is(err, backend.Forbidden) != forbidden {
				t.Errorf("%s, forbidden %s: lent %v, error %v", address, how, lent, err)
			}
			if how == "by the server" {
				host := h.Hosts()[0]
				_, version := host.Version(t.Context())
				_, models := host.Models(t.Context())
				_, running := host.Running(t.Context())
				_, show := host.Show(t.Context(), "gpt-oss:120b")
				_, generate := host.Generate(t.Context(), nil, nil)
				_, chat := host.Chat(t.Context(), nil, nil)
				_, embed := host.Embed(t.Context(), nil)
				for _, err := range []error{version, models, running, show, generate, chat, embed} {
					if !errors.Is(err, backend.Forbidden) {
						t.Errorf("%s: a question was not refused: %v", address, err)
					}
				}
			}
			h.fleet.Close()
		}
	}
}

// What the status tool, the metrics and the dashboard show is what is known already: a host
// that hangs must not delay them.
func TestStatsDoNoInputOrOutput(t *testing.T) {
	var requests atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	defer srv.Close()
	var c config.Config
	if err := config.Parse(config.Flags(&c), &c, []string{"--host=" + srv.URL}, func(string) string { return "" }); err != nil {
		t.Fatal(err)
	}
	h, err := newHosts(c, 0, nil, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer h.fleet.Close()
	engine, err := inference.New(inference.Options{Hosts: h})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	for range 2 {
		if s := engine.Status(caller.Caller{}).Hosts; len(s.Hosts) != 1 || s.Hosts[0].Installed != -1 {
			t.Errorf("got %+v, want a host of which nothing is known", s)
		}
		_ = engine.Ready() // whatever it says, it says so by itself
	}
	srv.Close() // ends when all requests have
	if n := requests.Load(); n != 0 {
		t.Errorf("the host got %d requests", n)
	}
}
