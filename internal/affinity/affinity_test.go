package affinity

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// prompt hashes messages, the first of which is the system prompt.
func prompt(model string, messages ...string) []uint64 {
	h := NewHasher(model)
	for _, m := range messages {
		_, _ = h.WriteString(m)
		h.End()
	}
	return h.Prefixes()
}

// shared is how many beginnings of a prompt are also those of another.
func shared(a, b []uint64) (n int) {
	for _, p := range a {
		if slices.Contains(b, p) {
			n++
		}
	}
	return n
}

func TestPromptsShareTheBeginningsThatAreEqual(t *testing.T) {
	long := strings.Repeat("Answer as a pirate would. ", 1000)
	for _, c := range []struct {
		name string
		a, b []uint64
		want int
	}{
		{"the same", prompt("m", "be kind", "hi"), prompt("m", "be kind", "hi"), 2},
		{"the same to another model", prompt("m", "be kind", "hi"), prompt("n", "be kind", "hi"), 0},
		{"a conversation that goes on", prompt("m", "be kind", "hi"), prompt("m", "be kind", "hi", "hello", "who are you?"), 2},
		{"the same system prompt", prompt("m", "be kind", "hi"), prompt("m", "be kind", "bye"), 1},
		{"another system prompt", prompt("m", "be kind", "hi"), prompt("m", "be rude", "hi"), 0},
		{"another split into messages", prompt("m", "be ", "kind"), prompt("m", "be kind"), 0},
		{"long instructions before questions", prompt("m", long+"Who?"), prompt("m", long+"Where, and why?"), 5},
		{"text that only ends alike", prompt("m", "A"+long), prompt("m", "B"+long), 0},
	} {
		if got := shared(c.a, c.b); got != c.want {
			t.Errorf("%s: %d beginnings are shared, want %d", c.name, got, c.want)
		}
	}
}

// However a prompt is cut into writes, its hashes are the same, and there are only so many.
func TestHashesDependOnTheTextAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var messages []string
		for range rapid.IntRange(1, 40).Draw(t, "messages") {
			messages = append(messages, strings.Repeat(rapid.StringN(1, 8, 8).Draw(t, "text"), rapid.IntRange(1, 800).Draw(t, "times")))
		}
		whole, pieces := prompt("m", messages...), NewHasher("m")
		for _, m := range messages {
			cut := rapid.IntRange(0, len(m)).Draw(t, "cut")
			_, _ = pieces.WriteString(m[:cut])
			_, _ = pieces.Write([]byte(m[cut:]))
			pieces.End()
		}
		if got := pieces.Prefixes(); !slices.Equal(got, whole) {
			t.Fatalf("%x in pieces, %x as a whole", got, whole)
		}
		if len(whole) > firstEnds+lastEnds+11 {
			t.Fatalf("%d hashes", len(whole))
		}
		// One request later the conversation is an answer and a question longer.
		if next := prompt("m", append(messages, "answer", "question")...); shared(whole[len(whole)-1:], next) != 1 {
			t.Fatal("the whole of the last request is no beginning of the next")
		}
	})
}

func TestHostThatReadTheLongestBeginningComesFirst(t *testing.T) {
	var table Table
	table.Read(prompt("m", "be kind", "hi"), "gpu-1")
	table.Read(prompt("m", "be kind", "bye"), "gpu-2")
	table.Read(prompt("m", "be kind", "bye"), "gpu-3")
	table.Read(prompt("m", "be kind", "bye"), "gpu-2")
	var got [][]string
	for hosts := range table.Readers(prompt("m", "be kind", "hi", "hello", "who are you?")) {
		got = append(got, slices.Clone(hosts))
	}
	if len(got) != 2 || !slices.Equal(got[0], []string{"gpu-1"}) || !slices.Equal(got[1], []string{"gpu-2", "gpu-3", "gpu-1"}) {
		t.Errorf("got %q, want gpu-1 for the conversation, then those that have read the system prompt", got)
	}
	for range table.Readers(prompt("m", "be rude", "hi")) {
		t.Error("a host is said to have read what nobody wrote")
	}
}

func TestTableIsBounded(t *testing.T) {
	var table Table
	for i := range 3 * maxPrefixes {
		table.Read([]uint64{uint64(i), 1 << 63}, "gpu-"+strconv.Itoa(i))
	}
	if n := table.read.Len(); n != maxPrefixes {
		t.Errorf("%d beginnings are remembered, want %d", n, maxPrefixes)
	}
	for hosts := range table.Readers([]uint64{1 << 63}) {
		if len(hosts) != maxReaders || hosts[0] != "gpu-"+strconv.Itoa(3*maxPrefixes-1) {
			t.Errorf("got %q, want the last %d", hosts, maxReaders)
		}
	}
}

func BenchmarkHash(b *testing.B) {
	text := strings.Repeat("x", 64<<10)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		prompt("m", "be kind", text)
	}
}
