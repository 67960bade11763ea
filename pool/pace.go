package pool

import "time"

// mean is what something has been of late: the mean of the first samples, and then one
// that forgets by a sixteenth with each.
type mean[T ~int | ~int64] struct {
	mean    T
	samples int
}

// pace is how long something has taken of late.
type pace = mean[time.Duration]

// paceMemory is how many samples a mean remembers, about.
const paceMemory = 16

func (m *mean[T]) observe(sample T) {
	m.samples++
	m.mean += (sample - m.mean) / T(min(m.samples, paceMemory))
}
