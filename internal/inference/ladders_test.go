package inference

import (
	"errors"
	"fmt"
	"testing"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/route"
)

func TestLaddersAreEvictedOneByOne(t *testing.T) {
	rungs := []route.Rung{{Model: "big:latest"}, {Model: "small:latest"}}
	var all ladders
	busy := all.of("busy", rungs)
	for range 3 {
		busy.record(t.Context(), errors.New("out of memory"))
	}
	for i := range 5 * maxLadders {
		all.of(fmt.Sprint("model ", i), rungs)
		if all.of("busy", rungs) != busy {
			t.Fatalf("the ladder in use was evicted after %d others", i+1)
		}
	}
	if n := all.all.Len(); n != maxLadders {
		t.Errorf("%d ladders are remembered, want %d", n, maxLadders)
	}
	if trouble := all.status(caller.Caller{}); len(trouble) != 1 || trouble[0].Model != "busy" {
		t.Errorf("in trouble are %+v, want busy", trouble)
	}
}

func TestLadderIsForgottenWhenItsFirstRungChanges(t *testing.T) {
	var all ladders
	before := all.of("pro", []route.Rung{{Model: "big:latest"}, {Model: "small:latest"}})
	if all.of("pro:latest", []route.Rung{{Model: "big:latest"}, {Model: "other:latest"}}) != before {
		t.Error("another second rung: it was forgotten")
	}
	if all.of("pro", []route.Rung{{Model: "other:latest"}, {Model: "small:latest"}}) == before {
		t.Error("another first rung: it was not forgotten")
	}
}
