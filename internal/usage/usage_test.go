package usage_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/tally"
	"ollama-mcp/internal/usage"
)

func done(who, model string, source inference.Source, in, out int) inference.Record {
	return inference.Record{
		Tool: "chat", Caller: who, Took: 2 * time.Second,
		Served: inference.Served{Requested: model, Model: model, Host: "gpu-1", Source: source, TokensIn: in, TokensOut: out},
	}
}

// shown are rows as text.
func shown(t *testing.T, u *usage.Usage, days int, who string, all bool) string {
	t.Helper()
	rows, err := u.Rows(days, who, all)
	if err != nil {
		t.Error(err)
	}
	lines := ""
	for _, r := range rows {
		lines += fmt.Sprintf("%s %s %s %s %d/%d %d+%d %gs saved %gs\n", r.Day, r.Caller, r.Model, r.Source, r.Calls, r.Failed, r.TokensIn, r.TokensOut, r.Seconds, r.Saved)
	}
	return lines
}

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got\n%swant\n%s", what, got, want)
	}
}

func TestUsageIsCountedByCallerModelSourceAndDay(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		synctest.Test(t, func(t *testing.T) {
			u := usage.New(usage.Options{Dir: dir, HasModel: func(name string) bool { return name == "small:latest" }})
			u.Done(done("ci", "small", inference.Local, 10, 20))
			u.Done(done("ci", "small:latest", inference.Local, 1, 2))
			hit := done("ci", "small", inference.Cached, 10, 20)
			hit.Saved = 5 * time.Second
			u.Done(hit)
			provider := done("", "gpu-1/gpt", inference.Cloud, 100, 200)
			u.Done(provider)
			missing := done("ci", "nosuch", inference.Local, 0, 0)
			missing.Code = "model_not_found"
			u.Done(missing)
			broken := done("ci", "small", inference.Local, 0, 0)
			broken.Code = "timeout"
			u.Done(broken)
			u.Done(inference.Record{Tool: "list-models"})
			time.Sleep(24 * time.Hour)
			u.Done(done("ci", "small", inference.Local, 7, 7))
			const first = "2000-01-01 "
			mine := "2000-01-02 ci small:latest local 1/0 7+7 2s saved 0s\n" +
				first + "ci small:latest local 2/0 11+22 4s saved 0s\n" + first + "ci small:latest cache 1/0 10+20 2s saved 5s\n"
			failed := first + "ci other none 1/1 0+0 2s saved 0s\n" + first + "ci small:latest none 1/1 0+0 2s saved 0s\n"
			cut := strings.Index(mine, first)
			expect(t, "one's own", shown(t, u, 7, "ci", false), mine+failed)
			expect(t, "all", shown(t, u, 7, "ci", true), mine[:cut]+first+"local gpu-1/gpt cloud 1/0 100+200 2s saved 0s\n"+mine[cut:]+failed)
			expect(t, "today", shown(t, u, 1, "ci", true), mine[:cut])
		})
	}
}

func TestCountsOutlastTheProgramAndAddUpOverSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var programs sync.WaitGroup
		ctx, stop := context.WithCancel(t.Context())
		for range 4 {
			u := usage.New(usage.Options{Dir: dir})
			programs.Go(func() { u.Run(ctx) })
			programs.Go(func() {
				for range 10 {
					u.Done(done("ci", "small", inference.Local, 1, 2))
					time.Sleep(3 * time.Second)
				}
			})
		}
		time.Sleep(time.Minute)
		stop()
		programs.Wait()
		later, err := usage.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, "later", shown(t, later, 1, "ci", false), "2000-01-01 ci small:latest local 40/0 40+80 80s saved 0s\n")
	})
}

// A program on stdio can be over before its goroutines have run at all.
func TestProgramThatEndsAtOnceLosesNoCounts(t *testing.T) {
	dir := t.TempDir()
	over, end := context.WithCancel(t.Context())
	end()
	u := usage.New(usage.Options{Dir: dir})
	u.Done(done("ci", "small", inference.Local, 10, 20))
	u.Run(over)
	rows, err := usage.New(usage.Options{Dir: dir}).Rows(2, "ci", false)
	if err != nil || len(rows) != 1 || rows[0].Calls != 1 {
		t.Errorf("counted %v, %v", rows, err)
	}
}

