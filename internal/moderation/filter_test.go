package moderation_test

import (
	"reflect"
	"strings"
	"testing"

	"ollama-mcp/internal/moderation"
)

func TestReviewMasksAndWithholds(t *testing.T) {
	f, err := moderation.NewFilter([]moderation.Rule{
		{Name: "phone", Pattern: `\d{6,}`, Replacement: "$0"}, // taken literally
		{Name: "keys", Pattern: `sk-[a-z0-9]{8,}`},
		{Name: "bombs", Pattern: `(?i)bomb`, Refuse: true},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		given, want any
		whole       string
		found       []string
		withheld    bool
	}{
		"nothing to mask":          {given: "all is well", want: "all is well"},
		"two rules":                {given: "sk-abcd1234, 5551234", want: "[removed], $0", found: []string{"keys", "phone"}},
		"a hidden character":       {given: "sk-\u2066abcd1234", want: "[removed]", found: []string{"keys"}},
		"strings inside a value":   {given: map[string]any{"a": []any{"sk-abcd1234", 1.0, nil}}, want: map[string]any{"a": []any{"[removed]", 1.0, nil}}, found: []string{"keys"}},
		"a rule that withholds":    {given: "a BOMB", want: "a [removed]", found: []string{"bombs"}, withheld: true},
		"the name of a member":     {given: map[string]any{"sk-abcd1234": 1.0}, want: map[string]any{"sk-abcd1234": 1.0}, whole: `{"sk-abcd1234":1}`, found: []string{"keys"}, withheld: true},
		"a number":                 {given: 5551234.0, want: 5551234.0, whole: `5551234`, found: []string{"phone"}, withheld: true},
		"no rule matches the JSON": {given: "sk-abcd1234", want: "[removed]", whole: `"[removed]"`, found: []string{"keys"}},
	} {
		r := f.Review()
		got := r.Value(tc.given)
		r.Whole(tc.whole)
		if !reflect.DeepEqual(got, tc.want) || !reflect.DeepEqual(r.Found(), tc.found) || r.Withheld() != tc.withheld {
			t.Errorf("%s: got %v, found %q, withheld %v; want %v, %q, %v", name, got, r.Found(), r.Withheld(), tc.want, tc.found, tc.withheld)
		}
	}
}

func TestReplacementThatItsOwnRuleMatchesDoesNotWithhold(t *testing.T) {
	f, err := moderation.NewFilter([]moderation.Rule{{Name: "digits", Pattern: `\d+`, Replacement: "000"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := f.Review()
	masked := r.Text("call 5551234")
	r.Whole(masked)
	if masked != "call 000" || r.Withheld() {
		t.Errorf("got %q, withheld %v", masked, r.Withheld())
	}
}

func TestFilterRefusesRulesThatCannotWork(t *testing.T) {
	for words, rules := range map[string][]moderation.Rule{
		"has no name":       {{Pattern: "x"}},
		"two rules named":   {{Name: "keys", Pattern: "sk-"}, {Name: "keys", Pattern: "x"}},
		"matches the empty": {{Name: "all", Pattern: "x*"}},
		"missing closing":   {{Name: "broken", Pattern: "(x"}},
		"longer than":       {{Name: "long", Pattern: strings.Repeat("x", 1001)}},
		"there are 101":     make([]moderation.Rule, 101),
	} {
		if _, err := moderation.NewFilter(rules, nil); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("got %v, want %q", err, words)
		}
	}
	if _, err := moderation.NewFilter(nil, &moderation.Guard{Model: "judge"}); err == nil {
		t.Error("a guard without a prompt was taken")
	}
}
