package config

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
)

// Host is an Ollama server, or all of those behind one name.
type Host struct {
	Name string // what results and logs call it; no two hosts have the same
	// URL is an address in any form that OLLAMA_HOST may have. With dns+ before
	// http:// or https:// each address that the name resolves to is a host.
	URL    string
	Slots  int     // requests at once; 0 = learned
	Weight float64 // part of the calls beside other hosts; 0 = 1
	APIKey string  // sent to this host only, as a bearer token; "" for none
	CAFile string  // PEM file; "" for the system's authorities
}

// Model is what is settled about a model, or a name that stands for others.
type Model struct {
	// Runner are the options that Ollama loads the model with, by its names for
	// them: a bool for use_mmap, an int for the others. They hold for all callers,
	// since any difference makes Ollama load the model anew.
	Runner map[string]any
	// KeepAlive is how long the model stays in memory after a call; nil leaves
	// that to the host, and less than 0 is for ever.
	KeepAlive *time.Duration
	// HedgeAfter is how long a host may take to begin an answer before another is asked
	// too; nil for the option's, and 0 for never.
	HedgeAfter *time.Duration
	// Semantic is the least similarity of questions to it that share an answer; nil
	// for the option's, and 0 for none that do.
	Semantic *float64
	// Try makes the name an alias for these, of which the first is tried first:
	// canonical names of models and aliases, or PROVIDER/MODEL. Its own name is the
	// model of that name. nil for no alias.
	Try []string
}

// Provider is somebody who serves models over another API than Ollama's.
type Provider struct {
	Kind  string // of API: "openai"
	URL   string
	Key   string // a secret; "" for none
	Local bool   // a machine of ours, and no cloud

	MaxCalls, MaxTokens int // per day; 0 = no limit
}

// Key lets the caller in who shows a secret with this SHA-256 sum.
type Key struct {
	Caller caller.Caller // the name of the key as its ID, what it may, and no tenant
	SHA256 [32]byte
}

// Grant is what a scope of an OAuth token allows, in the words of caller.Caller.
type Grant struct {
	Tools, Models []string // nil for all
	Admin         bool
}

// sections are the keys that only a file can have.
func (r *reader) sections() fields {
	return fields{
		"hosts":        list(r.host),
		"models":       entries(r.model),
		"fallback":     r.fallback.read,
		"providers":    entries(r.provider),
		"keys":         r.keys,
		"oauth-scopes": r.scopes,

		"guard": r.guard,
	}
}

func (r *reader) host(n *yaml.Node) error {
	var h Host
	err := fields{
		"name":        text(&h.Name),
		"url":         text(&h.URL),
		"slots":       whole(&h.Slots, 0),
		"weight":      decimal(&h.Weight),
		"api_key_env": r.secretInVariable(&h.APIKey),
		"ca_file":     r.path(&h.CAFile),
	}.read(n)
	if err == nil && h.Slots > mostSlots {
		err = fmt.Errorf("slots: %w", errTooManySlots)
	}
	if err != nil {
		return err
	}
	return r.addHost(h)
}

func (r *reader) model(key, n *yaml.Node) error {
	name := backend.CanonicalModel(key.Value)
	if _, twice := r.c.Models[name]; twice {
		return errors.New("is there already: it is the model " + name)
	}
	m := Model{Runner: make(map[string]any)}
	var try ladder
	err := fields{
		"num_ctx":     wholeIn(m.Runner, "num_ctx", 1),
		"num_batch":   wholeIn(m.Runner, "num_batch", 1),
		"num_gpu":     wholeIn(m.Runner, "num_gpu", -1), // leaves it to Ollama
		"main_gpu":    wholeIn(m.Runner, "main_gpu", 0),
		"num_thread":  wholeIn(m.Runner, "num_thread", 0),
		"use_mmap":    truthIn(m.Runner, "use_mmap"),
		"keep_alive":  keepAlive(&m.KeepAlive),
		"hedge_after": duration(&m.HedgeAfter),
		"semantic":    similarity(&m.Semantic),
		"try":         try.read,
	}.read(n)
	if err != nil {
		return err
	}
	if try.names != nil {
		r.ladders[name] = try
	}
	r.c.Models[name] = m
	return nil
}

func (r *reader) provider(key, n *yaml.Node) error {
	var p Provider
	err := fields{
		"kind":               text(&p.Kind),
		"url":                text(&p.URL),
		"key_env":            r.secretInVariable(&p.Key),
		"key_file":           r.secretInFile(&p.Key),
		"local":              truth(&p.Local),
		"max_calls_per_day":  whole(&p.MaxCalls, 1),
		"max_tokens_per_day": whole(&p.MaxTokens, 1),
	}.read(n)
	switch {
	case err != nil:
		return err
	case strings.Contains(key.Value, "/"):
		return errors.New("the name of a provider has no slash")
	case p.Kind != "openai":
		return errors.New("kind must be openai")
	case !isWebAddress(p.URL):
		return errors.New("url must begin with http:// or https://, and have no user, password, query or fragment")
	}
	r.c.Providers[key.Value] = p
	return nil
}

func (r *reader) keys(n *yaml.Node) error {
	r.needKeys()
	return list(r.key)(n)
}

func (r *reader) key(n *yaml.Node) error {
	var k Key
	var mebibytes int
	may, limits := &k.Caller, &k.Caller.Limits
	err := fields{
		"name":             text(&may.ID),
		"sha256":           sum(&k.SHA256),
		"tools":            texts(&may.Tools),
		"models":           texts(&may.Models),
		"local_only":       truth(&may.LocalOnly),
		"exact_only":       truth(&may.ExactOnly),
		"admin":            truth(&may.Admin),
		"calls_per_second": decimal(&limits.PerSecond),
		"burst":            whole(&limits.Burst, 1),
		"in_flight":        whole(&limits.InFlight, 1),
		"max_body":         whole(&mebibytes, 1),
	}.read(n)
	if err != nil {
		return err
	}
	limits.Body = int64(mebibytes) << 20
	return r.addKey(k)
}

func (r *reader) scopes(n *yaml.Node) error {
	r.c.Scopes = make(map[string]Grant)
	return entries(func(key, n *yaml.Node) error {
		var g Grant
		err := fields{
			"tools":  texts(&g.Tools),
			"models": texts(&g.Models),
			"admin":  truth(&g.Admin),
		}.read(n)
		r.c.Scopes[key.Value] = g
		return err
	})(n)
}
