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

	Texts int64 // bytes of prompts and answers that may wait to be written; 0 means 64 MiB

	Log *slog.Logger // is told when the file cannot be written; nil discards
}

const (
	maxWaiting = 1024 // calls that wait to be written
	maxBatch   = 256 << 10

	// gatherTime is how long lines are gathered before they are written, which spares each call the
	// system calls of a write.
	gatherTime = 100 * time.Millisecond
)

// Log is a call log. It implements inference.Observer.
type Log struct {
	opts    Options
	queue   chan inference.Record
	urgent  chan struct{} // has a value if queue has become half full
	gather  time.Duration // gatherTime, except in tests
	content atomic.Int64  // bytes of prompts and answers in queue
	dropped dropped
	file    file
	batch   bytes.Buffer // lines to be written; kept, so that it need not grow for each batch
	down    bool         // the last write failed
	noted   Dropped      // calls that a line of the file has been written about
}

// Dropped is how many calls have no line.
type Dropped struct {
	BufferFull uint64 `json:"buffer_full,omitempty"` // they came faster than they could be written
	Disk       uint64 `json:"disk,omitempty"`        // the file could not be written
}

type dropped struct{ bufferFull, disk atomic.Uint64 }

// New makes a call log. It starts nothing, and does not open the file.
func New(o Options) *Log {
	o.Texts = cmp.Or(o.Texts, 64<<20)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Log{opts: o, queue: make(chan inference.Record, maxWaiting), urgent: make(chan struct{}, 1), gather: gatherTime, file: file{Options: o, open: openFile}}
}

// Done implements inference.Observer. It never waits.
func (l *Log) Done(r inference.Record) {
	size := contentSize(&r)
	if l.content.Add(size) <= l.opts.Texts {
		select {
		case l.queue <- r:
			if len(l.queue) >= maxWaiting/2 {
				select {
				case l.urgent <- struct{}{}:
				default:
				}
			}
			return
		default:
		}
	}
	l.content.Add(-size)
	l.dropped.bufferFull.Add(1)
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
		case r := <-l.queue:
			if l.gather > 0 {
				gathered.Reset(l.gather)
				select {
				case <-gathered.C:
				case <-l.urgent:
				case <-ctx.Done():
				}
			}
			l.write(r)
			for len(l.queue) >= maxWaiting/2 { // more than fits into a batch
				l.write(<-l.queue)
			}
		case <-ctx.Done():
			l.file.retryAt = time.Time{} // it is the last opportunity
			for {
				select {
				case r := <-l.queue:
					l.write(r)
				default:
					return
				}
			}
		}
	}
}

// write writes the line of a call, and with it those of the calls that wait behind it.
func (l *Log) write(r inference.Record) {
	batch := &l.batch
	if batch.Reset(); batch.Cap() > 2*maxBatch { // there was a line with very long texts
		*batch = bytes.Buffer{}
	}
	lines := 0
	add := func(r inference.Record) {
		l.content.Add(-contentSize(&r))
		appendLine(batch, lineOf(&r))
		lines++
	}
	if now := l.Dropped(); now != l.noted {
		missing := Dropped{now.BufferFull - l.noted.BufferFull, now.Disk - l.noted.Disk}
		appendLine(batch, Line{Time: time.Now().UTC(), Dropped: &missing})
	}
	noted := l.Dropped()
	notices := bytes.Count(batch.Bytes(), newline)
	add(r)
	for batch.Len() < maxBatch {
		select {
		case next := <-l.queue:
			add(next)
			continue
		default:
		}
		break
	}
	written, err := l.file.write(batch.Bytes())
	whole := bytes.Count(batch.Bytes()[:written], newline) // lines that are in the file
	if whole >= notices {
		l.noted = noted
	}
	lost := lines - max(0, whole-notices)
	l.dropped.disk.Add(uint64(lost))
	switch {
	case err != nil && !l.down:
		l.opts.Log.Warn("the call log cannot be written; calls go on, and their lines are missing until it can", "file", l.opts.File, "error", err)
	case err == nil && l.down:
		l.opts.Log.Info("the call log is written again", "file", l.opts.File, "dropped", l.Dropped().Disk)
	}
	l.down = err != nil
}

var newline = []byte("\n")
