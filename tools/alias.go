package tools

import (
	"maps"
	"slices"
	"strings"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
)

// aliases are the names that stand for models, as far as somebody may use them and a
// query is part of them. What they stand for is no secret: each answer names it.
func (s *Settings) aliases(who caller.Caller, query string) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(s.Models)) {
		if len(s.Models[name].Try) > 0 && who.MayUse(name) && matches(name, query) {
			names = append(names, name)
		}
	}
	return names
}

func (s *Settings) isAlias(name string) bool {
	return len(s.Models[backend.CanonicalModel(name)].Try) > 0
}

// standsFor reports whether one of the aliases may be answered by a model of our hosts.
func (s *Settings) standsFor(aliases []string, model string) bool {
	rungs, err := s.ladders().Of(aliases...)
	if err != nil {
		return false // it was refused when it was read
	}
	name := backend.CanonicalModel(model)
	for _, rung := range rungs {
		if rung.Provider == "" && rung.Model == name {
			return true
		}
	}
	return false
}

// listAliases are those of the aliases that are asked for. Of a host, or with a
// capability, that are the ones which stand for a model that is there, or has it.
func (d Deps) listAliases(in listModelsIn, aliases []string, all []listing) (found []listedAlias) {
	s := d.settings()
	for _, name := range aliases {
		if (in.Host != "" || in.Capability != "") && !s.canStand(name, in.Capability, all) {
			continue
		}
		try := slices.Clone(s.Models[name].Try)
		for i := range try {
			try[i] = strings.TrimSuffix(try[i], ":latest")
		}
		found = append(found, listedAlias{strings.TrimSuffix(name, ":latest"), try})
	}
	return found
}

// canStand reports whether an alias stands for a listed model that has a capability.
func (s *Settings) canStand(alias string, c capability, all []listing) bool {
	for _, on := range all {
		for i, m := range on.models {
			if on.details[i].can(c) && s.standsFor([]string{alias}, m.Name) {
				return true
			}
		}
	}
	return false
}
