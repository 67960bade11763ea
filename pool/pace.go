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
