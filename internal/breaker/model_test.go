package breaker_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ollama-mcp/internal/breaker"
)

// model is a breaker that is slow and plain: it keeps everything it was told.
type model struct {
	period   int               // counts the times of being closed and of being open
	open     bool              // in even periods it is not
	outcomes []breaker.Outcome // of calls in this period, if closed
	since    time.Time         // when this period began
	rest     time.Time         // end of the present rest, or of a probe's time
	probe    int               // number of the probe that others wait for; 0 for none
	probes   int               // given out in all
	level    int
	checked  bool
}

// call is one that passed. For others than probes, probe is 0.
type call struct {
	pass          breaker.Pass
	period, probe int
}

func (m *model) state(now time.Time) breaker.State {
	switch {
	case !m.open:
		return breaker.Closed
	case m.probe == 0 && now.Before(m.rest):
		return breaker.Open
	default:
		return breaker.HalfOpen
	}
}

func (m *model) ready(now time.Time) bool { return !m.open || !now.Before(m.rest) }

func (m *model) allow(now time.Time) call {
	if m.open {
		m.probes++
		m.probe, m.rest = m.probes, now.Add(time.Minute)
	}
	return call{period: m.period, probe: m.probe}
}

func (m *model) record(now time.Time, c call, o breaker.Outcome) {
	switch {
	case c.period != m.period:
	case !m.open:
		m.outcomes = append(m.outcomes, o)
		m.checked = m.checked && o != breaker.Success
		if o != breaker.Success && o != breaker.Undecided && m.isBad() {
			m.level = max(0, m.level-int(now.Sub(m.since).Seconds())/10)
			m.eject(now)
		}
	case o == breaker.Undecided && c.probe == m.probe:
		m.probe, m.rest = 0, now
	case o == breaker.Undecided:
	case o == breaker.Success:
		*m = model{period: m.period + 1, since: now, probes: m.probes, level: m.level}
	default:
		m.eject(now)
	}
}

// isBad looks at the last outcomes that count.
func (m *model) isBad() bool {
	row, counted, good, unbroken := 0, 0, 0, true
	for i := len(m.outcomes) - 1; i >= 0 && counted < 20; i-- {
		switch m.outcomes[i] {
		case breaker.Undecided:
			continue
		case breaker.Success:
			good++
			unbroken = false
		case breaker.Failure, breaker.Slow:
			if unbroken {
				row++
			}
		}
		counted++
	}
	return row >= 5 || counted >= 10 && 2*good < counted
}

func (m *model) eject(now time.Time) {
	m.level = min(m.level+1, 30)
	m.period++
	m.open, m.probe, m.outcomes, m.since = true, 0, nil, now
	m.rest = now.Add(time.Duration(m.level) * 10 * time.Second)
}

func (m *model) heal(now time.Time) {
	if m.state(now) == breaker.Open && !m.checked {
		m.checked, m.rest, m.level = true, now, 0
	}
}

func TestBreakerDoesAsItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := breaker.New(unjittered)
		m, now := &model{since: start}, start
		var inFlight []call
		begin := func(t *rapid.T) {
			pass, ok := b.Allow(now)
			if want := m.ready(now); ok != want {
				t.Fatalf("allowed %v, want %v", ok, want)
			}
			if ok {
				c := m.allow(now)
				c.pass = pass
				inFlight = append(inFlight, c)
			}
		}
		end := func(i int, o breaker.Outcome) {
			c := inFlight[i]
			inFlight = slices.Delete(inFlight, i, i+1)
			b.Record(now, c.pass, o)
			m.record(now, c, o)
		}
		outcome := rapid.SampledFrom([]breaker.Outcome{
			breaker.Undecided, breaker.Success, breaker.Failure, breaker.Slow, breaker.Soft,
		})
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				if got, want := b.State(now), m.state(now); got != want {
					t.Fatalf("state %v, want %v", got, want)
				}
				if got, want := b.Ready(now), m.ready(now); got != want {
					t.Fatalf("ready %v, want %v", got, want)
				}
				if m.open && !b.Until().Equal(m.rest) {
					t.Fatalf("until %v, want %v", b.Until().Sub(now), m.rest.Sub(now))
				}
			},
			"begin": begin,
			"end": func(t *rapid.T) {
				if len(inFlight) == 0 {
					t.Skip("nothing in flight")
				}
				end(rapid.IntRange(0, len(inFlight)-1).Draw(t, "call"), outcome.Draw(t, "outcome"))
			},
			"calls, one after the other": func(t *rapid.T) {
				o := outcome.Draw(t, "outcome")
				for range rapid.IntRange(1, 30).Draw(t, "n") {
					before := len(inFlight)
					if begin(t); len(inFlight) > before {
						end(before, o)
					}
				}
			},
			"check": func(*rapid.T) { b.Heal(now); m.heal(now) },
			"wait": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "seconds")) * time.Second)
			},
		})
	})
}
