package pool

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"ollama-mcp/internal/route"
)

// modelKey identifies a model with its runner options. For a request with other options the host
// has to reload the model.
type modelKey struct {
	model  string
	others string // options except num_ctx, sorted by name, each ending in a NUL
	numCtx int    // tokens of context; 0 if the host chooses
}

// withPinned returns the runner options to send for a call, and the names of those that differ from
// the caller's wishes. Pinned options win, so that one caller cannot make the host reload the model
// for all.
func withPinned(need route.Need, pinned map[string]any) (runner map[string]any, overridden []string) {
	if need.RawRunner || len(pinned) == 0 {
		return need.Runner, nil
	}
	for name, value := range pinned {
		if wanted, ok := need.Runner[name]; ok && !sameOption(wanted, value) {
			overridden = append(overridden, name)
		}
	}
	runner = maps.Clone(pinned)
	for name, value := range need.Runner {
		if _, ok := pinned[name]; !ok {
			runner[name] = value
		}
	}
	slices.Sort(overridden)
	return runner, overridden
}

// sameOption compares an option from JSON with one from YAML.
func sameOption(a, b any) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

func keyOf(model string, runner map[string]any) modelKey {
	key := modelKey{model: model}
	if len(runner) == 0 {
		return key
	}
	key.numCtx = contextOf(runner)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(runner)) {
		if name != numCtx || key.numCtx == 0 {
			fmt.Fprintf(&b, "%s=%v\x00", name, runner[name])
		}
	}
	key.others = b.String()
	return key
}

// numCtx is the option for the context of a model, in tokens.
const numCtx = "num_ctx"

// contextOf returns the context that options request, in tokens; 0 if they request none, or the
// value is not valid.
func contextOf(runner map[string]any) int {
	switch n := runner[numCtx].(type) {
	case int: // from YAML
		return max(0, n)
	case float64: // from JSON
		if n >= 1 && n == float64(int32(n)) {
			return int(n)
		}
	}
	return 0
}

// pins returns the runner options that are pinned for a call: those of its model and, unless they
// set it, the context with which a host has the model loaded, if that is large enough. A caller who
// wants a larger context gets it, at the price of a reload, since it may be needed.
func (p *Pool) pins(need route.Need) map[string]any {
	p.mu.Lock()
	defer p.mu.Unlock()
	pinned := p.pinned[need.Model]
	if _, ok := pinned[numCtx]; ok || need.RawRunner {
		return pinned
	}
	enough := p.loadedContext(need)
	if enough == 0 {
		return pinned
	}
	also := map[string]any{numCtx: enough}
	maps.Copy(also, pinned)
	return also
}

// loadedContext returns the smallest num_ctx with which a host has a call's model loaded and that is
// large enough for the call; 0 if there is none, or if the call needs no change.
func (p *Pool) loadedContext(need route.Need) (least int) {
	wanted := contextOf(need.Runner)
	for _, h := range p.hosts {
		if h.down || need.Host != "" && need.Host != h.name {
			continue
		}
		loaded := h.memory[need.Model]
		if wanted == 0 && loaded.chosen {
			return 0
		}
		if n := loaded.option(); h.isEnough(loaded.numCtx, need.Model, wanted) && (least == 0 || n < least) {
			least = n
		}
	}
	return least
}

// isEnough reports whether a context is large enough for a call. A call that requests none needs as
// much as the host chooses itself.
func (h *host) isEnough(loaded int, model string, wanted int) bool {
	if own := known(&h.models, model); wanted == 0 && own != nil {
		wanted = own.context
	}
	return wanted > 0 && loaded >= wanted
}
