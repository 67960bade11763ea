// Package calllog keeps a file with one line of JSON for each call, and sums up such files.
//
// It promises that no call waits for the file: lines are written by a goroutine of their own,
// and calls for which there is no room in its buffer, or no disk to write to, are counted
// instead. Lines are whole, also when several servers write to one file, and the file is
// rotated by size and age. Prompts and answers are written if records have them.
package calllog

import (
	"bytes"
	"cmp"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"ollama-mcp/internal/inference"
)

// Options describe a call log. Only File is required.
type Options struct {
	File string

	MaxSize int64         // in bytes, beyond which the file is rotated; 0 means no limit
	MaxAge  time.Duration // of its first line, beyond which the file is rotated; 0 means no limit
	Keep    int           // rotated files that are kept; 0 means all

	Waiting int64 // bytes of lines that may wait to be written; 0 means 64 MiB

	Log *slog.Logger // is told when the file cannot be written; nil discards
}

const (
	urgentSize = 256 << 10 // bytes of lines that are written without delay

	// gatherTime is how long lines are gathered before they are written, which spares each call the
	// system calls of a write.
	gatherTime = 100 * time.Millisecond
)

// Log is a call log. It implements inference.Observer.
type Log struct {
	opts    Options
	wake    chan struct{} // has a value if there are lines
	urgent  chan struct{} // has a value if there are many
	gather  time.Duration // gatherTime, except in tests
	dropped dropped

	mu    sync.Mutex // guards what follows, and is held for no longer than a line is made
	sheet sheet      // on which it is
	lines []byte     // that wait to be written
	size  int64      // of lines, and of those that are being written

	// What follows is used by Run alone.

	file  file
	spare []byte  // for lines, while they are being written
	down  bool    // the last write failed
	noted Dropped // calls that a line of the file has been written about
}

// Dropped is how many calls have no line.
type Dropped struct {
	BufferFull uint64 `json:"buffer_full,omitempty"` // they came faster than they could be written
	Disk       uint64 `json:"disk,omitempty"`        // the file could not be written
}

type dropped struct{ bufferFull, disk atomic.Uint64 }

// New makes a call log. It starts nothing, and does not open the file.
func New(o Options) *Log {
	o.Waiting = cmp.Or(o.Waiting, 64<<20)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Log{
		opts: o, wake: make(chan struct{}, 1), urgent: make(chan struct{}, 1),
		gather: gatherTime, file: file{Options: o, open: openFile},
	}
}

// Done implements inference.Observer. It makes the line, and leaves it to be written.
func (l *Log) Done(r inference.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fits(sizeOf(&r)) { // or the line need not even be made
		if line := l.sheet.write(&r); l.fits(int64(len(line))) {
			l.add(line)
			return
		}
	}
	l.dropped.bufferFull.Add(1)
}

// add leaves a line to be written. mu is held.
func (l *Log) add(line []byte) {
	if len(l.lines) == 0 {
		signal(l.wake)
	}
	l.lines = append(l.lines, line...)
	l.size += int64(len(line))
	if len(l.lines) >= urgentSize {
		signal(l.urgent)
	}
}

// fits reports whether so many bytes may wait beside those that do. mu is held.
func (l *Log) fits(more int64) bool { return l.size+more <= l.opts.Waiting }

// signal puts a value into a channel that has room for one, if there is none.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Dropped is how many calls have no line so far.
func (l *Log) Dropped() Dropped {
	return Dropped{l.dropped.bufferFull.Load(), l.dropped.disk.Load()}
}

// Run writes the lines of calls until ctx ends, and then those of all calls that are over by
// that time.
func (l *Log) Run(ctx context.Context) {
	defer l.file.close()
	gathered := time.NewTimer(0)
	defer gathered.Stop()
	for {
		select {
		case <-l.wake:
		case <-ctx.Done():
			l.file.retryAt = time.Time{} // it is the last opportunity
			l.write()
			return
		}
		if l.gather > 0 {
			gathered.Reset(l.gather)
			select {
			case <-gathered.C:
			case <-l.urgent:
			case <-ctx.Done():
				continue
			}
		}
		l.write()
	}
}

// write writes all lines that wait.
func (l *Log) write() {
	l.mu.Lock()
	lines := l.lines
	l.lines = l.spare[:0]
	l.mu.Unlock()
	l.spare = nil
	if len(lines) == 0 {
		return
	}
	written := 0
	err := l.note()
	if err == nil {
		written, err = l.file.write(lines)
	}
	l.dropped.disk.Add(uint64(bytes.Count(lines[written:], newline))) // one that is torn too
	switch {
	case err != nil && !l.down:
		l.opts.Log.Warn("the call log cannot be written; calls go on, and their lines are missing until it can", "file", l.opts.File, "error", err)
	case err == nil && l.down:
		l.opts.Log.Info("the call log is written again", "file", l.opts.File, "dropped", l.Dropped().Disk)
	}
	l.down = err != nil
	if cap(lines) <= 2*urgentSize { // there was no line with very long texts
		l.spare = lines
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.size -= int64(len(lines))
}

// note writes a line about calls that have none, if there are such since the last.
func (l *Log) note() error {
	now := l.Dropped()
	if now == l.noted {
		return nil
	}
	line := new(sheet).encode(&Line{Time: time.Now().UTC(), Dropped: &Dropped{now.BufferFull - l.noted.BufferFull, now.Disk - l.noted.Disk}})
	_, err := l.file.write(line)
	if err == nil {
		l.noted = now
	}
	return err
}

var newline = []byte("\n")
