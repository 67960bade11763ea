package tools

import (
	"fmt"
	"math"
	"sync"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
)

const (
	firstReport = 500 * time.Millisecond
	nextReports = 2 * time.Second
)

// report sends a progress notification. The values of a call only rise.
type report func(value float64, message string)

// progress tells a client, by the clock, what its call is waiting for. Many
// clients give up on a call that is silent for a minute, so it speaks also while
// nothing happens. The value that it sends is the seconds since the call began:
// nobody knows how long an answer will be. Its methods may be called on one
// that reports to nobody.
type progress struct {
	began   time.Time
	stopped chan struct{} // nil if it reports to nobody
	ended   sync.WaitGroup
	once    sync.Once

	// mu guards now, and is never held while reporting.
	mu  sync.Mutex
	now func() string // what happens at present
}

// newProgress begins to report. to may be nil.
func newProgress(to report) *progress {
	p := &progress{began: time.Now(), now: func() string { return "starting" }}
	if to != nil {
		p.stopped = make(chan struct{})
		p.ended.Go(func() { p.run(to) })
	}
	return p
}

// stop ends the reports; none is sent once it has returned.
func (p *progress) stop() {
	if p.stopped == nil {
		return
	}
	p.once.Do(func() { close(p.stopped) })
	p.ended.Wait()
}

func (p *progress) run(to report) {
	tick := time.NewTimer(firstReport)
	defer tick.Stop()
	for {
		select {
		case <-p.stopped:
			return
		case <-tick.C:
		}
		message := p.say()
		to(math.Round(time.Since(p.began).Seconds()*1000)/1000, message)
		tick.Reset(nextReports)
	}
}

// is says what happens from now on; now is called under mu.
func (p *progress) is(now func() string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = now
}

// say is what happens now.
func (p *progress) say() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now()
}

// follow has p tell what another does.
func (p *progress) follow(other *progress) { p.is(other.say) }

// queued: the call waits for a slot.
func (p *progress) queued(standing func() route.Standing) {
	p.is(func() string {
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

// retrying: a host has failed, and another is asked, or the same again.
func (p *progress) retrying(r route.Retry) {
	until := time.Now().Add(r.In)
	p.is(func() string {
		if wait := time.Until(until); wait > 0 {
			return fmt.Sprintf("%s failed; trying again in %.0f s", r.Host, math.Ceil(wait.Seconds()))
		}
		return r.Host + " failed; trying again"
	})
}

// asked: the request is with a host. doing is what the host does with it until
// the first piece of the answer comes: loading the model, say.
func (p *progress) asked(doing string) {
	began := time.Now()
	p.is(func() string { return fmt.Sprintf("%s (%.0f s)", doing, time.Since(began).Seconds()) })
}

// answering counts the pieces of an answer as they come; a piece is a token,
// or nearly so.
func (p *progress) answering() func(backend.Piece) {
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
		p.now = func() string {
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
