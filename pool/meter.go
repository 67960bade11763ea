package pool

import (
	"math"
	"time"
)

// meter is how often something happens per second, of late: each time counts for less
// by 1/e with each meterTime, as in the load averages of Unix. The zero meter stands at 0.
type meter struct {
	perSecond float64
	at        time.Time // when that was right
}

const meterTime = time.Minute

func (m *meter) add(now time.Time, times float64) {
	m.perSecond = m.value(now) + times/meterTime.Seconds()
	m.at = now
}

func (m *meter) value(now time.Time) float64 {
	return m.perSecond * math.Exp(-float64(now.Sub(m.at))/float64(meterTime))
}

// meters are those of a pool; see Rates.
type meters struct{ calls, served, failed, growth meter }

func (m *meters) stats(now time.Time) Rates {
	return Rates{Calls: m.calls.value(now), Served: m.served.value(now), Failed: m.failed.value(now), Growth: m.growth.value(now)}
}

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
