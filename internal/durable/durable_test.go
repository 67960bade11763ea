package durable

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

func TestMain(m *testing.M) {
	if file := os.Getenv("DURABLE_COUNT_IN"); file != "" {
		if err := count(file, 25); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

// count adds 1 to the number in a file, again and again.
func count(file string, times int) error {
	for range times {
		unlock, err := Lock(context.Background(), file+".lock")
		if err != nil {
			return err
		}
		n := 0
		if text, err := os.ReadFile(file); err == nil {
			if n, err = strconv.Atoi(string(text)); err != nil {
				return err
			}
		}
		err = Write(file, []byte(strconv.Itoa(n+1)))
		unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

func TestNoUpdateIsLostBetweenProcessesAndGoroutines(t *testing.T) {
	file := filepath.Join(t.TempDir(), "n")
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			other := exec.Command(os.Args[0])
			other.Env = append(os.Environ(), "DURABLE_COUNT_IN="+file)
			if out, err := other.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
		wg.Go(func() {
			if err := count(file, 25); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got, err := os.ReadFile(file); err != nil || string(got) != "150" {
		t.Errorf("counted %q (%v), want 150", got, err)
	}
}

func TestLockThatIsHeldIsToldAndWaitedForUntilTheContextEnds(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	unlock, err := TryLock(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := TryLock(name); !errors.Is(err, ErrLocked) {
		t.Errorf("second lock: %v, want ErrLocked", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Lock(ctx, name); !errors.Is(err, context.Canceled) {
		t.Errorf("lock after the context ended: %v, want context.Canceled", err)
	}
	unlock()
	if unlock, err = TryLock(name); err != nil {
		t.Fatalf("after the lock was given back: %v", err)
	}
	unlock()
}

// A power cut may come at any moment, so the contents must reach the disk before the name does.
func TestContentsAreOnTheDiskBeforeTheyHaveTheirName(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	if err := Write(file, []byte("old")); err != nil {
		t.Fatal(err)
	}
	var synced []string
	err := write(file, []byte("new"), 0o600, os.Rename, func(f *os.File) error {
		if f.Name() == dir {
			expect(t, file, "new")
			synced = append(synced, "directory")
			return nil
		}
		expect(t, f.Name(), "new")
		expect(t, file, "old")
		synced = append(synced, "file")
		return f.Sync()
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"file", "directory"}
	if runtime.GOOS == "windows" {
		want = want[:1]
	}
	if !slices.Equal(synced, want) {
		t.Errorf("synced %q, want %q", synced, want)
	}
}

func TestWriteThatFailsLeavesTheOldContentsAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	if err := Write(file, []byte("old")); err != nil {
		t.Fatal(err)
	}
	full := errors.New("no space left on device")
	if err := write(file, []byte("new"), 0o600, os.Rename, func(*os.File) error { return full }); !errors.Is(err, full) {
		t.Errorf("error %v, want %v", err, full)
	}
	expect(t, file, "old")
	expectFiles(t, dir, "f")
	if err := Write(filepath.Join(dir, "missing", "f"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a directory that is missing: %v, want fs.ErrNotExist", err)
	}
}

func TestOfManyThatCreateAFileOneSucceeds(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	var created []string
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			text := strings.Repeat(strconv.Itoa(i), 1000)
			err := Create(file, []byte(text))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				created = append(created, text)
			} else if !errors.Is(err, fs.ErrExist) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(created) != 1 {
		t.Fatalf("%d created it, want one", len(created))
	}
	expect(t, file, created[0])
	expectFiles(t, dir, "f")
}

func TestFileSetAsideKeepsItsContentsAndReplacesNoOther(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	kept := make(map[string]bool)
	for _, text := range []string{"one", "two", "three"} {
		if err := Write(file, []byte(text)); err != nil {
			t.Fatal(err)
		}
		aside, err := SetAside(file)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, aside, text)
		kept[aside] = true
	}
	if len(kept) != 3 {
		t.Errorf("kept as %v, want three names", kept)
	}
}

func expect(t *testing.T, file, want string) {
	t.Helper()
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("%s holds %.20q (%v), want %.20q", file, got, err, want)
	}
}

func expectFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("the directory has %q, want %q", got, want)
	}
}
