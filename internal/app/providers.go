package app

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/openai"
	"ollama-mcp/internal/backend/remote"
	"ollama-mcp/internal/budget"
	"ollama-mcp/internal/config"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/redis"
	"ollama-mcp/internal/tally"
	"ollama-mcp/pool"
)

// providers are the configured services beside the hosts. Each has a pool of its own, with
// the same bounds, retries and circuit breaker that hosts have.
type providers struct {
	queue      int
	queueBytes int64
	answers    *remote.Memory // bounds those that are arriving
	log        *slog.Logger
	tally      *tally.Tally                           // counts them on all replicas; nil if there is only this one
	ledger     *budget.Ledger                         // counts the calls of today; nil until a provider has a limit
	spent      func(provider string, until time.Time) // is told of a limit that is reached; nil for nobody
	changed    func(pool.Change)                      // is told of providers that fare worse or better; nil for nobody
	all        map[string]provider
}

type provider struct {
	config config.Provider
	pool   *pool.Pool
	close  func()
}

// set replaces the providers by those of a configuration, and leaves unchanged ones alone.
func (p *providers) set(c config.Config) (map[string]inference.Lender, error) {
	all, lenders := make(map[string]provider), make(map[string]inference.Lender)
	for name, wanted := range c.Providers {
		one, known := p.all[name]
		if !known || one.config != wanted {
			var err error
			if one, err = p.open(name, wanted); err != nil {
				return nil, err
			}
		}
		all[name], lenders[name] = one, one.pool
	}
	for name, old := range p.all {
		if all[name].pool != old.pool {
			old.close() // calls in progress go on
		}
	}
	p.all = all
	return lenders, nil
}

// openProvider makes the host that a provider is. If answers is nil, the answers that are
// arriving from it have a bound of their own.
func openProvider(name string, c config.Provider, answers *remote.Memory) (*openai.Host, error) {
	return openai.New(openai.Options{Name: name, URL: c.URL, Key: c.Key, Conns: maxConns, Memory: answers, Trace: c.Trace})
}

func (p *providers) open(name string, c config.Provider) (provider, error) {
	host, err := openProvider(name, c, p.answers)
	if err != nil {
		return provider{}, fmt.Errorf("provider %s: %w", name, err)
	}
	var asked backend.Backend = host
	if c.MaxCalls > 0 || c.MaxTokens > 0 {
		if p.ledger == nil {
			if p.ledger, err = openLedger(p.log, p.spent, p.tally); err != nil {
				return provider{}, fmt.Errorf("provider %s: its daily limits: %w", name, err)
			}
		}
		asked = p.ledger.Guard(host, budget.Limits{Calls: c.MaxCalls, Tokens: c.MaxTokens})
	}
	own, err := pool.New(pool.Options{Hosts: []backend.Backend{asked}, Queue: p.queue, QueueBytes: p.queueBytes, PerCaller: p.queue, InMemory: true, OnChange: p.changed, Log: p.log})
	return provider{c, own, host.Close}, err
}

// openLedger opens the file that counts the calls of today, across restarts and for all
// servers of a user.
func openLedger(log *slog.Logger, spent func(string, time.Time), shared *tally.Tally) (*budget.Ledger, error) {
	dir, err := ownDir()
	if err != nil {
		return nil, err
	}
	l, err := budget.Open(filepath.Join(dir, "budget.json"), log)
	if err == nil {
		l.OnSpent, l.Tally = spent, shared
	}
	return l, err
}

// newRedis makes the client of the server that replicas share answers through; nil without one.
func (s *service) newRedis(c config.Config) (*redis.Client, error) {
	if c.Redis == "" {
		return nil, nil
	}
	o := redis.Options{URL: c.Redis, Password: c.RedisPassword, CAFile: c.CAFile, Prefix: c.RedisPrefix, TTL: c.RedisTTL, Log: s.log}
	if c.RedisPasswordFile != "" {
		text, err := os.ReadFile(c.RedisPasswordFile)
		if err == nil && c.RedisPassword != "" {
			err = errors.New("there is a password in REDIS_PASSWORD already")
		}
		if err != nil {
			return nil, fmt.Errorf("redis-password-file: %w", err)
		}
		o.Password = string(bytes.TrimSpace(text))
	}
	var err error
	if c.RedisSealKey != "" {
		if o.SealKey, err = readKey(c.RedisSealKey); err != nil {
			return nil, fmt.Errorf("redis-seal-key: %w", err)
		}
	}
	client, err := redis.New(o)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	return client, nil
}
