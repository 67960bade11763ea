package batch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/batch"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/files"
	"ollama-mcp/internal/inference"
)

func onDisk(dir string) *batch.Journals { return batch.NewJournals(batch.JournalOptions{Dir: dir}) }

// journalFile is the only file with answers in a directory.
func journalFile(t *testing.T, dir string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil || len(names) != 1 {
		t.Fatalf("there are the files %q (%v), want one", names, err)
	}
	return names[0]
}

// crashed copies a directory as another process finds it when this one has been killed.
func crashed(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestBatchGoesOnAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, dir := new(engine), t.TempDir()
		b, err := batch.New(t.Context(), spec(e, onDisk(dir), numbers(50)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, kill := context.WithCancel(t.Context())
		var left string
		time.AfterFunc(5500*time.Millisecond, func() {
			left = crashed(t, dir) // as of now, before anything is closed
			kill()
		})
		b.Run(ctx)
		b.Close()
		e.asked()
		f, err := os.OpenFile(journalFile(t, left), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(`{"key":"half of a li`); err != nil { // which the crash has cut
			t.Fatal(err)
		}
		f.Close()
		got, sum := does(t, t.Context(), spec(e, onDisk(left), numbers(50)))
		if n := len(e.asked()); n != 30 || sum.Reused != 20 || sum.Answered != 50 {
			t.Errorf("%d were asked again: %+v", n, sum)
		}
		for i, output := range got {
			if output != fmt.Sprintf("re: say n%d", i) {
				t.Errorf("input %d has %q", i, output)
			}
		}
		if _, sum = does(t, t.Context(), spec(e, onDisk(left), numbers(50))); len(e.asked()) != 0 || sum.Reused != 50 {
			t.Errorf("a third time: %+v", sum)
		}
	})
}

func TestAnswersOfAModelThatWasPulledAnewAreAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tc := range []struct {
			before, now string
			reused      int
		}{
			{"a", "a", 3}, {"a", "b", 0}, {"a b", "b", 3}, {"b", "a b", 3}, // one of two hosts is away
			{"", "b", 3}, {"a", "", 3}, // it is not known yet what the hosts have
			{"a b", "c d", 0},
		} {
			dir := t.TempDir()
			for name, journals := range map[string]func() *batch.Journals{"disk": func() *batch.Journals { return onDisk(dir) }, "memory": sync.OnceValue(memory)} {
				e := &engine{digests: tc.before}
				does(t, t.Context(), spec(e, journals(), numbers(3)))
				e.digests = tc.now
				got, sum := does(t, t.Context(), spec(e, journals(), numbers(3)))
				if sum.Reused != tc.reused || sum.Answered != 3 || got[2] != "re: say n2" {
					t.Errorf("%s, %q and then %q: %+v", name, tc.before, tc.now, sum)
				}
			}
		}
	})
}

func TestProcessesShareADirectoryButNotABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, dir := new(engine), t.TempDir()
		mine, theirs := onDisk(dir), onDisk(dir)
		b, err := batch.New(t.Context(), spec(e, mine, numbers(4)))
		if err != nil {
			t.Fatal(err)
		}
		_, err = batch.New(t.Context(), spec(e, theirs, numbers(9))) // of which four are the same
		known, ok := errors.AsType[*fault.Error](err)
		if !ok || known.Code != fault.Overloaded || !known.Retryable || !strings.Contains(known.Error(), "another server works on the same") {
			t.Errorf("got %v", err)
		}
		other := spec(e, theirs, numbers(4))
		other.Template = batch.ParseTemplate("other {{input}}")
		if _, sum := does(t, t.Context(), other); sum.Answered != 4 {
			t.Errorf("another batch: %+v", sum)
		}
		b.Run(t.Context())
		b.Close()
		e.asked()
		if _, sum := does(t, t.Context(), spec(e, theirs, numbers(4))); len(e.asked()) != 0 || sum.Reused != 4 {
			t.Errorf("when it has ended: %+v", sum)
		}
	})
}

