package tools

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
)

type listModelsIn struct {
	Query      string     `json:"query,omitempty" jsonschema:"part of the name"`
	Capability capability `json:"capability,omitempty" jsonschema:"only models that can do this"`
	Host       string     `json:"host,omitempty" jsonschema:"only models on this host"`
}

// capability is what a model can do, as Ollama calls it.
type capability string

type listModelsOut struct {
	Models      []listedModel     `json:"models"`
	Aliases     []listedAlias     `json:"aliases,omitempty" jsonschema:"names of this server's that stand for models"`
	Unreachable map[string]string `json:"unreachable,omitempty" jsonschema:"hosts that did not answer, and why"`
}

type listedModel struct {
	Name         string   `json:"name"`
	Size         int64    `json:"size_bytes"`
	Parameters   string   `json:"parameters,omitempty"`
	Family       string   `json:"family,omitempty"`
	Quantization string   `json:"quantization,omitempty"`
	Context      int      `json:"context_length,omitempty" jsonschema:"tokens the model was trained for"`
	Capabilities []string `json:"capabilities,omitempty"`
	Hosts        []string `json:"hosts" jsonschema:"where it is installed"`
	Loaded       []string `json:"loaded,omitempty" jsonschema:"hosts that have it in memory"`
}

type listedAlias struct {
	Name      string   `json:"name"`
	StandsFor []string `json:"stands_for" jsonschema:"asked in this order until one answers"`
}

// listLimit bounds the time that hosts are given to list their models.
const listLimit = 10 * time.Second

func listModels(d Deps) mcpserver.ServerTool {
	return define(d, about{
		name: "list-models", title: "List local models", hints: hints{readOnly: true, idempotent: true},
		text:   "List the models that are installed, what each can do and whether it is in memory.",
		output: reflect.TypeFor[listModelsOut](),
	}, func(ctx context.Context, in listModelsIn, _ *call) (*result, error) {
		hosts, err := named(d.Hosts.Hosts(), in.Host)
		if err != nil {
			return nil, err
		}
		who := caller.FromContext(ctx)
		aliases := d.settings().aliases(who, in.Query)
		all := d.listings(ctx, hosts, func(model string) bool { return in.shows(who, model) || d.settings().standsFor(aliases, model) })
		out := listModelsOut{Models: in.models(who, all), Unreachable: unreachable(all)}
		if len(out.Unreachable) == len(hosts) && len(hosts) > 0 {
			return nil, unlisted(all)
		}
		out.Aliases = d.listAliases(in, aliases, all)
		r := &result{data: out}
		if len(out.Models)+len(out.Aliases) == 0 {
			r.notes = append(r.notes, "No such model is installed. `ollama pull MODEL` installs one.")
		}
		return r, nil
	})
}

// named are the hosts of that name; all of them if there is no name.
func named(hosts []backend.Backend, name string) ([]backend.Backend, error) {
	if name == "" {
		return hosts, nil
	}
	var names []string
	for _, host := range hosts {
		if host.Name() == name {
			return []backend.Backend{host}, nil
		}
		names = append(names, host.Name())
	}
	return nil, fault.Invalidf("unknown host %q; known are %s", name, strings.Join(names, ", "))
}

// shows reports whether a model is asked for by its name, and its caller may know of it.
func (in listModelsIn) shows(who caller.Caller, model string) bool {
	return who.MayUse(backend.CanonicalModel(model)) && matches(model, in.Query)
}

func matches(name, query string) bool {
	return strings.Contains(strings.ToLower(name), strings.ToLower(query))
}

// models are those of all hosts that are asked for, by name.
func (in listModelsIn) models(who caller.Caller, all []listing) []listedModel {
	models := []listedModel{}
	byName := map[string]int{} // index into models
	for _, on := range all {
		for i, m := range on.models {
			if !in.shows(who, m.Name) || !on.details[i].can(in.Capability) {
				continue
			}
			at, ok := byName[m.Name]
			if !ok {
				at = len(models)
				byName[m.Name] = at
				models = append(models, listed(m, on.details[i]))
			}
			models[at].Hosts = append(models[at].Hosts, on.host)
			if on.loaded[m.Name] {
				models[at].Loaded = append(models[at].Loaded, on.host)
			}
		}
	}
	slices.SortFunc(models, func(a, b listedModel) int { return cmp.Compare(a.Name, b.Name) })
	return models
}

func listed(m backend.Model, about detail) listedModel {
	return listedModel{
		Name: m.Name, Size: m.Size, Parameters: m.Details.ParameterSize,
		Family: m.Details.Family, Quantization: m.Details.QuantizationLevel,
		Context: about.context, Capabilities: about.capabilities,
	}
}

// unreachable are the hosts that did not answer, and why; nil for none.
func unreachable(all []listing) map[string]string {
	var hosts map[string]string
	for _, on := range all {
		if on.err == nil {
			continue
		}
		if hosts == nil {
			hosts = make(map[string]string)
		}
		hosts[on.host] = on.err.Error()
		if errors.Is(on.err, context.DeadlineExceeded) {
			hosts[on.host] = fmt.Sprintf("no answer within %v", listLimit)
		}
	}
	return hosts
}

// unlisted is the error of a call that no host has answered.
func unlisted(all []listing) error {
	last := all[len(all)-1].err
	if !errors.Is(last, context.DeadlineExceeded) {
		return last
	}
	return &fault.Error{
		Code: fault.Timeout, Message: fmt.Sprintf("no host has listed its models within %v", listLimit), Retryable: true,
		Hint: "try again; if it happens again, `ollama-mcp doctor` tells more",
	}
}
