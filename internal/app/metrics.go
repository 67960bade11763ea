package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/config"
	"ollama-mcp/internal/dashboard"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/jobs"
	"ollama-mcp/internal/metrics"
	"ollama-mcp/internal/observe"
	"ollama-mcp/internal/usage"
	"ollama-mcp/pool"
	"ollama-mcp/server"
)

// newMetrics makes the numbers, if anybody can read them.
func (s *service) newMetrics() *metrics.Metrics {
	c := s.config
	if len(c.Listen) == 0 && c.MetricsAddress == "" {
		return nil
	}
	return metrics.New(metrics.Options{
		Version: version(), Transport: s.transport(),
		Status:    func() inference.Status { return s.engine.Status(caller.Caller{Admin: true}) },
		Dropped:   s.droppedLines(),
		Jobs:      func() jobs.Counts { return s.jobs.Counts() },
		Keys:      s.keyStates,
		Providers: s.providerStats, HasModel: s.hasModel, HasCaller: s.callers.has,
	})
}

// transport is how calls come, in the words of OpenTelemetry.
func (s *service) transport() string {
	if len(s.config.Listen) > 0 {
		return "tcp"
	}
	return "pipe"
}

// observers are told of all calls.
func (s *service) observers() inference.Observer {
	all := []inference.Observer{observe.Log{Logger: s.log, FailuresOnly: len(s.config.Listen) == 0}, s.usage, s.processors}
	if s.later != nil {
		all = append(all, s.later.Observer())
	}
	if s.alerts != nil {
		all = append(all, onLadderChange(s.lookForTrouble))
	}
	if s.tracer == nil {
		return observe.All(all...)
	}
	if s.config.TraceContent && !s.config.LogContent {
		return observe.All(observe.WithoutTexts(observe.All(all...)), s.tracer)
	}
	return observe.All(append(all, s.tracer)...)
}

// newLater makes what tells metrics, call log and dashboard of calls; nil if there are none of them.
func (s *service) newLater() *observe.Later {
	var all []inference.Observer
	if s.metrics != nil {
		all = append(all, s.metrics)
	}
	if s.callLog != nil {
		all = append(all, s.callLog)
	}
	if s.dashboard != nil {
		all = append(all, s.dashboard)
	}
	if all == nil {
		return nil
	}
	return observe.NewLater(observe.All(all...))
}

// metricsHandler serves the metrics, in which all calls are that are over.
func (s *service) metricsHandler() http.Handler {
	metrics := s.metrics.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		s.later.Flush()
		metrics.ServeHTTP(w, req)
	})
}

// providerStats are the states of the providers, by name.
func (s *service) providerStats() map[string]pool.Stats {
	all := make(map[string]pool.Stats)
	for name, lender := range s.settings.Load().Providers {
		if provider, ok := lender.(interface{ Stats() pool.Stats }); ok {
			all[name] = provider.Stats()
		}
	}
	return all
}

// hasModel reports whether a host has listed a model, given by its canonical name, or the
// configuration names it. It asks nobody.
func (s *service) hasModel(name string) bool {
	_, configured := s.settings.Load().Models[backend.CanonicalModel(name)]
	return configured || s.hosts.fleet.Has(name)
}

// newMetricsHTTP makes the server of the address that is for metrics alone.
func (s *service) newMetricsHTTP() (*server.HTTP, error) {
	o := s.httpOptions(s.config.MetricsAddress)
	o.Metrics, o.NoMCP = s.metricsHandler(), true
	return server.NewHTTP(s.server, o)
}

// serveAside serves the address of an option, which is for metrics or the dashboard alone, until
// life ends. On stdio another server of the same user may have the address: that must not keep an
// MCP host from its tools. at is where it is served; nil for nowhere.
func (s *service) serveAside(life context.Context, h *server.HTTP, option, address string) (at net.Addr, err error) {
	if h == nil {
		return nil, nil
	}
	listeners, err := h.Listen()
	if errors.Is(err, syscall.EADDRINUSE) && len(s.config.Listen) == 0 {
		s.log.Warn("an address is in use, perhaps by another server of yours; this one serves nothing there", "option", option, "address", address)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", option, err)
	}
	s.background.Go(func() {
		if err := h.Serve(life, listeners...); err != nil {
			s.log.Error("an address is not served any more", "option", option, "error", err)
		}
	})
	return listeners[0].Addr(), nil
}

