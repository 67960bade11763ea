package tools

import (
	"errors"
	"fmt"
	"regexp"
)

// Rule is something that no answer may say.
type Rule struct {
	Name string // what results and logs call it
	// Pattern is a regular expression of package regexp, which takes time in proportion
	// to the text, whatever the pattern.
	Pattern string
	// Refuse withholds an answer in which the pattern is found. Otherwise what is found
	// gives way to Replacement, as it stands; "" is "[removed]".
	Refuse      bool
	Replacement string
}

// Guard is a model that is asked of each answer whether it may pass.
type Guard struct {
	Model  string // as a caller would name it
	Prompt string // tells it what may pass
}

// Filter is what answers are held against before they leave. A nil Filter lets all pass.
type Filter struct {
	rules []rule
	guard *Guard
}

type rule struct {
	Rule
	pattern *regexp.Regexp
}

const (
	mostRules   = 100
	longestRule = 1000 // bytes of a pattern
	removed     = "[removed]"
)

// NewFilter checks that each rule has a name of its own and a pattern that does not
// match everywhere. A nil guard is none.
func NewFilter(rules []Rule, guard *Guard) (*Filter, error) {
	if len(rules) > mostRules {
		return nil, fmt.Errorf("there are %d rules, and may be %d", len(rules), mostRules)
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
	if len(r.Pattern) > longestRule {
		return rule{}, fmt.Errorf("its pattern is longer than %d bytes", longestRule)
	}
	pattern, err := regexp.Compile(r.Pattern)
	if err == nil && pattern.MatchString("") {
		err = errors.New("its pattern matches the empty text, and so everywhere")
	}
	if r.Replacement == "" {
		r.Replacement = removed
	}
	return rule{r, pattern}, err
}

// masking goes through the texts of one answer.
type masking struct {
	*Filter
	found   map[string]bool // names of rules
	refused bool            // one of them withholds the answer
}

// text is s without what the rules remove.
func (m *masking) text(s string) string {
	s = clean(s)
	for _, r := range m.rules {
		if !r.pattern.MatchString(s) {
			continue
		}
		m.found[r.Name] = true
		m.refused = m.refused || r.Refuse
		s = r.pattern.ReplaceAllLiteralString(s, r.Replacement)
	}
	return s
}

// value is a JSON value with the same done to all texts in it.
func (m *masking) value(v any) any {
	switch v := v.(type) {
	case string:
		return m.text(v)
	case []any:
		masked := make([]any, len(v))
		for i := range v {
			masked[i] = m.value(v[i])
		}
		return masked
	case map[string]any:
		masked := make(map[string]any, len(v))
		for name := range v {
			masked[name] = m.value(v[name])
		}
		return masked
	}
	return v
}

// remains reports whether a rule still finds something, as in the name of a field, in
// a number, or where two texts meet.
func (m *masking) remains(s string) bool {
	for _, r := range m.rules {
		for _, found := range r.pattern.FindAllString(s, -1) {
			if found != r.Replacement {
				m.found[r.Name] = true
				return true
			}
		}
	}
	return false
}
