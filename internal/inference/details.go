package inference

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"ollama-mcp/internal/backend"
)

// details remembers what models can do. It follows from a model's digest, so a host is
// asked for it once.
type details struct{ byDigest sync.Map } // string → Detail

// Detail is what a model can do.
type Detail struct {
	Capabilities []string // as Ollama calls them; nil if it does not say
	Context      int      // tokens that the model was trained for; 0 if not known
	Cloud        bool     // Ollama's cloud runs it
}

// Can reports whether a model has a capability; all have "".
func (d Detail) Can(capability string) bool {
	return capability == "" || slices.Contains(d.Capabilities, capability)
}

// isNotFor reports whether it is known what a model can do, and a capability is not among it.
func (d Detail) isNotFor(capability string) bool {
	return len(d.Capabilities) > 0 && !d.Can(capability)
}

// known is what is remembered of a model; nothing if it was not asked for.
func (k *details) known(digest string) Detail {
	known, ok := k.byDigest.Load(digest)
	if !ok {
		return Detail{}
	}
	return known.(Detail)
}

// remember keeps what a model can do. One without a digest is not kept.
func (k *details) remember(digest string, d Detail) {
	if digest != "" {
		k.byDigest.Store(digest, d)
	}
}

// detail is what a model can do on a host, which may have another model of that name than others
// have. The host is only asked for a model of which its list does not say it, and that is not
// yet known by the digest in the list.
func (e *Engine) detail(ctx context.Context, host backend.Backend, model string) (Detail, error) {
	var digest string
	if e.opts.Listed != nil {
		if m, ok := e.opts.Listed(host.Name(), backend.CanonicalModel(model)); ok {
			digest = m.Digest
			if d, complete := listed(m); complete {
				e.details.remember(digest, d)
				return d, nil
			}
		}
	}
	return e.details.show(ctx, host, model, digest)
}

// of are the details of models. A host before 0.30.0 does not list them, and is asked for a
// few at a time. Those of a model that it cannot show are empty.
func (k *details) of(ctx context.Context, host backend.Backend, models []backend.Model) []Detail {
	all := make([]Detail, len(models))
	var group errgroup.Group
	group.SetLimit(8)
	for i, m := range models {
		if listed, ok := listed(m); ok {
			all[i] = listed
			k.remember(m.Digest, listed)
			continue
		}
		group.Go(func() error {
			all[i], _ = k.show(ctx, host, m.Name, m.Digest) // listed without
			return nil
		})
	}
	_ = group.Wait()
	return all
}

// listed are the details of a model by its host's list; not ok if the list does not have
// them.
func listed(m backend.Model) (d Detail, ok bool) {
	for _, c := range m.Capabilities {
		d.Capabilities = append(d.Capabilities, string(c))
	}
	d.Context, d.Cloud = m.Details.ContextLength, backend.IsListedInCloud(m)
	return d, len(d.Capabilities) > 0 && d.Context > 0
}

// show asks the host for a model, unless it is known. One without a digest never is.
func (k *details) show(ctx context.Context, host backend.Backend, model, digest string) (Detail, error) {
	if known, ok := k.byDigest.Load(digest); ok {
		return known.(Detail), nil
	}
	info, err := host.Show(ctx, model)
	if err != nil {
		return Detail{}, err
	}
	found := Detail{Cloud: backend.IsDescribedInCloud(info)}
	for _, c := range info.Capabilities {
		found.Capabilities = append(found.Capabilities, string(c))
	}
	if length, ok := info.ModelInfo[fmt.Sprintf("%v.context_length", info.ModelInfo["general.architecture"])].(float64); ok {
		found.Context = int(length)
	}
	k.remember(digest, found)
	return found, nil
}
