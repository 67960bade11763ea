package inference

import (
	"maps"
	"slices"
	"strings"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/moderation"
	"ollama-mcp/internal/route"
)

// Settings are the part of the configuration that may change while the program runs. They
// are replaced as a whole, and never changed.
type Settings struct {
	Ladders   *route.Ladders      // nil: each model has a ladder of its own name alone
	Models    map[string]ForModel // by canonical name
	Providers map[string]Lender   // those that serve models beside our hosts
	Filter    *moderation.Filter  // nil lets every answer pass
}

// ForModel holds the settings of a model. A nil field is as for all models.
type ForModel struct {
	Try        []string       // the models that the name, an alias, stands for; nil if it is none
	SameAs     []string       // provider/model names whose vectors are those of this model
	KeepAlive  *time.Duration // how long it stays in memory; below 0 is for ever, and nil leaves it to the host
	HedgeAfter *time.Duration // instead of Options.HedgeAfter
	// UnlessConfident is the confidence, from 0 to 1, below which a choice of a rung is left to
	// the next; 0 leaves none.
	UnlessConfident float64
	Semantic        *float64 // least similarity at which requests to it share an answer; 0: none do
}

func (s *Settings) ladders() *route.Ladders {
	if s.Ladders == nil {
		return new(route.Ladders)
	}
	return s.Ladders
}

// spell is the name under which the settings know a model.
func (s *Settings) spell(name string) string {
	if s.ladders().IsProvided(name) {
		return name
	}
	return backend.CanonicalModel(name)
}

// isAlias reports whether a name stands for other models.
func (s *Settings) isAlias(name string) bool {
	return len(s.Models[backend.CanonicalModel(name)].Try) > 0
}

// aliases are the names that stand for models, as far as a caller may use them and they
// contain the query. What they stand for is no secret: each answer names it.
func (s *Settings) aliases(who caller.Caller, query string) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(s.Models)) {
		if len(s.Models[name].Try) > 0 && who.MayUse(name) && contains(name, query) {
			names = append(names, name)
		}
	}
	return names
}

// standsFor reports whether one of the aliases may be answered by a model of our hosts.
func (s *Settings) standsFor(aliases []string, model string) bool {
	rungs, err := s.ladders().Of(aliases...)
	if err != nil {
		return false // it was refused when the settings were read
	}
	name := backend.CanonicalModel(model)
	return slices.ContainsFunc(rungs, func(r route.Rung) bool { return r.Provider == "" && r.Model == name })
}

func contains(name, query string) bool {
	return strings.Contains(strings.ToLower(name), strings.ToLower(query))
}

// lender lends out hosts for a rung; nil if the provider does not exist any more.
func (t *task) lender(rung route.Rung) Lender { return t.settings.lender(t.opts.Hosts, rung) }

func (s *Settings) lender(hosts Lender, rung route.Rung) Lender {
	if rung.Provider == "" {
		return hosts
	}
	return s.Providers[rung.Provider]
}
