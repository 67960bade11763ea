package app

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each row of the table of bounds names the tests that drive it to its bound, and the one in which an
// honest caller is answered beside a hostile one.
func TestEveryBoundHasATestThatDrivesItThereBesideAnHonestCaller(t *testing.T) {
	rows, tests := 0, make(testTexts)
	for line := range strings.Lines(read(t, "docs/security.md")) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 9 || strings.HasPrefix(cells[1], "-") || strings.TrimSpace(cells[1]) == "resource" {
			continue
		}
		rows++
		var folder string // of the tests that follow
		for name := range strings.SplitSeq(strings.TrimSpace(cells[6]), ", ") {
			if other, test, ok := strings.Cut(strings.TrimPrefix(name, "`"), "` "); ok {
				folder, name = other, test
			}
			if tests.one(t, folder, name) == "" {
				t.Errorf("%s: %s has no test %s", cells[1], folder, name)
			}
		}
		if problem := tests.besideAnHonestCaller(t, strings.TrimSpace(cells[7])); problem != "" {
			t.Errorf("%s: %s", cells[1], problem)
		}
	}
	if rows < 30 {
		t.Errorf("docs/security.md has only %d rows", rows)
	}
}

// besideAnHonestCaller says what is wrong with the last cell of a row: `server`: the name of an attack,
// `pool` the name of a test that has an honest caller, or `make soak`, which has one.
func (all testTexts) besideAnHonestCaller(t *testing.T, cell string) (problem string) {
	t.Helper()
	folder, name, ok := strings.Cut(strings.TrimPrefix(cell, "`"), "`")
	switch attack, isAttack := strings.CutPrefix(name, ": "); {
	case folder == "make soak" && strings.Contains(read(t, "internal/e2e/soak/soak.go"), "honest"):
		return ""
	case !ok:
		return "no test has an honest caller beside a hostile one"
	case isAttack && !strings.Contains(all.in(t, folder), fmt.Sprintf("name: %q", attack)):
		return folder + " has no attack " + attack
	case !isAttack && !strings.Contains(strings.ToLower(all.one(t, folder, strings.TrimSpace(name))), "honest"):
		return folder + " has no test" + name + " with an honest caller"
	}
	return ""
}

// testTexts are the texts of all tests in a folder, once somebody has asked for them.
type testTexts map[string]string

// one is the text of a test in a folder; "" if there is none.
func (all testTexts) one(t *testing.T, folder, name string) string {
	t.Helper()
	_, after, ok := strings.Cut(all.in(t, folder), "\nfunc "+name+"(t *testing.T)")
	if !ok {
		return ""
	}
	text, _, _ := strings.Cut(after, "\n}")
	return name + text
}

// in is the text of all tests in a folder.
func (all testTexts) in(t *testing.T, folder string) string {
	t.Helper()
	if text, ok := all[folder]; ok {
		return text
	}
	files, err := filepath.Glob(filepath.Join(root, folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var joined strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		joined.Write(text)
	}
	all[folder] = joined.String()
	return all[folder]
}
