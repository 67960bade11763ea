package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"ollama-mcp/cache"
	"ollama-mcp/internal/alert"
	"ollama-mcp/internal/backend/remote"
	"ollama-mcp/internal/batch"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/calllog"
	"ollama-mcp/internal/config"
	"ollama-mcp/internal/dashboard"
	"ollama-mcp/internal/files"
	"ollama-mcp/internal/gateway"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/jobs"
	"ollama-mcp/internal/manage"
	"ollama-mcp/internal/metrics"
	"ollama-mcp/internal/moderation"
	"ollama-mcp/internal/netserve"
	"ollama-mcp/internal/observe"
	"ollama-mcp/internal/processors"
	"ollama-mcp/internal/quota"
	"ollama-mcp/internal/redis"
	"ollama-mcp/internal/reload"
	"ollama-mcp/internal/route"
	"ollama-mcp/internal/systemd"
	"ollama-mcp/internal/tally"
	"ollama-mcp/internal/tracing"
	"ollama-mcp/internal/usage"
	"ollama-mcp/server"
	"ollama-mcp/tools"
)

// service is a server and its parts.
type service struct {
	config config.Config // at the start
	args   []string      // that it was read from, beside the environment and the files
	level  *slog.LevelVar
	log    *slog.Logger
	// applied is what each part of the configuration that can change is at present.
	applied map[string]any

	memory    memory
	hosts     *hosts
	providers providers
	callers   *callers
	redis     *redis.Client // nil for none
	quota     quota.Quota
	tally     *tally.Tally // of daily budgets, on all replicas; nil without redis
	engine    *inference.Engine
	jobs      *jobs.Registry
	server    *server.Server
	http      *server.HTTP     // nil on stdio
	gateway   *gateway.Gateway // nil if it is not wanted

	metrics     *metrics.Metrics // nil if nobody can read them
	metricsHTTP *server.HTTP     // of an address for metrics alone; nil for none
	callLog     *calllog.Log     // nil for none
	later       *observe.Later   // tells metrics, callLog and dashboard; nil without any
	tracer      *tracing.Tracer  // nil if no traces are wanted
	processors  *processors.Tuner
	usage       *usage.Usage
	recording   recording // of what observers keep

	manager *systemd.Manager // nil on stdio

	alerts *alert.Alerts // nil for none
	spent  sync.Map      // until when the budget of a provider is used up, by its name
	// refusedConfig is why the configuration that was read last is not in force; nil if it is.
	refusedConfig atomic.Pointer[string]

	dashboard     *dashboard.Page // nil for none
	dashboardHTTP *server.HTTP    // of an address for it alone; nil for none
	dashboardAt   atomic.Pointer[string]

	settings atomic.Pointer[inference.Settings] // replaced as a whole when one changes

	life       context.Context // of work that is not part of a request
	background sync.WaitGroup
	leaveHosts func() // stops watching them
	leaveRedis func() // disconnects; nil without redis
}

// newService builds the parts. It starts nothing. Writing to log must not block.
func newService(c config.Config, args []string, log io.Writer) (*service, error) {
	s := &service{config: c, args: args, level: new(slog.LevelVar), applied: make(map[string]any)}
	s.level.Set(c.LogLevel)
	s.settings.Store(new(inference.Settings))
	s.log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: s.level}))
	for _, warning := range c.Warnings {
		s.log.Warn(warning)
	}
	var err error
	s.memory = divide(c, containerLimit(os.DirFS("/")))
	arriving := remote.NewMemory(s.memory.arriving, s.memory.answer)
	s.dashboard = s.newDashboard()
	if s.hosts, err = newHosts(c, s.memory.queue, arriving, s.hostChanged, s.log); err != nil {
		return nil, err
	}
	if s.redis, err = s.newRedis(c); err != nil {
		return nil, err
	}
	if s.redis != nil {
		s.quota.Shared, s.tally = s.redis, tally.New(s.redis)
	}
	s.providers = providers{tally: s.tally, queue: c.Queue, queueBytes: s.memory.queue, answers: arriving, spent: s.budgetSpent, changed: s.hostChanged, log: s.log}
	if err = s.takeModels(c); err != nil {
		return nil, err
	}
	if err = s.takeFilter(c); err != nil {
		return nil, err
	}
	if s.callers, err = newCallers(c); err != nil {
		return nil, err
	}
	s.callLog = s.newCallLog()
	s.usage = s.newUsage()
	s.tracer = s.newTracer()
	s.processors = processors.New()
	s.metrics = s.newMetrics()
	s.later = s.newLater()
	s.alerts = s.newAlerts(c)
	if s.engine, err = s.newEngine(); err != nil {
		return nil, err
	}
	if s.server, err = s.newServer(); err != nil {
		return nil, err
	}
	if len(c.Listen) > 0 {
		s.manager = systemd.New(os.Getenv)
		if s.http, err = s.newHTTP(); err != nil {
			return nil, err
		}
	}
	if c.MetricsAddress != "" {
		if s.metricsHTTP, err = s.newMetricsHTTP(); err != nil {
			return nil, err
		}
	}
	if c.Dashboard != "" && s.dashboard != nil {
		if s.dashboardHTTP, err = s.newDashboardHTTP(); err != nil {
			return nil, err
		}
	}
	s.noteAll(c)
	return s, nil
}

