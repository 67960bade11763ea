package inference_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// pair lends two hosts at once, the second when the first is late: what a pool does
// that has a slot of each to spare. The first use that succeeds ends the other.
type pair struct {
	*pool.Pool // of both
	hosts      [2]*pool.Pool

	mu    sync.Mutex
	after []time.Duration // that was asked for, of each call
}

func (p *pair) With(ctx context.Context, need route.Need, use func(context.Context, *pool.Lease) error) error {
	after := need.HedgeAfter
	p.mu.Lock()
	p.after = append(p.after, after)
	p.mu.Unlock()
	if after == 0 {
		return p.Pool.With(ctx, need, use)
	}
	ctx, won := context.WithCancel(ctx)
	defer won()
	var uses sync.WaitGroup
	var errs [2]error
	for i, host := range p.hosts {
		uses.Go(func() {
			if i == 1 {
				select {
				case <-time.After(after):
				case <-ctx.Done():
					errs[i] = ctx.Err()
					return
				}
			}
			errs[i] = host.With(ctx, need, func(ctx context.Context, l *pool.Lease) error {
				l.Hedge = i == 1
				return use(ctx, l)
			})
			if errs[i] == nil {
				won()
			}
		})
	}
	uses.Wait()
	if errs[1] == nil {
		return nil
	}
	return errs[0]
}

const hedgeAfter = 2 * time.Second

// hedging makes the tools ask two hosts, the second after two seconds; for the model
// calm it is never asked. The provider openai is the same two.
func (c *client) hedging() (first, second *backendtest.Host, lender *pair) {
	c.t.Helper()
	first, second = backendtest.New("gpu-1").Answer("from gpu-1"), backendtest.New("gpu-2").Answer("from gpu-2")
	lender = &pair{Pool: c.pool(pool.Options{}, first, second)}
	lender.hosts = [2]*pool.Pool{c.pool(pool.Options{}, first), c.pool(pool.Options{}, second)}
	for _, host := range []*backendtest.Host{first, second} {
		host.Install(backendtest.Model{Name: "calm"})
	}
	ladders, err := route.NewLadders(nil, nil, map[string]bool{"openai": true})
	if err != nil {
		c.t.Fatal(err)
	}
	settings := &inference.Settings{
		Ladders: ladders, Providers: map[string]inference.Lender{"openai": lender},
		Models: map[string]inference.ForModel{"calm:latest": {HedgeAfter: new(time.Duration(0))}},
	}
	c.opts.Settings = func() *inference.Settings { return settings }
	c.opts.HedgeAfter = hedgeAfter
	c.useHosts(lender)
	return first, second, lender
}

