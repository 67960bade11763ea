package config

import (
	"maps"
	"slices"

	"github.com/spf13/pflag"
)

// Given are the options that were set by flags, for another start of the program
// in the same environment, which is to serve stdio whatever that and the file say.
func Given(fs *FlagSet) (args []string) {
	known := Flags(new(Config))
	fs.Visit(func(f *pflag.Flag) {
		if f.Name == "listen" || known.Lookup(f.Name) == nil {
			return
		}
		for _, value := range values(f.Value) {
			args = append(args, "--"+f.Name+"="+value)
		}
	})
	return append(args, "--listen=")
}

// values are what a flag has to be given for its value.
func values(v pflag.Value) []string {
	switch v := v.(type) {
	case *ruleLines:
		return v.lines()
	case pflag.SliceValue:
		list := v.(pflag.Value).String()
		return []string{list[1 : len(list)-1]} // without the brackets, which Set does not take
	}
	return []string{v.String()}
}

// NeedsRestart names what differs between two configurations and cannot change
// while the program runs.
func NeedsRestart(was, is Config) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(is.options)) {
		if was.options[name] != is.options[name] && !live(name) {
			names = append(names, name)
		}
	}
	if (was.Keys == nil) != (is.Keys == nil) {
		names = append(names, "keys") // whether callers need one is settled at the start
	}
	return names
}

// live reports whether a change of an option takes effect without a restart: the
// program applies Hosts, Keys, Filter and LogLevel, which these lead to, while it runs.
func live(option string) bool {
	switch option {
	case "config", "host", "ca-file", "slots", "token-file", "output-filter", "log-level":
		return true
	}
	return false
}
