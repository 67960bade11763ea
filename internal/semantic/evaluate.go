package semantic

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Pair is two questions, and whether one answer does for both.
type Pair struct {
	Same     bool
	Kind     string // how they differ
	Language string // of the first: "en", "de" or "zh"
	A, B     string
}

// ReadPairs reads one pair per line: "same" or "other", kind, language and the two
// questions, separated by tabs. It skips empty lines and those that begin with "#".
func ReadPairs(r io.Reader) ([]Pair, error) {
	var pairs []Pair
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		fields := strings.Split(line, "\t")
		if len(fields) != 5 || fields[0] != "same" && fields[0] != "other" {
			return nil, fmt.Errorf("line %d: want same or other, kind, language and two questions, tabs between", n)
		}
		pairs = append(pairs, Pair{Same: fields[0] == "same", Kind: fields[1], Language: fields[2], A: fields[3], B: fields[4]})
	}
	return pairs, lines.Err()
}

// Outcome counts, for a threshold, the pairs whose second question would get the answer to
// the first.
type Outcome struct {
	Threshold float64
	// Hits are pairs that mean the same and share an answer, FalseHits those that share one
	// and do not mean the same: first by the threshold alone, then with Guard.
	Hits, FalseHits               int
	GuardedHits, GuardedFalseHits int
	Wrong                         []Pair // the guarded false hits
}

// Evaluate compares pairs by the vectors that embed returns for their texts, and counts the
// outcome for each threshold.
func Evaluate(pairs []Pair, embed func([]string) ([][]float32, error), thresholds []float64) ([]Outcome, error) {
	similarity := make([]float64, len(pairs))
	for i, p := range pairs {
		vectors, err := embed([]string{p.A, p.B})
		if err != nil {
			return nil, fmt.Errorf("%s pair %d: %w", p.Kind, i, err)
		}
		if similarity[i], err = cosine(vectors); err != nil {
			return nil, fmt.Errorf("%s pair %d: %w", p.Kind, i, err)
		}
	}
	table := make([]Outcome, len(thresholds))
	for i, threshold := range thresholds {
		table[i].Threshold = threshold
		for j, p := range pairs {
			if similarity[j] >= threshold {
				table[i].count(p, Guard(p.B, p.A) == "")
			}
		}
	}
	return table, nil
}

// count counts a pair whose similarity reaches the threshold.
func (o *Outcome) count(p Pair, passes bool) {
	switch {
	case p.Same && passes:
		o.Hits++
		o.GuardedHits++
	case p.Same:
		o.Hits++
	case passes:
		o.FalseHits++
		o.GuardedFalseHits++
		o.Wrong = append(o.Wrong, p)
	default:
		o.FalseHits++
	}
}

// cosine returns the cosine similarity of two vectors.
func cosine(vectors [][]float32) (float64, error) {
	if len(vectors) != 2 || len(vectors[0]) != len(vectors[1]) {
		return 0, fmt.Errorf("got %d vectors, want two of the same dimension", len(vectors))
	}
	a, noneA := normalise(vectors[0])
	b, noneB := normalise(vectors[1])
	if noneA != nil || noneB != nil {
		return 0, nil // the model found nothing to embed, so the texts are not similar
	}
	return float64(dot(a, b)), nil
}

// WriteTable writes outcomes as a table. Hits are shares of the pairs that mean the same,
// false hits of those that do not.
func WriteTable(w io.Writer, pairs []Pair, table []Outcome) error {
	same := 0
	for _, p := range pairs {
		if p.Same {
			same++
		}
	}
	share := func(n, of int) float64 { return 100 * float64(n) / float64(max(1, of)) }
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "%d pairs that mean the same, %d that do not\n", same, len(pairs)-same)
	fmt.Fprintf(out, "%-10s%12s%14s%16s%20s\n", "threshold", "hits", "false hits", "guarded hits", "guarded false hits")
	for _, o := range table {
		fmt.Fprintf(out, "%-10.2f%10.1f %%%12.1f %%%14.1f %%%18.1f %%\n", o.Threshold,
			share(o.Hits, same), share(o.FalseHits, len(pairs)-same), share(o.GuardedHits, same), share(o.GuardedFalseHits, len(pairs)-same))
	}
	return out.Flush()
}
