// Package moderation decides what of a model's answer may leave this server:
// it removes characters that no reader sees, masks what rules match, and says
// when a rule withholds the whole answer.
//
// It works on text alone. Asking a guard model, and what callers are told, is
// left to the packages above.
package moderation

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
)

// Rule matches text that must not appear in an answer.
type Rule struct {
	Name string // what results and logs call it; never empty
	// Pattern is a regular expression of package regexp, which takes time
	// linear in the text, whatever the pattern.
	Pattern string
	// Refuse withholds an answer that the pattern matches. Otherwise each match
	// is replaced by Replacement, taken literally; "" means "[removed]".
	Refuse      bool
	Replacement string
}

// Guard is a model that decides about each answer whether it may leave.
type Guard struct {
	Model  string // as a caller would name it
	Prompt string // tells it which answers may leave
}

// Filter is what answers are checked against before they leave. It is
// immutable.
type Filter struct {
	rules []rule
	guard *Guard
}

type rule struct {
	Rule
	pattern *regexp.Regexp
	longest int // length in bytes of the longest match, or unbounded
}

const (
	maxRules      = 100
	maxPattern    = 1000 // bytes
	defaultMasked = "[removed]"
)

// NewFilter checks that each rule has a name of its own and a pattern that does
// not match the empty text. guard may be nil.
func NewFilter(rules []Rule, guard *Guard) (*Filter, error) {
	if len(rules) > maxRules {
		return nil, fmt.Errorf("there are %d rules, and may be %d", len(rules), maxRules)
	}
	if guard != nil && (guard.Model == "" || guard.Prompt == "") {
		return nil, errors.New("the guard needs a model and a prompt")
	}
	f, seen := &Filter{guard: guard}, make(map[string]bool)
	for _, r := range rules {
		compiled, err := r.compile()
		switch {
		case r.Name == "":
			return nil, errors.New("a rule has no name")
		case seen[r.Name]:
			return nil, fmt.Errorf("there are two rules named %q", r.Name)
		case err != nil:
			return nil, fmt.Errorf("the rule %q: %w", r.Name, err)
		}
		seen[r.Name] = true
		f.rules = append(f.rules, compiled)
	}
	return f, nil
}

func (r Rule) compile() (rule, error) {
	if len(r.Pattern) > maxPattern {
		return rule{}, fmt.Errorf("its pattern is longer than %d bytes", maxPattern)
	}
	pattern, err := regexp.Compile(r.Pattern)
	if err == nil && pattern.MatchString("") {
		err = errors.New("its pattern matches the empty text, and so everywhere")
	}
	if r.Replacement == "" {
		r.Replacement = defaultMasked
	}
	if err != nil {
		return rule{}, err
	}
	parsed, err := syntax.Parse(r.Pattern, syntax.Perl) // as package regexp does
	if err != nil {
		return rule{}, err
	}
	return rule{r, pattern, longestMatch(parsed)}, nil
}

// Guard returns the model to ask about each answer; nil if there is none.
func (f *Filter) Guard() *Guard { return f.guard }

// Review begins to check one answer.
func (f *Filter) Review() *Review { return &Review{rules: f.rules, found: make(map[string]bool)} }

// Review checks the texts of one answer, and remembers which rules matched.
// It is for one goroutine.
type Review struct {
	rules    []rule
	found    map[string]bool // names of the rules that matched
	withheld bool
}

// Text returns a cleaned text in which all matches are masked.
func (r *Review) Text(s string) string {
	s = Clean(s)
	for _, rule := range r.rules {
		if !rule.pattern.MatchString(s) {
			continue
		}
		r.found[rule.Name] = true
		r.withheld = r.withheld || rule.Refuse
		s = rule.pattern.ReplaceAllLiteralString(s, rule.Replacement)
	}
	return s
}

// Value returns a copy of a decoded JSON value with all its strings masked.
// Names of members and numbers stay as they are; see Whole.
func (r *Review) Value(v any) any {
	switch v := v.(type) {
	case string:
		return r.Text(v)
	case []any:
		masked := make([]any, len(v))
		for i := range v {
			masked[i] = r.Value(v[i])
		}
		return masked
	case map[string]any:
		masked := make(map[string]any, len(v))
		for name := range v {
			masked[name] = r.Value(v[name])
		}
		return masked
	}
	return v
}

// Whole checks a masked value once more, as the JSON that is to leave, and
// withholds the answer if a rule still matches: in the name of a member, in a
// number, or where two texts meet.
func (r *Review) Whole(json string) {
	if r.withheld {
		return
	}
	for _, rule := range r.rules {
		for _, match := range rule.pattern.FindAllString(json, -1) {
			if match != rule.Replacement {
				r.found[rule.Name] = true
				r.withheld = true
				return
			}
		}
	}
}

// Withheld reports whether the answer must not leave at all.
func (r *Review) Withheld() bool { return r.withheld }

// Found returns the names of the rules that matched, sorted.
func (r *Review) Found() []string { return slices.Sorted(maps.Keys(r.found)) }
