package doctor

import (
	"context"
	"slices"
	"strings"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
)

// Need is a setting that names models.
type Need struct {
	Setting    string   // such as "alias chat-pro"
	Models     []string // names as in the file, aliases resolved; those of providers are NAME/MODEL
	Capability string   // that they must have; "" for any
	Level      Level    // of the finding if none of Models is there
	Effect     string   // of that, such as "no answer leaves the server"
}

// stock is what models there are.
type stock struct {
	answered  bool                           // at least one host has listed its models
	models    map[string][]string            // capabilities by canonical name; nil if unknown
	providers map[string]map[string]struct{} // models by provider; nil if it answered and lists none
	failed    map[string]bool                // providers that did not answer
}

func newStock() *stock {
	return &stock{models: make(map[string][]string), providers: make(map[string]map[string]struct{}), failed: make(map[string]bool)}
}

func (s *stock) add(model string, can []string) {
	name := backend.CanonicalModel(model)
	s.models[name] = append(s.models[name], can...)
}

// provider examines a service with another API, and notes its models.
func (s *stock) provider(ctx context.Context, p backend.Backend, timeout time.Duration) Finding {
	subject := "provider " + p.Name()
	models, err := request(ctx, timeout, p.Models)
	if err != nil {
		s.failed[p.Name()] = true
		said := strings.TrimPrefix(err.Error(), p.Name()+": ")
		switch backend.ClassOf(err) {
		case backend.Unauthorized:
			return Failed(subject, said, "set its key_env or key_file to a key that it accepts")
		case backend.Overload:
			return Warned(subject, said, "it is overloaded, or its limits are used up; try again later")
		case backend.Transport:
			return Failed(subject, said, "check its url, and that this machine may connect to it")
		}
		return Failed(subject, said, "check its url, which usually ends in /v1")
	}
	names := make(map[string]struct{}, len(models))
	for _, m := range models {
		names[m.Name] = struct{}{}
	}
	s.providers[p.Name()] = names
	return Fine(subject, "reachable, its key is accepted, "+fault.Count(len(models), "model"))
}

// lacks says why a model cannot be used; "" if it can, or if that is not known.
func (s *stock) lacks(model, capability string) string {
	if provider, name, ok := strings.Cut(model, "/"); ok {
		if s.failed[provider] {
			return model + " (its provider does not answer)"
		}
		if names, asked := s.providers[provider]; asked {
			if _, has := names[name]; !has && len(names) > 0 {
				return model + " (the provider does not list it)"
			}
			return ""
		}
	}
	if backend.IsCloudName(model) || !s.answered {
		return ""
	}
	name := backend.CanonicalModel(model)
	if local, ok := backend.WithoutLocal(model); ok {
		name = local
	}
	can, installed := s.models[name]
	switch {
	case !installed:
		return model + " (not installed)"
	case capability != "" && can != nil && !slices.Contains(can, capability):
		return model + " (without the capability " + capability + ")"
	}
	return ""
}

// check says which of the models cannot be used.
func (n Need) check(s *stock) []Finding {
	var missing []string
	var pull string
	for _, model := range n.Models {
		if why := s.lacks(model, n.Capability); why != "" {
			missing = append(missing, why)
			if strings.HasSuffix(why, "(not installed)") && pull == "" {
				pull = "ollama pull " + strings.TrimSuffix(model, ":latest")
			}
		}
	}
	next := "name another model there"
	if pull != "" {
		next = pull + ", or name another model there"
	}
	switch {
	case len(missing) == 0:
		return nil
	case len(missing) < len(n.Models):
		return []Finding{Warned(n.Setting, "some of its models cannot be used: "+strings.Join(missing, ", "), next)}
	case len(missing) == 1:
		return []Finding{{n.Level, n.Setting, "its model cannot be used: " + missing[0] + "; " + n.Effect, next}}
	}
	return []Finding{{n.Level, n.Setting, "none of its models can be used: " + strings.Join(missing, ", ") + "; " + n.Effect, next}}
}
