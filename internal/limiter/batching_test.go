//go:build !race

package limiter_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"ollama-mcp/internal/limiter"
)

// gpu is a model of the loop of Ollama's runner on a GPU. A step takes one token of each
// call that answers, and up to 512 in all of those whose prompts are still read.
type gpu struct {
	parallel                   int
	step, perAnswer, perPrompt float64 // seconds: of a step, and what each token of an answer or a prompt adds
}

const gpuBatch = 512

// question is a call on a gpu.
type question struct {
	prompt, answer int // tokens left
	tokens         int
	arrived, began float64 // seconds: when it came, and when its answer began
}

// gpuSimulation has 128 callers ask a gpu the same kind of question over and over.
type gpuSimulation struct {
	gpu
	random         *rand.Rand
	prompt, answer int // tokens of each question

	now             float64 // in seconds
	active, waiting []*question
}

const gpuCallers = 128

// run returns how many questions are answered from one second on to another.
func (s *gpuSimulation) run(from, to float64, learned limits) (answered int) {
	for s.now < to {
		for len(s.active)+len(s.waiting) < min(learned.Limit(), gpuCallers) {
			s.waiting = append(s.waiting, &question{prompt: s.prompt, answer: s.answer, tokens: s.answer, arrived: s.now})
		}
		for len(s.active) < s.parallel && len(s.waiting) > 0 {
			s.active, s.waiting = append(s.active, s.waiting[0]), s.waiting[1:]
		}
		inFlight := len(s.active) + len(s.waiting)
		for i, q := range s.advance() {
			learned.Observe(time.Unix(0, int64(s.now*1e9)), limiter.Sample{
				FirstToken: seconds(q.began - q.arrived), PerToken: seconds((s.now - q.began) / float64(q.tokens)),
				Tokens: q.tokens, InFlight: inFlight - i, Backlog: true,
			})
			if s.now >= from {
				answered++
			}
		}
	}
	return answered
}

func seconds(s float64) time.Duration { return time.Duration(s * 1e9) }

// advance takes a step, and returns the questions that are answered by it.
func (s *gpuSimulation) advance() (ended []*question) {
	room, read, said := gpuBatch, 0, 0
	var still, reading []*question
	for _, q := range s.active {
		switch n := min(q.prompt, room); {
		case q.prompt > 0:
			if q.prompt, room, read = q.prompt-n, room-n, read+n; q.prompt == 0 {
				reading = append(reading, q)
			}
		case room > 0:
			q.answer, room, said = q.answer-1, room-1, said+1
		}
		if q.answer == 0 {
			ended = append(ended, q)
		} else {
			still = append(still, q)
		}
	}
	s.now += (s.step + s.perAnswer*float64(said) + s.perPrompt*float64(read)) * math.Exp(0.05*s.random.NormFloat64())
	for _, q := range reading {
		q.began = s.now
	}
	if len(still) > 1 { // the next step begins with another
		still = append(still[1:], still[0])
	}
	s.active = still
	return ended
}

// always is a limit that is given.
type always int

func (a always) Limit() int                      { return int(a) }
func (always) Observe(time.Time, limiter.Sample) {}

func TestLearnedLimitServesNearlyAllThatAGPUCan(t *testing.T) {
	for model, g := range map[string]gpu{
		"small": {step: 0.005, perAnswer: 0.00025, perPrompt: 0.00005},
		"large": {step: 0.016, perAnswer: 0.0006, perPrompt: 0.0002},
	} {
		for _, tokens := range [][2]int{{32, 64}, {500, 200}, {2000, 128}} {
			for _, g.parallel = range []int{4, 16, 32} {
				rate := func(l limits, from, to float64) float64 {
					s := gpuSimulation{gpu: g, random: rand.New(rand.NewPCG(1, 7)), prompt: tokens[0], answer: tokens[1]}
					return float64(s.run(from, to, l)) / (to - from)
				}
				best := 0.0
				for n := 4; n <= 32; n *= 2 {
					best = max(best, rate(always(n), 60, 360))
				}
				l := limiter.New(limiter.Options{})
				got := rate(l, 900, 1800) / best
				about := fmt.Sprintf("%s model, %d tokens of prompt, %d at once: %.3f of the best, limit %d", model, tokens[0], g.parallel, got, l.Limit())
				t.Log(about)
				if got < 0.9 {
					t.Errorf("%s: want 0.9 (%s)", about, l.Reason())
				}
			}
		}
	}
}

// In the first quarter of a minute, after a night.
func TestHostThatWasIdleIsGivenAtOnceWhatItCanDo(t *testing.T) {
	g := gpu{parallel: 32, step: 0.005, perAnswer: 0.00025, perPrompt: 0.00005}
	l := limiter.New(limiter.Options{})
	burst := func(begin float64, l limits) float64 {
		s := gpuSimulation{gpu: g, random: rand.New(rand.NewPCG(1, 7)), prompt: 500, answer: 200, now: begin}
		return float64(s.run(begin, begin+15, l))
	}
	best := burst(0, always(32))
	for hour := range 20 {
		burst(15*float64(hour), l) // an hour of work, in pieces
	}
	for night := range 10 * 60 {
		l.Idle(time.Unix(int64(300+60*night), 0))
	}
	if l.Limit() != 4 {
		t.Errorf("after the night the limit is %d, want 4", l.Limit())
	}
	l.Wanted()
	if got := burst(40_000, l) / best; got < 0.9 {
		t.Errorf("%.3f of what a limit of 32 does (%s)", got, l.Reason())
	}
}
