package server

import (
	"maps"
	"slices"
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
