// Package budget limits what hosts that cost money are asked in a day.
//
// It promises that no call begins once the calls or tokens of a day, in UTC, are used up,
// and that neither a restart nor a power cut forgets what was used: it is kept in a small
// file, which is read and written for every call, so that several programs may share it.
// A call that is under way is not cut short, so the tokens of calls that began in time may
// exceed the budget. Of an answer that breaks off, only the pieces that arrived are known.
// Which hosts have a budget is left to the caller.
package budget

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

// Ledger is the file that holds what was used, by host.
type Ledger struct {
	file  string
	flush func(*os.File) error // (*os.File).Sync, but for tests
	mu    sync.Mutex           // guards the file within this program, for the time of one update
}

// used is what a host was asked on a day.
type used struct {
	Day    string `json:"day"` // as 2006-01-02
	Calls  int    `json:"calls"`
	Tokens int    `json:"tokens"`
}

// errBroken is in the error of reading a file that holds anything but counts.
var errBroken = errors.New("the file does not hold counts")

// Open returns the ledger in a file, which need not exist; its folder must. A file that is
// empty or broken is renamed, so that it can be looked at, and the day begins anew; log is
// told. Open fails if the file cannot be read and written.
func Open(file string, log *slog.Logger) (*Ledger, error) {
	l := &Ledger{file: file, flush: (*os.File).Sync}
	err := l.update("", func(*used) error { return nil })
	if errors.Is(err, errBroken) {
		aside := file + ".broken-" + time.Now().UTC().Format("20060102T150405Z")
		if err := os.Rename(file, aside); err != nil {
			return nil, fmt.Errorf("daily budget: %w", err)
		}
		log.Warn("broken file of daily budgets set aside; counting begins anew", "file", aside, "error", err)
		err = l.update("", func(*used) error { return nil })
	}
	if err != nil {
		return nil, err
	}
	return l, nil
}

// update changes what a host has used today; nothing changes if change fails. If two
// programs update the file in the same moment, one of the changes is lost: a lock that
// works on every system would cost more than that call.
func (l *Ledger) update(host string, change func(*used) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	all, err := l.read()
	if err != nil {
		return err
	}
	u := all[host]
	if today := time.Now().UTC().Format(time.DateOnly); u.Day != today {
		u = used{Day: today}
	}
	if err := change(&u); err != nil {
		return err
	}
	if host != "" {
		all[host] = u
	}
	return l.write(all)
}

func (l *Ledger) read() (map[string]used, error) {
	data, err := os.ReadFile(l.file)
	if errors.Is(err, fs.ErrNotExist) {
		return make(map[string]used), nil
	}
	if err != nil {
		return nil, fmt.Errorf("daily budget: %w", err)
	}
	var all map[string]used
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("daily budget: %s: %w: %w", l.file, errBroken, err)
	}
	if all == nil || hasNegative(all) {
		return nil, fmt.Errorf("daily budget: %s: %w", l.file, errBroken)
	}
	return all, nil
}

func hasNegative(all map[string]used) bool {
	for _, u := range all {
		if u.Calls < 0 || u.Tokens < 0 {
			return true
		}
	}
	return false
}

// write replaces the file in one step, so that readers find the old or the new file, and
// find it whole even after a power cut.
func (l *Ledger) write(all map[string]used) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("daily budget: %w", err)
		}
	}()
	data, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	dir := filepath.Dir(l.file)
	next, err := os.CreateTemp(dir, filepath.Base(l.file)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(next.Name()) // gone already if all went well
	_, err = next.Write(append(data, '\n'))
	if err == nil {
		err = l.flush(next) // or the name could reach the disk before the contents
	}
	if err := errors.Join(err, next.Close()); err != nil {
		return err
	}
	if err := os.Rename(next.Name(), l.file); err != nil {
		return err
	}
	return l.syncDir(dir)
}

// syncDir has the new name of a file reach the disk. Windows cannot do that for folders.
func (l *Ledger) syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(l.flush(d), d.Close())
}
