package config

import (
	"path/filepath"
	"slices"

	"github.com/spf13/pflag"
)

// This file is about programs that start the server elsewhere, in another environment and
// another directory than those in which its options were read.

// RelativePaths returns the names of options that were given a relative path.
func RelativePaths(fs *FlagSet) (names []string) {
	fs.VisitAll(func(f *pflag.Flag) {
		if kind, _ := pflag.UnquoteUsage(f); kind != "file" && kind != "directory" {
			return
		}
		paths := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			paths = list.GetSlice()
		}
		if slices.ContainsFunc(paths, func(path string) bool { return path != "" && !filepath.IsAbs(path) }) {
			names = append(names, f.Name)
		}
	})
	return names
}

// SetInEnvironment returns the variables that options were read from, none of which is a
// secret.
func SetInEnvironment(fs *FlagSet, getenv func(string) string) map[string]string {
	env := make(map[string]string)
	if value := getenv("OLLAMA_HOST"); value != "" {
		env["OLLAMA_HOST"] = value
	}
	fs.VisitAll(func(f *pflag.Flag) {
		if name := Variable(f.Name); from(f) == name {
			env[name] = getenv(name)
		}
	})
	return env
}
