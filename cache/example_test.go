package cache_test

import (
	"context"
	"fmt"
	"time"

	"ollama-mcp/cache"
)

// answer is a text that is cached.
type answer string

func (a answer) Size() int { return len(a) }

func ExampleCache_Fetch() {
	c, err := cache.New[string](cache.Options{Size: 1 << 20, TTL: time.Hour})
	if err != nil {
		panic(err)
	}
	defer c.Close()
	key, err := cache.KeyOf(cache.Scope{Tenant: "ci", Tool: "generate", Model: "tiny:latest"}, "Why is the sky blue?")
	if err != nil {
		panic(err)
	}

	fill := func(_ context.Context, _ cache.Waiters) (e cache.Entry, keep bool, err error) {
		return cache.Entry{Value: answer("Scattering.")}, true, nil
	}
	for range 2 {
		e, source, err := c.Fetch(context.Background(), cache.Lookup{Key: key}, "asking the model", nil, fill)
		fmt.Println(e.Value, source, err)
	}
	// Output:
	// Scattering. miss <nil>
	// Scattering. hit <nil>
}
