package doctor

import (
	"maps"
	"slices"
	"strings"

	"ollama-mcp/internal/backend"
)

// faults are those of versions of Ollama that users should know of, from the first version
// that has it to the first that does not.
var faults = []struct {
	from, before backend.Version
	fault, todo  string
}{
	{
		backend.Version{},
		backend.Version{0, 12, 6},
		"truncates prompts that are too long without saying so",
		"update Ollama: from 0.12.6 on, a prompt that is too long can be refused",
	},
	{
		// Fixed by #17883 of github.com/ollama/ollama.
		backend.Version{0, 30, 0},
		backend.Version{0, 32, 15},
		"can hang at the call after an answer that it could not parse, such as a bad tool call",
		"update Ollama to 0.32.15 or later",
	},
}

func (e *examination) version(version string) {
	v, ok := backend.ParseVersion(version)
	if !ok {
		e.ok("reachable, Ollama of unknown version (%s)", version)
		return
	}
	e.hasVersion = version
	for _, f := range faults {
		if !v.Before(f.from) && v.Before(f.before) {
			e.warn(f.todo, "reachable, Ollama %s, which %s", version, f.fault)
			return
		}
	}
	e.ok("reachable, Ollama %s", version)
}

// comparison warns of versions, by host, that answer the same request in different ways.
func comparison(versions map[string]string) []Finding {
	kinds := make(map[string][]string)
	for _, host := range slices.Sorted(maps.Keys(versions)) {
		kind := backend.Defaults(versions[host])
		kinds[kind] = append(kinds[kind], host)
	}
	if len(kinds) < 2 {
		return nil
	}
	old := kinds[""]
	return []Finding{Warned(strings.Join(old, ", "),
		"Ollama is older than 0.32.10, which changed the default of repeat_penalty: other hosts give other answers to the same call",
		"update Ollama so that all hosts have the same version, or set options.repeat_penalty")}
}
