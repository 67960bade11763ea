package semantic_test

import (
	"strings"
	"testing"

	"ollama-mcp/internal/semantic"
)

func match(question string, similarity float64, answer byte) semantic.Match[string] {
	return semantic.Match[string]{
		Entry:      entry{Key: question, Question: question, Answer: [32]byte{answer}},
		Similarity: similarity,
	}
}

func TestJudgePicksTheNearestThatMeansTheSame(t *testing.T) {
	type matches = []semantic.Match[string]
	for _, c := range []struct {
		name    string
		matches matches
		rules   semantic.Rules
		key     string
		want    semantic.Reason
	}{
		{"nothing kept", nil, semantic.Rules{}, "", semantic.None},
		{"too far", matches{match("Name 3 rivers", 0.94, 1)}, semantic.Rules{}, "Name 3 rivers", semantic.Far},
		{"near enough", matches{match("Name 3 rivers", 0.95, 1)}, semantic.Rules{}, "Name 3 rivers", ""},
		{"near, but for rules that are stricter", matches{match("Name 3 rivers", 0.95, 1)}, semantic.Rules{Threshold: 0.96}, "Name 3 rivers", semantic.Far},
		{"near, and another number", matches{match("Name 4 rivers", 0.99, 1)}, semantic.Rules{}, "Name 4 rivers", semantic.Numbers},
		{"right behind a wrong one", matches{match("Name 4 rivers", 0.99, 1), match("Name 3 rivers", 0.97, 2)}, semantic.Rules{}, "Name 3 rivers", ""},
		{"right but too far, behind a wrong one", matches{match("Name 4 rivers", 0.99, 1), match("Name 3 rivers", 0.949, 2)}, semantic.Rules{}, "Name 4 rivers", semantic.Numbers},
		{"two answers as near", matches{match("Name 3 rivers", 0.972, 1), match("Name three rivers", 0.97, 2)}, semantic.Rules{}, "Name 3 rivers", semantic.Ambiguous},
		{"another answer just below the threshold", matches{match("Name 3 rivers", 0.951, 1), match("Name three rivers", 0.949, 2)}, semantic.Rules{}, "Name 3 rivers", semantic.Ambiguous},
		{"the same answer as near", matches{match("Name 3 rivers", 0.972, 1), match("Name three rivers", 0.97, 1)}, semantic.Rules{}, "Name 3 rivers", ""},
		{"another answer behind the margin", matches{match("Name 3 rivers", 0.98, 1), match("Name three rivers", 0.96, 2)}, semantic.Rules{}, "Name 3 rivers", ""},
		{"no margin wanted", matches{match("Name 3 rivers", 0.97, 1), match("Name three rivers", 0.97, 2)}, semantic.Rules{Margin: -1}, "Name 3 rivers", ""},
	} {
		got := semantic.Judge("Please name 3 rivers", c.matches, c.rules)
		if got.Refused != c.want || got.Match.Key != c.key {
			t.Errorf("%s: got %q with reason %q, want %q with %q", c.name, got.Match.Key, got.Refused, c.key, c.want)
		}
	}
}

func TestWhatDependsOnMoreThanItsTextIsSkipped(t *testing.T) {
	for _, c := range []struct {
		request semantic.Request
		want    semantic.Reason
	}{
		{semantic.Request{Question: "Why is snow white?", Messages: 1}, ""},
		{semantic.Request{Question: "Why is snow white?", Messages: 3}, ""},
		{semantic.Request{Question: "Why is snow white?", Messages: 4}, semantic.Messages},
		{semantic.Request{Question: "Why is snow white?", Tools: true}, semantic.Tools},
		{semantic.Request{Question: "What is shown here?", Images: true}, semantic.Images},
		{semantic.Request{Question: "Go on!"}, semantic.Short},
		{semantic.Request{Question: "继续"}, semantic.Short},
		{semantic.Request{Question: "什么是熵"}, ""},
		{semantic.Request{Question: " ... "}, semantic.Short},
		{semantic.Request{Question: strings.Repeat("word ", 400)}, ""},
		{semantic.Request{Question: strings.Repeat("word ", 401)}, semantic.Long},
	} {
		if got := semantic.Skip(c.request); got != c.want {
			t.Errorf("%.40q in %d messages: got %q, want %q", c.request.Question, c.request.Messages, got, c.want)
		}
	}
}

func TestTallyCountsEachLookUpOnce(t *testing.T) {
	var tally semantic.Tally
	tally.Count("", 1.0000001, false)
	tally.Count("", 0.96, true)
	tally.Count(semantic.Numbers, 0.991, false)
	tally.Count(semantic.Far, -0.2, true)
	tally.Count(semantic.None, 0, false)

	got := tally.Stats()
	if got.Hits != 1 || got.Shadow != 1 || got.Misses() != 3 || got.Refused[semantic.Numbers] != 1 {
		t.Errorf("got %+v, want a hit, one in shadow, and three misses, one of them by numbers", got)
	}
	var counted uint64
	for i, n := range got.Similarity {
		counted += n
		if bound := semantic.Buckets[i]; n > 0 && bound != 0.5 && bound != 0.96 && bound != 1.01 {
			t.Errorf("%d counted up to %v, want none", n, bound)
		}
	}
	if counted != 4 {
		t.Errorf("%d similarities counted, want those of the 4 that had a match", counted)
	}
	got.Refused[semantic.Numbers] = 9
	if tally.Stats().Refused[semantic.Numbers] != 1 {
		t.Error("what Stats returns changes the tally")
	}
}
