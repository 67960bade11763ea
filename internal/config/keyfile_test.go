package config

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func line(name string, n int) string { return fmt.Sprintf("- {name: %q, sha256: %064x}", name, n) }

func TestKeysAreAddedAndRemovedAndTheRestStays(t *testing.T) {
	long := "# who may call\n- name: a # the first\n  sha256: " + strings.Repeat("0", 63) + "1\n  tools: [chat,\n    generate]\n# the second\n" + line("b", 2) + "\n# end"
	for _, c := range []struct{ name, text, remove, want, err string }{
		{"the first, over several lines", long, "a", "# who may call\n# the second\n" + line("b", 2) + "\n# end", ""},
		{"the second", long, "b", strings.Replace(long, line("b", 2)+"\n", "", 1), ""},
		{"the only one", line("a", 1) + "\n", "a", "[]\n", ""},
		{"one that is not there", long, "c", "", "there is no key"},
		{"in a list on one line", "[" + line("a", 1)[2:] + ", " + line("b", 2)[2:] + "]\n", "a", "", "by hand"},
		{"in a broken file", "- {name: a", "a", "", "1:"},
		{"in an empty file", "", "a", "", "there is no key"},
	} {
		got, err := RemoveKey([]byte(c.text), c.remove)
		if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) || c.err == "" && (err != nil || string(got) != c.want) {
			t.Errorf("%s: %v\n%s\nwant %s\n%s", c.name, err, got, c.err, c.want)
		}
	}
	for _, c := range []struct{ name, text, want, err string }{
		{"to nothing", "", line("z", 9) + "\n", ""},
		{"to an empty list", "[]\n", line("z", 9) + "\n", ""},
		{"to a file without an end of line", "# x\n" + line("a", 1), "# x\n" + line("a", 1) + "\n" + line("z", 9) + "\n", ""},
		{"of a name that is taken", line("z", 1) + "\n", "", "another key has that name"},
		{"to a list on one line", "[" + line("a", 1)[2:] + "]\n", "", "2:"},
	} {
		got, err := AddKey([]byte(c.text), line("z", 9))
		if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) || c.err == "" && (err != nil || string(got) != c.want) {
			t.Errorf("%s: %v\n%s\nwant %s\n%s", c.name, err, got, c.err, c.want)
		}
	}
}

// A file that keys are added to and removed from has those that should be there.
func TestKeyFileHoldsWhatWasAddedAndNotRemoved(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var text []byte
		has := make(map[string]bool)
		for n := range rapid.IntRange(1, 12).Draw(t, "steps") {
			name := rapid.SampledFrom([]string{"a", "b", "c.d", "e@f"}).Draw(t, "name")
			add := rapid.Bool().Draw(t, "add")
			edit := func() ([]byte, error) { return RemoveKey(text, name) }
			if add {
				edit = func() ([]byte, error) { return AddKey(text, line(name, n+1)) }
			}
			edited, err := edit()
			if want := has[name] != add; want != (err == nil) {
				t.Fatalf("add %v %s to\n%s: %v", add, name, text, err)
			}
			if err == nil {
				text, has[name] = edited, add
			}
			keys, err := ParseKeys(text)
			if err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			count := 0
			for _, yes := range has {
				if yes {
					count++
				}
			}
			if len(keys) != count {
				t.Fatalf("%d keys, want %d in\n%s", len(keys), count, text)
			}
		}
	})
}

func TestNamesOfKeysAreFitForLogs(t *testing.T) {
	for name, want := range map[string]bool{"ci": true, "a.b_c-d@e": true, "a b c": false, "": false, "-x": false, "a\nb": false, strings.Repeat("a", 65): false} {
		if err := CheckKeyName(name); (err == nil) != want {
			t.Errorf("%q: %v", name, err)
		}
	}
}
