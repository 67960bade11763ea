package processors

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ollama-mcp/internal/inference"
)

// machine has some processors, of which a program wants to use so many.
type machine struct {
	mu      sync.Mutex // guards what follows
	most    int
	wanted  float64
	taken   float64 // part of each processor that others use
	procs   int     // as set
	changes int     // of procs
	load
}

func (m *machine) measure() load {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.load
}

func (m *machine) set(n int) (most int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changes++
	m.procs = min(n, m.most)
	return m.most
}

// wait is how long goroutines wait: as in a queue, the longer the fewer processors are free, up to the
// ten milliseconds for which one may run.
func (m *machine) wait() time.Duration {
	free := 1 - m.wanted/m.given()
	return min(time.Duration(20*float64(time.Microsecond)/max(free, 1e-9)), 10*time.Millisecond)
}

// given is how many processors the program can use.
func (m *machine) given() float64 { return float64(m.procs) * (1 - m.taken) }

// work has calls end every ten milliseconds.
func (m *machine) work(t *Tuner, wanted float64, d time.Duration) {
	m.run(wanted, d, func() { t.Done(inference.Record{}) })
}

// run has the program run for a while.
func (m *machine) run(wanted float64, d time.Duration, each func()) {
	const pause = 10 * time.Millisecond
	for ; d > 0; d -= pause {
		time.Sleep(pause)
		synctest.Wait() // for a look of the tuner by itself
		m.mu.Lock()
		m.wanted = wanted
		m.used += time.Duration(min(wanted, m.given()) * float64(pause))
		m.waitings += 100
		m.waited += 100 * m.wait()
		m.mu.Unlock()
		each()
	}
}

// start starts a tuner on a machine, as if GOMAXPROCS were not set.
func start(t *testing.T, most int) (m *machine, tuner *Tuner, stop func()) {
	t.Setenv("GOMAXPROCS", "")
	m = &machine{most: most, load: load{used: time.Second}}
	tuner = newTuner(m.measure, m.set)
	stop = sync.OnceFunc(tuner.Start())
	t.Cleanup(stop)
	return m, tuner, stop
}

func TestProcessorsFollowTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, tuner, stop := start(t, 8)
		for _, phase := range []struct {
			wanted float64 // processors
			for_   time.Duration
			want   int
		}{
			{0.1, time.Minute, 1},
			{0.8, time.Minute, 1},
			{1.5, 300 * time.Millisecond, 2},
			{100, 500 * time.Millisecond, 8},
			{100, time.Minute, 8},
			{3, 2 * time.Second, 4},
			{0.1, 4 * time.Second, 1},
			{100, time.Second, 8},
		} {
			m.work(tuner, phase.wanted, phase.for_)
			if m.procs != phase.want {
				t.Errorf("after %v with work for %v there are %d processors, want %d", phase.for_, phase.wanted, m.procs, phase.want)
			}
		}
		if stop(); m.procs != 8 {
			t.Errorf("in the end there are %d processors, want all", m.procs)
		}
	})
}

func TestWorkThatComesAfterHoursWithoutAnyGetsProcessorsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, tuner, _ := start(t, 8)
		time.Sleep(12 * time.Hour)
		if m.work(tuner, 100, time.Second); m.procs != 8 {
			t.Errorf("after a second there are %d processors, want 8", m.procs)
		}
	})
}

func TestCallsThatLastLongGetProcessorsToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, _, _ := start(t, 8)
		if m.run(100, 4*longest, func() {}); m.procs != 8 {
			t.Errorf("there are %d processors, want 8", m.procs)
		}
	})
}

func TestProgramThatOthersHinderGetsMoreProcessors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, tuner, _ := start(t, 8)
		m.taken = 0.3
		if m.work(tuner, 0.9, time.Second); m.procs != 2 {
			t.Errorf("there are %d processors, want 2", m.procs)
		}
	})
}

