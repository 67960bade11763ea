package loadtest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/loadtest"
)

var update = flag.Bool("update", false, "rewrite the files in testdata")

// golden compares what was written with a file in testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is out of date: run go test ./internal/loadtest -update and read the difference; got\n%s", file, got)
	}
}

// slots answers n calls at a time, which take a second each.
func slots(n int) loadtest.Contestant {
	free := make(chan struct{}, n)
	do := func(ctx context.Context, q loadtest.Request) (loadtest.Result, error) {
		select {
		case free <- struct{}{}:
			defer func() { <-free }()
		case <-ctx.Done():
			return loadtest.Result{}, ctx.Err()
		}
		select {
		case <-time.After(time.Second):
			return loadtest.Result{Tokens: q.Tokens, FirstToken: time.Since(q.Began)}, nil
		case <-ctx.Done():
			return loadtest.Result{}, ctx.Err()
		}
	}
	return loadtest.Contestant{Name: "slots", Do: do}
}

// saying answers at once, or with the error that fail returns for the n-th call.
func saying(fail func(n int64, q loadtest.Request) error) loadtest.Contestant {
	var calls atomic.Int64
	return loadtest.Contestant{
		Name: "host",
		Do: func(_ context.Context, q loadtest.Request) (loadtest.Result, error) {
			return loadtest.Result{Tokens: 1}, fail(calls.Add(1), q)
		},
	}
}

func measure(t *testing.T, o loadtest.Options) *loadtest.Report {
	t.Helper()
	if o.Models == nil {
		o.Models = []string{"tiny"}
	}
	report, err := loadtest.Measure(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestRateStopsRisingWhereTheSlotsAreFullAndLatencyBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		report := measure(t, loadtest.Options{
			Contestants: []loadtest.Contestant{slots(4)}, Callers: []int{1, 4, 16}, Calls: 160, OutputTokens: 10,
		})
		for i, want := range []loadtest.Row{
			{Callers: 1, Requests: 1, Tokens: 10, Latency: loadtest.Times{P50: 1000, P95: 1000}},
			{Callers: 4, Requests: 4, Tokens: 40, Latency: loadtest.Times{P50: 1000, P95: 1000}},
			{Callers: 16, Requests: 4, Tokens: 40, Latency: loadtest.Times{P50: 4000, P95: 4000}},
		} {
			got := report.Rows[i]
			if got.Callers != want.Callers || got.Requests != want.Requests || got.Tokens != want.Tokens ||
				got.Latency.P50 != want.Latency.P50 || got.Latency.P95 != want.Latency.P95 {
				t.Errorf("row %d: got %+v, want %+v", i, got, want)
			}
			if got.Answered != 160 || got.Failed != 0 || got.FirstToken != got.Latency.P50 {
				t.Errorf("row %d: got %+v, want 160 answers, no failures, and first tokens with the answers", i, got)
			}
		}
	})
}

func TestRowEndsWithItsDurationAndWaitsForCallsUnderWay(t *testing.T) {
	for rounds, want := range map[int]int{1: 3, 2: 4} { // seconds: with two rounds it waits twice
		synctest.Test(t, func(t *testing.T) {
			report := measure(t, loadtest.Options{
				Contestants: []loadtest.Contestant{slots(2)}, Callers: []int{2}, Duration: 2500 * time.Millisecond, Rounds: rounds,
			})
			if got := report.Rows[0]; got.Answered != 2*want || got.Seconds != float64(want) {
				t.Errorf("%d rounds: got %d answers in %v s, want %d in %d s", rounds, got.Answered, got.Seconds, 2*want, want)
			}
		})
	}
}

func TestRunThatIsStoppedReportsWhatThereIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		var out, js bytes.Buffer
		err := loadtest.Run(ctx, loadtest.Options{
			Contestants: []loadtest.Contestant{slots(2)}, Models: []string{"tiny"}, Callers: []int{2, 4}, Out: &out, JSON: &js,
		})
		if err != nil {
			t.Fatal(err)
		}
		var report loadtest.Report
		if err := json.Unmarshal(js.Bytes(), &report); err != nil {
			t.Fatal(err)
		}
		// The first second goes to the call that is not counted.
		if len(report.Rows) != 1 || report.Rows[0].Answered != 2 || report.Rows[0].Failed != 0 || !report.Stopped {
			t.Errorf("got %+v, want one row with two answers, no failure, and stopped", report)
		}
		if !strings.Contains(out.String(), "Stopped early") {
			t.Errorf("the table does not say that the run was stopped:\n%s", &out)
		}
	})
}

