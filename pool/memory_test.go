package pool

import "testing"

func TestModelIsHeldWithTheOptionsItWasLoadedWith(t *testing.T) {
	plain := keyOf("m:latest", nil)
	wide := keyOf("m:latest", map[string]any{"num_ctx": 8192})
	batched := keyOf("m:latest", map[string]any{"num_ctx": 8192, "num_batch": 64})
	checked := memory{}.merge([]Loaded{{Model: "m:latest", NumCtx: 8192}})
	own := memory{}
	own.hold(batched)
	found := func(m memory, numCtx int) memory { return m.merge([]Loaded{{Model: "m:latest", NumCtx: numCtx}}) }
	short := found(found(own, 4096), 4096) // all that the model can take
	short.hold(batched)
	half := keyOf("m:latest", map[string]any{"num_ctx": 4096, "num_batch": 64})

	for name, c := range map[string]struct {
		m    memory
		key  modelKey
		want bool
	}{
		"nothing is held":                         {memory{}, plain, false},
		"another model":                           {checked, keyOf("n:latest", nil), false},
		"found by a check, options left open":     {checked, plain, true},
		"found by a check, the same context":      {checked, wide, true},
		"found by a check, another context":       {checked, keyOf("m:latest", map[string]any{"num_ctx": 512}), false},
		"loaded by a call, the same options":      {own, batched, true},
		"loaded by a call, other options":         {own, wide, false},
		"a check that fits what a call loaded":    {own.merge([]Loaded{{Model: "m:latest", NumCtx: 8192}}), wide, false},
		"a check of a model loaded by others":     {found(own, 16384), batched, false},
		"a check that finds it gone":              {own.merge([]Loaded{}), batched, false},
		"asked for more than the model can take":  {short, batched, true},
		"asked for just what it can take":         {short, half, false}, // Ollama compares what was asked
		"what it can take, found again":           {found(short, 4096), batched, true},
		"found with less than it can take":        {found(short, 2048), batched, false},
		"found with less than before":             {found(found(own, 8192), 4096), batched, false},
		"loaded anew with less, by others":        {found(checked, 4096), wide, false},
		"the same in JSON and in a settings file": {own, keyOf("m:latest", map[string]any{"num_batch": 64.0, "num_ctx": 8192.0}), true},
	} {
		if got := c.m.holds(c.key); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}
