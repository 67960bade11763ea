package tools

import (
	"context"
	"reflect"

	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/cache"
	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/semantic"
)

type clearCacheIn struct {
	Model string `json:"model,omitempty" jsonschema:"only answers of this model"`
}

type clearCacheOut struct {
	Removed int `json:"removed"`
}

func clearCache(d Deps) mcpserver.ServerTool {
	return define(d, about{
		name: "clear-cache", title: "Forget kept answers", hints: hints{idempotent: true, destructive: true},
		text:   "Forget all answers that are kept, or those of a model. For administrators.",
		output: reflect.TypeFor[clearCacheOut](),
	}, func(ctx context.Context, in clearCacheIn, _ *call) (*result, error) {
		if who := caller.FromContext(ctx); !who.Admin {
			return nil, &fault.Error{
				Code: fault.Forbidden, Message: "only an administrator may clear the cache",
				Hint: "ask whoever runs this server for a key with admin: true",
			}
		}
		if err := checkName("model", in.Model); err != nil {
			return nil, err
		}
		model := backend.CanonicalModel(in.Model)
		removed := d.Answers.Delete(func(s cache.Scope) bool { return in.Model == "" || s.Model == model })
		if d.Likeness != nil {
			d.Likeness.index.Clear(func(ns semantic.Namespace) bool { return in.Model == "" || ns.Model == model })
		}
		return &result{data: clearCacheOut{removed}}, nil
	})
}
