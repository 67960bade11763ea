package pool

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"ollama-mcp/internal/route"
)

// modelKey is a model as a host runs it: one that is asked for with other runner
// options is another one to the host, for which it has to load the model anew.
type modelKey struct {
	model  string
	others string // options by name, each ending in a NUL, but for num_ctx
	numCtx int    // tokens of context, which a host tells of itself; 0 if it is left to the host
}

// withPinned decides with which runner options a call goes to a host, and names those
// that the caller wanted otherwise. What is pinned for the model wins, so that one
// caller cannot make it load anew for all.
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

// sameOption compares what came in JSON with what came in YAML.
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

// contextOf is the context that options ask for, in tokens; 0 if they leave it open, or
// say what no host understands.
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

// pins are the runner options that are pinned for a call: those of its model and, where
// they leave the context open, the one that a host has the model loaded with, if that
// is enough. A caller who wants more room gets it: it may be needed, and only a load can
// give it.
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

// loadedContext is the least num_ctx that a host has a call's model loaded with and that
// is enough for it; 0 if there is none, or if the call is served as it is.
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

// isEnough reports whether a context has the room that a call wants. One that leaves it
// open wants no less than the host gives it of itself.
func (h *host) isEnough(loaded int, model string, wanted int) bool {
	if own := known(&h.models, model); wanted == 0 && own != nil {
		wanted = own.context
	}
	return wanted > 0 && loaded >= wanted
}
