package limiter_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"ollama-mcp/internal/limiter"
)

// host is a model of an Ollama: it works on so many calls at once and queues the
// rest inside, and the more it works on, the slower each may get.
type host struct {
	parallel int                      // calls it works on at once, OLLAMA_NUM_PARALLEL
	speed    func(active int) float64 // of each call, as a part of that of a call alone
}

const (
	perToken = 20 * time.Millisecond // for a call alone on its host
	prompt   = 10                    // tokens' worth of work before the first token
	between  = time.Millisecond      // between an answer and the next call in its slot
	noise    = 0.3                   // standard deviation of the logarithm of each time measured
)

// queueing works on p calls at full speed and lets all others wait.
func queueing(p int) host {
	return host{parallel: p, speed: func(int) float64 { return 1 }}
}

// sharing works on all calls, with processors for p of them.
func sharing(p int) host {
	return host{parallel: 64, speed: func(active int) float64 { return min(1, float64(p)/float64(active)) }}
}

// batching works on all calls; each slows all others by a tenth, as a GPU may.
func batching() host {
	return host{parallel: 64, speed: func(active int) float64 { return 1.1 / (1 + 0.1*float64(active)) }}
}

// capacity is the work that a host does per second with as many calls as suit it best.
func (h host) capacity() float64 {
	best := 0.0
	for active := 1; active <= h.parallel; active++ {
		best = max(best, float64(active)*h.speed(active))
	}
	return best / perToken.Seconds()
}

// load is what callers ask. There are always more of them than slots.
type load struct {
	tokens func(*rand.Rand) int // length of an answer
}

// job is a call on the host. Work is counted in tokens.
type job struct {
	tokens       int
	work, left   float64
	prompt       float64 // work left until the first token
	begun, first float64 // in seconds
}

// simulation runs a host under load, in virtual time.
type simulation struct {
	host   host
	load   load
	rnd    *rand.Rand
	now    float64   // in seconds
	jobs   []*job    // on the host, the longest there first
	coming []float64 // when further calls arrive
	done   float64   // work of answered calls
}

// limits is the limiter of a host.
type limits interface {
	Limit() int
	Observe(time.Time, limiter.Sample)
}

// run lets a host answer so many calls, and returns the work it did per second in the
// second half of them.
func run(h host, l load, seed uint64, calls int, learned limits) float64 {
	s := &simulation{host: h, load: l, rnd: rand.New(rand.NewPCG(seed, 1))}
	var halfTime, halfWork float64
	for ended := 0; ended < calls; {
		for len(s.jobs)+len(s.coming) < learned.Limit() {
			s.coming = append(s.coming, s.now+between.Seconds())
		}
		j := s.step()
		if j == nil {
			continue
		}
		learned.Observe(time.Unix(0, int64(s.now*1e9)), s.sample(j))
		if ended++; ended == calls/2 {
			halfTime, halfWork = s.now, s.done
		}
	}
	return (s.done - halfWork) / (s.now - halfTime)
}

// step goes on to the next event, and returns the call that ended there, if any.
func (s *simulation) step() (ended *job) {
	active := s.jobs[:min(len(s.jobs), s.host.parallel)]
	pace := s.host.speed(max(1, len(active))) / perToken.Seconds()
	wait := math.Inf(1)
	for _, j := range active {
		wait = min(wait, j.left/pace)
		if j.first == 0 {
			wait = min(wait, j.prompt/pace)
		}
	}
	if len(s.coming) > 0 {
		wait = min(wait, s.coming[0]-s.now)
	}
	s.now += wait
	for _, j := range active {
		j.left -= wait * pace
		j.prompt -= wait * pace
		if j.first == 0 && j.prompt < 1e-9 {
			j.first = s.now
		}
		if j.left < 1e-9 {
			ended = j
		}
	}
	if i := slices.Index(s.jobs, ended); i >= 0 {
		s.jobs = slices.Delete(s.jobs, i, i+1)
		s.done += ended.work
	}
	if len(s.coming) > 0 && s.coming[0] <= s.now {
		s.coming = s.coming[1:]
		s.jobs = append(s.jobs, s.newJob())
	}
	return ended
}

func (s *simulation) newJob() *job {
	tokens := s.load.tokens(s.rnd)
	work := float64(prompt + tokens)
	return &job{tokens: tokens, work: work, left: work, prompt: prompt, begun: s.now}
}

func (s *simulation) sample(j *job) limiter.Sample {
	measured := func(seconds float64) time.Duration {
		return time.Duration(seconds * math.Exp(noise*s.rnd.NormFloat64()) * 1e9)
	}
	return limiter.Sample{
		FirstToken: measured(j.first - j.begun),
		PerToken:   measured((s.now - j.first) / float64(j.tokens)),
		Tokens:     j.tokens,
		InFlight:   len(s.jobs) + 1,
		Backlog:    true,
	}
}
