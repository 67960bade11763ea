// Package budget bounds what hosts that cost money are asked in a day.
//
// It promises that no call begins once the calls or tokens of a day, in UTC, are
// used up, and that a restart forgets nothing: what was used is in a small file,
// which is read and written for every call, so that several programs may share it.
// A call under way is not cut: the tokens of those that began in time may exceed
// the budget. Of an answer that was cut short, only the pieces that came are known.
// Which hosts have a budget is left to the caller.
package budget

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Ledger is the file that holds what was used, by host.
type Ledger struct {
	file string
	mu   sync.Mutex // guards the file within this program, for the time of one update
}

// used is what a host was asked on a day.
type used struct {
	Day    string `json:"day"` // as 2006-01-02
	Calls  int    `json:"calls"`
	Tokens int    `json:"tokens"`
}

// Open returns the ledger in a file, which need not exist; its folder must. It
// fails if the file cannot be read and written, or holds anything else.
func Open(file string) (*Ledger, error) {
	l := &Ledger{file: file}
	if err := l.update("", func(*used) error { return nil }); err != nil {
		return nil, err
	}
	return l, nil
}

// update changes what a host has used today; nothing changes if change fails. Two
// programs may do so in the same moment, and one of the changes is lost then: a
// lock that holds on every system would cost more than that call.
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
	all := make(map[string]used)
	data, err := os.ReadFile(l.file)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &all)
		if err == nil && all == nil || err == nil && negative(all) {
			err = errors.New("these are no counts")
		}
		if err != nil {
			err = fmt.Errorf("%s: %w; mend the file, or delete it to begin the day anew", l.file, err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("daily budget: %w", err)
	}
	return all, nil
}

func negative(all map[string]used) bool {
	for _, u := range all {
		if u.Calls < 0 || u.Tokens < 0 {
			return true
		}
	}
	return false
}

// write replaces the file in one step, so that whoever reads it finds it whole.
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
	next, err := os.CreateTemp(filepath.Dir(l.file), filepath.Base(l.file)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(next.Name()) // gone already if all went well
	_, err = next.Write(append(data, '\n'))
	if err := errors.Join(err, next.Close()); err != nil {
		return err
	}
	return os.Rename(next.Name(), l.file)
}
