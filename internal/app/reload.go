package app

import (
	"os"
	"reflect"

	"ollama-mcp/internal/config"
	"ollama-mcp/internal/reload"
	"ollama-mcp/server"
)

// part is a part of the configuration that can change while the program runs. Each part is
// applied on its own: a mistake in one keeps no other from being applied.
type part struct {
	name  string
	apply func(c config.Config) error
	of    func(c config.Config) any // what the part is, to be compared
}

// parts are all of them, in the order in which they are applied.
func (s *service) parts() []part {
	type models struct{ models, fallback, providers any }
	type filter struct{ rules, guard any }
	return []part{
		{"log-level", func(c config.Config) error { s.level.Set(c.LogLevel); return nil }, func(c config.Config) any { return c.LogLevel }},
		{"output-filter", s.takeFilter, func(c config.Config) any { return filter{c.Filter, c.Guard} }},
		{"models", s.takeModels, func(c config.Config) any { return models{c.Models, c.Fallback, c.Providers} }},
		{"hosts", s.hosts.set, func(c config.Config) any { return c.Hosts }},
	}
}

// reload reads the configuration again and applies what may change while the program runs.
// Who may call comes first, and does not depend on anything else: it is applied even if the
// rest of the configuration is refused, so that a key which is taken out of its file is
// revoked whatever else has gone wrong.
func (s *service) reload() reload.Files {
	s.tellManager(s.manager.Reloading)
	defer s.tellManager(s.manager.Ready)
	c, refused := config.Reload(s.config, s.args, os.Getenv)
	changed := s.reloadCallers(c, refused != nil)
	if refused != nil {
		s.refusedConfig.Store(new(refused.Error()))
		s.lookForTrouble()
		s.log.Error("config refused; only changes of keys and scopes are applied", "error", refused, "changed", changed)
		return c.Files
	}
	for _, p := range s.parts() {
		if err := p.apply(c); err != nil {
			s.log.Error("part of the config not applied", "part", p.name, "error", err)
			continue
		}
		changed = s.note(changed, p.name, p.of(c))
	}
	s.refusedConfig.Store(nil)
	s.lookForTrouble()
	for _, warning := range c.Warnings {
		s.log.Warn(warning)
	}
	if names := config.NeedsRestart(s.config, c); len(names) > 0 {
		s.log.Warn("some changes of the config need a restart", "options", names)
	}
	s.log.Info("config reloaded", "changed", changed)
	return c.Files
}

// reloadCallers applies who may call, ends what callers do who may not any more, and returns the
// parts that have changed.
func (s *service) reloadCallers(c config.Config, refused bool) (changed []string) {
	if err := s.callers.reloadKeys(c, refused); err != nil {
		s.log.Error("part of the config not applied", "part", "keys", "error", err)
	}
	changed = s.note(nil, "keys", s.callers.keyFiles)
	if err := s.callers.reloadScopes(c); err != nil {
		s.log.Error("part of the config not applied", "part", "oauth-scopes", "error", err)
	} else if c.ScopesRead {
		changed = s.note(changed, "oauth-scopes", c.Scopes)
	}
	if s.config.TLSClientCA != "" {
		changed = s.note(changed, "tls-client-ca", c.Files[s.config.TLSClientCA])
	}
	for _, served := range []*server.HTTP{s.http, s.metricsHTTP, s.dashboardHTTP} {
		if served != nil {
			served.EndRevoked()
		}
	}
	s.jobs.CancelRevoked()
	return changed
}

// noteAll remembers what all parts are at the start.
func (s *service) noteAll(c config.Config) {
	s.applied["keys"], s.applied["oauth-scopes"], s.applied["tls-client-ca"] = s.callers.keyFiles, c.Scopes, c.Files[c.TLSClientCA]
	for _, p := range s.parts() {
		s.applied[p.name] = p.of(c)
	}
}

// note remembers what a part is now, and adds its name to changed if it was another before.
func (s *service) note(changed []string, name string, now any) []string {
	if !reflect.DeepEqual(s.applied[name], now) {
		changed = append(changed, name)
	}
	s.applied[name] = now
	return changed
}
