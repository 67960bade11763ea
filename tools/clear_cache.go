package tools

import (
	"context"

	mcpserver "github.com/mark3labs/mcp-go/server"
)

type clearCacheIn struct {
	Model string `json:"model,omitempty" jsonschema:"only answers of this model"`
}

type clearCacheOut struct {
	Removed int `json:"removed" jsonschema:"answers"`
	noted
}

func clearCache(d Deps, a about) mcpserver.ServerTool {
	return define(d, a, func(ctx context.Context, in clearCacheIn, _ *call) (*result, error) {
		removed, told, err := d.Engine.Forget(ctx, in.Model)
		out := &result{data: &clearCacheOut{Removed: removed}}
		if err == nil && !told {
			out.notes = append(out.notes, "Redis cannot be reached: the other replicas will be told when it can be again.")
		}
		return out, err
	})
}