func TestBudgetHoldsForItsDayOverRestartsAndPrograms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		who := caller.Caller{ID: "ci", Limits: caller.Limits{CallsPerDay: 3, TokensPerDay: 100}}
		u := usage.New(usage.Options{Dir: dir})
		admitted := func(u *usage.Usage) (n int) {
			for range 10 {
				if u.Admit(who) == nil {
					n++
				}
			}
			return n
		}
		if err := u.Admit(who); err != nil {
			t.Fatal(err)
		}
		u.Done(done("ci", "small", inference.Cached, 500, 500)) // costs nothing
		u.Flush()
		again := usage.New(usage.Options{Dir: dir})
		if n := admitted(again); n != 2 {
			t.Errorf("after a restart %d more of 3 calls are admitted, want 2", n)
		}
		if err := again.Admit(caller.Caller{ID: "free"}); err != nil {
			t.Errorf("without a budget: %v", err)
		}
		again.Flush()
		u.Flush()
		e := fault.Of(u.Admit(who))
		if e.Code != fault.RateLimited || e.Retryable || e.RetryAfter != 24*time.Hour || !strings.Contains(e.Message, "3 calls") {
			t.Errorf("beside another program: %+v", e)
		}
		time.Sleep(24 * time.Hour)
		if err := u.Admit(who); err != nil {
			t.Errorf("the next day: %v", err)
		}
		u.Done(done("ci", "small", inference.Cloud, 60, 40))
		if out, ok := errors.AsType[*usage.Exhausted](u.Admit(who)); !ok || out.Budget != "100 tokens" {
			t.Errorf("with all tokens spent: %v", out)
		}
		if s := u.Spent("ci"); s != (usage.Spent{Calls: 1, Tokens: 100}) {
			t.Errorf("spent %+v", s)
		}
	})
}

// replicas are a pretend store of what several replicas have counted.
type replicas struct {
	mu      sync.Mutex // guards what follows
	granted int        // calls that may still be made
	down    bool
	told    []tally.Spending
	usage   map[string][][]byte // of the others, by day
	own     map[string][]byte
}

func (r *replicas) Replicas() int { return 4 }

func (r *replicas) Spend(s tally.Spending) (got tally.Spent, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return got, false
	}
	r.told = append(r.told, s)
	got.Granted = min(s.Want, r.granted)
	r.granted -= got.Granted
	got.Others = map[string]tally.Count{"another": {Calls: s.Limits.Calls - r.granted - s.Own.Calls - got.Granted, Tokens: 70}}
	return got, true
}

func (r *replicas) Publish(day string, data []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return false
	}
	r.own[day] = data
	return true
}

func (r *replicas) Published(days []string) map[string][][]byte { return r.usage }

// fail has the store fail, or be back.
func (r *replicas) fail(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
}

func TestBudgetOfAllReplicasHoldsOnEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &replicas{granted: 2}
		u := usage.New(usage.Options{Tally: tally.New(shared)})
		who := caller.Caller{ID: "ci", Limits: caller.Limits{CallsPerDay: 60, TokensPerDay: 1000}}
		for range 2 {
			if err := u.Admit(who); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			if e := fault.Of(u.Admit(who)); e.Retryable || !strings.Contains(e.Message, "60 calls") {
				t.Errorf("with all calls spent: %+v", e)
			}
		}
		u.Done(done("ci", "small", inference.Local, 10, 20))
		synctest.Wait()
		if last := shared.told[len(shared.told)-1]; last.Name != "key ci" || last.Own != (tally.Count{Calls: 2, Tokens: 30}) {
			t.Errorf("the replicas were told %+v", last)
		}
		if s := u.Spent("ci"); s != (usage.Spent{Calls: 60, Tokens: 100}) {
			t.Errorf("spent %+v", s)
		}
		shared.granted = 21 // the day has calls left, for which another budget stands
		who.Limits.CallsPerDay = 81
		if err := u.Admit(who); err != nil {
			t.Fatal(err)
		}
		shared.fail(true)
		n := 0
		for u.Admit(who) == nil {
			n++
		}
		if n != 5 {
			t.Errorf("%d calls of 20 were admitted by one of 4 replicas that cannot ask the others, want 5", n)
		}
		if e := fault.Of(u.Admit(who)); !e.Retryable || e.RetryAfter > time.Minute || !strings.Contains(e.Message, "part") {
			t.Errorf("with its part spent: %+v", e)
		}
	})
}

func TestUsageOfAllReplicasIsShownByEach(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		synctest.Test(t, func(t *testing.T) {
			shared := &replicas{own: make(map[string][]byte), down: true, usage: map[string][][]byte{"2000-01-01": {
				[]byte(`[{"day":"2000-01-01","caller":"ci","model":"small:latest","source":"local","calls":2,"tokens_in":3,"tokens_out":4,"seconds":5}]`),
				[]byte(`nonsense`), []byte(`[{"caller":"ci","model":"small:latest","source":"local","calls":-2}]`),
			}}}
			u := usage.New(usage.Options{Dir: dir, Shared: shared})
			life, stop := context.WithCancel(t.Context())
			var work sync.WaitGroup
			work.Go(func() { u.Run(life) })
			u.Done(done("ci", "small", inference.Local, 10, 20))
			time.Sleep(time.Minute)
			shared.fail(false)
			time.Sleep(time.Minute)
			expect(t, "all replicas", shown(t, u, 7, "ci", false), "2000-01-01 ci small:latest local 3/0 13+24 7s saved 0s\n")
			shared.usage = nil
			expect(t, "this one alone", shown(t, u, 7, "ci", false), "2000-01-01 ci small:latest local 1/0 10+20 2s saved 0s\n")
			u.Done(done("ci", "small", inference.Local, 10, 20))
			stop()
			work.Wait()
			if got := string(shared.own["2000-01-01"]); !strings.Contains(got, `"calls":2,`) {
				t.Errorf("the replicas were told %s", got)
			}
		})
	}
}

