package app

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/config"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/metrics"
	"ollama-mcp/internal/observe"
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
	all := observe.All{observe.Log{Logger: s.log, FailuresOnly: len(s.config.Listen) == 0}, s.usage}
	if s.metrics != nil {
		all = append(all, s.metrics)
	}
	if s.callLog != nil {
		all = append(all, s.callLog)
	}
	if s.tracer == nil {
		return all
	}
	if s.config.TraceContent && !s.config.LogContent {
		return observe.All{observe.WithoutTexts{Observer: all}, s.tracer}
	}
	return append(all, s.tracer)
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
	c := s.config
	o := server.HTTPOptions{
		Listen: []string{c.MetricsAddress}, AllowedHosts: c.AllowedHosts, Insecure: c.Insecure, TrustedProxies: c.TrustedProxies,
		TLS:   server.TLSOptions{CertFile: c.TLSCert, KeyFile: c.TLSKey, ClientCAFile: c.TLSClientCA},
		Ready: s.engine.Ready, Metrics: s.metrics.Handler(), OnlyMetrics: true,
	}
	s.callers.configure(&o)
	return server.NewHTTP(s.server, o)
}

// serveMetrics serves the address that is for metrics alone, until life ends. On stdio another
// server of the same user may have the address: that must not keep an MCP host from its tools.
func (s *service) serveMetrics(life context.Context) error {
	if s.metricsHTTP == nil {
		return nil
	}
	listeners, err := s.metricsHTTP.Listen()
	if errors.Is(err, syscall.EADDRINUSE) && len(s.config.Listen) == 0 {
		s.log.Warn("the metrics address is in use, perhaps by another server of yours; this one has no metrics", "address", s.config.MetricsAddress)
		return nil
	}
	if err != nil {
		return fmt.Errorf("metrics-address: %w", err)
	}
	s.background.Go(func() {
		if err := s.metricsHTTP.Serve(life, listeners...); err != nil {
			s.log.Error("metrics are not served any more", "error", err)
		}
	})
	return nil
}

// keyStates are the keys in force that have a budget or expire.
func (s *service) keyStates() (all []metrics.Key) {
	keys := s.callers.inForce.Load()
	if keys == nil {
		return nil
	}
	for _, k := range *keys {
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
