package pool

import "time"

// pace is how long something has taken of late: the mean of the first samples,
// and then one that forgets by a sixteenth with each.
type pace struct {
	mean    time.Duration
	samples int
}

// paceMemory is how many samples a pace remembers, about.
const paceMemory = 16

func (p *pace) observe(d time.Duration) {
	p.samples++
	p.mean += (d - p.mean) / time.Duration(min(p.samples, paceMemory))
}

// habit is what calls of a model take on one host or, for hosts where it has
// not been asked of late, on all of them.
type habit struct {
	held pace // the slot, less the time for loading
	load pace // for loading, by the calls that had to

	// What follows is of all hosts only.

	paid time.Time // when the load that was begun last should be over; see hasPaid

	// What follows is of one host only.

	tried    time.Time // when a call last began, or was answered
	answered time.Time // the last call
	waited   time.Time // since when calls have waited for the model to be loaded, in vain so far; or the zero Time
	crashed  time.Time // when the process that ran the model last died; the zero Time if never
	fate     fate
	context  int // tokens that the host chose when the options left it open, at most; 0 if not known
}

// habitOf is the habit of a model, made when there is none.
func habitOf(habits map[string]*habit, model string) *habit {
	b := habits[model]
	if b == nil {
		b = new(habit)
		habits[model] = b
	}
	return b
}

// habitFor is how long what a host was like is believed without trying it again.
const habitFor = time.Minute
