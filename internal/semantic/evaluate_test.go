package semantic

import (
	"bytes"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"
)

var kinds = []string{
	"polite", "form", "wording", "paraphrase", "number-form", // the same
	"number", "date", "unit", "quote", "identifier", "negation", "reversal", "comparison", "asking", "entity", "language",
	"template",                                                                                                                     // either
	"particle", "opening", "tense", "person", "quantity", "condition", "time", "with", "only", "conjunction", "direction", "mixed", // function words
}

func testPairs(t testing.TB, name string) []Pair {
	t.Helper()
	file, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	pairs, err := ReadPairs(file)
	if err != nil {
		t.Fatal(err)
	}
	return pairs
}

func TestPairsAreManyAndOfAllKinds(t *testing.T) {
	pairs := testPairs(t, "pairs.tsv")
	same, languages, seen := 0, make(map[string]int), make(map[[2]string]bool)
	for _, p := range pairs {
		if p.Same {
			same++
		}
		languages[p.Language]++
		if !slices.Contains(kinds, p.Kind) || p.A == "" || p.B == "" || p.A == p.B || seen[[2]string{p.A, p.B}] {
			t.Errorf("%+v: kind unknown, a question empty, or the two not different or not new", p)
		}
		seen[[2]string{p.A, p.B}] = true
	}
	if len(pairs) < 400 || same < len(pairs)*4/10 || same > len(pairs)*6/10 {
		t.Errorf("%d of %d pairs mean the same, want about half of at least 400", same, len(pairs))
	}
	for _, l := range []string{"en", "de", "zh"} {
		if languages[l] < 80 {
			t.Errorf("%d pairs in %s, want at least 80", languages[l], l)
		}
	}
}

func TestPairsThatAreNoPairsAreRefused(t *testing.T) {
	for _, text := range []string{"same\tpolite\ten\tonly one", "alike\tpolite\ten\ta\tb", "same polite en a b"} {
		if pairs, err := ReadPairs(strings.NewReader("# a comment\n\n" + text)); err == nil || !strings.HasPrefix(err.Error(), "line 3: ") {
			t.Errorf("%q: got %v and error %v, want an error that names line 3", text, pairs, err)
		}
	}
}

// bagOfWords embeds a text as the mean of its words' vectors, which are Gaussian
// and fixed by the words. It sees no order, and of a long text hardly a word.
func bagOfWords(texts []string) ([][]float32, error) {
	vectors := make([][]float32, len(texts))
	for i, text := range texts {
		vectors[i] = make([]float32, 256)
		for _, word := range bag(text) {
			seed := fnv.New64a()
			seed.Write([]byte(word))
			rnd := rand.New(rand.NewPCG(seed.Sum64(), 0))
			for j := range vectors[i] {
				vectors[i][j] += float32(rnd.NormFloat64())
			}
		}
	}
	return vectors, nil
}

// bag is the words of a text, and its Chinese characters.
func bag(text string) (words []string) {
	for _, field := range strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsNumber(r)
	}) {
		latin := strings.Map(func(r rune) rune {
			if isHan(r) {
				words = append(words, string(r))
				return ' '
			}
			return r
		}, field)
		words = append(words, strings.Fields(latin)...)
	}
	return words
}

func TestGuardsLetNoFalseHitPassAtTheDefaultThreshold(t *testing.T) {
	pairs := append(testPairs(t, "pairs.tsv"), testPairs(t, "heldout.tsv")...)
	table, err := Evaluate(pairs, bagOfWords, []float64{0.80, 0.85, 0.90, DefaultThreshold, 0.97, 0.99})
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := WriteTable(&text, pairs, table); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + text.String())
	for _, o := range table {
		if o.Threshold != DefaultThreshold {
			continue
		}
		for _, p := range o.Wrong {
			t.Errorf("%s: %q is answered like %q", p.Kind, p.B, p.A)
		}
		if o.FalseHits < 30 || o.GuardedHits < 30 {
			t.Errorf("%d false hits without guards and %d hits with them are too few to prove anything", o.FalseHits, o.GuardedHits)
		}
	}
}

// The counts are what Guard achieves without an embedding model; lower a count only with a
// reason. The held-out files say what to expect of questions not seen before, so no rule is
// to be changed for one of their pairs.
func TestGuardAloneTellsPairsApart(t *testing.T) {
	for _, c := range []struct {
		file        string
		same, other int // how many must pass, and may
	}{
		{"pairs.tsv", 146, 0},
		{"heldout.tsv", 39, 0},
		{"function.tsv", 107, 0},
		{"function_heldout.tsv", 30, 0},
		{"kinds_heldout.tsv", 73, 0},
		{"closing_heldout.tsv", 26, 0},
	} {
		passed, all := make(map[bool]int), make(map[bool]int) // by whether they mean the same
		for _, p := range testPairs(t, c.file) {
			all[p.Same]++
			reason := Guard(p.B, p.A)
			if reason == "" {
				passed[p.Same]++
			}
			if !p.Same && reason == "" {
				t.Logf("%s: %q is answered like %q", p.Kind, p.B, p.A)
			}
		}
		t.Logf("%s: %d of %d pairs pass that mean the same, %d of %d that do not", c.file, passed[true], all[true], passed[false], all[false])
		if passed[true] < c.same || passed[false] > c.other {
			t.Errorf("%s: %d pairs pass that mean the same and %d that do not, want at least %d and at most %d", c.file, passed[true], passed[false], c.same, c.other)
		}
	}
}

func TestEvaluationEndsWithTheEmbeddingThatFails(t *testing.T) {
	pairs := []Pair{{Kind: "polite", A: "a", B: "b"}}
	boom := errors.New("boom")
	if _, err := Evaluate(pairs, func([]string) ([][]float32, error) { return nil, boom }, nil); !errors.Is(err, boom) {
		t.Errorf("got %v, want the error of the embedding", err)
	}
	if _, err := Evaluate(pairs, func([]string) ([][]float32, error) { return [][]float32{{1}}, nil }, nil); err == nil {
		t.Error("one vector for two texts was accepted")
	}
}
