package manage

import (
	"fmt"
	"strings"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
)

// checkName refuses what cannot be the name of a model. argument is what it came in.
func checkName(argument, name string) error {
	if backend.IsModelName(name) {
		return nil
	}
	shown := name
	if len(shown) > 100 {
		shown = shown[:100] + "…"
	}
	return &fault.Error{
		Code: fault.InvalidArgument, Message: fmt.Sprintf("argument %q: %q is no name of a model", argument, shown),
		Hint: "names are like llama3.2, qwen3:8b or someone/model:tag",
	}
}

// source checks that a model may be pulled, and says whether over plain HTTP.
func (m *Manager) source(name string) (insecure bool, err error) {
	if err := checkName("model", name); err != nil {
		return false, err
	}
	if m.opts.NoCloud && backend.IsCloudName(name) {
		return false, &fault.Error{
			Code: fault.Forbidden, Message: fmt.Sprintf("the model %q runs in Ollama's cloud, which this server may not use", name),
			Hint: "pull a model that a host can run itself",
		}
	}
	registry := backend.RegistryOf(name)
	if registry == "" {
		return false, nil
	}
	for _, allowed := range m.opts.Registries {
		host, plain := strings.CutPrefix(allowed, "http://")
		if strings.EqualFold(strings.TrimPrefix(host, "https://"), registry) {
			return plain, nil
		}
	}
	return false, &fault.Error{
		Code: fault.Forbidden, Message: fmt.Sprintf("models may not be pulled from the registry %q", registry),
		Hint: "pull one of Ollama's own, or have the operator of this server allow it with --allow-registry",
	}
}
