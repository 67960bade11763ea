// Package progress tells a client, by the clock, what its call is waiting for.
//
// Many clients give up on a call that is silent for a minute, so a Reporter speaks while
// nothing happens, too. What a message says, and how it reaches the client, is left to the
// functions that it is given.
package progress

import (
	"math"
	"sync"
	"time"
)

const (
	firstReport = 500 * time.Millisecond // quick calls report nothing
	interval    = 2 * time.Second
	often       = 100 * time.Millisecond // of StartOften
)

// Send sends a message to the client. The seconds since the call began are the value of
// its progress, which only rises: nobody knows how long an answer will be.
type Send func(seconds float64, message string)

// Reporter reports the progress of one call.
type Reporter struct {
	began   time.Time
	send    Send // nil if nothing is sent
	message func() string
	every   time.Duration

	mu      sync.Mutex // guards what follows, and is held while a message is sent
	next    *time.Timer
	stopped bool
}

// Start reports the progress of a call that begins now, one message at a time, until Stop is
// called. A nil send reports nothing and costs nothing.
func Start(send Send, message func() string) *Reporter {
	return start(firstReport, interval, send, message)
}

// StartOften is Start for a client that shows an answer while it is written, and so wants to
// hear of each bit of it.
func StartOften(send Send, message func() string) *Reporter {
	return start(often, often, send, message)
}

func start(first, every time.Duration, send Send, message func() string) *Reporter {
	r := &Reporter{send: send, message: message, every: every}
	if send != nil {
		r.began = time.Now()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.next = time.AfterFunc(first, r.report)
	}
	return r
}

// Stop ends the reports; none is sent once it has returned. It may be called more than
// once.
func (r *Reporter) Stop() {
	if r.send == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	r.next.Stop()
}

func (r *Reporter) report() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return
	}
	r.send(math.Round(time.Since(r.began).Seconds()*1000)/1000, r.message())
	r.next.Reset(r.every)
}
