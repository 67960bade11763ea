package inference

import (
	"fmt"
	"math"
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
