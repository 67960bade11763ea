package reload_test

import (
	"context"
	"crypto/sha256"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/reload"
)

// watched is a folder with files that are watched, in a bubble.
type watched struct {
	*testing.T
	signals chan os.Signal
	loads   atomic.Int64
	names   atomic.Pointer[[]string] // of the files that load reads
}

// watch watches the file a, which holds "1", while story goes on.
func watch(t *testing.T, story func(w *watched)) {
	t.Helper()
	t.Chdir(t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		w := &watched{T: t, signals: make(chan os.Signal)}
		w.names.Store(&[]string{"a"})
		w.write("a", "1")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		files := w.read()
		go reload.Watch(ctx, files, w.signals, func() reload.Files {
			w.loads.Add(1)
			return w.read()
		})
		story(w)
	})
}

// read is what a program does to load its configuration.
func (w *watched) read() reload.Files {
	files := make(reload.Files)
	for _, name := range *w.names.Load() {
		files[name] = [sha256.Size]byte{}
		if data, err := os.ReadFile(name); err == nil {
			files[name] = sha256.Sum256(data)
		}
	}
	return files
}

func (w *watched) write(name, text string) {
	w.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
}

// want lets some looks pass, and says how often the files were loaded so far.
func (w *watched) want(loads int64, looks int) {
	w.Helper()
	time.Sleep(time.Duration(looks) * reload.Every)
	synctest.Wait()
	if got := w.loads.Load(); got != loads {
		w.Errorf("loaded %d times, want %d", got, loads)
	}
}

func TestChangeIsLoadedOnce(t *testing.T) {
	watch(t, func(w *watched) {
		w.want(0, 10)
		w.write("a", "2")
		w.want(1, 2)
		w.want(1, 10)
		w.write("a", "1")
		w.want(2, 2)
	})
}

func TestChangeBeforeTheFirstLookIsSeen(t *testing.T) {
	watch(t, func(w *watched) {
		w.write("a", "2")
		w.want(1, 2)
	})
}

func TestSameContentWrittenAgainIsNoChange(t *testing.T) {
	watch(t, func(w *watched) {
		w.write("a", "1")
		w.want(0, 10)
	})
}

func TestFileIsLeftAloneWhileItIsBeingWritten(t *testing.T) {
	watch(t, func(w *watched) {
		for _, text := range []string{"", "2", "23", "234"} {
			w.write("a", text)
			w.want(0, 1)
		}
		w.want(1, 1)
	})
}

func TestFileThatIsGoneForAMomentIsNotLoaded(t *testing.T) {
	watch(t, func(w *watched) {
		if err := os.Remove("a"); err != nil {
			w.Fatal(err)
		}
		w.want(0, 1)
		w.write("a", "1")
		w.want(0, 10)
	})
}

func TestReplacedFileIsSeen(t *testing.T) {
	watch(t, func(w *watched) {
		w.write("new", "2")
		if err := os.Rename("new", "a"); err != nil {
			w.Fatal(err)
		}
		w.want(1, 2)
	})
}

func TestSignalLoadsAtOnce(t *testing.T) {
	watch(t, func(w *watched) {
		w.signals <- os.Interrupt
		w.want(1, 0)
		w.write("a", "2")
		w.signals <- os.Interrupt
		w.want(2, 0)
		w.want(2, 10)
	})
}

func TestFilesThatWereLoadedAreWatchedFromThenOn(t *testing.T) {
	watch(t, func(w *watched) {
		w.names.Store(&[]string{"b"}) // is not there yet
		w.write("a", "2")
		w.want(1, 2)
		w.write("a", "3")
		w.want(1, 10)
		w.write("b", "1")
		w.want(2, 2)
	})
}

// As Kubernetes mounts a ConfigMap.
func TestFileBehindALinkThatMovesIsSeen(t *testing.T) {
	watch(t, func(w *watched) {
		for _, version := range []string{"v1", "v2"} {
			if err := os.Mkdir(version, 0o700); err != nil {
				w.Fatal(err)
			}
			w.write(version+"/a", version)
		}
		link(w, "v1", "data")
		w.names.Store(&[]string{"data/a"})
		w.signals <- os.Interrupt
		w.want(1, 10)
		link(w, "v2", "data")
		w.want(2, 2)
	})
}

// link makes name a link to target, in one step.
func link(w *watched, target, name string) {
	w.Helper()
	if err := os.Symlink(target, name+"-new"); err != nil {
		w.Fatal(err)
	}
	if err := os.Rename(name+"-new", name); err != nil {
		w.Fatal(err)
	}
}
