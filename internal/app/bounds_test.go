package app

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each row of the table of bounds names the tests that drive it to its bound.
func TestEveryBoundHasATestThatDrivesItThere(t *testing.T) {
	rows := 0
	for line := range strings.Lines(read(t, "docs/security.md")) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 8 || strings.HasPrefix(cells[1], "-") || strings.TrimSpace(cells[1]) == "resource" {
			continue
		}
		rows++
		var folder, source string // of the tests that follow
		for name := range strings.SplitSeq(strings.TrimSpace(cells[6]), ", ") {
			if other, test, ok := strings.Cut(strings.TrimPrefix(name, "`"), "` "); ok {
				folder, name, source = other, test, testsIn(t, other)
			}
			if !regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(name) + `\(t \*testing\.T\)`).MatchString(source) {
				t.Errorf("%s: %s has no test %s", cells[1], folder, name)
			}
		}
	}
	if rows < 20 {
		t.Errorf("docs/security.md has only %d rows", rows)
	}
}

// testsIn is the text of all tests in a folder.
func testsIn(t *testing.T, folder string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}