// takeModels takes over what a configuration says of models: their options, aliases, ladders
// and providers.
func (s *service) takeModels(c config.Config) error {
	settings := *s.settings.Load()
	settings.Models = make(map[string]inference.ForModel)
	aliases, clouds := make(map[string][]string), make(map[string]bool)
	for name, m := range c.Models {
		if m.Try != nil {
			aliases[name] = m.Try
		}
		settings.Models[name] = inference.ForModel{KeepAlive: m.KeepAlive, HedgeAfter: m.HedgeAfter, Semantic: m.Semantic, Try: m.Try, SameAs: m.SameAs, UnlessConfident: m.UnlessConfident}
	}
	for name, p := range c.Providers {
		clouds[name] = !p.Local
	}
	var err error
	if settings.Ladders, err = route.NewLadders(aliases, c.Fallback, clouds); err != nil {
		return err
	}
	if settings.Providers, err = s.providers.set(c); err != nil {
		return err
	}
	s.hosts.Pin(pinned(c))
	s.settings.Store(&settings)
	return nil
}

// takeFilter takes over the checks of answers.
func (s *service) takeFilter(c config.Config) error {
	settings := *s.settings.Load()
	var err error
	if settings.Filter, err = filter(c); err != nil {
		return err
	}
	s.settings.Store(&settings)
	return nil
}

// filter checks answers before they leave; nil if the configuration has no rules for it.
func filter(c config.Config) (*moderation.Filter, error) {
	if len(c.Filter) == 0 && c.Guard.Model == "" {
		return nil, nil
	}
	rules := make([]moderation.Rule, len(c.Filter))
	for i, r := range c.Filter {
		rules[i] = moderation.Rule(r)
	}
	var guard *moderation.Guard
	if c.Guard.Model != "" {
		guard = new(moderation.Guard(c.Guard))
	}
	f, err := moderation.NewFilter(rules, guard)
	if err != nil {
		return nil, fmt.Errorf("output-filter: %w", err)
	}
	return f, nil
}

// hasSemanticCache reports whether answers to paraphrases are looked for.
func hasSemanticCache(c config.Config) bool { return c.Cache != "off" && c.SemanticCache != "off" }

// newEngine makes what answers requests, with its caches.
func (s *service) newEngine() (*inference.Engine, error) {
	c := s.config
	var kept cache.Options
	if c.Cache != "off" {
		kept = cache.Options{Size: s.memory.cache, TTL: c.CacheTTL}
		if s.redis != nil {
			kept.Shared = s.redis
		}
	}
	var similar *inference.SemanticOptions
	if hasSemanticCache(c) {
		similar = &inference.SemanticOptions{
			Model: c.SemanticModel, Threshold: c.SemanticAlike, Shadow: c.SemanticCache == "shadow", TTL: c.CacheTTL, Bytes: s.memory.questions,
		}
		if s.redis != nil {
			similar.Tell, similar.TTL = s.redis.TellQuestion, max(c.CacheTTL, c.RedisTTL)
		}
	}
	return inference.New(inference.Options{
		Hosts: s.hosts, Settings: s.settings.Load, Digest: s.hosts.fleet.Digest, Listed: s.hosts.fleet.Listed, Defaults: s.hosts.fleet.Defaults,
		Timeout: c.Timeout, Patience: c.Wait, FallbackAfter: c.FallbackAfter, HedgeAfter: c.HedgeAfter, MergeWindow: c.MergeWindow, NoCloud: c.NoCloud, Affinity: c.Affinity,
		ContextGuard: c.ContextGuard, RawRunner: c.RunnerOptions == "caller",
		Cache: kept, CacheMode: c.Cache, Semantic: similar, VectorBytes: s.memory.vectors,
		Admit: s.usage.Admit, Propagate: s.propagate(), Observer: s.observers(), Live: s.dashboard != nil, Texts: c.LogContent || c.TraceContent, Log: s.log,
	})
}

