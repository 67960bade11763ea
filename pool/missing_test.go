package pool_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

func TestModelMissingOnOneHostIsAskedOfTheOthersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		missing := failure(backend.ModelMissing, "not found")
		p := newPool(t, pool.Options{Hosts: named("gpu-1", "gpu-2", "gpu-3", "gpu-4"), Slots: 1})
		var asked []string
		began := time.Now()
		ask := func(errs map[string]error) error {
			asked = nil
			return p.With(t.Context(), route.Need{Model: "m:latest"}, onHosts(&asked, errs))
		}
		if err := ask(map[string]error{"gpu-1": missing, "gpu-2": missing, "gpu-3": missing}); err != nil || len(asked) != 4 {
			t.Errorf("got %v from %v, want an answer from the fourth", err, asked)
		}
		all := map[string]error{"gpu-1": missing, "gpu-2": missing, "gpu-3": missing, "gpu-4": missing}
		err := ask(all)
		if !errors.Is(err, backend.ModelMissing) || len(asked) != 4 {
			t.Errorf("got %v from %v, want that no host has the model", err, asked)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}

func TestModelThatNoHostHasIsRefusedBeforeAnyIsAsked(t *testing.T) {
	p := newPool(t, pool.Options{Hosts: named("gpu-1", "gpu-2"), Slots: 1})
	p.Know("gpu-1", pool.Facts{Up: true, Installed: []string{"a:latest"}})
	var asked []string
	ask := func(model string) error {
		asked = nil
		return p.With(t.Context(), route.Need{Model: model}, onHosts(&asked, nil))
	}
	if err := ask("b:latest"); err != nil || !slices.Equal(asked, []string{"gpu-2"}) {
		t.Errorf("of gpu-2 it is not known: got %v from %v", err, asked)
	}
	p.Know("gpu-2", pool.Facts{Up: true, Installed: []string{"c:latest"}})
	err := ask("b:latest")
	if !errors.Is(err, backend.ModelMissing) || len(asked) > 0 {
		t.Errorf("got %v from %v", err, asked)
	}
	if want := `gpu-1, gpu-2: model not found: model "b:latest" is not installed`; err == nil || err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	for _, model := range []string{"a:latest", "c:latest"} {
		if err := ask(model); err != nil || len(asked) != 1 {
			t.Errorf("%s: got %v from %v", model, err, asked)
		}
	}
}

// Whoever spells a model as no host knows it is told so, and nobody else.
func TestHostThatSaysItLacksAModelIsBelievedByNoOtherCall(t *testing.T) {
	p := newPool(t, pool.Options{Slots: 1})
	p.Know("gpu-1", pool.Facts{Up: true, Installed: []string{"a:latest"}})
	ask := func(said error) error {
		return p.With(t.Context(), route.Need{Model: "a:latest"}, func(context.Context, *pool.Lease) error { return said })
	}
	if err := ask(failure(backend.ModelMissing, "not found")); !errors.Is(err, backend.ModelMissing) {
		t.Errorf("got %v, want what the host said", err)
	}
	if err := ask(nil); err != nil {
		t.Errorf("the next call: %v", err)
	}
	p.Know("gpu-1", pool.Facts{Up: true, Installed: []string{"b:latest"}})
	if err := ask(nil); !errors.Is(err, backend.ModelMissing) {
		t.Errorf("got %v of a model that the host lists no more", err)
	}
}

func TestOnlyTheHostThatIsNamedServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Hosts: named("gpu-1", "gpu-2"), Slots: 1})
		var asked []string
		broken := map[string]error{"gpu-2": failure(backend.Server, "broken")}
		err := p.With(t.Context(), route.Need{Host: "gpu-2"}, onHosts(&asked, broken))
		if !errors.Is(err, backend.Server) || errors.Is(err, pool.ErrNoHost) || slices.Contains(asked, "gpu-1") {
			t.Errorf("got %v from %v, want the failure of gpu-2", err, asked)
		}
		err = p.With(t.Context(), route.Need{Host: "gpu-9"}, onHosts(&asked, nil))
		if !errors.Is(err, pool.ErrNoHost) || !strings.Contains(err.Error(), "gpu-9") {
			t.Errorf("got %v, want that there is no gpu-9", err)
		}
	})
}

func TestPoolWithoutHostsSaysSo(t *testing.T) {
	p, err := pool.New(pool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.With(t.Context(), route.Need{}, hold(0)); !errors.Is(err, pool.ErrNoHost) {
		t.Errorf("got %v, want ErrNoHost", err)
	}
}

func TestModelThatOneHostLacksAndAnotherCannotServeEndsTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Hosts: named("lacks", "down")})
		var asked []string
		for range 20 {
			before := len(asked)
			err := p.With(t.Context(), route.Need{Model: "rare:latest"}, onHosts(&asked, map[string]error{
				"lacks": failure(backend.ModelMissing, "not found"), "down": failure(backend.Transport, "connection refused"),
			}))
			if tries := len(asked) - before; tries > 6 || !errors.Is(err, backend.ModelMissing) && !errors.Is(err, backend.Transport) {
				t.Fatalf("after %d tries: %v", tries, err)
			}
		}
	})
}
