package pool

import "testing"

func TestModelIsHeldWithTheOptionsItWasLoadedWith(t *testing.T) {
	plain := keyOf("m:latest", nil)
	wide := keyOf("m:latest", map[string]any{"num_ctx": 8192})
	batched := keyOf("m:latest", map[string]any{"num_ctx": 8192, "num_batch": 64})
	checked := memory{}.saw([]Loaded{{Model: "m:latest", NumCtx: 8192}})
	own := memory{}
	own.hold(batched)

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
		"a check that fits what a call loaded":    {own.saw([]Loaded{{Model: "m:latest", NumCtx: 8192}}), wide, false},
		"a check of a model loaded by others":     {own.saw([]Loaded{{Model: "m:latest", NumCtx: 512}}), batched, false},
		"a check that finds it gone":              {own.saw([]Loaded{}), batched, false},
		"the same in JSON and in a settings file": {own, keyOf("m:latest", map[string]any{"num_batch": 64.0, "num_ctx": 8192.0}), true},
	} {
		if got := c.m.holds(c.key); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}