// spareWorkers is how many goroutines are kept for later jobs: as many as usually run at once on a
// busy server.
const spareWorkers = 64

// newServer makes the MCP server, with its tools, and the gateway, if it is wanted.
func (s *service) newServer() (*server.Server, error) {
	c := s.config
	writable := c.AllowWrite
	if c.ReadOnly {
		writable = nil
	}
	allowed, err := files.New(c.AllowDir, writable)
	if err != nil {
		return nil, err
	}
	offer := tools.Offer{Only: c.Tools, Without: c.NoTools, ReadOnly: c.ReadOnly, Manage: c.AllowManage, Snake: c.ToolNames == "snake"}
	if err := offer.Check(); err != nil {
		return nil, fmt.Errorf("tools to offer: %w", err)
	}
	documents := &tools.Documents{Max: int(s.memory.documents)}
	journals := batch.JournalOptions{Dir: s.stateDir("batches"), Bytes: s.memory.batches, Log: s.log}
	if s.redis != nil {
		documents.Shared, journals.Shared = s.redis, s.redis
	}
	keeping := jobs.Options{TTL: c.JobTTL, TotalBytes: s.memory.jobs, BytesPerOwner: s.memory.jobs / 4, Dir: s.stateDir("jobs"), Spare: spareWorkers, Log: s.log}
	if s.redis != nil && len(c.Listen) > 0 { // on stdio every user is the same caller
		keeping.Shared = s.redis
	}
	s.jobs = jobs.New(keeping)
	deps := tools.Deps{
		Engine: s.engine, Manage: s.newManager(), Files: allowed, FileBytes: s.memory.files, Documents: documents, Quota: &s.quota, Log: s.log, InlineBytes: c.InlineBytes, ResultMeta: c.ResultMeta,
		Batches: batch.NewJournals(journals),
		Refresh: s.hosts.refresh, Usage: s.usage, Dashboard: s.dashboardAddress, Offer: offer, Jobs: s.jobs, Wait: c.Wait,
	}
	if c.Gateway {
		s.gateway = gateway.New(gateway.Options{
			Engine: s.engine, Manage: deps.Manage, Admit: deps.Admit, Trace: tools.TraceOf, Log: s.log, Quiet: c.ResultMeta == "off",
		})
	}
	offered := tools.All(deps)
	resources, templates := tools.Reads(deps, offered)
	withTasks := offer
	withTasks.Without = slices.Concat(offer.Without, tools.ReplacedByTasks)
	return server.New(server.Options{
		Name: "ollama-mcp", Version: version(), Instructions: tools.Instructions(offer),
		MayCall: tools.MayCall, NotOffered: offer.NotOffered,
		Tasks: server.TaskOptions{
			Jobs: s.jobs, Tools: tools.Slow(offer), Wait: tools.TaskWait,
			Replaced: tools.ReplacedByTasks, Instructions: tools.Instructions(withTasks),
		},
		Tools: offered, Direct: tools.Direct(offer), Resources: resources, ResourceTemplates: templates,
		Prompts: tools.Prompts(deps), Completions: tools.Completions{Deps: deps},
		Log: s.log, OnRefused: s.refused, MaxMessage: s.memory.message, MaxHeld: s.memory.messages, MaxAnswers: s.memory.unread, Drain: s.config.DrainTimeout,
	})
}

