package route

import (
	"fmt"
	"slices"
	"strings"
)

// Rung is one way to get an answer: a model, on our hosts or at a provider.
type Rung struct {
	Provider string // "" for our own hosts
	Model    string // as its host or provider calls it
	Cloud    bool   // the question leaves for somebody else's machine
}

// String is what people call the rung: a model, or provider/model.
func (r Rung) String() string {
	if r.Provider == "" {
		return strings.TrimSuffix(r.Model, ":latest")
	}
	return r.Provider + "/" + r.Model
}

// Ladders say which rungs may answer for a model. The zero value knows of none
// but the model itself.
type Ladders struct {
	aliases   map[string][]string // name → what it stands for, names as they were given
	fallback  []string            // what may stand in for any model
	providers map[string]bool     // name → it is a cloud
}

// NewLadders checks that each alias stands for something, that none stands for
// itself, and that there is no provider that is not known. providers tells of each
// whether it is a cloud.
func NewLadders(aliases map[string][]string, fallback []string, providers map[string]bool) (*Ladders, error) {
	l := &Ladders{aliases, fallback, providers}
	for name, try := range aliases {
		if len(try) == 0 {
			return nil, fmt.Errorf("%s stands for nothing", name)
		}
		if _, err := l.expand(try, []string{name}); err != nil {
			return nil, err
		}
	}
	_, err := l.expand(fallback, nil)
	return l, err
}

// Of are the rungs of models and aliases, the first to be tried first.
func (l *Ladders) Of(names ...string) ([]Rung, error) { return l.expand(names, nil) }

// Fallback names what may stand in for any model.
func (l *Ladders) Fallback() []string { return l.fallback }

// IsCloud reports whether a provider is a cloud.
func (l *Ladders) IsCloud(provider string) bool { return l.providers[provider] }

// IsProvided reports whether a name is that of a provider's model.
func (l *Ladders) IsProvided(name string) bool { return l.rung(name).Provider != "" }

// expand turns names into rungs. within are the aliases that it is inside of.
func (l *Ladders) expand(names, within []string) ([]Rung, error) {
	var rungs []Rung
	for _, name := range names {
		if slices.Contains(within, name) {
			// An alias may be called like the model that it tries first.
			if within[len(within)-1] == name {
				rungs = append(rungs, l.rung(name))
				continue
			}
			return nil, fmt.Errorf("%s stands for itself: %s", name, strings.Join(append(within, name), " → "))
		}
		try, isAlias := l.aliases[name]
		if !isAlias {
			rungs = append(rungs, l.rung(name))
			continue
		}
		inner, err := l.expand(try, append(slices.Clip(within), name))
		if err != nil {
			return nil, err
		}
		rungs = append(rungs, inner...)
	}
	return unique(rungs), nil
}

// rung is that of a name which is no alias. "openai/gpt" is a model of a provider
// if there is a provider of that name, and else one of ours.
func (l *Ladders) rung(name string) Rung {
	provider, model, _ := strings.Cut(name, "/")
	if cloud, known := l.providers[provider]; known && model != "" {
		return Rung{Provider: provider, Model: model, Cloud: cloud}
	}
	return Rung{Model: name}
}

// unique keeps the first of equal rungs: what has failed is not tried again.
func unique(rungs []Rung) []Rung {
	seen := make(map[Rung]bool)
	return slices.DeleteFunc(rungs, func(r Rung) bool {
		again := seen[r]
		seen[r] = true
		return again
	})
}
