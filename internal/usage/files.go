package usage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ollama-mcp/internal/durable"
)

// Each day has a file, so that writing the counts of today does not take longer from year to
// year. A file is read, added to and replaced under a lock, since other programs do the same.

const (
	fileVersion = 1
	keepDays    = 400
	lockTimeout = 5 * time.Second
)

// file is what the file of a day holds.
type file struct {
	Version int              `json:"version"`
	Rows    []Row            `json:"rows"`
	Spent   map[string]Spent `json:"spent"` // of the budgets of callers
}

// errBroken is in the error of reading a file that holds anything but counts.
var errBroken = errors.New("the file does not hold the usage of a day")

// Flush adds the counts that are in no file to the files, and learns what other programs have
// added. What cannot be written is kept for the next time.
func (u *Usage) Flush() {
	u.flushing.Lock()
	defer u.flushing.Unlock()
	u.mu.Lock()
	writing := u.pending
	u.pending = make(map[string]*day)
	u.mu.Unlock()
	if writing[today()] == nil {
		writing[today()] = newDay()
	}
	err := u.locked(func() (err error) {
		for name, d := range writing {
			stored, bad := u.addToFile(name, d)
			if bad != nil {
				err = bad
				continue
			}
			delete(writing, name)
			u.mu.Lock()
			if name == today() {
				u.stored = map[string]*day{name: stored}
			}
			u.mu.Unlock()
		}
		return err
	})
	u.mu.Lock()
	for name, d := range writing { // what could not be written
		history(u.pending).add(name, d)
	}
	u.mu.Unlock()
	switch {
	case err != nil && !u.down:
		u.opts.Log.Warn("usage cannot be kept in the state directory; it is counted in memory until it can", "error", err)
	case err == nil && u.down:
		u.opts.Log.Info("usage is kept in the state directory again")
	}
	u.down = err != nil
}

func (u *Usage) locked(f func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), lockTimeout)
	defer cancel()
	unlock, err := durable.Lock(ctx, filepath.Join(u.opts.Dir, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	return f()
}

// addToFile adds counts to the file of a day, and returns all that is in it then. A file that
// makes no sense is set aside.
func (u *Usage) addToFile(name string, more *day) (all *day, err error) {
	path := u.path(name)
	all, err = read(path)
	if errors.Is(err, errBroken) {
		aside, failed := durable.SetAside(path)
		if failed != nil {
			return nil, failed
		}
		u.opts.Log.Warn("broken file of usage set aside; the day is counted anew", "file", aside, "error", err)
		all, err = newDay(), nil
	}
	if err != nil || len(more.rows)+len(more.spent) == 0 {
		return all, err
	}
	all.merge(more)
	f := file{Version: fileVersion, Rows: history{name: all}.rows("", true), Spent: all.spent}
	data, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	if err := durable.Write(path, append(data, '\n')); err != nil {
		return nil, err
	}
	return all, u.prune()
}

func (u *Usage) path(name string) string { return filepath.Join(u.opts.Dir, name+".json") }

// read reads the file of a day; no file is a day without usage.
func read(path string) (*day, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newDay(), nil
	}
	if err != nil {
		return nil, err
	}
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("%w: %w", errBroken, err)
	}
	if f.Version != fileVersion {
		return nil, fmt.Errorf("%w: it is of version %d, and this program knows version %d", errBroken, f.Version, fileVersion)
	}
	d := newDay()
	for _, r := range f.Rows {
		if r.Calls < 0 || r.Failed < 0 || r.TokensIn < 0 || r.TokensOut < 0 {
			return nil, fmt.Errorf("%w: counts are below 0", errBroken)
		}
		k := key{r.Caller, r.Model, r.Source}
		sum := d.rows[k]
		sum.Add(r.Counts)
		d.rows[k] = sum
	}
	for who, s := range f.Spent {
		if s.Calls < 0 || s.Tokens < 0 {
			return nil, fmt.Errorf("%w: counts are below 0", errBroken)
		}
		d.spent[who] = s
	}
	return d, nil
}

// dayOf is the day of a file; false for a file of anything else.
func dayOf(name string) (day string, ok bool) {
	day, ok = strings.CutSuffix(name, ".json")
	_, err := time.Parse(time.DateOnly, day)
	return day, ok && err == nil
}

// readSince reads the files from a day on. A broken one is left out, and is in the error.
func (u *Usage) readSince(since string) (history, error) {
	all := make(history)
	if u.opts.Dir == "" {
		return all, nil
	}
	entries, err := os.ReadDir(u.opts.Dir)
	for _, entry := range entries {
		name, ok := dayOf(entry.Name())
		if !ok || name < since {
			continue
		}
		d, bad := read(u.path(name))
		if bad != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", entry.Name(), bad))
			continue
		}
		all.add(name, d)
	}
	return all, err
}

// prune removes the files of days long ago.
func (u *Usage) prune() error {
	entries, err := os.ReadDir(u.opts.Dir)
	oldest := time.Now().UTC().AddDate(0, 0, -keepDays).Format(time.DateOnly)
	for _, entry := range entries {
		if name, ok := dayOf(entry.Name()); ok && name < oldest {
			err = errors.Join(err, os.Remove(u.path(name)))
		}
	}
	return err
}

// Open reads the usage that servers keep in a directory, to look at it.
func Open(dir string) (*Usage, error) {
	if _, err := os.ReadDir(dir); err != nil {
		return nil, err
	}
	return &Usage{opts: Options{Dir: dir}}, nil
}
