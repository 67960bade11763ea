package tools

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/manage"
)

type showIn struct {
	Model modelName `json:"model" jsonschema:"name from list-models"`
	Host  string    `json:"host,omitempty" jsonschema:"default: the first that has it"`
}

type showOut struct {
	Model        string         `json:"model"`
	Hosts        []string       `json:"hosts" jsonschema:"where it is installed"`
	Loaded       []runningModel `json:"loaded,omitempty" jsonschema:"where it is in memory"`
	Capabilities []string       `json:"capabilities,omitempty"`
	Family       string         `json:"family,omitempty"`
	Size         int64          `json:"size_bytes,omitempty"`
	Parameters   string         `json:"parameter_size,omitempty" jsonschema:"number of parameters"`
	Quantization string         `json:"quantization,omitempty"`
	Context      int            `json:"context_length,omitempty" jsonschema:"tokens the model was trained for"`
	Embedding    int            `json:"embedding_length,omitempty" jsonschema:"length of vectors"`
	Licence      string         `json:"license,omitempty" jsonschema:"its name"`
	Options      string         `json:"parameters,omitempty" jsonschema:"options that the model sets itself"`
	System       string         `json:"system,omitempty" jsonschema:"instructions that the model has"`
	Template     string         `json:"template,omitempty" jsonschema:"of prompts"`
	Parent       string         `json:"parent_model,omitempty"`
	Digest       string         `json:"digest,omitempty"`
	Modified     string         `json:"modified_at,omitempty"`
	Cloud        string         `json:"cloud,omitempty" jsonschema:"cloud that runs it"`
	Memory       *memoryOut     `json:"memory,omitempty" jsonschema:"what the model needs, estimated"`
	noted
}

// memoryOut says what fits, and what context costs.
type memoryOut struct {
	Weights  int64            `json:"weights_bytes"`
	PerToken int64            `json:"context_bytes_per_token,omitempty"`
	Totals   map[string]int64 `json:"total_bytes_by_context,omitempty" jsonschema:"weights and context together, by context length"`
	Advice   []string         `json:"advice,omitempty"`
}

func showModel(d Deps, a about) mcpserver.ServerTool {
	return define(d, a, func(ctx context.Context, in showIn, _ *call) (*result, error) {
		out, err := d.shown(ctx, string(in.Model), in.Host)
		if err != nil {
			return nil, err
		}
		return &result{data: out}, nil
	})
}

// shown describes a model to the caller.
func (d Deps) shown(ctx context.Context, model, host string) (*showOut, error) {
	if err := mayManage(caller.FromContext(ctx), model); err != nil {
		return nil, err
	}
	m, err := d.Manage.Show(ctx, model, host)
	if err != nil {
		return nil, d.suggest(ctx, model, err)
	}
	info := m.Info
	out := &showOut{
		Model: m.Listed.Name, Hosts: m.Hosts, Loaded: runningOf(m.Loaded), Family: visible(info.Details.Family), Size: m.Listed.Size,
		Parameters: visible(info.Details.ParameterSize), Quantization: visible(info.Details.QuantizationLevel),
		Context: lengthIn(info.ModelInfo, ".context_length"), Embedding: lengthIn(info.ModelInfo, ".embedding_length"),
		Licence: visible(manage.LicenceName(info.License)), Options: shortened(info.Parameters), System: shortened(info.System),
		Template: shortened(info.Template), Parent: parentOf(info.Details.ParentModel), Digest: m.Listed.Digest,
		Modified: timestamp(m.Listed.ModifiedAt), Cloud: info.RemoteHost,
	}
	if name, ok := info.ModelInfo["general.license"].(string); ok {
		out.Licence = visible(name)
	}
	for _, c := range info.Capabilities {
		out.Capabilities = append(out.Capabilities, visible(string(c)))
	}
	if m.Note != "" {
		out.note([]string{m.Note})
	}
	if out.Cloud == "" {
		out.Memory = memoryFor(m, out.Context)
	}
	return out, nil
}

