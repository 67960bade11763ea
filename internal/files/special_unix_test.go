//go:build unix

package files_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"ollama-mcp/internal/files"
)

// A pipe that nobody writes to would be waited for for ever.
func TestPipesAndDevicesAreRefusedUntouched(t *testing.T) {
	dir := tree(t, map[string]string{"a.txt": "A"})
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.txt"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := allow(t, []string{dir, "/dev"}, nil)
	for pattern, want := range map[string]string{
		"pipe.txt":  "is a pipe, and not a regular file",
		"/dev/zero": "is a device, and not a regular file",
		"*.txt":     "a.txt=A",
	} {
		if got := outcome(d.Read(t.Context(), "files", []string{pattern}, files.Limits{})); !strings.HasSuffix(got, want) {
			t.Errorf("%s: got %q, want %q", pattern, got, want)
		}
	}
	if _, err := d.Lines(t.Context(), "lines", []string{"pipe.txt"}, 1, 1); err == nil {
		t.Error("lines of a pipe were found")
	}
}
