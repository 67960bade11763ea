// Package progress tells a client at intervals what its call is waiting for.
//
// Many clients give up on a call that is silent for a minute, so a Reporter
// speaks while nothing happens, too. How a message reaches the client is left
// to the function that it is given.
package progress

import (
	"fmt"
	"math"
	"sync"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
)

const (
	firstReport = 500 * time.Millisecond // quick calls report nothing
	interval    = 2 * time.Second
)

// Send sends a message to the client. The seconds since the call began are the
// value of its progress, which only rises: nobody knows how long an answer will
// be. One message is sent at a time.
type Send func(seconds float64, message string)

// Reporter knows what a call is waiting for, and reports it. Its methods may be
// called from several goroutines.
type Reporter struct {
	began   time.Time
	stopped chan struct{} // nil if nothing is sent
	ended   sync.WaitGroup
	once    sync.Once

	// mu guards message, and is never held while sending.
	mu      sync.Mutex
	message func() string // what the call is waiting for at present
}

// New returns a Reporter of a call that begins now. Unless send is nil it starts
// a goroutine that reports until Stop is called; with nil it only keeps the
// message for another Reporter to follow.
func New(send Send) *Reporter {
	p := &Reporter{began: time.Now(), message: func() string { return "starting" }}
	if send != nil {
		p.stopped = make(chan struct{})
		p.ended.Go(func() { p.run(send) })
	}
	return p
}

// Stop ends the reports; none is sent once it has returned. It may be called
// more than once.
func (p *Reporter) Stop() {
	if p.stopped == nil {
		return
	}
	p.once.Do(func() { close(p.stopped) })
	p.ended.Wait()
}

func (p *Reporter) run(send Send) {
	tick := time.NewTimer(firstReport)
	defer tick.Stop()
	for {
		select {
		case <-p.stopped:
			return
		case <-tick.C:
		}
		message := p.Message()
		send(math.Round(time.Since(p.began).Seconds()*1000)/1000, message)
		tick.Reset(interval)
	}
}

// Set makes message describe what the call is waiting for from now on. It is
// called for each report, under the lock of the Reporter.
func (p *Reporter) Set(message func() string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.message = message
}

// Message returns what the call is waiting for.
func (p *Reporter) Message() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.message()
}

// Follow makes p report what other would.
func (p *Reporter) Follow(other *Reporter) { p.Set(other.Message) }

// Queued reports the place in the queue while the call waits for a slot.
func (p *Reporter) Queued(standing func() route.Standing) {
	p.Set(func() string {
		s := standing()
		if s.Loading {
			return "waiting for the model, which is being loaded"
		}
		if s.Place == 0 {
			return "next in the queue"
		}
		message := fmt.Sprintf("queued, %s of %d", ordinal(s.Place), s.Of)
		if s.Expect > 0 {
			message += fmt.Sprintf(", about %.0f s", math.Ceil(s.Expect.Seconds()))
		}
		return message
	})
}

// Retrying reports that a host has failed, and when the next attempt begins.
func (p *Reporter) Retrying(r route.Retry) {
	until := time.Now().Add(r.In)
	p.Set(func() string {
		if wait := time.Until(until); wait > 0 {
			return fmt.Sprintf("%s failed; trying again in %.0f s", r.Host, math.Ceil(wait.Seconds()))
		}
		return r.Host + " failed; trying again"
	})
}

// Working reports what a host does with the request, such as loading the model,
// and for how long it has been doing so.
func (p *Reporter) Working(doing string) {
	began := time.Now()
	p.Set(func() string { return fmt.Sprintf("%s (%.0f s)", doing, time.Since(began).Seconds()) })
}

// Answering returns a function to be called with each piece of an answer. From
// the first piece on the pieces are reported as tokens, which they nearly are.
func (p *Reporter) Answering() func(backend.Piece) {
	var began time.Time
	var pieces int
	var thinking bool
	return func(piece backend.Piece) {
		p.mu.Lock()
		defer p.mu.Unlock()
		pieces++
		thinking = piece.Text == "" && piece.Thinking != ""
		if pieces > 1 {
			return
		}
		began = time.Now()
		p.message = func() string {
			message := fmt.Sprintf("%d tokens", pieces)
			if s := time.Since(began).Seconds(); s > 0 {
				message += fmt.Sprintf(", %.0f/s", float64(pieces-1)/s)
			}
			if thinking {
				message += ", thinking"
			}
			return message
		}
	}
}

func ordinal(n int) string {
	suffix := "th"
	if n/10%10 != 1 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return fmt.Sprintf("%d%s", n, suffix)
}