func TestSameBatchAtOnceInOneProcessSharesItsAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, j := range map[string]*batch.Journals{"memory": memory(), "disk": onDisk(t.TempDir())} {
			e := new(engine)
			one, err := batch.New(t.Context(), spec(e, j, numbers(8)))
			if err != nil {
				t.Fatal(err)
			}
			one.Run(t.Context())
			s := spec(e, j, numbers(8))
			s.Afresh = true // which takes nothing from the other
			two, err := batch.New(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			if got := outputs(one); got[7] != "re: say n7" {
				t.Errorf("%s: got %q", name, got)
			}
			one.Close()
			two.Run(t.Context())
			if got := outputs(two); got[7] != "re: say n7" {
				t.Errorf("%s: got %q", name, got)
			}
			two.Close()
		}
	})
}

func TestStateDirectoryThatCannotBeUsedCostsOnlyTheResume(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		j := batch.NewJournals(batch.JournalOptions{Dir: file, Log: slog.New(slog.NewTextHandler(&log, nil))})
		_, sum := does(t, t.Context(), spec(new(engine), j, numbers(9)))
		if sum.Answered != 9 || strings.Count(log.String(), "level=WARN") != 1 || !strings.Contains(log.String(), "--state-dir") {
			t.Errorf("got %+v, and the log %q", sum, &log)
		}
	})
}

func TestAnswersInMemoryAreBoundedAndTheOldestMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{answer: func(context.Context, string) (*inference.Response, error) {
			return &inference.Response{Text: strings.Repeat("x", 1000)}, nil
		}}
		j := batch.NewJournals(batch.JournalOptions{Bytes: 10 * (1000 + 250)})
		s := func(prompt string, n int) batch.Spec {
			s := spec(e, j, numbers(n))
			s.Template = batch.ParseTemplate(prompt + "{{input}}")
			return s
		}
		for _, prompt := range []string{"a", "b", "c"} {
			if _, sum := does(t, t.Context(), s(prompt, 4)); sum.Answered != 4 {
				t.Errorf("%s: %+v", prompt, sum)
			}
			time.Sleep(time.Second)
		}
		for prompt, want := range map[string]int{"c": 4, "b": 4} {
			if _, sum := does(t, t.Context(), s(prompt, 4)); sum.Reused != want {
				t.Errorf("%s: %+v", prompt, sum)
			}
		}
		if _, sum := does(t, t.Context(), s("a", 4)); sum.Reused != 0 {
			t.Errorf("the oldest answers are still there: %+v", sum)
		}
		got, sum := does(t, t.Context(), s("d", 100))
		if sum.Stopped == nil || sum.Answered < 5 || sum.Answered > 12 || got[99] != "overloaded" || !strings.Contains(sum.Stopped.Error(), "--state-dir") {
			t.Errorf("more than there is room for: %+v", sum)
		}
	})
}

