package tools

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	mcpserver "github.com/mark3labs/mcp-go/server"
	"golang.org/x/sync/errgroup"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
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

// listLimit bounds the time that hosts are given to list their models.
const listLimit = 10 * time.Second

func listModels(d Deps) mcpserver.ServerTool {
	var known details
	return define(d, about{
		name: "list-models", title: "List local models", hints: hints{readOnly: true, idempotent: true},
		text:   "List the models that are installed, what each can do and whether it is in memory.",
		output: reflect.TypeFor[listModelsOut](),
	}, func(ctx context.Context, in listModelsIn, _ *call) (*result, error) {
		hosts, err := named(d.Hosts.Hosts(), in.Host)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, listLimit)
		defer cancel()
		out := listModelsOut{Models: []listedModel{}}
		byName := map[string]int{} // index into out.Models
		for _, host := range hosts {
			if listErr := known.list(ctx, host, in, &out, byName); listErr != nil {
				if out.Unreachable == nil {
					out.Unreachable = map[string]string{}
				}
				out.Unreachable[host.Name()], err = listErr.Error(), listErr
			}
		}
		if len(out.Unreachable) == len(hosts) {
			return nil, err
		}
		slices.SortFunc(out.Models, func(a, b listedModel) int { return cmp.Compare(a.Name, b.Name) })
		r := &result{data: out}
		if len(out.Models) == 0 {
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
	return nil, invalid("unknown host %q; known are %s", name, strings.Join(names, ", "))
}

// details remembers what a model can do. It follows from the model's digest, so
// it is asked for once.
type details struct{ byDigest sync.Map } // string → detail

type detail struct {
	capabilities []string
	context      int
}

// list adds a host's models to out, as far as they are asked for.
func (k *details) list(ctx context.Context, host backend.Backend, in listModelsIn, out *listModelsOut, byName map[string]int) error {
	installed, err := host.Models(ctx)
	if err != nil {
		return err
	}
	running, err := host.Running(ctx)
	if err != nil {
		return err
	}
	who := caller.FromContext(ctx)
	installed = slices.DeleteFunc(installed, func(m backend.Model) bool {
		return !who.MayUse(backend.CanonicalModel(m.Name)) || !strings.Contains(strings.ToLower(m.Name), strings.ToLower(in.Query))
	})
	about := k.of(ctx, host, installed)
	for i, m := range installed {
		if in.Capability != "" && !slices.Contains(about[i].capabilities, string(in.Capability)) {
			continue
		}
		at, ok := byName[m.Name]
		if !ok {
			at = len(out.Models)
			byName[m.Name] = at
			out.Models = append(out.Models, listedModel{
				Name: m.Name, Size: m.Size, Parameters: m.Details.ParameterSize,
				Family: m.Details.Family, Quantization: m.Details.QuantizationLevel,
				Context: about[i].context, Capabilities: about[i].capabilities,
			})
		}
		out.Models[at].Hosts = append(out.Models[at].Hosts, host.Name())
		if slices.ContainsFunc(running, func(r backend.RunningModel) bool { return r.Name == m.Name }) {
			out.Models[at].Loaded = append(out.Models[at].Loaded, host.Name())
		}
	}
	return nil
}

// of are the details of models, a few asked for at a time. Those of a model
// that the host cannot show are empty.
func (k *details) of(ctx context.Context, host backend.Backend, models []backend.Model) []detail {
	all := make([]detail, len(models))
	var group errgroup.Group
	group.SetLimit(8)
	for i, m := range models {
		if d, ok := k.byDigest.Load(m.Digest); ok {
			all[i] = d.(detail)
			continue
		}
		group.Go(func() error {
			info, err := host.Show(ctx, m.Name)
			if err != nil {
				return nil // listed without
			}
			all[i] = detailOf(info)
			k.byDigest.Store(m.Digest, all[i])
			return nil
		})
	}
	_ = group.Wait()
	return all
}

func detailOf(info *backend.ModelInfo) detail {
	var d detail
	for _, c := range info.Capabilities {
		d.capabilities = append(d.capabilities, string(c))
	}
	if length, ok := info.ModelInfo[fmt.Sprintf("%v.context_length", info.ModelInfo["general.architecture"])].(float64); ok {
		d.context = int(length)
	}
	return d
}
