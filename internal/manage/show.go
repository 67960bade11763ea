package manage

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"ollama-mcp/internal/backend"
)

// Description is a model as a host describes it.
type Description struct {
	Hosts  []string // that have it
	Loaded []Running
	Listed backend.Model
	Info   *backend.ModelInfo
	Note   string // "" for nothing
}

// Show describes a model, as the first host does that has it, of those of that name.
func (m *Manager) Show(ctx context.Context, model, host string) (*Description, error) {
	if err := checkName("model", model); err != nil {
		return nil, err
	}
	hosts, err := m.managed(host)
	if err != nil {
		return nil, err
	}
	d := new(Description)
	var failed error
	var holders []Host // that have the model, and so are not those that do not answer
	digests := make(map[string]bool)
	for _, h := range m.ask(ctx, hosts, backend.CanonicalModel(model)) {
		if h.err != nil {
			failed = h.err
			continue
		}
		if h.model == nil {
			continue
		}
		d.Hosts, digests[h.model.Digest] = append(d.Hosts, h.Name()), true
		holders = append(holders, h.Host)
		if d.Info == nil {
			if d.Info, err = h.Show(ctx, model); err != nil {
				failed = err
				continue
			}
			d.Listed = *h.model
		}
	}
	switch {
	case d.Info == nil && failed != nil:
		return nil, failed
	case d.Info == nil:
		return nil, notInstalled(model, host)
	}
	if len(digests) > 1 {
		d.Note = "The hosts have different models by this name; this is that of " + d.Hosts[0] + "."
	}
	d.Loaded = slices.DeleteFunc(m.running(ctx, holders), func(r Running) bool {
		return backend.CanonicalModel(r.Name) != backend.CanonicalModel(model)
	})
	return d, nil
}

// Running is a model in the memory of a host.
type Running struct {
	Host string
	backend.RunningModel
	Err error // why the host has not said what it has in memory; nil if it has
}

// Running are the models in memory, of the host of that name or of all. A host that does not
// answer has an error in its place; it is an error if none does.
func (m *Manager) Running(ctx context.Context, host string) ([]Running, error) {
	hosts, err := m.managed(host)
	if err != nil {
		return nil, err
	}
	all := m.running(ctx, hosts)
	silent := 0
	for _, r := range all {
		if r.Err != nil {
			silent, err = silent+1, r.Err
		}
	}
	if silent == len(hosts) {
		return nil, err
	}
	return all, nil
}

func (m *Manager) running(ctx context.Context, hosts []Host) []Running {
	byHost := make([][]Running, len(hosts))
	errs := m.look(ctx, hosts, func(ctx context.Context, i int) error {
		running, err := hosts[i].Running(ctx)
		for _, r := range running {
			byHost[i] = append(byHost[i], Running{Host: hosts[i].Name(), RunningModel: r})
		}
		return err
	})
	for i, err := range errs {
		if err != nil {
			byHost[i] = []Running{{Host: hosts[i].Name(), Err: err}}
		}
	}
	return slices.Concat(byHost...)
}

// Memory is what a model needs in memory, as far as its description tells.
type Memory struct {
	Weights  int64 // bytes of the model itself
	PerToken int64 // bytes that each token of context takes; 0 if that is not known
}

// MemoryOf estimates what a model needs: its file, and for each token of context a key and a
// value of 16-bit numbers in each layer. Models that attend to a part of the context in some
// layers need less.
func MemoryOf(size int64, info map[string]any) Memory {
	need := Memory{Weights: size}
	architecture, _ := info["general.architecture"].(string)
	number := func(name string) float64 {
		switch n := info[architecture+"."+name].(type) {
		case float64:
			return n
		case int:
			return float64(n)
		}
		return 0
	}
	layers, heads := number("block_count"), number("attention.head_count")
	shared := cmp.Or(number("attention.head_count_kv"), heads)
	if layers == 0 || heads == 0 {
		return need
	}
	width := number("embedding_length") / heads
	key, value := cmp.Or(number("attention.key_length"), width), cmp.Or(number("attention.value_length"), width)
	const bytesPerNumber = 2
	need.PerToken = int64(layers * shared * (key + value) * bytesPerNumber)
	return need
}

// LicenceName is the name of a licence, which its text begins with; the text itself is long.
func LicenceName(text string) string {
	for _, known := range []struct{ words, name string }{
		{"Apache License", "Apache License"},
		{"MIT License", "MIT License"},
		{"GNU GENERAL PUBLIC LICENSE", "GNU General Public License"},
		{"Permission is hereby granted, free of charge", "MIT License"},
	} {
		if at := strings.Index(text, known.words); at >= 0 && at < 500 {
			return known.name
		}
	}
	for line := range strings.Lines(text) {
		if line = strings.Trim(line, " \t\r\n#*=-"); line != "" {
			if runes := []rune(line); len(runes) > 80 {
				return string(runes[:80]) + "…"
			}
			return line
		}
	}
	return ""
}

// OldestVersion is the oldest version of Ollama that a host has, of those that answer.
func (m *Manager) OldestVersion(ctx context.Context) (oldest string, err error) {
	hosts, err := m.managed("")
	if err != nil {
		return "", err
	}
	versions := make([]string, len(hosts))
	errs := m.look(ctx, hosts, func(ctx context.Context, i int) (err error) {
		versions[i], err = hosts[i].Version(ctx)
		return err
	})
	for i, version := range versions {
		if errs[i] != nil {
			err = errs[i]
			continue
		}
		v, ok := backend.ParseVersion(version)
		least, known := backend.ParseVersion(oldest)
		if oldest == "" || ok && (!known || v.Before(least)) {
			oldest = version
		}
	}
	if oldest == "" {
		return "", err
	}
	return oldest, nil
}
