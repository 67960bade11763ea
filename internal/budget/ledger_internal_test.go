package budget

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// A power cut may come at any moment. So the new contents reach the disk before the new name
// does, and the name before the call is made that was counted.
func TestFileIsOnTheDiskBeforeItTakesThePlaceOfTheOld(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "budget.json")
	l, err := Open(file, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	counts := func(name string) bool {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(data), "cloud")
	}
	var synced []string
	l.flush = func(f *os.File) error {
		if f.Name() == dir {
			synced = append(synced, "folder")
			if !counts(file) {
				t.Error("the folder is synced before the file has its name")
			}
			return nil
		}
		synced = append(synced, "file")
		if !counts(f.Name()) || counts(file) {
			t.Error("the file is synced before it is whole, or after it has its name")
		}
		return f.Sync()
	}
	count := func(u *used) error { u.Calls++; return nil }
	if err := l.update("cloud", count); err != nil {
		t.Fatal(err)
	}
	want := []string{"file", "folder"}
	if runtime.GOOS == "windows" {
		want = want[:1]
	}
	if !slices.Equal(synced, want) {
		t.Errorf("synced %q, want %q", synced, want)
	}

	full := errors.New("no space left on device")
	l.flush = func(*os.File) error { return full }
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.update("other", count); !errors.Is(err, full) {
		t.Errorf("got %v, want %v", err, full)
	}
	if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
		t.Errorf("a file that did not reach the disk took the place of the old: %q, %v", after, err)
	}
}