func TestFailuresAreCountedByCodeAndPausedAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		report := measure(t, loadtest.Options{
			Contestants: []loadtest.Contestant{saying(func(n int64, _ loadtest.Request) error {
				switch {
				case n > 1 && n <= 4:
					return &backend.Error{Host: "gpu-1", Class: backend.Overload, Message: "busy\x1b[2J"}
				case n == 5:
					return errors.New("what is this?")
				}
				return nil
			})}, Callers: []int{1}, Calls: 10,
		})
		row := report.Rows[0]
		if row.Answered != 6 || row.Failed != 4 || row.Requests != 15 {
			t.Fatalf("got %d answers and %d failures, %v answers a second, want 6 and 4, and 15 a second", row.Answered, row.Failed, row.Requests)
		}
		if got := row.Errors["overloaded"]; got == nil || got.Count != 3 || got.Example != "gpu-1: overloaded: busy[2J" {
			t.Errorf("overloaded: got %+v, want 3 and the words without control characters", got)
		}
		if got := row.Errors["other"]; got == nil || got.Count != 1 {
			t.Errorf("other: got %+v, want 1", got)
		}
		if got := time.Since(began); got != 400*time.Millisecond {
			t.Errorf("took %v, want a pause of 100 ms for each failure", got)
		}
	})
}

func TestCodesAreThoseOfTheOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		report := measure(t, loadtest.Options{
			Contestants: []loadtest.Contestant{saying(func(n int64, _ loadtest.Request) error {
				if n == 2 {
					return errors.New("no")
				}
				return nil
			})}, Callers: []int{1}, Calls: 2, Code: func(error) string { return "upstream" },
		})
		if got := report.Rows[0].Errors["upstream"]; got == nil || got.Count != 1 {
			t.Errorf("got %+v, want one called upstream", report.Rows[0].Errors)
		}
	})
}

func TestMistakeIsFoundBeforeTheRun(t *testing.T) {
	var called []string
	_, err := loadtest.Measure(t.Context(), loadtest.Options{
		Models: []string{"tiny", "none"},
		Contestants: []loadtest.Contestant{saying(func(_ int64, q loadtest.Request) error {
			called = append(called, q.Model)
			if q.Model == "none" {
				return &backend.Error{Host: "gpu-1", Class: backend.ModelMissing}
			}
			return nil
		})},
	})
	if want := "bench: host: none: gpu-1: model not found"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %q", err, want)
	}
	if got := strings.Join(called, " "); got != "tiny none" {
		t.Errorf("called %q, want each model once", got)
	}
}

func TestRunWithoutAnyAnswerIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		err := loadtest.Run(t.Context(), loadtest.Options{
			Models: []string{"tiny"}, Callers: []int{1}, Calls: 3, Out: &out,
			Contestants: []loadtest.Contestant{saying(func(n int64, _ loadtest.Request) error {
				if n > 1 {
					return &backend.Error{Host: "gpu-1", Class: backend.Transport}
				}
				return nil
			})},
		})
		if err == nil || !strings.Contains(out.String(), "3 unreachable") {
			t.Errorf("got error %v, want one, and the reason in the table:\n%s", err, &out)
		}
	})
}

func TestRequestsAlternateBetweenModelsAndSizesAndNoneIsMadeTwice(t *testing.T) {
	var mu sync.Mutex
	prompts := make(map[string]bool)
	sizes := make(map[string][]int) // words of the prompts, by model
	measure(t, loadtest.Options{
		Models: []string{"a", "b"}, PromptTokens: []int{8, 104}, Callers: []int{2}, Calls: 8,
		Contestants: []loadtest.Contestant{saying(func(n int64, q loadtest.Request) error {
			mu.Lock()
			defer mu.Unlock()
			first, _, _ := strings.Cut(q.Prompt, " ")
			prompts[first] = true
			if n > 2 { // beyond the first, which are not counted
				sizes[q.Model] = append(sizes[q.Model], len(strings.Fields(q.Prompt)))
			}
			return nil
		})},
	})
	if len(prompts) != 10 {
		t.Errorf("got %d beginnings of prompts, want one for each of 10 calls", len(prompts))
	}
	for _, model := range []string{"a", "b"} {
		short, long := 0, 0
		for _, n := range sizes[model] {
			switch n {
			case 5:
				short++
			case 101:
				long++
			}
		}
		if short != 2 || long != 2 {
			t.Errorf("model %s: got prompts of %v words, want two short and two long", model, sizes[model])
		}
	}
}

func TestContestantThatIsTooSlowMakesFewerCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := slots(1)
		slow.Calls = 4
		var out bytes.Buffer
		err := loadtest.Run(t.Context(), loadtest.Options{
			Models: []string{"tiny"}, Contestants: []loadtest.Contestant{slow}, Callers: []int{2}, Calls: 3600, Out: &out,
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := "slots made 4 calls, not 3600: at its rate, all would take 1h0m0s."; !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, &out)
		}
	})
}

