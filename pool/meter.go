package pool

import (
	"math"
	"time"
)

// meter measures how often something has happened per second recently. The weight of an event
// falls to 1/e within meterTime, as in the load averages of Unix. The zero meter reads 0.
type meter struct {
	perSecond float64
	at        time.Time // when perSecond was computed
}

const meterTime = time.Minute

func (m *meter) add(now time.Time, times float64) {
	m.perSecond = m.value(now) + times/meterTime.Seconds()
	m.at = now
}

func (m *meter) value(now time.Time) float64 {
	return m.perSecond * math.Exp(-float64(now.Sub(m.at))/float64(meterTime))
}

// meters are the meters of a pool; see Rates.
type meters struct{ calls, served, failed, growth meter }

func (m *meters) stats(now time.Time) Rates {
	return Rates{Calls: m.calls.value(now), Served: m.served.value(now), Failed: m.failed.value(now), Growth: m.growth.value(now)}
}

// mean is the recent mean of a quantity: that of all samples at first, and later an exponentially
// weighted one in which a new sample counts for a sixteenth.
type mean[T ~int | ~int64] struct {
	mean    T
	samples int
}

// pace is the recent mean of a duration.
type pace = mean[time.Duration]

// paceMemory is about how many samples count in a mean.
const paceMemory = 16

func (m *mean[T]) observe(sample T) {
	m.samples++
	m.mean += (sample - m.mean) / T(min(m.samples, paceMemory))
}
