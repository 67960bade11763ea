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
)

// Send sends a message to the client. The seconds since the call began are the value of
// its progress, which only rises: nobody knows how long an answer will be.
type Send func(seconds float64, message string)

// Reporter reports the progress of one call.
type Reporter struct {
	stopped chan struct{} // nil if nothing is sent
	ended   sync.WaitGroup
	once    sync.Once
}

// Start reports the progress of a call that begins now, one message at a time, until Stop is
// called. A nil send reports nothing and costs nothing.
func Start(send Send, message func() string) *Reporter {
	r := new(Reporter)
	if send != nil {
		r.stopped = make(chan struct{})
		began := time.Now()
		r.ended.Go(func() { r.run(began, send, message) })
	}
	return r
}

// Stop ends the reports; none is sent once it has returned. It may be called more than
// once.
func (r *Reporter) Stop() {
	if r.stopped == nil {
		return
	}
	r.once.Do(func() { close(r.stopped) })
	r.ended.Wait()
}

func (r *Reporter) run(began time.Time, send Send, message func() string) {
	tick := time.NewTimer(firstReport)
	defer tick.Stop()
	for {
		select {
		case <-r.stopped:
			return
		case <-tick.C:
		}
		send(math.Round(time.Since(began).Seconds()*1000)/1000, message())
		tick.Reset(interval)
	}
}
