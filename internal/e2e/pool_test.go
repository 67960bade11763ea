package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
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

// lent is what a result says about the host that served it.
type lent struct {
	Host       string   `json:"host"`
	Retries    int      `json:"retries"`
	Overridden []string `json:"overridden_options"`
	Load       int64    `json:"load_ms"`
}

// lend has a model answer, and says who did. Any goroutine may call it.
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

// callers have a model answer until stop says so, each again and again.
func (s *session) callers(n int, args string, stop func() bool, served func(lent)) *sync.WaitGroup {
	all := new(sync.WaitGroup)
	for range n {
		all.Go(func() {
			for !stop() {
				l, err := s.lend(args)
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
	mu      sync.Mutex // guards what follows
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

// within waits for something that takes the server seconds to notice.
func within(t *testing.T, limit time.Duration, what string, happened func() bool) {
	t.Helper()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for end := time.After(limit); !happened(); {
		select {
		case <-poll.C:
		case <-end:
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

func hostName(server *ollamatest.Server) string { return strings.TrimPrefix(server.URL(), "http://") }

func TestHostThatDiesLosesNoCallAndIsAskedAgainWhenItIsBack(t *testing.T) {
	models := []tinymodels.Model{tinymodels.Loops}
	one, other := ollamatest.Start(t, ollamatest.Options{Models: models}), ollamatest.Start(t, ollamatest.Options{Models: models})
	ctx := deadline(t)
	s := attach(t, ctx, command(ctx, "", "--host", one.URL(), "--host", other.URL(), "--slots", "2"), "")

	// So many that to wait for the one takes clearly longer than to load the model on the
	// other, or it would not be worth it.
	const callers = 24
	var stop atomic.Bool
	served := newTally()
	all := s.callers(callers, `{"model":"tiny-loops","prompt":"hi","cache":"off","options":{"num_predict":200}}`, stop.Load, served.add)
	within(t, 10*time.Second, "both serve", func() bool { return served.of(hostName(one)) > 0 && served.of(hostName(other)) > 0 })
	one.Kill()
	within(t, 10*time.Second, "the calls that it had are asked of the other", func() bool { return served.retried() > 0 })
	if err := one.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	before := served.of(hostName(one))
	within(t, 30*time.Second, "it serves again", func() bool { return served.of(hostName(one)) > before+8 })
	stop.Store(true)
	all.Wait()
	t.Logf("calls served %v, of which %d were tried again", served.all(), served.retried())
}

// loads counts how often a server has loaded a model.
func loads(s *ollamatest.Server) int { return strings.Count(s.Log(), `msg="loaded runners"`) }

// Two models for which there is room for one take turns.
func TestModelsThatDoNotFitTogetherAreNotLoadedForEachCall(t *testing.T) {
	const callers, each = 8, 8
	ollama := ollamatest.Start(t, ollamatest.Options{
		Models: []tinymodels.Model{tinymodels.Says, tinymodels.Fills},
		Env:    []string{"OLLAMA_MAX_LOADED_MODELS=1"},
	})
	s := connect(t, ollama)
	models := []string{"tiny-says", "tiny-fills"}
	run := func(call func(model string) error) (took time.Duration, loaded int) {
		began, before := time.Now(), loads(ollama)
		var all sync.WaitGroup
		for i := range callers {
			all.Go(func() {
				for range each {
					if err := call(models[i%2]); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		return time.Since(began), loads(ollama) - before
	}
	lend := func(model string) error {
		_, err := s.lend(`{"model":"` + model + `","prompt":"hi","cache":"off"}`)
		return err
	}
	run(lend) // it cannot be known before that there is no room for both
	ours, our := run(lend)
	direct, their := run(func(model string) error {
		return ollama.Client().Generate(s.ctx, &api.GenerateRequest{Model: model, Prompt: "hi"}, func(api.GenerateResponse) error { return nil })
	})
	t.Logf("%d calls of two models: %d loads in %v; straight to Ollama: %d loads in %v", callers*each, our, ours.Round(time.Millisecond), their, direct.Round(time.Millisecond))
	// Straight to Ollama it is a matter of luck: from 5 to 46 loads were seen.
	if most := callers * each / 8; our > most {
		t.Errorf("%d loads, want at most %d", our, most)
	}
}

func TestPinnedOptionIsNotChangedByACallerUnlessThatIsWanted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	write(t, file, "models:\n  tiny-says: {num_ctx: 512}\n")
	for policy, reloads := range map[string]bool{"pinned": false, "caller": true} {
		t.Run(policy, func(t *testing.T) {
			ctx := deadline(t)
			s := attach(t, ctx, command(ctx, shared.URL(), "--config", file, "--runner-options", policy), "")
			ask := func(options string) lent {
				t.Helper()
				l, err := s.lend(`{"model":"tiny-says","prompt":"hi","cache":"off","options":` + options + `}`)
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

// slowLoad stands before an Ollama, and makes a model seem to take long to load.
type slowLoad struct {
	model    string
	ready    chan struct{} // closed when the model may be loaded
	mu       sync.Mutex    // guards what follows
	waiting  int
	together int // the most that have waited at once
}

func (p *slowLoad) before(next http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		if strings.HasPrefix(r.URL.Path, "/api/generate") && strings.Contains(string(body), `"`+p.model+`"`) {
			p.count(1)
			select {
			case <-p.ready:
			case <-r.Context().Done():
			}
			p.count(-1)
		}
		next.ServeHTTP(w, r)
	}
}

func (p *slowLoad) count(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting += n
	p.together = max(p.together, p.waiting)
}

func (p *slowLoad) most() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.together
}

func TestColdStartTakesOneSlotAndCallersOfOtherModelsGoOn(t *testing.T) {
	ollama := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Says, tinymodels.JSON}})
	target, err := url.Parse(ollama.URL())
	if err != nil {
		t.Fatal(err)
	}
	slow := &slowLoad{model: "tiny-json", ready: make(chan struct{})}
	proxy := httptest.NewServer(slow.before(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, FlushInterval: -1,
	}))
	t.Cleanup(proxy.Close)
	ctx := deadline(t)
	s := attach(t, ctx, command(ctx, proxy.URL), "")
	if _, err := s.lend(`{` + hi + `}`); err != nil {
		t.Fatal(err)
	}

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
		if _, err := s.lend(`{"model":"tiny-says","prompt":"hi","cache":"off"}`); err != nil {
			t.Fatal(err)
		}
	}
	if most := slow.most(); most != 1 {
		t.Errorf("%d calls of the cold model were with the host at once", most)
	}
	close(slow.ready)
	for _, p := range calls {
		if a := p.result(); a.IsError {
			t.Errorf("got %+v", a)
		}
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestHostsThatAreReplacedWhileTheProgramRunsLoseNoCall(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	host := func(name string) string { return fmt.Sprintf("hosts:\n  - {name: %s, url: %q}\n", name, shared.URL()) }
	write(t, file, host("one"))
	ctx := deadline(t)
	l := serve(t, command(ctx, "", "--listen", "127.0.0.1:0", "--config", file))
	s := join(t, ctx, &mcp.StreamableClientTransport{Endpoint: l.url() + "/mcp"}, "")

	var stop atomic.Bool
	served := newTally()
	all := s.callers(8, `{"model":"tiny-loops","prompt":"hi","cache":"off","options":{"num_predict":100}}`, stop.Load, served.add)
	last := "one"
	within(t, 10*time.Second, "the first serves", func() bool { return served.of(last) > 8 })
	for _, next := range []string{"two", "three"} {
		write(t, file, host(next))
		if next == "two" { // for the other it has to see for itself
			if err := l.cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
		}
		within(t, 15*time.Second, next+" serves", func() bool { return served.of(next) > 0 })
		before := served.of(last)
		within(t, 10*time.Second, next+" goes on serving", func() bool { return served.of(next) > 50 })
		// Those that were with it when it was removed have ended there.
		if more := served.of(last) - before; more > 8 {
			t.Errorf("%s served %d calls after it was replaced", last, more)
		}
		last = next
	}
	stop.Store(true)
	all.Wait()
	t.Logf("calls served %v", served.all())
}

func TestModelIsNotLoadedAnewForLessContextThanItHas(t *testing.T) {
	ollama := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Says}})
	s := connect(t, ollama)
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
		l, err := s.lend(`{"model":"tiny-says","prompt":"hi","cache":"off","options":` + c.options + `}`)
		if err != nil {
			t.Fatal(err)
		}
		if n := loads(ollama) - before; n != c.loads || len(l.Overridden) != c.overridden {
			t.Errorf("%s: %d loads, want %d; overridden: %v", c.options, n, c.loads, l.Overridden)
		}
	}
}
