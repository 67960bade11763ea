package server

import (
	"context"
	"maps"
	"net"
	"slices"

	"ollama-mcp/internal/netserve"
)

// Routes are the methods of each path that is served, so that tests of all paths have those
// that are added later.
func (h *HTTP) Routes() map[string][]string {
	all := make(map[string][]string)
	for path, methods := range h.routes {
		all[path] = slices.Collect(maps.Keys(methods))
	}
	return all
}

// WithListenerAt is the context of a request that came by a listener at an address.
func WithListenerAt(ctx context.Context, at net.Addr) context.Context {
	return context.WithValue(ctx, localListenerKey{}, netserve.IsLocal(at))
}
