package doctor

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"ollama-mcp/internal/backend"
)

// memory says how well the models that are loaded can run.
func (e *examination) memory(ctx context.Context, running []backend.RunningModel) {
	if len(running) == 0 {
		e.ok("no model is in memory; the first call has to load one")
	}
	slices.SortFunc(running, func(a, b backend.RunningModel) int { return cmp.Compare(a.Name, b.Name) })
	for _, m := range running {
		e.placement(m)
		e.context(m, trainedContext(e.show(ctx, m.Name)))
	}
}

// placement says whether a model is where it is fast.
func (e *examination) placement(m backend.RunningModel) {
	loaded := fmt.Sprintf("%s is in memory for %s", m.Name, remaining(m.ExpiresAt))
	onCPU := 0
	if m.Size > 0 {
		onCPU = int(math.Round(100 * float64(m.Size-m.SizeVRAM) / float64(m.Size)))
	}
	switch {
	case m.SizeVRAM <= 0:
		e.warn("if the machine has a GPU, Ollama's log says at its start why it is not used", "%s, wholly on the CPU, which is slow", loaded)
	case onCPU > 0:
		e.warn("take a smaller quantization of it or a smaller context, or unload other models with `ollama stop`",
			"%s, %d%% on the CPU, which slows all of it down", loaded, onCPU)
	default:
		e.ok("%s, wholly on the GPU", loaded)
	}
}

// smallContext is what Ollama gives a model where memory is short and nobody
// asked for more, in tokens.
const smallContext = 4096

// context says whether a model was given much less context than it could use.
func (e *examination) context(m backend.RunningModel, trained int) {
	switch {
	case m.ContextLength == 0: // before 0.10
	case m.ContextLength <= smallContext && trained >= 2*m.ContextLength:
		e.warn("for more set options.num_ctx in a call, or OLLAMA_CONTEXT_LENGTH where Ollama runs; it takes memory",
			"%s has a context of %d tokens and was trained for %d: longer prompts are cut", m.Name, m.ContextLength, trained)
	default:
		e.ok("%s has a context of %d tokens", m.Name, m.ContextLength)
	}
}

// trainedContext is the context that a model was trained for, in tokens; 0 if
// that is not known.
func trainedContext(info *backend.ModelInfo) int {
	if info == nil {
		return 0
	}
	length, _ := info.ModelInfo[fmt.Sprintf("%v.context_length", info.ModelInfo["general.architecture"])].(float64)
	return int(length)
}

// remaining is how long something lasts, for people.
func remaining(until time.Time) string {
	left := time.Until(until)
	switch {
	case left > 365*24*time.Hour:
		return "ever"
	case left < time.Second: // to be unloaded as soon as nobody uses it
		return "a moment"
	}
	return "another " + left.Round(time.Second).String()
}
