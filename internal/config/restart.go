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
		value := f.Value.String()
		if _, isList := f.Value.(pflag.SliceValue); isList {
			value = value[1 : len(value)-1] // without the brackets, which Set does not take
		}
		args = append(args, "--"+f.Name+"="+value)
	})
	return append(args, "--listen=")
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
// program applies Hosts, Keys and LogLevel, which these lead to, while it runs.
func live(option string) bool {
	switch option {
	case "config", "host", "ca-file", "slots", "token-file", "log-level":
		return true
	}
	return false
}