// newManager makes what looks after the models of the hosts.
func (s *service) newManager() *manage.Manager {
	return manage.New(manage.Options{
		Hosts: s.hosts.Hosts, Ill: s.engine.IllHosts, Runner: s.hosts.Pinned, Changed: s.hosts.fleet.Learn,
		Registries: s.config.AllowRegistries, NoCloud: s.config.NoCloud,
	})
}

// httpOptions are what all servers over HTTP have in common, for one at these addresses.
func (s *service) httpOptions(addresses ...string) server.HTTPOptions {
	c := s.config
	o := server.HTTPOptions{
		Listen: addresses, AllowedHosts: c.AllowedHosts, Insecure: c.Insecure, TrustedProxies: c.TrustedProxies,
		TLS: server.TLSOptions{CertFile: c.TLSCert, KeyFile: c.TLSKey, ClientCAFile: c.TLSClientCA}, Ready: s.engine.Ready,
	}
	s.callers.configure(&o)
	return o
}

func (s *service) newHTTP() (*server.HTTP, error) {
	o := s.httpOptions(s.config.Listen...)
	o.AllowedOrigins, o.Reasons, o.Metrics, o.Dashboard = s.config.AllowedOrigins, s.reasons, s.metricsHandler(), s.pages()
	if s.gateway != nil {
		for _, e := range s.gateway.Endpoints() {
			o.Endpoints = append(o.Endpoints, server.Endpoint{Method: e.Method, Path: e.Path, Serve: e.Serve, Fail: e.Fail, Expose: gateway.Headers()})
		}
	}
	if n := int(s.memory.conns); n > 0 {
		conns, _ := netserve.MaxConns()
		o.MaxConns, o.MaxStreams = min(n, conns), n
	}
	var err error
	if o.SessionKey, err = s.sessionKey(); err != nil {
		return nil, err
	}
	return server.NewHTTP(s.server, o)
}

// start begins the work that is not part of a request. It goes on until life ends. If it
// fails, it has begun nothing.
func (s *service) start(life context.Context) error {
	s.life = life
	if _, err := s.serveAside(life, s.metricsHTTP, "metrics-address", s.config.MetricsAddress); err != nil {
		return err
	}
	if at, err := s.serveAside(life, s.dashboardHTTP, "dashboard", s.config.Dashboard); err != nil {
		return err
	} else if at != nil {
		s.noteDashboard(at)
	}
	s.startRecording()
	s.leaveHosts = s.hosts.watch()
	if s.redis != nil {
		connected, disconnect := context.WithCancel(context.Background())
		s.leaveRedis = disconnect
		s.background.Go(func() { s.redis.Run(connected) })
		s.background.Go(func() { s.quota.Run(connected) })
		s.background.Go(func() { s.redis.ShareHosts(connected, s.hosts.Pool) })
		s.background.Go(func() { s.jobs.Share(connected) })
		if hasSemanticCache(s.config) {
			s.background.Go(func() { s.redis.ShareQuestions(connected, s.engine.HearQuestion) })
		}
	}
	s.background.Go(func() { s.manager.Watchdog(life, func() { s.engine.Status(caller.Caller{}) }) })
	if s.alerts != nil {
		s.background.Go(func() { s.alerts.Run(life) })
	}
	if len(s.config.Files) > 0 {
		hangups := reloadSignals()
		s.background.Go(func() { reload.Watch(life, s.config.Files, hangups, s.reload) })
	}
	return nil
}

// wait returns when everything that start began has ended. Its life must be over.
func (s *service) wait() {
	s.jobs.Close() // before the engine that works for them
	s.engine.Close()
	s.recording.end() // after the last call
	if s.redis != nil {
		s.leaveRedis() // after the other replicas were told of it
	}
	s.background.Wait()
	s.leaveHosts()
}

// refused counts a request that was refused before it reached a tool, and writes a line for it.
func (s *service) refused(ctx context.Context, r server.Refusal) {
	if s.metrics != nil {
		s.metrics.Refused(string(r.Reason))
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "request refused",
		slog.String("reason", string(r.Reason)), slog.String("transport", r.Transport), slog.String("client", r.Remote), slog.String("caller", r.Caller),
		slog.String("request", r.RequestID), slog.String("method", r.Method), slog.Int("status", r.Status), slog.Int("code", r.Code), slog.String("error", r.Message))
}
