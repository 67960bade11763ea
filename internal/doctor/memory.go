package doctor

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/manage"
	"ollama-mcp/internal/order"
)

// memory examines the models that are loaded. What holds for several of them is said once.
func (e *examination) memory(ctx context.Context, running []backend.RunningModel) {
	if len(running) == 0 {
		e.ok("no model is in memory; the first call has to load one")
	}
	order.Stable(running, func(a, b backend.RunningModel) int { return cmp.Compare(a.Name, b.Name) })
	var onCPU, shortened []string
	for _, m := range running {
		loaded := fmt.Sprintf("%s is in memory for %s", m.Name, remaining(m.ExpiresAt))
		share := 0 // percent that is not on the GPU
		if m.Size > 0 {
			share = int(math.Round(100 * float64(m.Size-m.SizeVRAM) / float64(m.Size)))
		}
		switch {
		case m.SizeVRAM <= 0:
			onCPU = append(onCPU, loaded)
		case share > 0:
			e.warn("use a smaller quantization or a smaller context, or unload other models with `ollama stop`",
				"%s, %d%% on the CPU, which makes it much slower", loaded, share)
		default:
			e.ok("%s, entirely on the GPU", loaded)
		}
		info := e.show(ctx, m.Name)
		trained := trainedContext(info)
		has := fmt.Sprintf("%s has a context of %d tokens", m.Name, m.ContextLength)
		if info != nil {
			if cost := manage.MemoryOf(m.Size, info.ModelInfo).PerToken * int64(m.ContextLength); cost > 0 {
				has += fmt.Sprintf(", for which it needs %s of memory,", manage.Bytes(cost))
			}
		}
		switch {
		case m.ContextLength == 0: // before 0.10
		case m.ContextLength <= smallContext && trained >= 2*m.ContextLength:
			shortened = append(shortened, fmt.Sprintf("%s and was trained for %d", has, trained))
		default:
			e.ok("%s", strings.TrimSuffix(has, ","))
		}
	}
	if len(onCPU) > 0 {
		e.warn("if the machine has a GPU, the start of Ollama's log says why it is not used",
			"%s, entirely on the CPU, which is slow", strings.Join(onCPU, ", "))
	}
	if len(shortened) > 0 {
		e.warn("for more, set options.num_ctx in a call, or OLLAMA_CONTEXT_LENGTH for Ollama; it takes memory",
			"%s: longer prompts do not fit", strings.Join(shortened, ", "))
	}
}

// smallContext is the context length in tokens that Ollama gives a model by default if memory
// is short.
const smallContext = 4096

// trainedContext is the context length in tokens that a model was trained for; 0 if unknown.
func trainedContext(info *backend.ModelInfo) int {
	if info == nil {
		return 0
	}
	length, _ := info.ModelInfo[fmt.Sprintf("%v.context_length", info.ModelInfo["general.architecture"])].(float64)
	return int(length)
}

// remaining says how long a model stays in memory. Ollama's times have no monotonic reading,
// so this goes by the wall clock, as it should on a machine that has slept.
func remaining(until time.Time) string {
	left := time.Until(until)
	switch {
	case left > 365*24*time.Hour:
		return "ever"
	case left < time.Second: // it is unloaded as soon as it is not in use
		return "a moment"
	}
	return "another " + left.Round(time.Second).String()
}
