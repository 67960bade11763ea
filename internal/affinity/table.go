package affinity

import (
	"iter"

	"ollama-mcp/internal/lru"
)

const (
	// maxPrefixes is how many beginnings are remembered: those of a few thousand conversations, in
	// about 3 MB.
	maxPrefixes = 1 << 14
	// maxReaders is how many hosts are remembered for each. If more have read a beginning, there is
	// one of them among those that are not busy.
	maxReaders = 4
)

// Table remembers which hosts have read which beginnings of prompts. The zero Table is empty and
// ready for use. It must not be used by several goroutines at once.
type Table struct{ read lru.Map[uint64, readers] }

// readers are names of hosts, the last to read first; "" for none.
type readers [maxReaders]string

// Read records that a host has read a prompt, given by its Prefixes.
func (t *Table) Read(prefixes []uint64, host string) {
	for _, p := range prefixes {
		hosts, _ := t.read.Get(p)
		before := host
		for i, other := range hosts {
			hosts[i] = before
			if other == host || other == "" {
				break
			}
			before = other
		}
		t.read.Set(p, hosts, maxPrefixes)
	}
}

// Readers goes through the beginnings of a prompt that hosts have read, the longest first, with the
// hosts that have read it, the last to read first. The hosts must not be kept.
func (t *Table) Readers(prefixes []uint64) iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		for i := len(prefixes) - 1; i >= 0; i-- {
			hosts, ok := t.read.Get(prefixes[i])
			if !ok {
				continue
			}
			n := 0
			for n < len(hosts) && hosts[n] != "" {
				n++
			}
			if !yield(hosts[:n]) {
				return
			}
		}
	}
}
