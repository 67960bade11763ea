package inference_test

import (
	"context"
	"slices"
	"testing"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// noting notes the prefixes of the requests to a pool.
type noting struct {
	*pool.Pool
	prefixes []uint64 // of the last
}

func (n *noting) With(ctx context.Context, need route.Need, use func(context.Context, *pool.Lease) error) error {
	n.prefixes = need.Prefixes
	return n.Pool.With(ctx, need, use)
}

func TestPrefixesOfAPromptReachThePoolIfAffinityIsOn(t *testing.T) {
	message := func(role, text string) backend.Message { return backend.Message{Role: role, Content: text} }
	chat := func(messages ...backend.Message) inference.Request {
		return inference.Request{Common: inference.Common{Model: "tiny"}, Kind: inference.Chat, Messages: messages}
	}
	begin := []backend.Message{message("system", "be kind"), message("user", "hi")}
	generate := inference.Request{Common: inference.Common{Model: "tiny"}, System: "be kind", Prompt: "hi"}
	pirate := generate
	pirate.System = "be a pirate"
	raw := generate
	raw.Raw = true
	tools := chat(begin...)
	tools.Tools = []backend.Tool{{RawMessage: []byte(`{"type":"function"}`)}}
	for _, c := range []struct {
		name   string
		a, b   inference.Request
		shared int // beginnings of a that are beginnings of b
	}{
		{"the same chat", chat(begin...), chat(begin...), 2},
		{"a chat that goes on", chat(begin...), chat(append(begin, message("assistant", "hello"), message("user", "who?"))...), 2},
		{"another question", chat(begin...), chat(begin[0], message("user", "bye")), 1},
		{"the same words by others", chat(begin...), chat(message("user", "be kind"), message("user", "hi")), 0},
		{"other tools", chat(begin...), tools, 0},
		{"the same prompt", generate, generate, 2},
		{"another system prompt", generate, pirate, 0},
		{"raw, and so without a system prompt", generate, raw, 0},
	} {
		for _, isOn := range []bool{true, false} {
			storyWith(t, &client{cacheOff: true, opts: inference.Options{Affinity: isOn}}, func(t *testing.T, cl *client) {
				hosts := &noting{Pool: cl.pool(pool.Options{}, backendtest.New("a"))}
				cl.useHosts(hosts)
				prefixes := func(r inference.Request) []uint64 {
					if _, err := cl.engine.Do(t.Context(), r); err != nil {
						t.Errorf("%s: %v", c.name, err)
					}
					return hosts.prefixes
				}
				a, b := prefixes(c.a), prefixes(c.b)
				got, want := 0, c.shared
				for _, p := range a {
					if slices.Contains(b, p) {
						got++
					}
				}
				if !isOn {
					want = 0
				}
				if got != want || len(a) > 0 != isOn {
					t.Errorf("%s, affinity %v: %d of %d beginnings are shared, want %d", c.name, isOn, got, len(a), want)
				}
			})
		}
	}
}
