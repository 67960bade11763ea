package config

import (
	"strings"

	"github.com/spf13/pflag"
)

// groups are the headings of the help of the server's options, each with the first option
// below it. An option belongs to the group in which it is declared.
var groups = []struct{ title, first string }{
	{"Hosts and files", "config"},
	{"Queue and routing", "slots"},
	{"Calls", "context-guard"},
	{"Cache", "cache"},
	{"Shared by replicas", "redis"},
	{"Answers and tools", "output-filter"},
	{"Serving HTTP", "listen"},
	{"Log and metrics", "metrics-address"},
}

// Usages are the descriptions of all options of the server in groups, at most as wide as the
// columns.
func Usages(columns int) string {
	var text strings.Builder
	var group *FlagSet
	flush := func() {
		if group != nil {
			text.WriteString(group.FlagUsagesWrapped(columns))
		}
	}
	next := 0
	Flags(new(Config)).VisitAll(func(f *pflag.Flag) {
		if next < len(groups) && f.Name == groups[next].first {
			flush()
			text.WriteString("\n" + groups[next].title + ":\n")
			group = NoFlags()
			next++
		}
		group.AddFlag(f)
	})
	flush()
	return text.String()
}

// Option is an option as a manual page or a shell has it.
type Option struct {
	Name  string // without the hyphens
	Short string // one letter; "" for none
	Value string // what its value is; "" if it takes none
	Usage string
}

// Options are the options of a flag set, in their order.
func Options(fs *FlagSet) (all []Option) {
	fs.VisitAll(func(f *pflag.Flag) {
		value, usage := pflag.UnquoteUsage(f)
		all = append(all, Option{f.Name, f.Shorthand, value, usage})
	})
	return all
}
