package files_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/files"
)

// obeyModes takes from this thread, which ends with the test, the rights by which root may use
// files whatever their mode says.
func obeyModes(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // and never unlocked, so that nothing else runs on the thread
	const version3 = 0x20080522
	header := struct {
		version uint32
		pid     int32
	}{version: version3}
	var sets [2]struct{ effective, permitted, inheritable uint32 }
	const override, readSearch = 1 << 1, 1 << 2 // CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
	if _, _, errno := syscall.RawSyscall(syscall.SYS_CAPGET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&sets)), 0); errno != 0 {
		t.Fatal(errno)
	}
	sets[0].effective &^= override | readSearch
	if _, _, errno := syscall.RawSyscall(syscall.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&sets)), 0); errno != 0 {
		t.Fatal(errno)
	}
}

func TestFileThatTheServerMayNotUseIsRefusedInPlainWords(t *testing.T) {
	dir := tree(t, map[string]string{"a.txt": "A", "locked.txt": "L", "shut/b.txt": "B", "fixed/c.txt": "C"})
	for name, mode := range map[string]os.FileMode{"locked.txt": 0, "shut": 0, "fixed": 0o500} {
		name := filepath.Join(dir, name)
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(name, 0o700) }) // so that the directory can be removed
	}
	d := allow(t, []string{dir}, []string{dir})
	obeyModes(t)
	const refused = ": may not be used by the user that this server runs as"
	for pattern, want := range map[string]string{
		"a.txt":      "a.txt=A",
		"**/[abc].*": "a.txt=A fixed/c.txt=C", // what is in a directory that cannot be read is left out
		"locked.txt": `invalid_argument argument "files": locked.txt` + refused,
		"l*.txt":     `invalid_argument argument "files": locked.txt` + refused,
		"*.txt":      `a.txt=A locked.txt` + refused,
		"shut/b.txt": `invalid_argument argument "files[0]": shut/b.txt` + refused,
		"shut/*":     `invalid_argument argument "files[0]": shut/*` + refused,
	} {
		if got := outcome(d.Read(t.Context(), "files", []string{pattern}, files.Limits{})); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", pattern, got, want)
		}
	}
	if _, err := d.Lines(t.Context(), "lines", []string{"locked.txt"}, 1, 1); err == nil || !strings.HasSuffix(err.Error(), refused) {
		t.Errorf("lines: %v", err)
	}
	for _, name := range []string{"shut/new", "fixed/new"} {
		out, err := d.Create("output_file", name, false)
		if err == nil {
			_, err = out.Write(func(io.Writer) error { return nil })
		}
		if err == nil || fault.Of(err).Message != `argument "output_file": `+name+refused {
			t.Errorf("writing %s: %v", name, err)
		}
	}
}

// open is how many files this process has open.
func open(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestLinesOfManyFilesKeepNoneOfThemOpen(t *testing.T) {
	contents := make(map[string]string)
	for i := range 200 {
		contents[fmt.Sprintf("%d.txt", i)] = fmt.Sprintf("line of %d\n", i)
	}
	d := allow(t, []string{tree(t, contents)}, nil)
	before := open(t)
	lines, err := d.Lines(t.Context(), "lines", []string{"*.txt"}, 200, 100)
	if err != nil {
		t.Fatal(err)
	}
	for i := range lines.Len() {
		if _, err := lines.Read(i); err != nil {
			t.Fatal(err)
		}
	}
	if now := open(t); lines.Len() != 200 || now != before {
		t.Errorf("with %d lines %d files are open, want %d as before", lines.Len(), now, before)
	}
}
