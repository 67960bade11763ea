package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Rule masks or refuses answers that match a pattern.
type Rule struct {
	Name        string // unique
	Pattern     string // regular expression of package regexp
	Refuse      bool   // withhold the answer; otherwise each match is replaced
	Replacement string // "" for the default
}

// Guard is a moderation model, which decides whether an answer is delivered.
type Guard struct {
	Model, Prompt string // "" for none
}

// ruleLines are rules in the short form of the option, a line for each.
type ruleLines []Rule

// Set implements pflag.Value. It adds a rule, whose name is its number.
func (l *ruleLines) Set(line string) error {
	reaction, pattern, _ := strings.Cut(line, ":")
	if reaction != "mask" && reaction != "refuse" {
		return errors.New("must be mask:REGEX or refuse:REGEX")
	}
	return l.add(Rule{Name: fmt.Sprintf("#%d", len(*l)+1), Pattern: pattern, Refuse: reaction == "refuse"})
}

// String implements pflag.Value.
func (l *ruleLines) String() string { return strings.Join(l.lines(), " ") }

// Type implements pflag.Value.
func (*ruleLines) Type() string { return "rule" }

func (l *ruleLines) lines() (lines []string) {
	for _, r := range *l {
		reaction := "mask:"
		if r.Refuse {
			reaction = "refuse:"
		}
		lines = append(lines, reaction+r.Pattern)
	}
	return lines
}

func (l *ruleLines) add(r Rule) error {
	if r.Name == "" || r.Pattern == "" {
		return errors.New("needs a name and something to match")
	}
	if _, err := regexp.Compile(r.Pattern); err != nil {
		return err
	}
	*l = append(*l, r)
	return nil
}

// rules reads the rules of a file, where a rule may also be a mapping, with more settings.
func (r *reader) rules(n *yaml.Node) error {
	to := (*ruleLines)(&r.c.Filter)
	if r.fs.Lookup("output-filter").Changed {
		to = new(ruleLines) // the flag overrides them, but they must be valid all the same
	}
	return oneOrList(func(n *yaml.Node) error {
		if n.Kind == yaml.ScalarNode {
			return to.Set(n.Value)
		}
		var rule Rule
		err := fields{
			"name":    text(&rule.Name),
			"match":   text(&rule.Pattern),
			"refuse":  truth(&rule.Refuse),
			"replace": text(&rule.Replacement),
		}.read(n)
		if err != nil {
			return err
		}
		return to.add(rule)
	})(n)
}

func (r *reader) guard(n *yaml.Node) error {
	err := fields{"model": text(&r.c.Guard.Model), "prompt": text(&r.c.Guard.Prompt)}.read(n)
	if err == nil && (r.c.Guard.Model == "" || r.c.Guard.Prompt == "") {
		err = errors.New("needs model and prompt")
	}
	return err
}