// parentOf is the name of the model that a model was made from; "" where it was made from a file,
// of which Ollama has the path on its machine.
func parentOf(parent string) string {
	if strings.HasPrefix(parent, "/") || strings.Contains(parent, `\`) {
		return ""
	}
	return visible(parent)
}

// lengthIn is the number under a name that ends so, whichever the architecture.
func lengthIn(info map[string]any, suffix string) int {
	for _, name := range slices.Sorted(maps.Keys(info)) {
		if number, ok := info[name].(float64); ok && strings.HasSuffix(name, suffix) {
			return int(number)
		}
	}
	return 0
}

// leastContext is how many tokens of context a model needs to be of use.
const leastContext = 512

// memoryFor estimates what a model needs, and says what was seen to fit.
func memoryFor(m *manage.Description, trained int) *memoryOut {
	need := manage.MemoryOf(m.Listed.Size, m.Info.ModelInfo)
	out := &memoryOut{Weights: need.Weights, PerToken: need.PerToken}
	if need.PerToken > 0 {
		out.Totals = make(map[string]int64)
		for _, tokens := range []int{4096, 8192, 32768, 131072, trained} {
			if tokens > 0 && (trained == 0 || tokens <= trained) {
				out.Totals[fmt.Sprint(tokens)] = need.Weights + int64(tokens)*need.PerToken
			}
		}
	}
	for _, r := range m.Loaded {
		if r.Err != nil || r.Size <= 0 {
			continue
		}
		fits := fmt.Sprintf("fits into the GPU of %s", r.Host)
		if spilled := r.Size - r.SizeVRAM; r.SizeVRAM == 0 {
			fits = fmt.Sprintf("runs on the processor of %s", r.Host)
		} else if spilled > 0 {
			fits = fmt.Sprintf("does not fit into the GPU of %s: %s of it are left to the processor, which is slow", r.Host, manage.Bytes(spilled))
			if need.PerToken > 0 {
				if fitting := int64(r.ContextLength) - spilled/need.PerToken - 1; fitting >= leastContext {
					fits += fmt.Sprintf("; with a num_ctx of %d or less it would fit", fitting)
				}
			}
		}
		out.Advice = append(out.Advice, fmt.Sprintf("With %d tokens of context it takes %s and %s.", r.ContextLength, manage.Bytes(r.Size), fits))
	}
	return out
}

// visible is a text of a model's maker without characters that nobody can see.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsGraphic(r) {
			return r
		}
		return -1
	}, text)
}

// shortened is a text of a model's maker, of which a part will do.
func shortened(text string) string {
	const most = 4000
	runes := []rune(visible(text))
	if len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return string(runes)
}

type runningIn struct {
	Host string `json:"host,omitempty" jsonschema:"only this host"`
}

type runningOut struct {
	Models      []runningModel    `json:"models" jsonschema:"one for each host that has it"`
	Unreachable map[string]string `json:"unreachable,omitempty" jsonschema:"hosts that did not answer, and why"`
	noted
}

type runningModel struct {
	Model   string  `json:"model,omitempty"`
	Host    string  `json:"host"`
	Size    int64   `json:"size_bytes,omitempty" jsonschema:"in memory, with its context"`
	VRAM    float64 `json:"vram_share" jsonschema:"share of it on the GPU, 0 to 1"`
	Context int     `json:"context_length,omitempty" jsonschema:"tokens it was loaded for"`
	Expires string  `json:"expires_at,omitempty" jsonschema:"when it is unloaded; absent for never"`
}

func listRunning(d Deps, a about) mcpserver.ServerTool {
	return define(d, a, func(ctx context.Context, in runningIn, _ *call) (*result, error) {
		running, err := d.Manage.Running(ctx, in.Host)
		if err != nil {
			return nil, err
		}
		who := caller.FromContext(ctx)
		out := &runningOut{Models: []runningModel{}}
		for _, r := range running {
			switch {
			case r.Err != nil:
				if out.Unreachable == nil {
					out.Unreachable = make(map[string]string)
				}
				out.Unreachable[r.Host] = ofHost(r.Host, r.Err)
			case who.MayUse(backend.CanonicalModel(r.Name)):
				out.Models = append(out.Models, runningOf([]manage.Running{r})...)
			}
		}
		return &result{data: out}, nil
	})
}

func runningOf(all []manage.Running) (out []runningModel) {
	for _, r := range all {
		if r.Err != nil {
			continue
		}
		m := runningModel{Model: r.Name, Host: r.Host, Size: r.Size, Context: r.ContextLength, Expires: unloading(r.ExpiresAt)}
		if r.Size > 0 {
			m.VRAM = rounded(min(float64(r.SizeVRAM)/float64(r.Size), 1))
		}
		out = append(out, m)
	}
	return out
}
