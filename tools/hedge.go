package tools

import (
	"sync"
	"time"

	"ollama-mcp/internal/route"
)

// outcomes are those of the tries of a rung, of which a hedge makes two at the same time.
type outcomes struct {
	mu    sync.Mutex // guards what follows
	best  *outcome   // never nil
	won   bool       // best is that of a try that has succeeded
	tried []string   // hosts that were asked
}

// add takes in what came of a try. The first success stands. Until there is one, the
// last try does, with what one before it has got if it has got nothing itself.
func (o *outcomes) add(got *outcome, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tried = append(o.tried, got.served.Host)
	if o.won {
		return
	}
	if got.answer == nil {
		got.answer, got.cut = o.best.answer, o.best.cut
	}
	o.best, o.won = got, err == nil
}

// hedgeAfter is how long a host may take before another is asked too; 0 for never.
// A provider would be paid twice, and work that may take its time needs no second host.
func (d Deps) hedgeAfter(rung route.Rung, need route.Need) time.Duration {
	if rung.Provider != "" || need.Priority != route.Interactive {
		return 0
	}
	if set := d.settings().Models[need.Model].HedgeAfter; set != nil {
		return *set
	}
	return d.HedgeAfter
}
