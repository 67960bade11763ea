package inference

import (
	"slices"
	"time"

	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/route"
)

// History is what has happened to a call on its way to a host. What happens to an answer that several
// calls wait for is in the history of the first of them alone.
type History struct {
	Place    int           // in the queue, when it came; 0 if it has not waited
	Expected time.Duration // that the wait would take, by then; 0 if not known
	Attempts []Attempt     // the first of them, in the order in which they began
	More     int           // attempts that are not among them

	first [1]Attempt // room for the only attempt of most calls
}

// maxAttempts is how many attempts a History has.
const maxAttempts = 16

// Attempt is the work of a host on a call. Times are those since the call began.
type Attempt struct {
	Host, Model  string
	Number       int           // of those in turn, from 1
	Hedge        bool          // it ran beside another that was late
	Choice       route.Choice  // why the host was chosen
	Waited       time.Duration // for the slot
	Began        time.Duration // when the slot was given
	First, Ended time.Duration // when the answer began, and the attempt ended; 0 for what has not happened
	Pause        time.Duration // before the next one; 0 for none
	Err          string        // in one line without words of prompts and answers; "" for success
}

// note takes in what has happened to the call, if somebody may look at it and it is not over.
func (c *Call) note(what func(*History)) {
	if c.live == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended.Load() { // its history is in the record, and others still wait for the answer
		return
	}
	if c.history == nil {
		c.history = new(History)
	}
	what(c.history)
}

func (h *History) queued(now route.Standing) { h.Place, h.Expected = now.Place, now.Expect }

func (h *History) granted(at time.Duration, model string, g *route.Grant) {
	if len(h.Attempts) == maxAttempts {
		h.More++
		return
	}
	if h.Attempts == nil {
		h.Attempts = h.first[:0]
	}
	h.Attempts = append(h.Attempts, Attempt{
		Host: g.Host, Model: model, Number: g.Attempt, Hedge: g.Hedge, Choice: g.Choice, Waited: g.Waited, Began: at,
	})
}

func (h *History) began(at time.Duration, host string, number int) {
	if a := h.latest(host, number); a != nil {
		a.First = max(at, 1)
	}
}

func (h *History) ended(at time.Duration, host string, number int, err error) {
	a := h.latest(host, number)
	if a == nil || a.Ended != 0 {
		return
	}
	a.Ended = max(at, 1)
	if err != nil {
		a.Err = fault.Of(err).ForLogs
		if a.Err == "" {
			a.Err = err.Error()
		}
	}
}

func (h *History) retried(r route.Retry) {
	if a := h.latest(r.Host, r.Attempt); a != nil {
		a.Pause = r.In
	}
}

// latest is the last attempt of that number on a host; nil for one that is not kept.
func (h *History) latest(host string, number int) *Attempt {
	for i := range slices.Backward(h.Attempts) {
		if a := &h.Attempts[i]; a.Host == host && a.Number == number {
			return a
		}
	}
	return nil
}

// clone is a copy that does not change.
func (h *History) clone() History {
	own := *h
	own.Attempts = slices.Clone(h.Attempts)
	return own
}
