package config

import (
	"maps"
	"reflect"
	"slices"

	"github.com/spf13/pflag"
)

// Given returns the flags that were set, for a second process in the same environment that
// has to serve stdio, and nothing else, whatever the environment and the file say.
func Given(fs *FlagSet) (args []string) {
	known := Flags(new(Config))
	fs.Visit(func(f *pflag.Flag) {
		if f.Name == "listen" || f.Name == "metrics-address" || f.Name == "dashboard" || known.Lookup(f.Name) == nil {
			return
		}
		for _, value := range values(f.Value) {
			args = append(args, "--"+f.Name+"="+value)
		}
	})
	return append(args, "--listen=", "--metrics-address=", "--dashboard=off")
}

// values returns the texts that set a flag to its present value.
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

// NeedsRestart names the options that differ between two configurations and cannot change
// while the program runs.
func NeedsRestart(was, is Config) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(is.options)) {
		if was.options[name] != is.options[name] && !live(name) {
			names = append(names, name)
		}
	}
	if (was.Keys == nil) != (is.Keys == nil) {
		names = append(names, "keys") // whether callers need a key is decided at the start
	}
	if !reflect.DeepEqual(was.Alerts, is.Alerts) {
		names = append(names, "alerts")
	}
	return names
}

// live reports whether a change of an option takes effect without a restart.
func live(option string) bool {
	switch option {
	case "config", "host", "ca-file", "slots", "token-file", "output-filter", "log-level":
		return true
	}
	return false
}
