package lru_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ollama-mcp/internal/lru"
)

// TestMapForgetsTheLeastRecentlyUsedOneByOne compares a map with a list of its keys in the
// order of their use.
func TestMapForgetsTheLeastRecentlyUsedOneByOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 4).Draw(t, "limit")
		var m lru.Map[int, int]
		var used []int // keys, the one used last first
		values := make(map[int]int)
		use := func(key int) {
			used = slices.DeleteFunc(used, func(other int) bool { return other == key })
			used = slices.Insert(used, 0, key)
		}
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				key, value := rapid.IntRange(0, 6).Draw(t, "key"), rapid.Int().Draw(t, "value")
				m.Set(key, value, limit)
				values[key] = value
				use(key)
				used = used[:min(len(used), limit)]
			},
			"get": func(t *rapid.T) {
				key := rapid.IntRange(0, 6).Draw(t, "key")
				value, ok := m.Get(key)
				if ok != slices.Contains(used, key) || ok && value != values[key] {
					t.Fatalf("Get(%d) = %d, %v; kept are %v of %v", key, value, ok, used, values)
				}
				if ok {
					use(key)
				}
			},
			"": func(t *rapid.T) {
				var keys []int
				for key, value := range m.All() {
					keys = append(keys, key)
					if value != values[key] {
						t.Fatalf("%d is %d, want %d", key, value, values[key])
					}
				}
				if !slices.Equal(keys, used) || m.Len() != len(used) {
					t.Fatalf("kept are %v (%d), want %v", keys, m.Len(), used)
				}
			},
		})
	})
}

func TestLoopEndsThoughItUsesEachEntry(t *testing.T) {
	var m lru.Map[int, string]
	for key := range 3 {
		m.Set(key, "", 3)
	}
	var keys []int
	for key := range m.All() {
		m.Get(key)
		if keys = append(keys, key); len(keys) > m.Len() {
			break
		}
	}
	if want := []int{2, 1, 0}; !slices.Equal(keys, want) {
		t.Errorf("got %v, want %v", keys, want)
	}
}