func TestOldFilesAreRemovedAndThoseInUseAreNot(t *testing.T) {
	dir := t.TempDir()
	old := time.Now().AddDate(0, 0, -30)
	for _, name := range []string{"old.jsonl", "old.lock", "new.jsonl", "other.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if name != "new.jsonl" {
			if err := os.Chtimes(filepath.Join(dir, name), old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	b, err := batch.New(t.Context(), spec(new(engine), onDisk(dir), numbers(1)))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for name, want := range map[string]bool{"old.jsonl": false, "old.lock": false, "new.jsonl": true, "other.txt": true} {
		if _, err := os.Stat(filepath.Join(dir, name)); errors.Is(err, fs.ErrNotExist) == want {
			t.Errorf("%s: %v, want it there: %t", name, err, want)
		}
	}
}

// Whatever a file holds, answers that are whole are found, others are asked for again, and what
// is written then is read again.
func FuzzJournal(f *testing.F) {
	key := fmt.Sprintf("%x", "say n00") // that the engine of these tests makes of "n0"
	f.Add([]byte(`{"key":"` + key + `","row":{"text":"kept"}}` + "\n"))
	f.Add([]byte(`{"key":"` + key + `","row":{"text":"kept"}}` + "\n" + `{"key":"`))
	f.Add([]byte("\x00\n{}\n{\"key\":\"" + key + "\",\"row\":[]}\nnull\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		e := &engine{answer: func(_ context.Context, prompt string) (*inference.Response, error) {
			return &inference.Response{Text: "re: " + prompt}, nil
		}}
		if _, sum := does(t, t.Context(), spec(e, onDisk(dir), numbers(1))); sum.Answered != 1 {
			t.Fatal("the first time")
		}
		if err := os.WriteFile(journalFile(t, dir), data, 0o600); err != nil {
			t.Fatal(err)
		}
		e.asked()
		got, sum := does(t, t.Context(), spec(e, onDisk(dir), numbers(3)))
		if sum.Answered != 3 || got[1] != "re: say n1" || len(e.asked()) != 3-sum.Reused {
			t.Errorf("with %q: %q, %+v", data, got, sum)
		}
		again, sum := does(t, t.Context(), spec(e, onDisk(dir), numbers(3)))
		if sum.Reused != 3 || again[0] != got[0] || again[2] != got[2] || len(e.asked()) != 0 {
			t.Errorf("then %q, %+v", again, sum)
		}
	})
}

// allowed are the files of a new directory with some contents.
func allowed(t *testing.T, contents map[string]string) (dir string, dirs *files.Dirs) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range contents {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dirs, err := files.New([]string{dir}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return dir, dirs
}

func TestLinesAreInputsAndThoseOfJSONLAreJSON(t *testing.T) {
	_, dirs := allowed(t, map[string]string{
		"a.txt":   "{one}\n\n\"two\"\n",
		"b.jsonl": "{\"x\":1}\n\"text\"\n 5 \r\n",
		"c.jsonl": "{\"x\":1}\n{broken\n",
	})
	read := func(name string) batch.Lines {
		lines, err := dirs.Lines(t.Context(), "lines", []string{name}, 10, 1000)
		if err != nil {
			t.Fatal(err)
		}
		return batch.Lines{Lines: lines}
	}
	synctest.Test(t, func(t *testing.T) {
		for name, want := range map[string]string{
			"a.txt":   "re: say {one}|re: say \"two\"",
			"b.jsonl": "re: say {\"x\":1}|re: say text|re: say 5",
		} {
			got, _ := does(t, t.Context(), spec(new(engine), memory(), read(name)))
			if strings.Join(got, "|") != want {
				t.Errorf("%s: got %q", name, got)
			}
		}
		_, err := batch.New(t.Context(), spec(new(engine), memory(), read("c.jsonl")))
		if known, ok := errors.AsType[*fault.Error](err); !ok || known.Code != fault.InvalidArgument || !strings.Contains(known.Message, "c.jsonl:2 is not JSON") {
			t.Errorf("got %v", err)
		}
	})
}

func TestFileThatChangesMeanwhileFailsAlone(t *testing.T) {
	dir, dirs := allowed(t, map[string]string{"a.txt": "alpha", "b.txt": "beta", "c.txt": "gamma"})
	list, err := dirs.List(t.Context(), "files", []string{"*.txt"}, 10)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := spec(new(engine), memory(), batch.Files{List: list})
		s.Template = batch.ParseTemplate("{{name}}: {{input}}")
		b, err := batch.New(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		if err := os.Remove(filepath.Join(dir, "b.txt")); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "c.txt"), []byte("other"), 0o600); err != nil {
			t.Fatal(err)
		}
		b.Run(t.Context())
		if got := outputs(b); got[0] != "re: a.txt: alpha" || got[1] != "invalid_argument" || got[2] != "invalid_argument" || b.Item(1).Name != "b.txt" {
			t.Errorf("got %q", got)
		}
	})
}
