package tools

import (
	"context"
	"reflect"

	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
)

type clearCacheIn struct {
	Model string `json:"model,omitempty" jsonschema:"only answers of this model"`
}

type clearCacheOut struct {
	Removed int `json:"removed"`
	noted
}

func clearCache(d Deps) mcpserver.ServerTool {
	return define(d, about{
		name: "clear-cache", title: "Clear the answer cache", hints: hints{idempotent: true, destructive: true},
		text:   "Remove all cached answers, or those of one model. For administrators.",
		output: reflect.TypeFor[clearCacheOut](),
	}, func(ctx context.Context, in clearCacheIn, _ *call) (*result, error) {
		if who := caller.FromContext(ctx); !who.Admin {
			return nil, &fault.Error{
				Code: fault.Forbidden, Message: "only an administrator may clear the cache",
				Hint: "ask the operator of this server for a key with admin: true",
			}
		}
		removed, err := d.Engine.Forget(in.Model)
		return &result{data: &clearCacheOut{Removed: removed}}, err
	})
}
