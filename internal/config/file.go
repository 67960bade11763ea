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

// Host is an Ollama server, or all servers behind one name.
type Host struct {
	Name string // unique, for results and logs
	// URL is an address in any form that OLLAMA_HOST accepts. With dns+ before http:// or
	// https:// each address that the name resolves to is a host.
	URL    string
	Slots  int     // concurrent requests; 0 = learned
	Weight float64 // share of the calls relative to other hosts; 0 = 1
	APIKey string  // sent to this host only, as a bearer token; "" for none
	CAFile string  // PEM file; "" for the system's authorities
}

// Model holds the settings of a model, or of a name that stands for others.
type Model struct {
	// Runner are the options that Ollama loads the model with, by Ollama's names: a bool for
	// use_mmap, an int for the others. They are the same for all callers, since any
	// difference makes Ollama reload the model.
	Runner map[string]any
	// KeepAlive is how long the model stays in memory after a call; nil leaves that to the
	// host, and a negative value means for ever.
	KeepAlive *time.Duration
	// HedgeAfter replaces the option hedge-after; nil if it does not, and 0 for never.
	HedgeAfter *time.Duration
	// UnlessConfident is below which confidence of a choice the next model of Try is asked; 0
	// asks none.
	UnlessConfident float64
	// Semantic replaces the option semantic-threshold; nil if it does not, and 0 for no reuse
	// at all.
	Semantic *float64
	// Try makes the name an alias for these, which are tried in order: canonical names of
	// models and aliases, or PROVIDER/MODEL. The alias's own name in it stands for the model
	// of that name. nil if the name is not an alias.
	Try []string
	// SameAs lists providers' names for the very same model, as PROVIDER/MODEL, that may
	// serve it when no host can; nil for none. Embeddings of two models cannot be compared,
	// so nothing else stands in for an embedding model.
	SameAs []string
}

// Provider is a service with another API than Ollama's.
type Provider struct {
	Kind  string // kind of API: "openai"
	URL   string
	Key   string // a secret; "" for none
	Local bool   // it runs on a machine of the operator's, and is not a cloud
	Trace bool   // it is told which span a request is part of

	MaxCalls, MaxTokens int // per day; 0 = no limit
}

// Key admits a caller who presents a secret with this SHA-256 sum.
type Key struct {
	Caller caller.Caller // ID is the name of the key; Tenant is empty
	SHA256 [32]byte
	// Expires is when the key is refused from; the zero Time for never.
	Expires time.Time
}

// Grant is what a scope of an OAuth token allows. The fields mean what they mean in
// caller.Caller.
type Grant struct {
	Tools, Models []string // nil for all
	Admin         bool
}

// sections are the settings that only a file can hold, except for those of callers.
func (r *reader) sections() fields {
	return fields{
		"hosts":     list(r.host),
		"models":    entries(r.model),
		"fallback":  r.fallback.read,
		"providers": entries(r.provider),
		"guard":     r.guard,
		"alerts":    list(r.alert),
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
	if err == nil && h.Slots > maxSlots {
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
		return errors.New("is given twice: both names are of the model " + name)
	}
	m := Model{Runner: make(map[string]any)}
	var try, same ladder
	err := fields{
		"num_ctx":          wholeIn(m.Runner, "num_ctx", 1),
		"num_batch":        wholeIn(m.Runner, "num_batch", 1),
		"num_gpu":          wholeIn(m.Runner, "num_gpu", -1), // leaves it to Ollama
		"main_gpu":         wholeIn(m.Runner, "main_gpu", 0),
		"num_thread":       wholeIn(m.Runner, "num_thread", 0),
		"use_mmap":         truthIn(m.Runner, "use_mmap"),
		"keep_alive":       keepAlive(&m.KeepAlive),
		"hedge_after":      duration(&m.HedgeAfter),
		"semantic":         similarity(&m.Semantic),
		"try":              try.read,
		"unless_confident": confidence(&m.UnlessConfident),
		"same_as":          same.read,
	}.read(n)
	if err != nil {
		return err
	}
	if try.names == nil && m.UnlessConfident > 0 {
		return errors.New("unless_confident needs try: the models to ask in turn")
	}
	if try.names != nil {
		r.ladders[name] = try
	}
	if same.names != nil {
		r.sameAs[name] = same
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
		"trace":              truth(&p.Trace),
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
		"allow_dir":        r.paths(&may.Dirs),
		"allow_write":      r.paths(&may.WriteDirs),
		"local_only":       truth(&may.LocalOnly),
		"exact_only":       truth(&may.ExactOnly),
		"admin":            truth(&may.Admin),
		"calls_per_second": decimal(&limits.PerSecond),
		"burst":            whole(&limits.Burst, 1),
		"in_flight":        whole(&limits.InFlight, 1),
		"calls_per_day":    whole(&limits.CallsPerDay, 1),
		"tokens_per_day":   whole(&limits.TokensPerDay, 1),
		"expires":          expiry(&k.Expires),
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
