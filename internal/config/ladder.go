package config

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"ollama-mcp/internal/backend"
)

// ladder is a list of models and aliases.
type ladder struct {
	line  int
	names []string // nil if there is no ladder
}

func (l *ladder) read(n *yaml.Node) error {
	l.line = n.Line
	if err := texts(&l.names)(n); err != nil {
		return err
	}
	if len(l.names) == 0 {
		return errors.New("names no model")
	}
	return nil
}

// settleLadders replaces the names in all ladders by their canonical form, once the providers
// are known, and refuses ladders that cannot work.
func (r *reader) settleLadders() error {
	aliases, done := slices.Sorted(maps.Keys(r.ladders)), make(map[string]bool)
	for _, alias := range aliases {
		if err := r.settleLadder("try", r.ladders[alias]); err != nil {
			return err
		}
	}
	for _, alias := range aliases {
		if err := r.follow(alias, nil, done); err != nil {
			return err
		}
		m := r.c.Models[alias]
		m.Try = r.ladders[alias].names
		if (len(m.Runner) > 0 || m.KeepAlive != nil || m.HedgeAfter != nil) && !slices.Contains(m.Try, alias) {
			return atLine(r.ladders[alias].line, alias, errors.New("has options, but is an alias that does not try the model of that name"))
		}
		r.c.Models[alias] = m
	}
	if err := r.settleSameAs(); err != nil {
		return err
	}
	r.c.Fallback = r.fallback.names
	return r.settleLadder("fallback", r.fallback)
}

// settleSameAs checks that each name in a same_as list is a model of a provider.
func (r *reader) settleSameAs() error {
	for _, name := range slices.Sorted(maps.Keys(r.sameAs)) {
		l := r.sameAs[name]
		for _, other := range l.names {
			provider, model, _ := strings.Cut(other, "/")
			if _, known := r.c.Providers[provider]; !known || model == "" {
				return atLine(l.line, "same_as", errors.New(other+": must be PROVIDER/MODEL, with a provider of this file"))
			}
		}
		m := r.c.Models[name]
		if m.Try != nil && !slices.Contains(m.Try, name) {
			return atLine(l.line, "same_as", errors.New(name+" is an alias that does not try the model of that name"))
		}
		m.SameAs = l.names
		r.c.Models[name] = m
	}
	return nil
}

func (r *reader) settleLadder(key string, l ladder) (err error) {
	for i, name := range l.names {
		if l.names[i], err = r.rung(name); err != nil {
			return atLine(l.line, key, err)
		}
	}
	return nil
}

// rung returns the canonical form of provider/model, or of the name of a model or alias.
// Ollama has names with a slash too, such as someone/model; here they need their tag, or a
// provider's name with a typing error would be taken for one of them.
func (r *reader) rung(name string) (string, error) {
	provider, model, slash := strings.Cut(name, "/")
	_, known := r.c.Providers[provider]
	switch {
	case slash && known && model == "":
		return "", errors.New(name + ": names no model of the provider")
	case slash && known:
		return name, nil
	case slash && !strings.ContainsAny(provider, ".:") && !strings.Contains(model, ":"):
		return "", errors.New(name + ": there is no provider " + provider + "; a model of Ollama is named with its tag here, as in " + name + ":latest")
	}
	return backend.CanonicalModel(name), nil
}

// follow refuses an alias that leads back to itself through others. Its own name in its own
// list is the model of that name. above are the aliases that led here; done are those that
// are known to lead to models only.
func (r *reader) follow(alias string, above []string, done map[string]bool) error {
	l := r.ladders[alias]
	if slices.Contains(above, alias) {
		return atLine(l.line, alias, errors.New("leads back to itself"))
	}
	for _, name := range l.names {
		if name == alias || done[name] {
			continue
		}
		if err := r.follow(name, append(above, alias), done); err != nil {
			return err
		}
	}
	done[alias] = true
	return nil
}
