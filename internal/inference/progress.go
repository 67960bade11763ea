package inference

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/dustin/go-humanize"

	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/route"
)

// Progress is how far a call had come when it was asked for.
type Progress struct {
	State State
	Model string    // as the host or the provider calls it; "" if it does not matter
	Host  string    // that the state is about; "" for none
	Since time.Time // when the state began

	Standing route.Standing // in the queue, while Waiting
	Late     string         // the host that is late, while Hedging
	Tokens   int            // that have arrived, while Answering
	Thinking bool           // the newest of them are thoughts
	Done, Of int            // texts that are embedded, while Embedding

	until time.Time // when a pause ends, while Retrying
}

// State is what a call waits for.
type State string

// The states.
const (
	Starting    State = ""
	Waiting     State = "waiting"   // for a slot
	Loading     State = "loading"   // the host probably loads the model
	Reading     State = "reading"   // the host probably reads the prompt
	Asking      State = "asking"    // a provider has the request
	Hedging     State = "hedging"   // another host has the request too
	Answering   State = "answering" // text or thoughts arrive
	AskingAgain State = "asking again"
	Retrying    State = "retrying"
	Rerouting   State = "rerouting" // the host failed, and another is chosen
	Embedding   State = "embedding"
)

// String is a short message for people.
func (p Progress) String() string {
	switch p.State {
	case Starting:
		return "starting"
	case Waiting:
		return p.standing()
	case Answering:
		return p.answering()
	case Loading:
		return p.timed("loading %s on %s", p.Model, p.Host)
	case Reading:
		return p.timed("reading the prompt on %s", p.Host)
	case Asking:
		return p.timed("asking %s", p.Model)
	case Hedging:
		return p.timed("asking %s too, since %s is late", p.Host, p.Late)
	case AskingAgain:
		return p.timed("asking again on %s", p.Host)
	case Embedding:
		return p.timed("embedding, %d of %d done on %s", p.Done, p.Of, p.Host)
	case Retrying:
		if wait := time.Until(p.until); wait > 0 {
			return fmt.Sprintf("%s failed; trying again in %.0f s", p.Host, math.Ceil(wait.Seconds()))
		}
		return p.Host + " failed; trying again"
	}
	return "looking for another host"
}

// timed is a message that ends with how long the state has lasted.
func (p Progress) timed(format string, args ...any) string {
	return fmt.Sprintf(format, args...) + fmt.Sprintf(" (%.0f s)", time.Since(p.Since).Seconds())
}

func (p Progress) standing() string {
	s := p.Standing
	switch {
	case s.Loading:
		return "waiting for the model, which is being loaded"
	case s.Place == 0:
		return "next in the queue"
	}
	message := fmt.Sprintf("queued, %s of %d", humanize.Ordinal(s.Place), s.Of)
	if s.Expect > 0 {
		message += fmt.Sprintf(", about %.0f s", math.Ceil(s.Expect.Seconds()))
	}
	return message
}

func (p Progress) answering() string {
	message := fault.Count(p.Tokens, "token")
	if s := time.Since(p.Since).Seconds(); s > 0 {
		message += fmt.Sprintf(", %.0f/s", float64(p.Tokens-1)/s)
	}
	if p.Thinking {
		message += ", thinking"
	}
	return message
}

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

func (h *History) firstToken(at time.Duration, host string, number int) {
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
