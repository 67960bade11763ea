package tools

import (
	"context"
	"slices"

	"ollama-mcp/cache"
)

// recallVectors takes the vectors of a call that are kept, and returns the keys of all
// of them; nil if none are to be kept.
func (d Deps) recallVectors(ctx context.Context, e *embedding) []cache.Key {
	if e.in.Cache == "off" || d.CacheMode == "off" {
		return nil
	}
	model := d.settings().spell(string(e.in.Model))
	digest, err := d.digest(ctx, model)
	if err != nil {
		return nil
	}
	scope := cache.Scope{Tenant: e.who.Tenant, Tool: "embed", Model: model, Digest: digest}
	keys := make([]cache.Key, len(e.in.Input))
	for i, text := range e.in.Input {
		key, err := cache.KeyOf(scope, []any{text, e.in.Dimensions, e.in.Options, e.in.Host})
		if err != nil {
			return nil
		}
		keys[i] = key
		if e.in.Cache == "refresh" {
			continue
		}
		if entry, ok := d.Answers.Get(key); ok {
			e.vectors[i] = entry.Value.(vector)
			e.kept++
		}
	}
	return keys
}

// keepVectors keeps those of a batch that are of the whole text.
func (d Deps) keepVectors(e *embedding, batch []int) {
	if e.keys == nil {
		return
	}
	for _, i := range batch {
		if !e.cut[i] {
			d.Answers.Set(e.keys[i], cache.Entry{Value: vector(slices.Clone(e.vectors[i]))})
		}
	}
}

// vector is an embedding.
type vector []float32

// Size implements cache.Value.
func (v vector) Size() int { return 4 * len(v) }