func TestFilesThatMakeNoSenseAreSetAsideAndSaid(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "cut": `{"version":1,"rows":[{"day":"2000`, "newer": `{"version":2,"rows":[]}`, "negative": `{"version":1,"rows":[{"calls":-1}]}`,
		"a list": "[]", "spent": `{"version":1,"spent":{"ci":{"tokens":-5}}}`,
	} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "2000-01-01.json"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			u := usage.New(usage.Options{Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
			u.Done(done("ci", "small", inference.Local, 1, 2))
			u.Flush()
			expect(t, name, shown(t, u, 1, "ci", false), "2000-01-01 ci small:latest local 1/0 1+2 2s saved 0s\n")
			aside, _ := filepath.Glob(filepath.Join(dir, "*.broken-*"))
			if len(aside) != 1 || strings.Count(log.String(), "level=WARN") != 1 {
				t.Errorf("%s: aside are %q, and the log is %s", name, aside, log.String())
			}
		})
	}
}

func TestDirectoryThatCannotBeWrittenLosesNoCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "gone")
		var log bytes.Buffer
		u := usage.New(usage.Options{Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
		for range 3 {
			u.Done(done("ci", "small", inference.Local, 1, 2))
			u.Flush()
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		u.Flush()
		expect(t, "afterwards", shown(t, u, 1, "ci", false), "2000-01-01 ci small:latest local 3/0 3+6 6s saved 0s\n")
		if said := log.String(); strings.Count(said, "\n") != 2 || strings.Count(said, "WARN") != 1 {
			t.Errorf("the log is %s", said)
		}
	})
}

func TestNamesOfCallersFillNeitherMemoryNorFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		u := usage.New(usage.Options{Dir: dir})
		for i := range 20_000 {
			u.Done(done(fmt.Sprintf("<script>\n%d%s", i, strings.Repeat("x", 1000)), fmt.Sprint("model", i), inference.Local, 1, 1))
		}
		u.Flush()
		info, err := os.Stat(filepath.Join(dir, "2000-01-01.json"))
		if err != nil || info.Size() > 4<<20 {
			t.Errorf("%v, %d bytes", err, info.Size())
		}
		rows, _ := u.Rows(1, "", true)
		calls := 0
		for _, r := range rows {
			calls += r.Calls
		}
		if len(rows) > 5001 || calls != 20_000 {
			t.Errorf("%d rows of %d calls", len(rows), calls)
		}
	})
}

func TestFilesOfLongAgoAreRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		for _, name := range []string{"1998-11-01.json", "1999-12-01.json", "1990-01-01.txt", "notes.json"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(`{"version":1}`), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		u := usage.New(usage.Options{Dir: dir})
		u.Done(done("ci", "small", inference.Local, 1, 2))
		u.Flush()
		left, _ := filepath.Glob(filepath.Join(dir, "*.*"))
		if len(left) != 4 || filepath.Base(left[0]) != "1990-01-01.txt" || filepath.Base(left[1]) != "1999-12-01.json" {
			t.Errorf("left are %q", left)
		}
	})
}

func TestCountingNeedsNoMemoryPerCall(t *testing.T) {
	u := usage.New(usage.Options{})
	r := done("ci", "small:latest", inference.Local, 1, 2)
	u.Done(r)
	if n := testing.AllocsPerRun(100, func() { u.Done(r) }); n > 1 { // for the model
		t.Errorf("%v allocations", n)
	}
}

// What comes back from a file is what it says, or an error.
func FuzzFile(f *testing.F) {
	f.Add(`{"version":1,"rows":[{"day":"2000-01-01","caller":"ci","model":"m","source":"local","calls":2,"tokens_in":3,"tokens_out":4,"seconds":5}],"spent":{"ci":{"calls":1,"tokens":7}}}`)
	f.Add(`{"version":2}`)
	f.Fuzz(func(t *testing.T, text string) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "2999-01-01.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		u, err := usage.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := u.Rows(1, "", true)
		var said struct {
			Version int
			Rows    []usage.Row
		}
		isValid := json.Unmarshal([]byte(text), &said) == nil && said.Version == 1
		calls, want := 0, 0
		for _, r := range rows {
			calls += r.Calls
		}
		for _, r := range said.Rows {
			isValid = isValid && r.Calls >= 0
			want += r.Calls
		}
		if err == nil && (!isValid || calls != want) || err != nil && len(rows) > 0 {
			t.Errorf("%v, %d calls of %d", err, calls, want)
		}
	})
}
