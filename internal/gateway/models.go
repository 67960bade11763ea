package gateway

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/order"
)

// models are the models that the caller may use, each once, and the aliases that stand for one,
// the newest first as Ollama has them. It fails if no host has listed any.
func (x *exchange) models() ([]backend.Model, error) {
	all, err := x.opts.Engine.List(x.ctx, x.who, inference.Filter{})
	if err != nil {
		return nil, err
	}
	models, byName := []backend.Model{}, make(map[string]backend.Model)
	var failed error
	silent := 0
	for _, on := range all.Hosts {
		if on.Err != nil {
			silent, failed = silent+1, on.Err
			continue
		}
		for _, m := range on.Models {
			name := backend.CanonicalModel(m.Name)
			if _, known := byName[name]; !known {
				byName[name] = m
				models = append(models, m)
			}
		}
	}
	if silent > 0 && silent == len(all.Hosts) {
		return nil, failed
	}
	order.Stable(models, func(a, b backend.Model) int {
		return cmp.Or(b.ModifiedAt.Compare(a.ModifiedAt), cmp.Compare(a.Name, b.Name))
	})
	for _, alias := range all.Aliases {
		m := backend.Model{}
		for _, name := range alias.StandsFor {
			if known, ok := byName[backend.CanonicalModel(name)]; ok {
				m = known
				break
			}
		}
		m.Name, m.Model = alias.Name, alias.Name
		models = append(models, m)
	}
	return models, nil
}

// listModels answers GET /api/tags.
func listModels(x *exchange) (finish func(), err error) {
	models, err := x.models()
	if err != nil {
		return nil, err
	}
	return x.answer(map[string]any{"models": models}), nil
}

// modelOut is a model as OpenAI describes it.
type modelOut struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"` // seconds since 1970
	OwnedBy string `json:"owned_by"`
}

func openAIModel(id string, m backend.Model) modelOut {
	return modelOut{id, "model", max(0, m.ModifiedAt.Unix()), "library"}
}

// listOpenAI answers GET /v1/models.
func listOpenAI(x *exchange) (finish func(), err error) {
	models, err := x.models()
	if err != nil {
		return nil, err
	}
	list := make([]modelOut, len(models))
	for i, m := range models {
		list[i] = openAIModel(cmp.Or(m.Model, m.Name), m)
	}
	return x.answer(map[string]any{"object": "list", "data": list}), nil
}

// oneOpenAI answers GET /v1/models/{model}.
func oneOpenAI(x *exchange) (finish func(), err error) {
	name, err := x.model(named{Model: strings.TrimPrefix(x.req.URL.Path, "/v1/models/")})
	if err != nil {
		return nil, err
	}
	models, err := x.models()
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(models, func(m backend.Model) bool { return backend.CanonicalModel(m.Name) == backend.CanonicalModel(name) })
	if at < 0 {
		return nil, &fault.Error{Code: fault.ModelNotFound, Message: "no host has the model"}
	}
	return x.answer(openAIModel(name, models[at])), nil
}

type named struct {
	Model string `json:"model"`
	Name  string `json:"name"` // as older programs have it
}

// model is the model that a request names, if the caller may use it.
func (x *exchange) model(in named) (string, error) {
	name := cmp.Or(in.Model, in.Name)
	if name == "" {
		return "", fault.Invalidf("model is required")
	}
	x.asked = name
	return name, inference.MayUse(x.who, name)
}

// namedModel is the model that a request names which says nothing else of interest.
func (x *exchange) namedModel() (string, error) {
	in, err := decode[named](x.body)
	if err != nil {
		return "", err
	}
	return x.model(in)
}

// showModel answers POST /api/show. An alias is described as the first model of ours that it
// stands for.
func showModel(x *exchange) (finish func(), err error) {
	name, err := x.namedModel()
	if err != nil {
		return nil, err
	}
	got, err := x.opts.Manage.Show(x.ctx, name, "")
	if notFound, ok := errors.AsType[*fault.Error](err); ok && notFound.Code == fault.ModelNotFound {
		for _, behind := range x.standsFor(name) {
			if got, err = x.opts.Manage.Show(x.ctx, behind, ""); err == nil {
				break
			}
		}
	}
	if err != nil {
		return nil, err
	}
	return x.answer(got.Info), nil
}

// standsFor are the models that an alias stands for, as far as the caller may use it; none if
// there is no such alias.
func (x *exchange) standsFor(alias string) []string {
	all, err := x.opts.Engine.List(x.ctx, x.who, inference.Filter{})
	if err != nil {
		return nil
	}
	for _, a := range all.Aliases {
		if backend.CanonicalModel(a.Name) == backend.CanonicalModel(alias) {
			return a.StandsFor
		}
	}
	return nil
}

// listRunning answers GET /api/ps. A model in the memory of several hosts is there once.
func listRunning(x *exchange) (finish func(), err error) {
	all, err := x.opts.Manage.Running(x.ctx, "")
	if err != nil {
		return nil, err
	}
	models := []backend.RunningModel{}
	for _, r := range all {
		if r.Err != nil || !x.who.MayUse(backend.CanonicalModel(r.Name)) {
			continue
		}
		at := slices.IndexFunc(models, func(m backend.RunningModel) bool { return m.Name == r.Name })
		switch {
		case at < 0:
			models = append(models, r.RunningModel)
		case r.ExpiresAt.After(models[at].ExpiresAt):
			models[at] = r.RunningModel
		}
	}
	order.Stable(models, func(a, b backend.RunningModel) int { return b.ExpiresAt.Compare(a.ExpiresAt) })
	return x.answer(map[string]any{"models": models}), nil
}

// version answers GET /api/version with the oldest version of the hosts, which all of them are
// equal to.
func version(x *exchange) (finish func(), err error) {
	oldest, err := x.opts.Manage.OldestVersion(x.ctx)
	if err != nil {
		return nil, err
	}
	return x.answer(map[string]string{"version": oldest}), nil
}
