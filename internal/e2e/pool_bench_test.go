package e2e_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

// contender is a program with so many slots, or as many as it learns if that is 0.
type contender struct {
	*mcp.ClientSession
	slots int
	rates []float64 // calls a second, of each round
}

// BenchmarkSlots compares learned slots with numbers that are given, for 64 callers on an
// Ollama that works on four calls at once. They take turns, since no machine is equally
// fast for minutes. Run it with -benchtime 1x.
func BenchmarkSlots(b *testing.B) {
	const rounds, turn, learning = 8, 2 * time.Second, 20 * time.Second
	ollama := ollamatest.Start(b, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Loops}})
	var all []*contender
	for _, slots := range []int{0, 1, 2, 4, 8, 16} {
		all = append(all, contend(b, ollama, slots))
	}
	for b.Loop() {
		all[0].serve(b, learning)
		for range rounds {
			for _, c := range all {
				c.rates = append(c.rates, c.serve(b, turn))
			}
		}
	}
	best := 0.0
	for _, c := range all[1:] {
		b.ReportMetric(c.rate(), fmt.Sprintf("calls/s-%d-slots", c.slots))
		best = max(best, c.rate())
	}
	b.ReportMetric(all[0].rate(), "calls/s-learned")
	b.ReportMetric(all[0].rate()/best, "learned/best")
	b.ReportMetric(all[0].found(b), "slots-learned")
}

// BenchmarkMap compares map with the pool's own throughput: as many calls, of 64 callers, of the same
// server and an Ollama that works on four at once. They take turns. Run it with -benchtime 1x.
func BenchmarkMap(b *testing.B) {
	const rounds, inputs, warmup = 10, 200, 5 * time.Second
	ollama := ollamatest.Start(b, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Loops}})
	c := contend(b, ollama, 4)
	var ratios []float64
	for b.Loop() {
		c.serve(b, warmup)
		for range rounds {
			alone := c.ask(b, inputs)
			ratios = append(ratios, float64(alone)/float64(c.mapOver(b, inputs)))
		}
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "map/pool")
}

// ask has 64 callers make so many calls, and returns how long that takes.
func (c *contender) ask(b *testing.B, calls int64) time.Duration {
	b.Helper()
	var asked atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for range 64 {
		all.Go(func() {
			for asked.Add(1) <= calls {
				c.call(b, "generate", `{"model":"tiny-loops","prompt":"hi","cache":"off","options":{"num_predict":64}}`)
			}
		})
	}
	all.Wait()
	return time.Since(began)
}

// mapOver has as many inputs answered by map.
func (c *contender) mapOver(b *testing.B, inputs int) time.Duration {
	b.Helper()
	list := make([]string, inputs)
	for i := range list {
		list[i] = fmt.Sprint("hi ", i)
	}
	raw, err := json.Marshal(list)
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	a := c.call(b, "map", fmt.Sprintf(`{"model":"tiny-loops","prompt":"{{input}}","inputs":%s,"resume":false,"wait_seconds":600,"cache":"off","options":{"num_predict":64}}`, raw))
	took := time.Since(began)
	if text, _ := json.Marshal(a.StructuredContent); !strings.Contains(string(text), fmt.Sprintf(`"answered":%d`, inputs)) {
		b.Errorf("got %.300s", text)
	}
	return took
}

func contend(b *testing.B, ollama *ollamatest.Server, slots int) *contender {
	b.Helper()
	cmd := command(b.Context(), ollama.URL(), "--slots", strconv.Itoa(slots))
	session, err := mcp.NewClient(&mcp.Implementation{Name: "bench", Version: "1"}, nil).
		Connect(b.Context(), &mcp.CommandTransport{Command: cmd}, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { session.Close() })
	return &contender{ClientSession: session, slots: slots}
}

// serve has 64 callers ask for so long, and returns how many calls a second were served.
func (c *contender) serve(b *testing.B, limit time.Duration) (perSecond float64) {
	b.Helper()
	var served atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for range 64 {
		all.Go(func() {
			for time.Since(began) < limit {
				c.call(b, "generate", `{"model":"tiny-loops","prompt":"hi","cache":"off","options":{"num_predict":64}}`)
				served.Add(1)
			}
		})
	}
	all.Wait()
	return float64(served.Load()) / time.Since(began).Seconds()
}

func (c *contender) call(b *testing.B, tool, args string) *mcp.CallToolResult {
	b.Helper()
	res, err := c.CallTool(b.Context(), &mcp.CallToolParams{Name: tool, Arguments: json.RawMessage(args)})
	if err != nil || res.IsError {
		b.Errorf("%s: %+v, %v", tool, res, err)
	}
	return res
}

// rate is the median of the rounds.
func (c *contender) rate() float64 {
	return slices.Sorted(slices.Values(c.rates))[len(c.rates)/2]
}

// found is how many slots the only host has, by the result of status.
func (c *contender) found(b *testing.B) float64 {
	b.Helper()
	raw, err := json.Marshal(c.call(b, "status", `{}`).StructuredContent)
	if err != nil {
		b.Fatal(err)
	}
	var status struct {
		Hosts [1]struct{ Slots int }
	}
	if err := json.Unmarshal(raw, &status); err != nil {
		b.Fatal(err)
	}
	return float64(status.Hosts[0].Slots)
}