func TestOneProcessorBecomesTwoIfItIsFullOrCrowded(t *testing.T) {
	for _, test := range []struct {
		name string
		part float64
		wait time.Duration
		want int
	}{
		{"few callers keep it at work", 0.99, 100 * time.Microsecond, 2},
		{"others take a part of it", 0.7, 2 * time.Millisecond, 2},
		{"calls come at once after a break", 0.01, 2 * time.Millisecond, 1},
		{"there is some work", 0.7, 100 * time.Microsecond, 1},
	} {
		tuner := newTuner(nil, func(int) int { return 8 })
		tuner.procs, tuner.most = 1, 8
		if tuner.follow(test.part, test.wait, time.Now()); tuner.procs != test.want {
			t.Errorf("%s: there are %d processors, want %d", test.name, tuner.procs, test.want)
		}
	}
}

// As of work for a little more than one processor takes.
func TestWorkBetweenTwoNumbersDoesNotHaveThemChangeOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, tuner, _ := start(t, 8)
		m.work(tuner, 0.98, time.Hour)
		if m.changes < 3 || m.changes > 200 {
			t.Errorf("the number has changed %d times in an hour, want some, at most 200", m.changes)
		}
		m.work(tuner, 1.2, time.Minute)
		if m.procs != 2 {
			t.Errorf("there are %d processors, want 2", m.procs)
		}
	})
}

func TestLimitOfAContainerThatChangesIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, tuner, _ := start(t, 8)
		m.most = 2
		if m.work(tuner, 100, time.Second); m.procs != 2 {
			t.Errorf("there are %d processors, want 2", m.procs)
		}
	})
}

func TestNothingIsSetWhereItIsNotWanted(t *testing.T) {
	t.Setenv("GOMAXPROCS", "3")
	m := &machine{most: 8, load: load{used: time.Second}}
	stop := newTuner(m.measure, m.set).Start()
	stop()
	t.Setenv("GOMAXPROCS", "")
	newTuner(func() load { return load{} }, m.set).Start() // the system does not tell
	newTuner(m.measure, m.set).Done(inference.Record{})    // not started
	if m.changes != 0 {
		t.Errorf("the number was set %d times", m.changes)
	}
}

func TestThereAreAsManyAsTheWorkTakesAndNotManyMore(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		most := rapid.IntRange(1, 64).Draw(r, "most")
		phases := rapid.SliceOfN(rapid.Float64Range(0, 80), 1, 8).Draw(r, "wanted")
		synctest.Test(t, func(t *testing.T) {
			m, tuner, _ := start(t, most)
			for _, wanted := range phases {
				m.work(tuner, wanted, 10*time.Second)
				switch inUse := min(wanted, float64(m.procs)); {
				case m.procs < 1 || m.procs > most || m.procs != tuner.procs:
					t.Errorf("there are %d processors of %d, and the tuner knows of %d", m.procs, most, tuner.procs)
				case m.procs < most && m.wait() > crowded && time.Since(tuner.lowered) > 2*window:
					t.Errorf("%d of %d processors are few for work for %.1f", m.procs, most, wanted)
				case m.procs > 1 && inUse < idle/2*float64(m.procs):
					t.Errorf("%d processors are many for work for %.1f", m.procs, wanted)
				}
			}
		})
		if t.Failed() {
			r.FailNow()
		}
	})
}

func TestProgramRunsOnOneProcessorAndOnAllOnceItHasEnded(t *testing.T) {
	t.Setenv("GOMAXPROCS", "")
	runtime.SetDefaultGOMAXPROCS()
	all := runtime.GOMAXPROCS(0)
	stop := New().Start()
	if got := runtime.GOMAXPROCS(0); got != 1 {
		t.Errorf("it begins with %d processors, want 1", got)
	}
	if stop(); runtime.GOMAXPROCS(0) != all {
		t.Errorf("it ends with %d processors, want %d", runtime.GOMAXPROCS(0), all)
	}
}
