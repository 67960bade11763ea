package tools

import (
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/moderation"
	"ollama-mcp/internal/route"
)

// Settings are what may change while the program runs. They are replaced as a whole,
// and never changed.
type Settings struct {
	Ladders   *route.Ladders      // nil: each model stands for itself
	Models    map[string]ForModel // by canonical name
	Providers map[string]Lender   // who serve models beside our hosts
	Filter    *moderation.Filter  // what answers are held against; nil lets all pass
}

// ForModel is what is set for a model. What is nil is as for all models.
type ForModel struct {
	Try        []string       // what the name stands for, as an alias; nil if it is none
	KeepAlive  *time.Duration // how long it stays in memory; below 0 is for ever, and nil leaves it to the host
	HedgeAfter *time.Duration // instead of that of Deps
	Semantic   *float64       // how alike questions to it must be to share an answer; 0: none do
	SameAs     []string       // the very same model at providers, as PROVIDER/MODEL; nil for none
}

// settings are those that hold now.
func (d Deps) settings() *Settings {
	if d.Settings == nil {
		return new(Settings)
	}
	return d.Settings()
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

// lender lends out who can serve a rung; nil if it is there no more.
func (d Deps) lender(rung route.Rung) Lender {
	if rung.Provider == "" {
		return d.Hosts
	}
	return d.settings().Providers[rung.Provider]
}
