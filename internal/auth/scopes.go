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

// scopes are what each scope allows; nil where scopes do not matter.
type scopes map[string]Grant

// grant is a caller, still without a name, who may what any of the names allows.
// Tools and models are united each for itself.
func (s scopes) grant(names []string) (caller.Caller, error) {
	if s == nil {
		return caller.Caller{}, nil
	}
	c := caller.Caller{Tools: []string{}, Models: []string{}} // none, while nil would be all
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

// names are the names of all scopes, in order.
func (s scopes) names() []string { return slices.Sorted(maps.Keys(s)) }

// union of two lists, of which nil stands for everything. It is nil for no other
// reason, as slices.Concat would be of two empty lists.
func union(a, b []string) []string {
	if a == nil || b == nil {
		return nil
	}
	return append(slices.Clip(a), b...)
}

// isScope tells whether s is a scope-token of RFC 6749, section 3.3.
func isScope(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c > '~' || c == '"' || c == '\\'
	})
}
