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
	runner string // options by name, each ending in a NUL
	numCtx string // of them, what a host tells of itself; "" if it is left to the host
}

// settle decides with which runner options a call goes to a host, and names those
// that the caller wanted otherwise. What is pinned for the model wins, so that one
// caller cannot make it load anew for all.
func settle(need route.Need, pinned map[string]any) (runner map[string]any, overridden []string) {
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
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(runner)) {
		fmt.Fprintf(&b, "%s=%v\x00", name, runner[name])
	}
	key.runner = b.String()
	if n, ok := runner["num_ctx"]; ok {
		key.numCtx = fmt.Sprint(n)
	}
	return key
}
