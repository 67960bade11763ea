package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/ollama/ollama/api"

	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

// lent is the part of a result's metadata that is about the host that served it. All but the
// host needs fullMeta.
type lent struct {
	Host       string   `json:"host"`
	Retries    int      `json:"retries"`
	Overridden []string `json:"overridden_options"`
	Load       int64    `json:"load_ms"`
}

// lend calls generate, and returns which host answered. Any goroutine may call it.
func (s *session) lend(args string) (lent, error) {
	var l lent
	res, err := s.CallTool(s.ctx, &mcp.CallToolParams{Name: "generate", Arguments: json.RawMessage(args)})
	if err != nil {
		return l, err
	}
	raw, err := json.Marshal(res.Meta["ollama-mcp/served"])
	if err == nil {
		err = json.Unmarshal(raw, &l)
	}
	if res.IsError && err == nil {
		err = fmt.Errorf("%s: %v", args, res.StructuredContent)
	}
	return l, err
}

// callers start n callers, each of whom has tiny-loops generate that many words again and
// again until stop returns true. served is called in between.
func (s *session) callers(n, words int, stop func() bool, served func(lent)) *sync.WaitGroup {
	all := new(sync.WaitGroup)
	for range n {
		all.Go(func() {
			for !stop() {
				l, err := s.lend(fmt.Sprintf(`{"model":"tiny-loops","prompt":%q,"options":{"num_predict":%d}}`, fresh(), words))
				if err != nil {
					s.t.Error(err)
					return
				}
				served(l)
			}
		})
	}
	return all
}

// tally counts calls by host.
type tally struct {
	mu      sync.Mutex // guards the fields below
	hosts   map[string]int
	retries int
}

func newTally() *tally { return &tally{hosts: make(map[string]int)} }

func (c *tally) add(l lent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hosts[l.Host]++
	c.retries += l.Retries
}

func (c *tally) of(host string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hosts[host]
}

func (c *tally) retried() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.retries
}

func (c *tally) all() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.hosts)
}

func hostName(server *ollamatest.Server) string { return strings.TrimPrefix(server.URL(), "http://") }