func TestProgressIsOneLineThatIsErased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var terminal bytes.Buffer
		measure(t, loadtest.Options{
			Contestants: []loadtest.Contestant{slots(4)}, Callers: []int{1, 4}, Rounds: 2, Duration: 6 * time.Second, Progress: &terminal,
		})
		shown := terminal.String()
		for _, want := range []string{"\rslots: loading tiny", "4/4 slots, callers: 4, 5 s of 6, 20 answers, 3.81/s"} {
			if !strings.Contains(shown, want) {
				t.Errorf("no %q in %q", want, shown)
			}
		}
		if strings.Contains(shown, "\n") || !strings.HasSuffix(shown, " \r") {
			t.Errorf("got %q, want one line that is erased in the end", shown)
		}
	})
}

func TestOptionsThatCannotWorkAreNamed(t *testing.T) {
	good := func() loadtest.Options {
		return loadtest.Options{Models: []string{"tiny"}, Contestants: []loadtest.Contestant{slots(1)}, Calls: 1}
	}
	for field, spoil := range map[string]func(*loadtest.Options){
		"Contestants":  func(o *loadtest.Options) { o.Contestants = nil },
		"Kind":         func(o *loadtest.Options) { o.Kind = "chat" },
		"Models":       func(o *loadtest.Options) { o.Models = nil },
		"PromptTokens": func(o *loadtest.Options) { o.PromptTokens = []int{1, 0} },
		"OutputTokens": func(o *loadtest.Options) { o.OutputTokens = -1 },
		"Callers":      func(o *loadtest.Options) { o.Callers = []int{0} },
		"Calls":        func(o *loadtest.Options) { o.Calls = -1 },
		"Duration":     func(o *loadtest.Options) { o.Duration = -1 },
		"Rounds":       func(o *loadtest.Options) { o.Rounds = -1 },
	} {
		o := good()
		spoil(&o)
		if _, err := loadtest.Measure(t.Context(), o); err == nil || !strings.HasPrefix(err.Error(), "bench: "+field+" ") {
			t.Errorf("%s: got %v, want an error that names it", field, err)
		}
	}
}

func TestRoundsAlternateAndAddUpToTheRow(t *testing.T) {
	var mu sync.Mutex
	var turns []string // names, where they change
	named := func(name string, calls int) loadtest.Contestant {
		c := slots(2)
		do := c.Do
		c.Name, c.Calls = name, calls
		c.Do = func(ctx context.Context, q loadtest.Request) (loadtest.Result, error) {
			mu.Lock()
			if len(turns) == 0 || turns[len(turns)-1] != name {
				turns = append(turns, name)
			}
			mu.Unlock()
			return do(ctx, q)
		}
		return c
	}
	synctest.Test(t, func(t *testing.T) {
		turns = nil
		report := measure(t, loadtest.Options{
			Contestants: []loadtest.Contestant{named("a", 0), named("b", 0), named("some", 40), named("few", 2)},
			Callers:     []int{2}, Calls: 100, Rounds: 20,
		})
		for i, want := range []loadtest.Row{
			{Contestant: "a", Calls: 100, Answered: 100, Seconds: 60}, // five calls a round, two at a time
			{Contestant: "b", Calls: 100, Answered: 100, Seconds: 60},
			{Contestant: "some", Calls: 40, Answered: 40, Seconds: 20},
			{Contestant: "few", Calls: 2, Answered: 2, Seconds: 1},
		} {
			got := report.Rows[i]
			if got.Contestant != want.Contestant || got.Calls != want.Calls || got.Answered != want.Answered || got.Seconds != want.Seconds {
				t.Errorf("got %+v, want %+v", got, want)
			}
			for _, rate := range got.Turns {
				if mean := float64(want.Answered) / want.Seconds; math.Abs(rate-mean) > 1e-9 {
					t.Errorf("%s: a turn of %v answers a second, want %v as in all", got.Contestant, rate, mean)
				}
			}
		}
	})
	if got := len(turns); got < 20 {
		t.Errorf("the turns changed %d times, want at least once a round", got)
	}
	counts := make(map[string]int)
	for _, name := range turns {
		counts[name]++
	}
	// The last of a round and the first of the next may be the same, and the call that
	// is not counted comes before all.
	if counts["some"] < 10 || counts["few"] > 2 {
		t.Errorf("turns: %v, want one of those who have too few calls for more, and of all others one a round", counts)
	}
}
