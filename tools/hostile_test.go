package tools_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/inference"
	"ollama-mcp/pool"
)

// turn is how long a call of the pretend host takes: three tokens of a second each.
const turn = 3 * time.Second

// A flood is a call that a hostile caller makes again and again, many at once.
type flood struct {
	name   string
	limits caller.Limits
	call   func(c *client, n int) (tool, args string)
	leaves time.Duration // after which the caller leaves each call; zero if it waits
	code   string        // of the error that some of them have to get; "" if none is refused
	held   bool          // it holds no slot, so that the honest caller waits for nobody
	opts   inference.Options
}

// floods drive each bound that the tools and what is behind them have, beyond it.
var floods = []flood{
	{name: "more calls than the queue has places", call: asking(`"model":"tiny"`), code: "overloaded"},
	{name: "calls beyond its rate", limits: caller.Limits{PerSecond: 1, Burst: 1}, call: asking(`"model":"tiny"`), code: "rate_limited"},
	{name: "calls beyond its calls in flight", limits: caller.Limits{InFlight: 1}, call: asking(`"model":"tiny"`), code: "rate_limited"},
	{name: "calls that run out of time", call: asking(`"model":"endless","timeout_seconds":2`), code: "overloaded"},
	{name: "calls that it leaves", call: asking(`"model":"endless"`), leaves: time.Second, code: "overloaded"},
	{name: "calls that become jobs at once", call: asking(`"model":"tiny","wait_seconds":0`)}, // what is refused is refused in the job
	{name: "a format that doubles at each level", call: asking(`"model":"tiny","format":` + doubling(60)), code: "invalid_argument", held: true},
	{name: "a format of 64 KB and more", call: asking(`"model":"tiny","format":{"enum":["` + strings.Repeat("x", 65<<10) + `"]}`), code: "invalid_argument", held: true},
	{name: "answers with numbers that nobody can hold", call: asking(`"model":"liar","format":{"items":{"minimum":0}}`), code: "overloaded"},
	{name: "lists that are too long", code: "invalid_argument", held: true, call: func(_ *client, n int) (string, string) {
		return "embed", `{"model":"tiny","input":[` + strings.TrimSuffix(strings.Repeat(`"x",`, 10_001), ",") + `]}`
	}},
	{name: "images of too many pixels", code: "invalid_argument", held: true, call: func(_ *client, n int) (string, string) {
		return "generate", `{"model":"tiny","prompt":"?","images":["` + vast() + `"]}`
	}},
	{name: "vectors to be read later", held: true, code: "overloaded", call: func(_ *client, n int) (string, string) {
		return "embed", fmt.Sprintf(`{"model":"tiny","output":"resource","input":["%d %s"]}`, n, strings.Repeat("x", 1000))
	}},
	{name: "distinct answers to be cached", call: asking(`"model":"tiny","cache":"refresh"`), code: "overloaded"},
	{
		name: "questions for the semantic cache", call: asking(`"model":"tiny"`), code: "overloaded",
		opts: inference.Options{Semantic: &inference.SemanticOptions{Model: "tiny", Threshold: 0.999, Bytes: 4 << 10}},
	},
	{name: "batches to be resumed", call: func(_ *client, n int) (string, string) {
		return "map", fmt.Sprintf(`{"model":"tiny","prompt":"hostile {{input}}","inputs":["%d a","%[1]d b","%[1]d c"]}`, n)
	}},
	{name: "files to be read", call: asking(`"model":"tiny","files":["a","b"]`), code: "overloaded"},
	{name: "a map over files", call: func(_ *client, n int) (string, string) {
		return "map", fmt.Sprintf(`{"model":"tiny","prompt":"hostile %d {{input}}","files":["a","b"]}`, n)
	}},
	{name: "a prompt that names its input too often", code: "invalid_argument", held: true, call: func(_ *client, n int) (string, string) {
		return "map", `{"model":"tiny","prompt":"` + strings.Repeat("{{input}}", 900) + `","inputs":["` + strings.Repeat("x", 100<<10) + `"]}`
	}},
	{name: "models that there are not", call: asking(`"model":"none"`), code: "model_not_found", held: true},
	{name: "jobs that are not its own", code: "not_found", held: true, call: func(_ *client, n int) (string, string) {
		return "job", fmt.Sprintf(`{"id":"guess-%d"}`, n)
	}},
}

// asking calls generate with a prompt of its own each time.
func asking(args string) func(*client, int) (tool, text string) {
	return func(_ *client, n int) (string, string) {
		return "generate", fmt.Sprintf(`{"prompt":"hostile %d",%s}`, n, args)
	}
}

// doubling is a schema with 2^levels paths.
func doubling(levels int) string {
	var defs []string
	for i := range levels {
		defs = append(defs, fmt.Sprintf(`"a%d":{"allOf":[{"$ref":"#/$defs/a%d"},{"$ref":"#/$defs/a%[2]d"}]}`, i, i+1))
	}
	return fmt.Sprintf(`{"not":{"$ref":"#/$defs/a0"},"$defs":{%s,"a%d":{}}}`, strings.Join(defs, ","), levels)
}

// vast is the head of a PNG with more pixels than anything can hold.
func vast() string {
	head := binary.BigEndian.AppendUint32([]byte("IHDR"), 1<<30)
	head = append(binary.BigEndian.AppendUint32(head, 1<<30), 8, 6, 0, 0, 0)
	file := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), head...)
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(file, crc32.ChecksumIEEE(head)))
}

