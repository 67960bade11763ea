package e2e_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

// asked is a program with one setting of the cache, and the outcome of its calls.
type asked struct {
	*mcp.ClientSession
	name    string
	took    []time.Duration // by each call
	busy    time.Duration   // in all its turns
	sources map[string]int  // of its answers
}

// BenchmarkZipf has 32 callers ask 6,000 times for one of 1,000 questions, the popular
// ones most often, each in one of three wordings, of programs that keep no answers, keep
// them, and compare questions by meaning. All begin with nothing kept, are asked
// the same, and take turns. Run it with -benchtime 1x.
func BenchmarkZipf(b *testing.B) {
	const calls, turn = 6000, 500
	ollama := ollamatest.Start(b, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Says, tinymodels.Words}})
	for b.Loop() {
		all := []*asked{
			begin(b, ollama, "none", "--cache=off"),
			begin(b, ollama, "kept"),
			begin(b, ollama, "like", "--semantic-cache=on", "--semantic-model=tiny-words"),
		}
		for questions := range slices.Chunk(zipf(calls), turn) {
			for _, p := range all {
				p.answer(b, questions)
			}
		}
		for _, p := range all {
			p.report(b, all[0])
		}
	}
}

// zipf is n questions out of 1,000 in three wordings. The chance of the k-th most popular
// is in proportion to k to the power of -1.1.
func zipf(n int) []string {
	rnd := rand.New(rand.NewPCG(1, 2))
	popularity := rand.NewZipf(rnd, 1.1, 1, 999)
	what := strings.Fields("bridge cactus dolphin engine furnace glacier hammock jigsaw kettle lantern")
	where := strings.Fields("Austria Bolivia Cuba Denmark Ecuador France Ghana Hungary India Japan")
	how := strings.Fields("cheaper darker emptier fancier greener heavier itchier louder milder neater")
	out := make([]string, n)
	for i := range out {
		k := popularity.Uint64()
		out[i] = fmt.Sprintf([]string{
			"What makes a typical %s of the southern mountains in %s become %s from one winter to another?",
			"what makes the typical %s of the southern mountains in %s become %s from one winter to another",
			"What makes a typical %s of the southern mountains in %s become %s from one winter to another, please?",
		}[rnd.IntN(3)], what[k%10], where[k/10%10], how[k/100])
	}
	return out
}

func begin(b *testing.B, ollama *ollamatest.Server, name string, flags ...string) *asked {
	b.Helper()
	cmd := command(b.Context(), ollama.URL(), flags...)
	session, err := mcp.NewClient(&mcp.Implementation{Name: "bench", Version: "1"}, nil).
		Connect(b.Context(), &mcp.CommandTransport{Command: cmd}, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { session.Close() })
	return &asked{ClientSession: session, name: name, sources: make(map[string]int)}
}

// answer has 32 callers ask the questions, each the next one as soon as it can.
func (p *asked) answer(b *testing.B, questions []string) {
	b.Helper()
	took, sources := make([]time.Duration, len(questions)), make([]string, len(questions))
	var next atomic.Int64
	var callers sync.WaitGroup
	began := time.Now()
	for range 32 {
		callers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(questions)); i = next.Add(1) - 1 {
				start := time.Now()
				sources[i] = p.ask(b, questions[i])
				took[i] = time.Since(start)
			}
		})
	}
	callers.Wait()
	p.busy += time.Since(began)
	p.took = append(p.took, took...)
	for _, source := range sources {
		p.sources[source]++
	}
}

// ask asks a question, and returns the source of the answer.
func (p *asked) ask(b *testing.B, question string) (source string) {
	res, err := p.CallTool(b.Context(), &mcp.CallToolParams{
		Name: "generate", Arguments: map[string]any{"model": tinymodels.Says.Name, "prompt": question},
	})
	if err != nil || res.IsError {
		b.Errorf("%s: %+v, %v", p.name, res, err)
		return ""
	}
	raw, err := json.Marshal(res.Meta["ollama-mcp/served"])
	if err != nil {
		b.Error(err)
	}
	var served struct{ Source string }
	if err := json.Unmarshal(raw, &served); err != nil {
		b.Error(err)
	}
	return served.Source
}

// report compares a program with the one that keeps nothing.
func (p *asked) report(b *testing.B, none *asked) {
	rate := func(p *asked) float64 { return float64(len(p.took)) / p.busy.Seconds() }
	median := func(p *asked) float64 {
		return float64(slices.Sorted(slices.Values(p.took))[len(p.took)/2]) / float64(time.Millisecond)
	}
	b.ReportMetric(rate(p), "calls/s-"+p.name)
	b.ReportMetric(median(p), "p50-ms-"+p.name)
	if p == none {
		return
	}
	b.ReportMetric(rate(p)/rate(none), "rate-"+p.name+"/none")
	b.ReportMetric(median(none)/median(p), "p50-none/"+p.name)
	for _, source := range []string{"cache", "coalesced", "cache-semantic"} {
		b.ReportMetric(100*float64(p.sources[source])/float64(len(p.took)), "%-"+source+"-"+p.name)
	}
}