// loadedOn has an Ollama load a model, past the program.
func loadedOn(t *testing.T, ollama *ollamatest.Server, model string) {
	t.Helper()
	err := ollama.Client().Generate(deadline(t), &api.GenerateRequest{Model: model}, func(api.GenerateResponse) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
}

// Both hosts have the model in memory whenever the program looks, or it would depend on
// the machine whether to load it is quicker than to wait for the other.
func TestHostThatDiesLosesNoCallAndIsAskedAgainWhenItIsBack(t *testing.T) {
	t.Parallel()
	withAndWithoutCache(t, func(t *testing.T, env ...string) {
		models := []tinymodels.Model{tinymodels.Loops}
		one, other := ollamatest.Start(t, ollamatest.Options{Models: models}), ollamatest.Start(t, ollamatest.Options{Models: models})
		loadedOn(t, one, tinymodels.Loops.Name)
		loadedOn(t, other, tinymodels.Loops.Name)
		ctx := deadline(t)
		cmd := command(ctx, "", "--host", one.URL(), "--host", other.URL(), "--slots=2", "--result-meta=full")
		cmd.Env = append(cmd.Env, env...)
		s := attach(t, ctx, cmd, "")

		var stop, lull atomic.Bool
		served := newTally()
		all := s.callers(24, 200, stop.Load, func(l lent) {
			served.add(l)
			if lull.Load() {
				time.Sleep(500 * time.Millisecond)
			}
		})
		t.Cleanup(func() { stop.Store(true); all.Wait() })
		eventually(t, "both serve", func() bool { return served.of(hostName(one)) > 0 && served.of(hostName(other)) > 0 })
		one.Kill()
		eventually(t, "the other is given the calls that it had", func() bool { return served.retried() > 0 })
		if err := one.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		loadedOn(t, one, tinymodels.Loops.Name)
		lull.Store(true) // the program takes its time until it asks the host again
		before := served.of(hostName(one))
		eventually(t, "it serves again", func() bool { return served.of(hostName(one)) > before+8 })
		t.Logf("calls served %v, of which %d were tried again", served.all(), served.retried())
	})
}

// loads counts how often a server has loaded a model.
func loads(s *ollamatest.Server) int { return strings.Count(s.Log(), `msg="loaded runners"`) }

// Two models for which there is room for one take turns. With so many calls of each in
// the queue, a change of models is due only when one of them has no more.
func TestModelsThatDoNotFitTogetherAreNotLoadedForEachCall(t *testing.T) {
	t.Parallel()
	withAndWithoutCache(t, func(t *testing.T, env ...string) {
		const each = 32
		ollama := ollamatest.Start(t, ollamatest.Options{
			Models: []tinymodels.Model{tinymodels.Says, tinymodels.Fills},
			Env:    []string{"OLLAMA_MAX_LOADED_MODELS=1"},
		})
		busy := startGate(t, ollama)
		busy.open()
		ctx := deadline(t)
		// A call that has waited for max-passed-over goes next, and on a machine that is
		// slow enough all would have.
		cmd := command(ctx, busy.URL, "--max-passed-over=1h", "--timeout=10m")
		cmd.Env = append(cmd.Env, env...)
		s := attach(t, ctx, cmd, "")
		ask := func(calls int) *sync.WaitGroup {
			all := new(sync.WaitGroup)
			for range calls {
				for _, model := range []string{"tiny-says", "tiny-fills"} {
					all.Go(func() {
						if _, err := s.lend(fmt.Sprintf(`{"model":%q,"prompt":%q}`, model, fresh())); err != nil {
							t.Error(err)
						}
					})
				}
			}
			return all
		}
		for range 3 { // it cannot be known before that the models drive each other out
			ask(1).Wait()
		}

		busy.shutAgain()
		all := ask(each)
		eventually(t, "all calls wait", func() bool {
			waiting, _, _ := busy.counts()
			return waiting+s.queued() == 2*each
		})
		before := loads(ollama)
		busy.open()
		all.Wait()
		// At most, the one that is not loaded goes first, and then the other is loaded anew.
		if n := loads(ollama) - before; n > 2 {
			t.Errorf("%d loads for %d calls of two models, want at most 2", n, 2*each)
		}
	})
}

// queued is how many calls wait for a slot.
func (s *session) queued() (n int) {
	s.t.Helper()
	var queue struct{ Waiting int }
	convert(s.t, s.succeeds("status", `{}`).StructuredContent["queue"], &queue)
	return queue.Waiting
}

func TestPinnedOptionIsNotChangedByACallerUnlessThatIsWanted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	write(t, file, "models:\n  tiny-says: {num_ctx: 512}\n")
	for policy, reloads := range map[string]bool{"pinned": false, "caller": true} {
		t.Run(policy, func(t *testing.T) {
			ctx := deadline(t)
			s := attach(t, ctx, command(ctx, shared.URL(), "--config", file, "--runner-options", policy, "--result-meta=full"), "")
			ask := func(options string) lent {
				t.Helper()
				l, err := s.lend(fmt.Sprintf(`{"model":"tiny-says","prompt":%q,"options":%s}`, fresh(), options))
				if err != nil {
					t.Fatal(err)
				}
				return l
			}
			ask(`{"num_ctx":512}`)
			before := loads(shared)
			l := ask(`{"num_ctx":1024}`)
			if loaded := loads(shared) > before; loaded != reloads || len(l.Overridden) == 1 == reloads {
				t.Errorf("loaded anew: %v, want %v; overridden: %v", loaded, reloads, l.Overridden)
			}
		})
	}
}

