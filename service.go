package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"

	"ollama-mcp/cache"
	"ollama-mcp/internal/config"
	"ollama-mcp/internal/reload"
	"ollama-mcp/internal/route"
	"ollama-mcp/server"
	"ollama-mcp/tools"
)

// service is the parts of a server, put together.
type service struct {
	config config.Config
	args   []string // that the configuration came from, beside environment and file
	level  *slog.LevelVar
	log    *slog.Logger

	hosts     *hosts
	providers providers
	callers   *callers
	answers   *tools.Answers
	server    *server.Server
	http      *server.HTTP // nil on stdio

	settings atomic.Pointer[tools.Settings]

	// life is that of what goes on beside the requests.
	life       context.Context
	background sync.WaitGroup
	leaveHosts func() // ends the looking after them
}

// newService builds the parts, and starts none of them.
func newService(c config.Config, args []string, std stdio) (*service, error) {
	s := &service{config: c, args: args, level: new(slog.LevelVar)}
	s.level.Set(c.LogLevel)
	s.log = slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: s.level}))
	for _, warning := range c.Warnings {
		s.log.Warn(warning)
	}
	var err error
	if s.hosts, err = newHosts(c, s.log); err != nil {
		return nil, err
	}
	s.providers = providers{queue: c.Queue, log: s.log}
	if err = s.settle(c); err != nil {
		return nil, err
	}
	if s.server, err = s.newServer(); err != nil {
		return nil, err
	}
	if s.callers, err = newCallers(c); err != nil {
		return nil, err
	}
	if len(c.Listen) > 0 {
		s.http, err = s.newHTTP()
	}
	return s, err
}

// settle takes over what the tools go by and may change while the program runs.
func (s *service) settle(c config.Config) error {
	lenders, err := s.providers.set(c)
	if err != nil {
		return err
	}
	settings := &tools.Settings{Models: make(map[string]tools.ForModel), Providers: lenders}
	aliases, clouds := make(map[string][]string), make(map[string]bool)
	for name, m := range c.Models {
		if m.Try != nil {
			aliases[name] = m.Try
		}
		settings.Models[name] = tools.ForModel{KeepAlive: m.KeepAlive, HedgeAfter: m.HedgeAfter, Semantic: m.Semantic, Try: m.Try}
	}
	for name, p := range c.Providers {
		clouds[name] = !p.Local
	}
	if settings.Ladders, err = route.NewLadders(aliases, c.Fallback, clouds); err != nil {
		return err
	}
	if settings.Filter, err = filter(c); err != nil {
		return err
	}
	s.settings.Store(settings)
	return nil
}

// filter is what answers are held against; nil if there is nothing.
func filter(c config.Config) (*tools.Filter, error) {
	if len(c.Filter) == 0 && c.Guard.Model == "" {
		return nil, nil
	}
	rules := make([]tools.Rule, len(c.Filter))
	for i, r := range c.Filter {
		rules[i] = tools.Rule(r)
	}
	var guard *tools.Guard
	if c.Guard.Model != "" {
		guard = new(tools.Guard(c.Guard))
	}
	f, err := tools.NewFilter(rules, guard)
	if err != nil {
		return nil, fmt.Errorf("output-filter: %w", err)
	}
	return f, nil
}

func (s *service) newServer() (*server.Server, error) {
	c := s.config
	var kept cache.Options
	if c.Cache != "off" {
		kept = cache.Options{Size: int64(c.CacheSize) << 20, TTL: c.CacheTTL}
	}
	var err error
	if s.answers, err = tools.NewAnswers(kept); err != nil {
		return nil, err
	}
	var likeness *tools.Likeness
	if c.Cache != "off" && c.SemanticCache != "off" {
		likeness, err = tools.NewLikeness(tools.LikenessOptions{
			Model: c.SemanticModel, Threshold: c.SemanticAlike, Shadow: c.SemanticCache == "shadow", TTL: c.CacheTTL,
		})
		if err != nil {
			return nil, err
		}
	}
	deps := tools.Deps{
		Hosts: s.hosts, Vectors: new(tools.Vectors), Log: s.log,
		Timeout: c.Timeout, InlineBytes: c.InlineBytes, RawRunner: c.RunnerOptions == "caller",
		Settings: s.settings.Load, FallbackAfter: c.FallbackAfter, HedgeAfter: c.HedgeAfter,
		NoCloud: c.NoCloud, ContextGuard: c.ContextGuard,
		Answers: s.answers, CacheMode: c.Cache, Likeness: likeness, Digest: s.hosts.digest,
		Background: func(work func(context.Context)) { s.background.Go(func() { work(s.life) }) },
	}
	return server.New(server.Options{
		Name: "ollama-mcp", Version: version(), Instructions: tools.Instructions,
		Tools: tools.All(deps), ResourceTemplates: tools.Resources(deps),
		Log: s.log, MaxMessage: int64(s.config.MaxMessage) << 20, Drain: s.config.DrainTimeout,
	})
}

func (s *service) newHTTP() (*server.HTTP, error) {
	c := s.config
	o := server.HTTPOptions{
		Listen: c.Listen, AllowedHosts: c.AllowedHosts, AllowedOrigins: c.AllowedOrigins, Insecure: c.Insecure, TrustedProxies: c.TrustedProxies,
		TLS: server.TLSOptions{CertFile: c.TLSCert, KeyFile: c.TLSKey, ClientCAFile: c.TLSClientCA},
	}
	if err := s.callers.admit(&o); err != nil {
		return nil, err
	}
	return server.NewHTTP(s.server, o)
}

// start begins what goes on beside the requests, until life ends.
func (s *service) start(life context.Context) {
	s.life = life
	s.leaveHosts = s.hosts.watch()
	if len(s.config.Files) == 0 {
		return
	}
	hangups := make(chan os.Signal, 1)
	signal.Reset(syscall.SIGHUP) // which ends the program where there are no files
	signal.Notify(hangups, syscall.SIGHUP)
	s.background.Go(func() { reload.Watch(life, s.config.Files, hangups, s.reload) })
}

// wait returns when all that start began has ended. Its life must be over.
func (s *service) wait() {
	s.answers.Close()
	s.background.Wait()
	s.leaveHosts()
}

// reload reads the configuration again and takes over what may change while the
// program runs. One with a mistake in it changes nothing.
func (s *service) reload() reload.Files {
	var c config.Config
	if err := config.Parse(config.Flags(&c), &c, s.args, os.Getenv); err != nil {
		s.log.Error("the configuration has changed, and stays as it was", "error", err)
		return c.Files
	}
	err := s.hosts.reload(c)
	if err == nil {
		err = s.callers.reload(c)
	}
	if err == nil {
		err = s.settle(c)
	}
	if err != nil {
		s.log.Error("the configuration has changed, and not all of it holds", "error", err)
		return c.Files
	}
	s.level.Set(c.LogLevel)
	for _, warning := range c.Warnings {
		s.log.Warn(warning)
	}
	if names := config.NeedsRestart(s.config, c); len(names) > 0 {
		s.log.Warn("the configuration has changed; these need a restart", "options", names)
	}
	s.log.Info("the configuration has been read again")
	return c.Files
}
