package tools

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"ollama-mcp/internal/backend"
)

// details remembers what a model can do. It follows from the model's digest, so
// it is asked for once.
type details struct{ byDigest sync.Map } // string → detail

type detail struct {
	capabilities []string // as Ollama calls them; nil if it does not say
	context      int      // tokens that the model was trained for; 0 if not known
}

// can reports whether a model has a capability; all have "".
func (d detail) can(c capability) bool {
	return c == "" || slices.Contains(d.capabilities, string(c))
}

// detail is what a model can do. The host is asked only for one that nobody has asked for
// yet.
func (d Deps) detail(ctx context.Context, host backend.Backend, model string) (detail, error) {
	var digest string
	if d.Digest != nil {
		digest = d.Digest(ctx, backend.CanonicalModel(model))
	}
	return d.details.show(ctx, host, model, digest)
}

// of are the details of models, a few asked for at a time. Those of a model
// that the host cannot show are empty.
func (k *details) of(ctx context.Context, host backend.Backend, models []backend.Model) []detail {
	all := make([]detail, len(models))
	var group errgroup.Group
	group.SetLimit(8)
	for i, m := range models {
		group.Go(func() error {
			all[i], _ = k.show(ctx, host, m.Name, m.Digest) // listed without
			return nil
		})
	}
	_ = group.Wait()
	return all
}

// show asks the host for a model, unless it is known. One without a digest never is.
func (k *details) show(ctx context.Context, host backend.Backend, model, digest string) (detail, error) {
	if known, ok := k.byDigest.Load(digest); ok {
		return known.(detail), nil
	}
	info, err := host.Show(ctx, model)
	if err != nil {
		return detail{}, err
	}
	found := detailOf(info)
	if digest != "" {
		k.byDigest.Store(digest, found)
	}
	return found, nil
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
