package files

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A pattern may match nothing and still have a million files looked at.
func TestSearchLooksAtNoMoreEntriesThanItMay(t *testing.T) {
	dir := t.TempDir()
	for i := range 30 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, err := New([]string{dir}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for budget, want := range map[int]string{30: "matches no file", 29: "to be looked at"} {
		if _, _, err := d.find(t.Context(), "**/*.none", 10, &budget); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
