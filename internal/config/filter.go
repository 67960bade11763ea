package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Rule is something that no answer may say.
type Rule struct {
	Name        string // no two rules have the same
	Pattern     string // a regular expression of package regexp
	Refuse      bool   // the answer is withheld, or else what is found is replaced
	Replacement string // "" for the usual one
}

// Guard is a model that is asked of each answer whether it may pass.
type Guard struct {
	Model, Prompt string // "" for none
}

// ruleLines are rules, each of which can be said in a line.
type ruleLines []Rule

// Set implements pflag.Value. It adds a rule, which is called by its number.
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

// rules are those of a file, where one may be a mapping too, which can say more.
func (r *reader) rules(n *yaml.Node) error {
	to := (*ruleLines)(&r.c.Filter)
	if r.fs.Lookup("output-filter").Changed {
		to = new(ruleLines) // they do not count, and must be right all the same
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
