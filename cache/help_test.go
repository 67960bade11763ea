package cache_test

import (
	"testing"

	"ollama-mcp/cache"
)

// open makes a cache that is closed when the test ends. Its fills report numbers.
func open(tb testing.TB, o cache.Options) *cache.Cache[int] {
	tb.Helper()
	c, err := cache.New[int](o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c
}

// keyOf is the key of a request in the scope of nobody in particular.
func keyOf(tb testing.TB, request any) cache.Key {
	tb.Helper()
	return keyIn(tb, cache.Scope{Tool: "chat", Model: "qwen3:8b", Digest: "sha256:1"}, request)
}

func keyIn(tb testing.TB, s cache.Scope, request any) cache.Key {
	tb.Helper()
	key, err := cache.KeyOf(s, request)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}
