package tools

import (
	"context"

	mcpserver "github.com/mark3labs/mcp-go/server"
)

type clearCacheIn struct {
	Model string `json:"model,omitempty" jsonschema:"only answers of this model"`
}

type clearCacheOut struct {
	Removed int `json:"removed"`
	noted
}

func clearCache(d Deps, a about) mcpserver.ServerTool {
	return define(d, a, func(_ context.Context, in clearCacheIn, _ *call) (*result, error) {
		removed, err := d.Engine.Forget(in.Model)
		return &result{data: &clearCacheOut{Removed: removed}}, err
	})
}
