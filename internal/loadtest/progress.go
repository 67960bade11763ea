package loadtest

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// liveLine is a line on a terminal that is written over and over. It is for one goroutine at a
// time.
type liveLine struct {
	w     io.Writer // nil shows nothing
	shown int       // columns that the line takes at present
}

func (t *liveLine) show(line string) {
	const columns = 79 // a line that wraps cannot be written over
	if t.w == nil {
		return
	}
	text := []rune(line)
	text = text[:min(len(text), columns)]
	pad := strings.Repeat(" ", max(0, t.shown-len(text)))
	fmt.Fprintf(t.w, "\r%s%s", string(text), pad)
	t.shown = len(text)
}

// erase removes the line.
func (t *liveLine) erase() {
	if t.shown > 0 {
		t.show("")
		fmt.Fprint(t.w, "\r")
	}
}

// watch shows how a turn goes until done is called.
func (r *run) watch(t *tally, began time.Time) (done func()) {
	if r.line.w == nil {
		return func() {}
	}
	stop := make(chan struct{})
	var showing sync.WaitGroup
	showing.Go(func() {
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			r.line.show(r.standing(t, t.elapsed+time.Since(began)))
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	})
	return func() {
		close(stop)
		showing.Wait()
	}
}

// standing is how a row stands after some time.
func (r *run) standing(t *tally, elapsed time.Duration) string {
	answered, failed := t.counts()
	line := fmt.Sprintf("%d/%d %s, callers: %d, %.0f s", r.begun, r.turns, t.contestant.Name, t.callers, elapsed.Seconds())
	if r.Duration > 0 {
		line += fmt.Sprintf(" of %.0f", r.Duration.Seconds())
	}
	line += fmt.Sprintf(", %d", answered)
	if t.calls > 0 {
		line += fmt.Sprintf(" of %d", t.calls)
	}
	line += " answers"
	if elapsed > 0 {
		line += fmt.Sprintf(", %s/s", figure(float64(answered)/elapsed.Seconds()))
	}
	if failed > 0 {
		line += fmt.Sprintf(", %d errors", failed)
	}
	return line
}