func TestColdStartTakesOneSlotAndCallersOfOtherModelsGoOn(t *testing.T) {
	t.Parallel()
	withAndWithoutCache(t, func(t *testing.T, env ...string) {
		ollama := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Says, tinymodels.JSON}})
		load := startGate(t, ollama, tinymodels.JSON.Name)
		ctx := deadline(t)
		cmd := command(ctx, load.URL)
		cmd.Env = append(cmd.Env, env...)
		s := attach(t, ctx, cmd, "")
		s.stillAnswers(t)

		const cold = 5
		calls := make([]*pending, cold)
		calls[0] = s.start("generate", `{"model":"tiny-json","prompt":"0"}`)
		calls[0].until("loading tiny-json")
		for i := 1; i < cold; i++ {
			calls[i] = s.start("generate", fmt.Sprintf(`{"model":"tiny-json","prompt":"%d"}`, i))
		}
		for _, p := range calls[1:] {
			p.until("is being loaded")
		}
		for range 50 {
			s.stillAnswers(t)
		}
		if _, most, _ := load.counts(); most != 1 {
			t.Errorf("%d calls of the cold model were with the host at once", most)
		}
		load.open()
		for _, p := range calls {
			if a := p.result(); a.IsError {
				t.Errorf("got %+v", a)
			}
		}
	})
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestHostsThatAreReplacedWhileTheProgramRunsLoseNoCall(t *testing.T) {
	t.Parallel()
	withAndWithoutCache(t, func(t *testing.T, env ...string) {
		const callers = 8
		file := filepath.Join(t.TempDir(), "config.yaml")
		host := func(name string) string { return fmt.Sprintf("hosts:\n  - {name: %s, url: %q}\n", name, shared.URL()) }
		write(t, file, host("one"))
		ctx := deadline(t)
		cmd := command(ctx, "", "--listen", "127.0.0.1:0", "--config", file)
		cmd.Env = append(cmd.Env, env...)
		l := serve(t, cmd)
		s := join(t, ctx, &mcp.StreamableClientTransport{Endpoint: l.url() + "/mcp"}, "")

		var stop atomic.Bool
		served := newTally()
		all := s.callers(callers, 100, stop.Load, func(l lent) {
			served.add(l)
			time.Sleep(20 * time.Millisecond) // about as long as a call: at any time some are under way
		})
		t.Cleanup(func() { stop.Store(true); all.Wait() })
		last := "one"
		eventually(t, "the first serves", func() bool { return served.of(last) > callers })
		for _, next := range []string{"two", "three"} {
			write(t, file, host(next))
			if next == "two" { // for the other it has to see for itself
				if err := l.cmd.Process.Signal(syscall.SIGHUP); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, next+" serves", func() bool { return served.of(next) > 0 })
			before := served.of(last)
			eventually(t, next+" goes on serving", func() bool { return served.of(next) > 2*callers })
			// Those that were with it when it was removed have ended there.
			if more := served.of(last) - before; more > callers {
				t.Errorf("%s served %d calls after it was replaced", last, more)
			}
			last = next
		}
		t.Logf("calls served %v", served.all())
	})
}

func TestModelIsNotLoadedAnewForLessContextThanItHas(t *testing.T) {
	t.Parallel()
	ollama := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Says}})
	s := connect(t, ollama, fullMeta)
	for _, c := range []struct {
		options           string
		loads, overridden int
	}{
		{`{"num_ctx":1024}`, 1, 0},
		{`{"num_ctx":512}`, 0, 1},
		{`{"num_ctx":1536}`, 1, 0},
		{`{"num_ctx":1024}`, 0, 1},
	} {
		before := loads(ollama)
		l, err := s.lend(fmt.Sprintf(`{"model":"tiny-says","prompt":%q,"options":%s}`, fresh(), c.options))
		if err != nil {
			t.Fatal(err)
		}
		if n := loads(ollama) - before; n != c.loads || len(l.Overridden) != c.overridden {
			t.Errorf("%s: %d loads, want %d; overridden: %v", c.options, n, c.loads, l.Overridden)
		}
	}
}
