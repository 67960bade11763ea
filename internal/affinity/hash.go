// Package affinity remembers which hosts have read the beginning of a prompt.
//
// A host that has read a system prompt or the messages of a conversation a moment ago has them in
// its prompt cache, and need not compute them again. The package promises that it finds the
// longest beginning that a new prompt shares with earlier ones, at the ends of messages and at
// certain lengths, and that its memory is bounded. It keeps hashes and names of hosts, and no
// text. What to do with a host that has read a beginning is left to package pool.
package affinity

import (
	"cmp"
	"hash/maphash"
	"slices"
)

const (
	// A beginning is hashed at the ends of so many of the first messages, which conversations with
	// the same system prompt and examples share, and of the last, which a conversation that goes on
	// shares with its last request.
	firstEnds = 4
	lastEnds  = 8
	// Inside messages a beginning is hashed at lengths that double, so that prompts with the same
	// long instructions before different questions are found alike. Shorter ones take hardly any
	// time to read.
	firstBlock = 1 << 10 // bytes
	lastBlock  = 1 << 20
)

// seed differs in each process, so that nobody can make prompts whose hashes collide.
var seed = maphash.MakeSeed()

// Hasher hashes the beginnings of a prompt. Use NewHasher to make one, then write the prompt in the
// order in which the model reads it.
type Hasher struct {
	hash   maphash.Hash
	length int // bytes written so far
	block  int // length of the next block
	blocks []mark
	ends   []mark
}

// mark is the hash of the beginning of a prompt that has some length.
type mark struct {
	length int
	sum    uint64
}

// NewHasher makes a Hasher for prompts to a model. Prompts to other models share no beginnings.
func NewHasher(model string) *Hasher {
	h := &Hasher{block: firstBlock}
	h.hash.SetSeed(seed)
	_, _ = h.hash.WriteString(model) // never fails
	_ = h.hash.WriteByte(0)
	return h
}

// Write adds bytes to the prompt, such as those of an image. It never fails.
func (h *Hasher) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		step := h.step(len(b))
		_, _ = h.hash.Write(b[:step])
		h.wrote(step)
		b = b[step:]
	}
	return n, nil
}

// WriteString adds text to the prompt. It never fails.
func (h *Hasher) WriteString(s string) (int, error) {
	n := len(s)
	for s != "" {
		step := h.step(len(s))
		_, _ = h.hash.WriteString(s[:step])
		h.wrote(step)
		s = s[step:]
	}
	return n, nil
}

// step is how many of the next n bytes are hashed before a hash is noted.
func (h *Hasher) step(n int) int {
	if h.block > lastBlock {
		return n
	}
	return min(n, h.block-h.length)
}

func (h *Hasher) wrote(n int) {
	if h.length += n; h.length == h.block && h.block <= lastBlock {
		h.blocks = append(h.blocks, mark{h.length, h.hash.Sum64()})
		h.block *= 2
	}
}

// End ends a message, or another part of the prompt that prompts may share.
func (h *Hasher) End() {
	_ = h.hash.WriteByte(0xff) // occurs in no text
	h.ends = append(h.ends, mark{h.length, h.hash.Sum64()})
}

// Prefixes returns the hashes of the beginnings of the prompt, the shortest first, and at most
// firstEnds + lastEnds + 11 of them.
func (h *Hasher) Prefixes() []uint64 {
	ends := h.ends
	if len(ends) > firstEnds+lastEnds {
		ends = slices.Concat(ends[:firstEnds], ends[len(ends)-lastEnds:])
	}
	all := slices.Concat(h.blocks, ends)
	slices.SortStableFunc(all, func(a, b mark) int { return cmp.Compare(a.length, b.length) })
	sums := make([]uint64, len(all))
	for i, m := range all {
		sums[i] = m.sum
	}
	return sums
}
