package backendtest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ollama/ollama/api"
	"github.com/ollama/ollama/types/model"

	"ollama-mcp/internal/backend"
)

// Model is a model that a Host has.
type Model struct {
	Name         string        // with or without a tag
	Family       string        // empty: llama
	Size         int64         // bytes; 0: 1 GB
	Context      int           // tokens, at most; 0: 4096
	Default      int           // tokens of context if a request asks for none; 0: Context
	Dimensions   int           // of its vectors; 0: 64
	Capabilities []string      // as /api/show lists them; nil: completion, tools, thinking, embedding
	LoadTime     time.Duration // 0: the host's

	// Remote is the cloud that runs the model, and that the host passes requests on to; ""
	// for a model that the host runs itself. By default the list of models, the description
	// and each line of an answer name it, as Ollama's do.
	Remote string
	// RemoteUnlisted and RemoteUndescribed leave it out of the list and of the description.
	RemoteUnlisted, RemoteUndescribed bool

	Parent string // model or file that it was made of, as its description says

	Damaged bool // cannot be read, and so is not listed

	Info map[string]any // more of what its description has as model_info
}

func (m Model) withDefaults() Model {
	m.Family = cmp.Or(m.Family, "llama")
	m.Size = cmp.Or(m.Size, 1e9)
	m.Context = cmp.Or(m.Context, 4096)
	m.Default = cmp.Or(m.Default, m.Context)
	m.Dimensions = cmp.Or(m.Dimensions, 64)
	if m.Capabilities == nil {
		m.Capabilities = []string{"completion", "tools", "thinking", "embedding"}
	}
	return m
}

func (m Model) digest() string {
	sum := sha256.Sum256(fmt.Append(nil, m.Name, m.Size, m.Remote))
	return hex.EncodeToString(sum[:])
}

func (m Model) details() api.ModelDetails {
	return api.ModelDetails{
		Format: "gguf", Family: m.Family, Families: []string{m.Family},
		ParameterSize: "1.2B", QuantizationLevel: "Q4_K_M", ParentModel: m.Parent,
	}
}

// resident is a model and its state in memory. The host's lock guards it.
type resident struct {
	Model
	loaded  bool
	numCtx  int // that it was loaded with
	users   int // calls that are using it
	lastUse time.Time
	expires time.Time
}

func (r *resident) inMemory() bool {
	return r.loaded && (r.users > 0 || time.Now().Before(r.expires))
}

// use loads a model unless it is loaded, and keeps it in memory until release is called.
// As at Ollama, a different num_ctx requires another load, one model is loaded at a time,
// and no model is unloaded while it is in use.
func (h *Host) use(ctx context.Context, m *resident, numCtx int, keep time.Duration) (release func(), err error) {
	ready := false
	err = h.wait(ctx, func() bool {
		ready = m.inMemory() && m.numCtx == numCtx
		if ready {
			m.users++
			return true
		}
		if h.loading || m.users > 0 || !h.makeRoom(m) {
			return false
		}
		h.loading = true
		return true
	})
	if err != nil {
		return nil, err
	}
	if !ready {
		err = sleep(ctx, cmp.Or(m.LoadTime, h.hostLoadTime()))
		h.change(func() {
			h.loading = false
			if err == nil {
				h.stats.Loads++
				m.loaded, m.numCtx, m.users = true, numCtx, m.users+1
				m.expires = time.Now().Add(keep)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return func() {
		h.change(func() {
			m.users--
			m.lastUse = time.Now()
			m.expires = m.lastUse.Add(keep)
		})
	}, nil
}

func (h *Host) hostLoadTime() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.loadTime
}

// makeRoom reports whether m fits in memory, after unloading an idle model for it if
// necessary. The lock is held.
func (h *Host) makeRoom(m *resident) bool {
	others := slices.DeleteFunc(h.inMemory(), func(r *resident) bool { return r == m })
	for h.maxLoaded > 0 && len(others) >= h.maxLoaded {
		idle := slices.IndexFunc(others, func(r *resident) bool { return r.users == 0 })
		if idle < 0 {
			return false
		}
		others[idle].loaded = false
		others = slices.Delete(others, idle, idle+1)
	}
	return true
}

// inMemory returns the models in memory, least recently used first. The lock is held.
func (h *Host) inMemory() []*resident {
	var in []*resident
	for _, r := range h.models {
		if r.inMemory() {
			in = append(in, r)
		}
	}
	slices.SortFunc(in, func(a, b *resident) int {
		return cmp.Or(a.lastUse.Compare(b.lastUse), strings.Compare(a.Name, b.Name))
	})
	return in
}

func (h *Host) tags() api.ListResponse {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := api.ListResponse{Models: []api.ListModelResponse{}}
	for _, m := range h.models {
		if m.Damaged {
			continue
		}
		list.Models = append(list.Models, api.ListModelResponse{
			Name: m.Name, Model: m.Name, Size: m.Size, Digest: m.digest(), Details: m.details(),
		})
		last := &list.Models[len(list.Models)-1]
		if !m.RemoteUnlisted {
			last.RemoteHost = m.Remote
		}
		if v, ok := backend.ParseVersion(h.version); ok && !v.Before(backend.Version{0, 30, 0}) {
			last.Capabilities, last.Details.ContextLength, last.Details.EmbeddingLength = m.show().Capabilities, m.Context, m.Dimensions
		}
	}
	slices.SortFunc(list.Models, func(a, b api.ListModelResponse) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func (h *Host) ps() api.ProcessResponse {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := api.ProcessResponse{Models: []api.ProcessModelResponse{}}
	for _, m := range h.inMemory() {
		list.Models = append(list.Models, api.ProcessModelResponse{
			Name: m.Name, Model: m.Name, Size: m.Size, SizeVRAM: m.Size, Digest: m.digest(), Details: m.details(),
			ContextLength: m.numCtx, ExpiresAt: m.expires,
		})
	}
	return list
}

func (m Model) show() api.ShowResponse {
	capabilities := make([]model.Capability, len(m.Capabilities))
	for i, c := range m.Capabilities {
		capabilities[i] = model.Capability(c)
	}
	remote := m.Remote
	if m.RemoteUndescribed {
		remote = ""
	}
	info := map[string]any{
		"general.architecture":         m.Family,
		m.Family + ".context_length":   m.Context,
		m.Family + ".embedding_length": m.Dimensions,
	}
	maps.Copy(info, m.Info)
	return api.ShowResponse{
		RemoteHost:   remote,
		Template:     "{{ .Prompt }}",
		License:      "none",
		Details:      m.details(),
		ModelInfo:    info,
		Capabilities: capabilities,
	}
}

// sleepUntil waits for a point in time, or for the end of the context.
func sleepUntil(ctx context.Context, due time.Time) error { return sleep(ctx, time.Until(due)) }

// sleep waits for d, or for the end of the context.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
