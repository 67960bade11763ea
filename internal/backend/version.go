package backend

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Version is a version of Ollama.
type Version [3]int

// ParseVersion reads a version as a host tells it; not ok if it is none, or that of a build
// from source, which is 0.0.0.
func ParseVersion(said string) (v Version, ok bool) {
	_, err := fmt.Sscanf(said, "%d.%d.%d", &v[0], &v[1], &v[2])
	return v, err == nil && v != Version{}
}

// Before reports whether v is older than another version.
func (v Version) Before(other Version) bool { return slices.Compare(v[:], other[:]) < 0 }

// Defaults tells apart the versions that answer the same request in other ways, since they
// set options that it leaves open to other values: repeat_penalty is 1.1 before 0.32.10.
// It is "" for versions before, and for one that is not known.
func Defaults(version string) string {
	if v, ok := ParseVersion(version); ok && !v.Before(Version{0, 32, 10}) {
		return "repeat_penalty 1.0"
	}
	return ""
}

// APIVersion is the version of Ollama that the types of this package are from. A host that is
// newer may have options which they lack.
var APIVersion = Version{0, 34, 0}

// optionsSince are the versions that the options came with which not all hosts in use have.
var optionsSince = map[string]Version{"draft_num_predict": {0, 30, 0}}

// NewerOptions are the names of options that came with a later version of Ollama than that of
// a host, which drops them and says nothing. A version that is not known has all of them.
func NewerOptions(options map[string]any, version string) (newer []string) {
	v, ok := ParseVersion(version)
	for _, name := range slices.Sorted(maps.Keys(options)) {
		if since, listed := optionsSince[name]; listed && ok && v.Before(since) {
			newer = append(newer, name)
		}
	}
	return newer
}

// MayBeNewer reports whether there are versions in use that lack one of the options.
func MayBeNewer(options map[string]any) bool {
	for name := range optionsSince {
		if _, given := options[name]; given {
			return true
		}
	}
	return false
}

// optionNames are the names of Options in JSON.
var optionNames = func() (names []string) {
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Options]()) {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}()

// OptionNames are the names of all options that Ollama has as of APIVersion.
func OptionNames() []string { return slices.Clone(optionNames) }

// UnknownOptions are the names of options that Ollama does not have as of APIVersion.
func UnknownOptions(options map[string]any) (unknown []string) {
	for name := range options {
		if _, known := slices.BinarySearch(optionNames, name); !known {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}
