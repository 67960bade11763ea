package calllog

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"ollama-mcp/internal/durable"
)

// file is the file that lines are appended to. Somebody else may rename, remove or truncate
// it at any time, and other servers may append to it and rotate it as well.
type file struct {
	Options
	open    func(name string) (handle, error) // openFile, except in tests
	now     handle                            // nil if it is not open
	torn    bool                              // it ends in a part of a line
	began   time.Time                         // when its first line was written; the zero Time if it has none
	retryAt time.Time                         // when a file that could not be written is tried again
	lastErr error                             // why it could not
	badTurn bool                              // the last rotation failed
}

// handle is an open file.
type handle interface {
	io.Writer
	io.ReaderAt
	io.Closer
	Stat() (fs.FileInfo, error)
}

// retryAfter is the time after which a file that could not be written is tried again.
const retryAfter = 5 * time.Second

// write appends whole lines. n is how many bytes are in the file even if it fails.
func (f *file) write(lines []byte) (n int, err error) {
	if time.Now().Before(f.retryAt) {
		return 0, f.lastErr
	}
	if n, err = f.append(lines); err != nil {
		f.close() // it is opened anew then: it may be another one, on another disk
		f.retryAt, f.lastErr = time.Now().Add(retryAfter), err
		return n, err
	}
	f.retryAt = time.Time{}
	return n, nil
}

func (f *file) append(lines []byte) (n int, err error) {
	if f.now != nil && f.isReplaced() {
		f.close()
	}
	if f.now == nil {
		if err := f.reopen(); err != nil {
			return 0, err
		}
	}
	if err := f.rotateIfDue(int64(len(lines))); err != nil {
		return 0, err
	}
	// So that only the line that is torn cannot be read. If another server was in the middle of
	// it, there is an empty line, which readers skip.
	if f.torn {
		if _, err := f.now.Write(newline); err != nil {
			return 0, err
		}
		f.torn = false
	}
	if f.began.IsZero() {
		f.began = time.Now()
	}
	return f.now.Write(lines)
}

// isReplaced reports whether the name stands for another file by now, or for none.
func (f *file) isReplaced() bool {
	open, err := f.now.Stat()
	if err != nil {
		return true
	}
	named, err := os.Stat(f.File)
	return err != nil || !os.SameFile(open, named)
}

func (f *file) reopen() error {
	now, err := f.open(f.File)
	if err != nil {
		return err
	}
	info, err := now.Stat()
	if err != nil {
		return errors.Join(err, now.Close())
	}
	f.now, f.torn, f.began = now, false, time.Time{}
	if size := info.Size(); size > 0 {
		last := make([]byte, 1)
		_, err := now.ReadAt(last, size-1)
		f.torn = err == nil && last[0] != '\n'
		f.began = f.firstTime()
	}
	return nil
}

// openFile opens a file to append to it. It refuses what is no file, such as a pipe, since
// writing to that could block for ever.
func openFile(name string) (handle, error) {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("not a regular file")}
	}
	return os.OpenFile(name, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
}

func (f *file) close() {
	if f.now != nil {
		_ = f.now.Close() // what was written is in the file
		f.now = nil
	}
}

var timestamp = regexp.MustCompile(`^\{"timestamp":"([^"]+)"`)

// firstTime is when the first line of the file was written; now if it does not say.
func (f *file) firstTime() time.Time {
	head := make([]byte, 64)
	n, _ := f.now.ReadAt(head, 0) // what cannot be read has no time
	now := time.Now()
	if found := timestamp.FindSubmatch(head[:n]); found != nil {
		if at, err := time.Parse(time.RFC3339Nano, string(found[1])); err == nil && at.Before(now) {
			return at
		}
	}
	return now
}

// rotateIfDue rotates the file if it is too old, or would become too large by more bytes. A
// file that cannot be rotated is written to nevertheless.
func (f *file) rotateIfDue(more int64) error {
	info, err := f.now.Stat()
	if err != nil {
		return err
	}
	if time.Until(f.began) > 0 { // the clock was set back
		f.began = time.Now()
	}
	isTooLarge := f.MaxSize > 0 && info.Size()+more > f.MaxSize
	isTooOld := f.MaxAge > 0 && time.Since(f.began) > f.MaxAge
	if info.Size() == 0 || !isTooLarge && !isTooOld {
		return nil
	}
	if err := f.rotate(); err != nil && !errors.Is(err, durable.ErrLocked) {
		if !f.badTurn {
			f.Log.Warn("the call log cannot be rotated, and grows on", "file", f.File, "error", err)
		}
		f.badTurn = true
	} else if err == nil {
		f.badTurn = false
	}
	if f.now == nil {
		return f.reopen()
	}
	return nil
}

// rotate renames the file, and removes the oldest ones that were rotated before. Another
// server that has the same file rotates it at another time, or not at all.
func (f *file) rotate() error {
	unlock, err := durable.TryLock(f.lockName())
	if err != nil {
		return err
	}
	defer unlock()
	replaced := f.isReplaced()
	f.close() // before it is renamed, as Windows wants it
	if replaced {
		return nil
	}
	if err := os.Rename(f.File, f.rotatedName()); err != nil {
		return err
	}
	return f.prune()
}

func (f *file) lockName() string {
	return filepath.Join(filepath.Dir(f.File), "."+filepath.Base(f.File)+".lock")
}

// rotatedForm is the time in the names of rotated files, which sort by it.
const rotatedForm = "20060102T150405.000Z"

// rotatedName is calls-20060102T150405.000Z.jsonl for calls.jsonl.
func (f *file) rotatedName() string {
	ext := filepath.Ext(f.File)
	stem := strings.TrimSuffix(f.File, ext)
	for at := time.Now().UTC(); ; at = at.Add(time.Millisecond) {
		name := stem + "-" + at.Format(rotatedForm) + ext
		if _, err := os.Lstat(name); err != nil { // it does not exist, or renaming says what is wrong
			return name
		}
	}
}

// prune removes the oldest of the rotated files.
func (f *file) prune() error {
	if f.Keep == 0 {
		return nil
	}
	rotated, err := rotatedFiles(f.File)
	for _, old := range rotated[:max(0, len(rotated)-f.Keep)] {
		err = errors.Join(err, os.Remove(old))
	}
	return err
}

// rotatedFiles returns the files that a call log has been renamed to, the oldest first.
func rotatedFiles(name string) (files []string, err error) {
	dir, base := filepath.Dir(name), filepath.Base(name)
	entries, err := os.ReadDir(dir)
	ext := filepath.Ext(base)
	stem := strings.TrimSuffix(base, ext) + "-"
	for _, entry := range entries {
		at, isOurs := strings.CutPrefix(strings.TrimSuffix(entry.Name(), ext), stem)
		if _, bad := time.Parse(rotatedForm, at); isOurs && bad == nil && strings.HasSuffix(entry.Name(), ext) {
			files = append(files, filepath.Join(dir, entry.Name()))
		}
	}
	slices.Sort(files)
	return files, err
}
