package auth

import (
	"maps"
	"slices"
	"strings"

	"ollama-mcp/internal/caller"
)

// Grant holds the permissions of a scope.
type Grant = caller.Grant

// scopes has the permissions of each scope; nil if scopes do not matter.
type scopes map[string]Grant

// grant returns a caller, without an ID, who has the permissions of all the named scopes.
func (s scopes) grant(names []string) (caller.Caller, error) {
	if s == nil {
		return caller.Caller{}, nil
	}
	c := caller.Caller{Tools: []string{}, Models: []string{}} // nothing, while nil would mean everything
	for _, name := range names {
		if g, ok := s[name]; ok {
			c.Grants = append(c.Grants, g)
			c.Tools, c.Models = caller.Union(c.Tools, g.Tools), caller.Union(c.Models, g.Models)
			c.Admin = c.Admin || g.Admin
		}
	}
	if c.Grants == nil {
		return caller.Caller{}, &caller.Denied{
			Code: "insufficient_scope", Message: "the token has no scope that allows anything here",
			Scope: strings.Join(s.names(), " "),
		}
	}
	return c, nil
}

// names returns the names of all scopes, sorted.
func (s scopes) names() []string { return slices.Sorted(maps.Keys(s)) }

// isScope reports whether s is a scope-token of RFC 6749, section 3.3.
func isScope(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c > '~' || c == '"' || c == '\\'
	})
}