func TestFirstAnswerOfAHedgedRequestWins(t *testing.T) {
	const slow = 10 * time.Second
	for _, tc := range []struct {
		name          string
		first, second time.Duration // until they answer
		host          string
		hedged        bool
		took          time.Duration
	}{
		{"the first is in time", time.Second, 0, "gpu-1", false, time.Second},
		{"the second is quicker", slow, time.Second, "gpu-2", true, hedgeAfter + time.Second},
		{"the first is quicker after all", 3 * time.Second, slow, "gpu-1", false, 3 * time.Second},
	} {
		story(t, func(t *testing.T, c *client) {
			first, second, _ := c.hedging()
			first.FirstTokenTime(tc.first)
			second.FirstTokenTime(tc.second)
			began := time.Now()
			a := c.succeeds("generate", `{"model":"tiny","prompt":"?"}`)
			if took := time.Since(began); a.text != "from "+tc.host || a.served.Host != tc.host || took != tc.took {
				t.Errorf("%s: after %v got %+v, want the answer of %s after %v", tc.name, took, a, tc.host, tc.took)
			}
			hedged := a.served.Hedged
			if said := a.notes != ""; hedged != tc.hedged || said != tc.hedged || said && !strings.Contains(a.notes, "Answered by gpu-2, which was asked as well because another host was late.") {
				t.Errorf("%s: hedged is %v, and said is %q", tc.name, hedged, a.notes)
			}
			for _, host := range []*backendtest.Host{first, second} {
				if err := host.Wait(t.Context(), func(s backendtest.Stats) bool { return s.InFlight == 0 }); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestHedgedRequestSurvivesTheFailureOfOneHost(t *testing.T) {
	for name, tc := range map[string]struct {
		broken int
		host   string
	}{
		"the late one":  {0, "gpu-2"},
		"the other one": {1, "gpu-1"},
	} {
		story(t, func(t *testing.T, c *client) {
			first, second, _ := c.hedging()
			hosts := []*backendtest.Host{first.FirstTokenTime(5 * time.Second), second.FirstTokenTime(5 * time.Second)}
			hosts[tc.broken].FailWhen(func(backendtest.Call) backendtest.Fault { return backendtest.Refuse(400, "what is this?") }).FirstTokenTime(3 * time.Second)
			a := c.succeeds("generate", `{"model":"tiny","prompt":"?"}`)
			if a.text != "from "+tc.host || a.served.Host != tc.host {
				t.Errorf("%s fails: got %+v", name, a)
			}
		})
	}
}

// Both are cut after some words; neither loses what the other has got.
func TestErrorOfAHedgedRequestKeepsThePartialAnswer(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		first, second, _ := c.hedging()
		first.Answer("one two three").FirstTokenTime(3 * time.Second).FailWhen(func(backendtest.Call) backendtest.Fault { return backendtest.Cut(2) })
		second.FailWhen(func(backendtest.Call) backendtest.Fault { return backendtest.Refuse(500, "internal error") })
		a := c.fails("generate", `{"model":"tiny","prompt":"?"}`, "upstream", "gpu-1")
		if strings.TrimSpace(a.partial) != "one two" {
			t.Errorf("got %+v, want the two words", a)
		}
	})
}

func TestTimeoutOfAHedgedRequestReturnsTheLongerPartialAnswer(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		first, second, _ := c.hedging()
		first.Answer(strings.Repeat("one ", 100)).TokenTime(3 * time.Second)
		second.Answer(strings.Repeat("two ", 100)).TokenTime(time.Second)
		a := c.succeeds("generate", `{"model":"tiny","prompt":"?","timeout_seconds":10.5}`)
		if got := fmt.Sprint(a.text); strings.Count(got, "two") != 8 || strings.Contains(got, "one") || a.served.Host != "gpu-2" {
			t.Errorf("got %q of %v, want the 8 words of gpu-2", got, a.served.Host)
		}
	})
}

func TestOnlyInteractiveRequestsToOwnHostsAreHedged(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		_, _, lender := c.hedging()
		c.succeeds("generate", `{"model":"tiny","prompt":"?"}`)
		c.succeeds("chat", `{"model":"tiny","messages":[{"role":"user","content":"?"}]}`)
		c.succeeds("generate", `{"model":"tiny","prompt":"?","priority":"batch"}`)
		c.succeeds("generate", `{"model":"calm","prompt":"?"}`)
		c.succeeds("generate", `{"model":"openai/tiny","prompt":"?"}`)
		c.succeeds("embed", `{"model":"tiny","input":["?"]}`)
		if got := fmt.Sprint(lender.after); got != "[2s 2s 0s 0s 0s 0s]" {
			t.Errorf("hedged after %s, want generate and chat after 2s, and the others never", got)
		}
	})
}

// With a pool as it is, and a host that takes calls and gives nothing.
func TestRequestOnAHungHostIsHedged(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		hung, well := backendtest.New("gpu-1"), backendtest.New("gpu-2").Answer("from gpu-2")
		c.opts.HedgeAfter = hedgeAfter
		c.useAll(pool.Options{Slots: 1}, hung, well)
		for _, name := range []string{"gpu-1", "gpu-2"} { // so that the model is in memory
			c.succeeds("generate", `{"model":"tiny","prompt":"?","host":"`+name+`"}`)
		}
		hung.FailWhen(func(backendtest.Call) backendtest.Fault { return backendtest.Hang })
		hedged := 0
		for range 4 {
			began := time.Now()
			a := c.succeeds("generate", `{"model":"tiny","prompt":"?"}`)
			if a.text != "from gpu-2" || time.Since(began) > hedgeAfter {
				t.Errorf("after %v: %+v", time.Since(began), a)
			}
			if a.served.Hedged == true {
				hedged++
			}
		}
		if n := len(hung.Calls()) - 1; n == 0 || n != hedged {
			t.Errorf("%d calls were on the host that hangs, and %d hedged", n, hedged)
		}
		if s := c.status().Hosts; s.Hedged != uint64(hedged) || s.HedgesWon != uint64(hedged) {
			t.Errorf("status tells of %v hedged, and %v won, want %d", s.Hedged, s.HedgesWon, hedged)
		}
	})
}
