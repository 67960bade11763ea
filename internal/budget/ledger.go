// Package budget limits what hosts that cost money are asked in a day.
//
// It promises that no call begins once the calls or tokens of a day, in UTC, are used up: not
// by any of several programs that share the file in which they are counted, or a tally, nor after a
// restart, a power cut, or a change of the clock. A call that is under way is not cut short, so
// the tokens of calls that began in time may exceed the budget. Of an answer that breaks off,
// only the pieces that arrived are known. Which hosts have a budget is left to the caller.
package budget

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"ollama-mcp/internal/durable"
	"ollama-mcp/internal/tally"
)

// Ledger is the file that holds what was used, by host.
type Ledger struct {
	// OnSpent is told of each host whose budget is found used up, and until when, again and
	// again. It must not block, and may be set before the first call. nil tells nobody.
	OnSpent func(host string, until time.Time)

	// Tally counts on all replicas, which have files of their own; nil if there is only this
	// one. It may be set before the first call.
	Tally *tally.Tally

	file string
	log  *slog.Logger
	// turn is held by the one goroutine that updates the file, so that only one of each program
	// waits for the lock between programs. It guards owed.
	turn chan struct{}
	owed map[string]int // tokens that could not be counted yet, by host
}

// used is what a host was asked on a day.
type used struct {
	Day    string `json:"day"` // as 2006-01-02
	Calls  int    `json:"calls"`
	Tokens int    `json:"tokens"`
}

// lockTimeout is how long an update waits for other programs, each of which needs milliseconds.
// Tests in which many compete for a busy machine wait longer.
var lockTimeout = 5 * time.Second

// errBroken is in the error of reading a file that holds anything but counts.
var errBroken = errors.New("the file does not hold counts")

// Open returns the ledger in a file, which need not exist; its folder must. A file that is
// empty or broken is renamed, so that it can be looked at, and the day begins anew; log is
// told. Open fails if the file cannot be read and written.
func Open(file string, log *slog.Logger) (*Ledger, error) {
	l := &Ledger{file: file, log: log, turn: make(chan struct{}, 1), owed: make(map[string]int)}
	err := l.locked(context.Background(), func() error {
		all, err := l.read()
		if errors.Is(err, errBroken) {
			aside, failed := durable.SetAside(file)
			if failed != nil {
				return failed
			}
			log.Warn("broken file of daily budgets set aside; counting begins anew", "file", aside, "error", err)
			all, err = make(map[string]used), nil
		}
		if err != nil {
			return err
		}
		return l.write(all)
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// locked calls f while no other goroutine, and no other program, uses the file.
func (l *Ledger) locked(ctx context.Context, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return fmt.Errorf("daily budget: %w", ctx.Err())
	}
	unlock, err := durable.Lock(ctx, l.file+".lock")
	if err != nil {
		return fmt.Errorf("daily budget: %w", err)
	}
	defer unlock()
	if err := f(); err != nil {
		return fmt.Errorf("daily budget: %w", err)
	}
	return nil
}

// update changes what a host has used in its day; nothing changes if change fails. A day ends
// when the clock says so, but none begins again: while the clock is behind the day of the
// counts, they go on.
func (l *Ledger) update(ctx context.Context, host string, change func(*used) error) error {
	return l.locked(ctx, func() error {
		all, err := l.read()
		if err != nil {
			return err
		}
		u := all[host]
		if today := time.Now().UTC().Format(time.DateOnly); u.Day < today {
			u = used{Day: today}
		}
		u.Tokens += l.owed[host]
		if err := change(&u); err != nil {
			return err
		}
		all[host] = u
		if err := l.write(all); err != nil {
			return err
		}
		delete(l.owed, host)
		return nil
	})
}

// owe remembers tokens that could not be counted, for the next update.
func (l *Ledger) owe(host string, tokens int) {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	l.owed[host] += tokens
}

func (l *Ledger) read() (map[string]used, error) {
	data, err := os.ReadFile(l.file)
	if errors.Is(err, fs.ErrNotExist) {
		return make(map[string]used), nil
	}
	if err != nil {
		return nil, err
	}
	var all map[string]used
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("%w: %w", errBroken, err)
	}
	if all == nil {
		return nil, errBroken
	}
	for _, u := range all {
		if _, err := time.Parse(time.DateOnly, u.Day); err != nil || u.Calls < 0 || u.Tokens < 0 {
			return nil, errBroken
		}
	}
	return all, nil
}

func (l *Ledger) write(all map[string]used) error {
	data, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return durable.Write(l.file, append(data, '\n'))
}