// hostileHost answers in a turn, but for models that have no end or lie.
func hostileHost() *backendtest.Host {
	both := []string{"completion", "embedding"}
	return backendtest.New("gpu-1").Slots(2).TokenTime(time.Second).
		Install(backendtest.Model{Name: "tiny", Capabilities: both}, backendtest.Model{Name: "endless", Capabilities: both}, backendtest.Model{Name: "liar", Capabilities: both}).
		AnswerWith(func(c backendtest.Call) backendtest.Reply {
			switch {
			case strings.HasPrefix(c.Model, "endless"):
				return backendtest.Reply{Text: strings.Repeat("word ", 10_000)}
			case strings.HasPrefix(c.Model, "liar"):
				return backendtest.Reply{Text: "[" + strings.TrimSuffix(strings.Repeat("1e999999,", 400), ",") + "]"}
			}
			return backendtest.Reply{Text: "quick brown fox"}
		})
}

// TestHostileCallerLeavesTheHonestOneItsTurnAndNothingBehind floods the tools beyond each bound,
// while an honest caller is answered each time after a few turns. In the end nothing is left.
func TestHostileCallerLeavesTheHonestOneItsTurnAndNothingBehind(t *testing.T) {
	const callers, each, honestCalls = 12, 2, 3
	for _, f := range floods {
		t.Run(f.name, func(t *testing.T) {
			storyWith(t, &client{opts: f.opts, fileBytes: 4 << 10}, func(t *testing.T, c *client) {
				c.allow(map[string]string{"a": strings.Repeat("a", 600), "b": strings.Repeat("b", 600)})
				host := hostileHost()
				c.useAll(pool.Options{Slots: 2, Queue: 8, PerCaller: 4}, host)
				honest := c.as(caller.Caller{ID: "honest", Tenant: "honest"})
				hostile := c.as(caller.Caller{ID: "hostile", Tenant: "hostile", Limits: f.limits})
				began := time.Now()
				kept := honest.succeeds("embed", `{"model":"tiny","output":"resource","input":["mine"]}`)
				ask := func(n int) {
					t.Helper()
					began := time.Now()
					a := honest.call(honest.context(), "generate", fmt.Sprintf(`{"model":"tiny","prompt":"honest %d"}`, n))
					if took := time.Since(began); a.IsError || took > 4*turn || f.held && took > 2*turn {
						t.Errorf("honest call %d got %+v after %v", n, a, took)
					}
				}
				ask(0)
				time.Sleep(10 * time.Minute) // in which connections that are not used are closed
				synctest.Wait()
				before, goroutines := c.engine.Status(caller.Caller{}).Hosts, bubbleGoroutines()

				var mu sync.Mutex
				codes := make(map[any]int)
				var all sync.WaitGroup
				for i := range callers {
					all.Go(func() {
						for n := range each {
							ctx, leave := context.WithCancel(hostile.context())
							if f.leaves > 0 {
								time.AfterFunc(f.leaves, leave)
							}
							tool, args := f.call(hostile, i*each+n)
							a, err := hostile.try(ctx, tool, args)
							leave()
							mu.Lock()
							if codes[a.StructuredContent["code"]]++; err != nil {
								codes[err.Error()]++
							}
							mu.Unlock()
						}
					})
				}
				synctest.Wait()
				for n := range honestCalls {
					ask(n + 1)
				}
				if time.Since(began) < 14*time.Minute { // it is kept for 15
					if _, err := honest.read(fmt.Sprint(kept.StructuredContent["uri"])); err != nil {
						t.Errorf("what the honest caller kept: %v", err)
					}
				}
				all.Wait()
				if f.code != "" && codes[f.code] == 0 {
					t.Errorf("the bound was not reached: codes %v, want some %q", codes, f.code)
				}
				if codes["internal"] > 0 {
					t.Errorf("%d internal errors", codes["internal"])
				}

				time.Sleep(2 * time.Hour) // in which what is kept expires
				synctest.Wait()
				after := c.engine.Status(caller.Caller{}).Hosts
				if after.Queue.Waiting != before.Queue.Waiting || inFlight(after) != inFlight(before) || host.Stats().InFlight != 0 {
					t.Errorf("left are %+v, in flight %d, at the host %+v", after.Queue, inFlight(after), host.Stats())
				}
				if number, bytes := c.deps.Documents.Kept(); number != 0 || bytes != 0 {
					t.Errorf("left are %d documents of %d bytes", number, bytes)
				}
				if n := c.deps.Jobs.Len(); n != 0 {
					t.Errorf("left are %d jobs", n)
				}
				if left := bubbleGoroutines(); len(left) > len(goroutines) {
					t.Errorf("left are %d goroutines of %d:\n%s", len(left), len(goroutines), strings.Join(left, "\n\n"))
				}
				ask(honestCalls + 1)
			})
		})
	}
}

// bubbleGoroutines are the stacks of the goroutines in a bubble, of which there is one at a time, but
// for spare workers that wait for work: their number has a bound.
func bubbleGoroutines() (stacks []string) {
	all := make([]byte, 4<<20)
	for one := range strings.SplitSeq(string(all[:runtime.Stack(all, true)]), "\n\n") {
		if head, _, _ := strings.Cut(one, "\n"); strings.Contains(head, "synctest bubble") && !strings.Contains(one, "workers.(*Group).run(...)") {
			stacks = append(stacks, one)
		}
	}
	return stacks
}

func inFlight(s pool.Stats) (n int) {
	for _, h := range s.Hosts {
		n += h.Busy
	}
	return n
}
