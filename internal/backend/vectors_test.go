package backend_test

import (
	"encoding/json"
	"testing"

	"ollama-mcp/internal/backend"
)

func TestVectorsAreOneOfNumbersForEachInputAndAllOfOneLength(t *testing.T) {
	for raw, want := range map[string]backend.Class{
		`[[0.5,1.0],[0,2]]`: "", `[[1],[2]]`: "", `[[1e-9, -3],[4,5]]`: "",
		`[[null,1.0],[1,2]]`: backend.BadOutput, `[null,[1]]`: backend.BadOutput, `[[],[]]`: backend.BadOutput, `[[1],[]]`: backend.BadOutput,
		`[[1, null ],[2,3]]`: backend.BadOutput, `[[1,2],[1]]`: backend.Server, `[[1],[1,2]]`: backend.Server,
		`[[1]]`: backend.Server, `[]`: backend.Server, `null`: backend.Server, `[[1],[2],[3]]`: backend.Server,
		`["AACAPwAAAMA=",[1,-2]]`: "", `["AACAPw==",[1,2]]`: backend.Server, `["AACAfw==",[1]]`: backend.BadOutput, `["",[1]]`: backend.BadOutput, `[["1"],[2]]`: backend.BadOutput,
		`[[1e999],[1]]`: backend.BadOutput, `[{"a":1},[1]]`: backend.BadOutput, `["AAA=",[1]]`: backend.BadOutput,
	} {
		var vectors []backend.Vector
		if err := json.Unmarshal([]byte(raw), &vectors); err != nil {
			t.Fatal(err)
		}
		if got := backend.ClassOf(backend.CheckVectors(vectors, 2)); got != want {
			t.Errorf("%s for two inputs: class %q, want %q", raw, got, want)
		}
	}
	for _, raw := range []string{`[["1"]]`, `[{}]`, `[[true]]`, `[[[1]]]`, `["x"]`} {
		var vectors []backend.Vector
		if err := json.Unmarshal([]byte(raw), &vectors); err == nil && backend.CheckVectors(vectors, 1) == nil {
			t.Errorf("%s was taken", raw)
		}
	}
}
