package auth

import (
	"maps"
	"slices"
	"strings"

	"ollama-mcp/internal/caller"
)

// Grant holds the permissions of a scope. The fields mean the same as in caller.Caller.
type Grant struct {
	Tools, Models []string // nil for all
	Admin         bool
}

// scopes has the permissions of each scope; nil if scopes do not matter.
type scopes map[string]Grant

// grant returns a caller, without an ID, who has the permissions of all the named scopes together.
// The union is taken of tools and of models separately.
func (s scopes) grant(names []string) (caller.Caller, error) {
	if s == nil {
		return caller.Caller{}, nil
	}
	c := caller.Caller{Tools: []string{}, Models: []string{}} // nothing, while nil would mean everything
	known := false
	for _, name := range names {
		g, ok := s[name]
		if !ok {
			continue
		}
		known = true
		c.Tools, c.Models = union(c.Tools, g.Tools), union(c.Models, g.Models)
		c.Admin = c.Admin || g.Admin
	}
	if !known {
		return caller.Caller{}, &caller.Denied{
			Code: "insufficient_scope", Message: "the token has no scope that allows anything here",
			Scope: strings.Join(s.names(), " "),
		}
	}
	return c, nil
}

// names returns the names of all scopes, sorted.
func (s scopes) names() []string { return slices.Sorted(maps.Keys(s)) }

// union returns the union of two lists, in which nil means everything. Unlike with slices.Concat, the
// union of two empty lists is not nil.
func union(a, b []string) []string {
	if a == nil || b == nil {
		return nil
	}
	return append(slices.Clip(a), b...)
}

// isScope reports whether s is a scope-token of RFC 6749, section 3.3.
func isScope(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c > '~' || c == '"' || c == '\\'
	})
}
