package tools

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/inference"
)

type listModelsIn struct {
	Query      string     `json:"query,omitempty" jsonschema:"part of the name"`
	Capability capability `json:"capability,omitempty" jsonschema:"only models that can do this"`
	Host       string     `json:"host,omitempty" jsonschema:"only models on this host"`
}

// capability is what a model can do, as Ollama calls it.
type capability string

type listModelsOut struct {
	Models      []listedModel     `json:"models" jsonschema:"by name"`
	Aliases     []listedAlias     `json:"aliases,omitempty" jsonschema:"names of this server's that stand for models"`
	Unreachable map[string]string `json:"unreachable,omitempty" jsonschema:"hosts that did not answer, and why"`
	noted
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
	Cloud        []string `json:"cloud,omitempty" jsonschema:"hosts that pass prompts for it on to Ollama's cloud"`
}

type listedAlias struct {
	Name      string   `json:"name"`
	StandsFor []string `json:"stands_for" jsonschema:"asked in this order until one answers"`
}

func listModels(d Deps, a about) mcpserver.ServerTool {
	return define(d, a, func(ctx context.Context, in listModelsIn, _ *call) (*result, error) {
		in.Capability = capability(strings.ToLower(strings.TrimSpace(string(in.Capability))))
		all, err := d.Engine.List(ctx, caller.FromContext(ctx), inference.Filter{Query: in.Query, Capability: string(in.Capability), Host: in.Host})
		if err != nil {
			return nil, err
		}
		out := listModelsOut{Models: listed(all.Hosts), Unreachable: unreachable(all.Hosts)}
		if len(out.Unreachable) == len(all.Hosts) && len(all.Hosts) > 0 {
			return nil, unlisted(all.Hosts)
		}
		for _, alias := range all.Aliases {
			out.Aliases = append(out.Aliases, listedAlias(alias))
		}
		r := &result{data: &out}
		if len(out.Models)+len(out.Aliases) == 0 {
			r.notes = append(r.notes, noneListed(in))
		}
		return r, nil
	})
}

// noneListed says why no model is listed.
func noneListed(in listModelsIn) string {
	switch {
	case in.Capability != "":
		return fmt.Sprintf("No such model has the capability %q. Ollama knows completion, embedding, insert, thinking, tools and vision; without capability all models are listed, and `ollama pull MODEL` installs others.", in.Capability)
	case in.Query != "":
		return fmt.Sprintf("No model has %q in its name. Without query all models are listed; `ollama pull MODEL` installs others.", in.Query)
	}
	return "No model is installed. `ollama pull MODEL` installs one."
}

// listed are the models of all hosts, by name.
func listed(all []inference.HostListing) []listedModel {
	byName := make(map[string]*listedModel)
	for _, on := range all {
		for i, m := range on.Models {
			one := byName[m.Name]
			if one == nil {
				one = &listedModel{
					Name: m.Name, Size: m.Size, Parameters: m.Details.ParameterSize,
					Family: m.Details.Family, Quantization: m.Details.QuantizationLevel,
					Context: on.Details[i].Context, Capabilities: on.Details[i].Capabilities,
				}
				byName[m.Name] = one
			}
			one.Hosts = append(one.Hosts, on.Host)
			if on.Loaded[m.Name] {
				one.Loaded = append(one.Loaded, on.Host)
			}
			if on.Cloud[m.Name] {
				one.Cloud = append(one.Cloud, on.Host)
			}
		}
	}
	models := make([]listedModel, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		models = append(models, *byName[name])
	}
	return models
}

// unreachable are the hosts that did not answer, and why; nil for none.
func unreachable(all []inference.HostListing) map[string]string {
	var hosts map[string]string
	for _, on := range all {
		if on.Err == nil {
			continue
		}
		if hosts == nil {
			hosts = make(map[string]string)
		}
		hosts[on.Host] = ofHost(on.Host, on.Err)
		if errors.Is(on.Err, context.DeadlineExceeded) {
			hosts[on.Host] = fmt.Sprintf("no answer within %v", on.Limit)
		}
	}
	return hosts
}

// ofHost is the text of an error beside the name of its host, which it need not say again.
func ofHost(host string, err error) string {
	return strings.TrimPrefix(fault.Of(err).Message, host+": ")
}

// unlisted is the error of a call that no host has answered.
func unlisted(all []inference.HostListing) error {
	last := all[len(all)-1]
	if !errors.Is(last.Err, context.DeadlineExceeded) {
		return last.Err
	}
	return &fault.Error{
		Code: fault.Timeout, Message: fmt.Sprintf("no host has listed its models within %v", last.Limit), Retryable: true,
		Hint: "try again; if it happens again, `ollama-mcp doctor` tells more",
	}
}
