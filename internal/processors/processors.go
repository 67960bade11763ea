// Package processors has the program run on as few processors as its work takes.
//
// It promises that a program with little to do runs Go code on one processor at a time, and that
// there are as many as Go would use some seconds after there is work for them, or sooner where
// calls end often. More threads may wait in system calls.
package processors

import (
	"math"
	"os"
	"runtime"
	"runtime/metrics"
	"sync"
	"time"

	"ollama-mcp/internal/inference"
)

const (
	// window is how long a measurement takes, at least.
	window = 200 * time.Millisecond
	// longest is how long it takes where no call ends meanwhile.
	longest = 2 * time.Second
	// There shall be twice as many once more than this part of the processors is in use, or goroutines
	// that could run wait for one longer than crowded, on average: where others use the machine too, the
	// program may not get all that it wants to use.
	full    = 0.95
	crowded = 500 * time.Microsecond
	// idle is the part of the processors in use below which half as many are tried, and idleOfTwo that of
	// two: the same work takes up to a third less time on one. If goroutines wait nevertheless, they all
	// came at once.
	idle      = 0.5
	idleOfTwo = 0.65
	// leastPatience is how long they have to be idle for that. It doubles, up to mostPatience, each
	// time that they were too few then, but not where a quarter as many would do.
	leastPatience = time.Second
	mostPatience  = time.Minute
)

// load is what this process has needed so far.
type load struct {
	used     time.Duration // processor time; 0 if the system does not tell it
	waited   time.Duration // by goroutines that could run, for a processor, as far as Go counts it
	waitings uint64        // how often they did
}

// Tuner sets how many processors run Go code. It implements inference.Observer. Use New to make one.
type Tuner struct {
	measure func() load
	set     func(n int) (most int)

	mu       sync.Mutex // guards what follows; a call that finds it locked has nothing to do
	started  bool
	at       time.Time // of the last measurement
	last     load
	procs    int
	most     int
	idleFrom time.Time     // since when half as many would do; the zero Time if they would not
	lowered  time.Time     // when procs was last halved
	patience time.Duration // before it is halved again
}

// New makes a tuner that does nothing until it is started.
func New() *Tuner { return newTuner(new(meter).measure, set) }

func newTuner(measure func() load, set func(n int) (most int)) *Tuner {
	return &Tuner{measure: measure, set: set, patience: leastPatience}
}

// Start begins with one processor. It does nothing if the variable GOMAXPROCS says how many to use, or
// if the system does not tell the time used. The function that it returns has Go use as many as it likes
// again.
func (t *Tuner) Start() (stop func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at, t.last = time.Now(), t.measure()
	if t.last.used == 0 || os.Getenv("GOMAXPROCS") != "" {
		return func() {}
	}
	t.started = true
	t.use(1)
	ticker, ended := time.NewTicker(longest), make(chan struct{})
	go func() {
		for {
			select {
			case <-ticker.C:
				t.look()
			case <-ended:
				return
			}
		}
	}()
	return func() {
		ticker.Stop()
		close(ended)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.started = false
		t.set(math.MaxInt)
	}
}

// set has Go run on n processors, or on as many as it likes if that is no more. most is how many those
// are, which may change with the limits of a container.
func set(n int) (most int) {
	runtime.SetDefaultGOMAXPROCS()
	if most = runtime.GOMAXPROCS(0); n < most {
		runtime.GOMAXPROCS(n)
	}
	return most
}

// use has Go run on n processors, if there are as many.
func (t *Tuner) use(n int) {
	t.most = t.set(n)
	t.procs, t.idleFrom = min(n, t.most), time.Time{}
}

// Done implements inference.Observer.
func (t *Tuner) Done(inference.Record) { t.look() }

// look measures, and changes the number of processors if it does not fit.
func (t *Tuner) look() {
	if !t.mu.TryLock() {
		return
	}
	defer t.mu.Unlock()
	now := time.Now()
	if !t.started || now.Sub(t.at) < window {
		return
	}
	l := t.measure()
	inUse := (l.used - t.last.used).Seconds() / now.Sub(t.at).Seconds()
	wait := (l.waited - t.last.waited) / time.Duration(max(l.waitings-t.last.waitings, 1))
	t.at, t.last = now, l
	t.follow(inUse/float64(t.procs), wait, now)
}

// follow changes the number of processors if it does not fit what part of them was in use, and how
// long goroutines waited for one.
func (t *Tuner) follow(part float64, wait time.Duration, now time.Time) {
	idle := idle
	if t.procs == 2 {
		idle = idleOfTwo
	}
	switch {
	case (part > full || part >= idle && wait > crowded) && t.procs < t.most:
		if now.Sub(t.lowered) < t.patience { // it was too soon
			t.patience = min(2*t.patience, mostPatience)
		} else {
			t.patience = leastPatience
		}
		t.use(2 * t.procs)
	case part >= idle || t.procs == 1:
		t.idleFrom = time.Time{}
	case t.idleFrom.IsZero():
		t.idleFrom = now
	case now.Sub(t.idleFrom) >= t.patience || part < idle/2 && now.Sub(t.idleFrom) >= leastPatience:
		t.lowered = now
		t.use((t.procs + 1) / 2)
	}
}

// meter measures this process.
type meter struct{ sample [1]metrics.Sample } // kept, since reading into it again allocates nothing

func (m *meter) measure() load {
	m.sample[0].Name = "/sched/latencies:seconds"
	metrics.Read(m.sample[:])
	l := load{used: used()}
	var seconds float64
	waits := m.sample[0].Value.Float64Histogram()
	for i, n := range waits.Counts {
		l.waitings += n
		seconds += float64(n) * max(waits.Buckets[i], 0) // the first begins below all times
	}
	l.waited = time.Duration(seconds * float64(time.Second))
	return l
}