// keyStates are the keys in force, by the names of their callers.
func (s *service) keyStates() (all []metrics.Key) {
	keys := s.callers.inForce.Load()
	if keys == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(*keys)) {
		k := (*keys)[name]
		spent := s.usage.Spent(k.Caller.ID)
		all = append(all, metrics.Key{
			Caller: k.Caller.ID, Expires: k.Expires,
			Calls: spent.Calls, CallsPerDay: k.Caller.Limits.CallsPerDay, Tokens: spent.Tokens, TokensPerDay: k.Caller.Limits.TokensPerDay,
		})
	}
	return all
}

// has reports whether a caller is one of those that the keys name.
func (who *callers) has(id string) bool {
	keys := who.inForce.Load()
	return keys != nil && (*keys)[id].Caller.ID == id
}

// noteKeys remembers which keys there are, for those who ask while they change.
func (who *callers) noteKeys() {
	keys := make(map[string]config.Key)
	for _, all := range who.keyFiles {
		for _, k := range all {
			keys[k.Caller.ID] = k
		}
	}
	who.inForce.Store(&keys)
}

// newDashboard makes the page for administrators, if anybody can look at it.
func (s *service) newDashboard() *dashboard.Page {
	c := s.config
	if c.Dashboard == "off" || c.Dashboard == "" && len(c.Listen) == 0 {
		return nil
	}
	return dashboard.New(dashboard.Options{
		Version: version(), Local: len(c.Listen) == 0, Content: c.LogContent, Log: s.log,
		Status:    func() inference.Status { return s.engine.Status(caller.Caller{Admin: true}) },
		Ready:     func() error { return s.engine.Ready() },
		Providers: s.providerStats,
		Keys: func() (all []dashboard.Key) {
			for _, k := range s.keyStates() {
				all = append(all, dashboard.Key(k))
			}
			return all
		},
		Calls: func(most int) ([]inference.LiveCall, int) {
			live, more := s.engine.Calls(most)
			s.later.Flush() // so that a call that is none of them is among those that are over
			return live, more
		},
		Cancel: func(number uint64) bool { return s.engine.Cancel(number) },
		Usage:  func() ([]usage.Row, error) { return s.usage.Rows(1, "", true) },
	})
}

// pages is the dashboard as package server serves it.
func (s *service) pages() server.Dashboard {
	if s.dashboard == nil {
		return server.Dashboard{}
	}
	return server.Dashboard{
		Files: dashboard.Files(), Stream: s.dashboard.Stream,
		Actions: map[string]http.HandlerFunc{dashboard.PathCancel: s.dashboard.Cancel},
	}
}

// hostChanged tells those who want to know that a host, or a provider, fares worse or better.
func (s *service) hostChanged(c pool.Change) {
	if s.dashboard != nil {
		s.dashboard.HostChanged(c)
	}
	s.lookForTrouble()
}

// newDashboardHTTP makes the server of the address that is for the dashboard alone.
func (s *service) newDashboardHTTP() (*server.HTTP, error) {
	o := s.httpOptions(s.config.Dashboard)
	o.Dashboard, o.NoMCP, o.NextPort = s.pages(), true, true
	return server.NewHTTP(s.server, o)
}

// noteDashboard remembers, and says, where the dashboard is.
func (s *service) noteDashboard(at net.Addr) {
	if s.dashboard == nil || s.dashboardAt.Load() != nil {
		return
	}
	address := addressOf(at, s.config.TLSCert != "")
	s.dashboardAt.Store(&address)
	s.log.Info("dashboard", "url", address)
}

// dashboardAddress is where administrators find the dashboard; "" for nowhere.
func (s *service) dashboardAddress() string {
	if at := s.dashboardAt.Load(); at != nil {
		return *at
	}
	return ""
}

// addressOf is an address as people enter it in a browser.
func addressOf(a net.Addr, tls bool) string {
	if a.Network() == "unix" {
		return "unix:" + a.String()
	}
	scheme := "http"
	if tls {
		scheme = "https"
	}
	return scheme + "://" + strings.Replace(a.String(), "[::]", "localhost", 1) + "/"
}
