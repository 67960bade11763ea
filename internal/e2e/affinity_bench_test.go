package e2e_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

// affinityLoads are the loads of BenchmarkAffinity: so many callers, who ask at the same time, have so many
// conversations one after the other, each of so many messages. The conversations have one of three long
// instructions, or each has its own.
var affinityLoads = []struct {
	name                             string
	callers, conversations, messages int
	shared                           bool
}{
	{"conversations/callers=1", 1, 3, 4, false},
	{"conversations/callers=4", 4, 1, 4, false},
	{"shared prefix/callers=1", 1, 12, 1, true},
	{"shared prefix/callers=4", 4, 4, 1, true},
}

// BenchmarkAffinity has callers use two Ollamas through a program with affinity and one without, which take
// turns, and reports for each how long the first token takes, and how many calls are served in a second. With one
// caller, the conversations take turns. The first message that reads some instructions is counted too. A host keeps
// a prompt for each of its slots. This is make bench-affinity.
func BenchmarkAffinity(b *testing.B) {
	models := []tinymodels.Model{tinymodels.Says}
	one, other := ollamatest.Start(b, ollamatest.Options{Models: models}), ollamatest.Start(b, ollamatest.Options{Models: models})
	settings := []string{"on", "off"}
	through := make(map[string]*contender)
	for _, setting := range settings {
		flag := "--affinity=" + map[string]string{"on": "true", "off": "false"}[setting]
		cmd := command(b.Context(), "", "--host", one.URL(), "--host", other.URL(), "--route=least-busy", "--slots=2", "--cache=off", "--result-meta=full", flag)
		session, err := mcp.NewClient(&mcp.Implementation{Name: "bench", Version: "1"}, nil).Connect(b.Context(), &mcp.CommandTransport{Command: cmd}, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = session.Close() })
		through[setting] = &contender{ClientSession: session}
		for range 2 { // each host loads the model
			through[setting].call(b, "generate", `{"model":"tiny-says","prompt":"hi"}`)
		}
	}
	for _, load := range affinityLoads {
		b.Run(load.name, func(b *testing.B) {
			firsts, rates := make(map[string][]int64), make(map[string][]float64)
			for n := 0; b.Loop(); n++ {
				for i := range settings {
					setting := settings[(i+n)%len(settings)] // each is the first in every other round
					began, round := time.Now(), fresh()
					var callers sync.WaitGroup
					took := make([][]int64, load.callers)
					for i := range load.callers {
						all := make([]*dialogue, load.conversations)
						for k := range all {
							which := i*load.conversations + k
							if load.shared {
								which %= 3
							}
							all[k] = newDialogue(fmt.Sprint(which, round, ". ", strings.Repeat("Answer as a pirate would. ", 40)))
						}
						callers.Go(func() {
							for range load.messages {
								for _, d := range all {
									took[i] = append(took[i], d.goOnWith(b, through[setting]))
								}
							}
						})
					}
					callers.Wait()
					firsts[setting] = append(firsts[setting], slices.Concat(took...)...)
					rates[setting] = append(rates[setting], float64(load.callers*load.conversations*load.messages)/time.Since(began).Seconds())
				}
			}
			for _, setting := range settings {
				b.ReportMetric(float64(median(firsts[setting])), "first-token-ms-"+setting)
				b.ReportMetric(median(rates[setting]), "calls/s-"+setting)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func median[T int64 | float64](all []T) T {
	slices.Sort(all)
	return all[len(all)/2]
}

// goOnWith asks the next question, and returns how long its first token took, in milliseconds.
func (d *dialogue) goOnWith(b *testing.B, c *contender) (first int64) {
	b.Helper()
	d.Messages = append(d.Messages, map[string]string{"role": "user", "content": "what then, " + fresh() + "?"})
	args, err := json.Marshal(d)
	if err != nil {
		b.Fatal(err)
	}
	res := c.call(b, "chat", string(args))
	raw, err := json.Marshal(res.Meta["ollama-mcp/served"])
	if err != nil {
		b.Fatal(err)
	}
	var s served
	if err := json.Unmarshal(raw, &s); err != nil {
		b.Fatal(err)
	}
	d.Messages = append(d.Messages, map[string]string{"role": "assistant", "content": tinymodels.Says.Answer})
	return s.FirstToken
}
