package e2e_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

// BenchmarkAffinity has conversations of long instructions take turns on two Ollamas, through a
// program with affinity and one without, and reports how long the first token of a later message
// takes, and how often a conversation changed hosts. Run it with -benchtime 1x.
func BenchmarkAffinity(b *testing.B) {
	const conversations, messages = 3, 4
	models := []tinymodels.Model{tinymodels.Says}
	one, other := ollamatest.Start(b, ollamatest.Options{Models: models}), ollamatest.Start(b, ollamatest.Options{Models: models})
	for b.Loop() {
		firsts := make(map[string]int64) // median in milliseconds, by setting
		for _, setting := range []string{"on", "off"} {
			flag := map[string]string{"on": "--affinity", "off": "--affinity=false"}[setting]
			cmd := command(b.Context(), "", "--host", one.URL(), "--host", other.URL(), "--route=least-busy", "--slots=2", "--cache=off", "--result-meta=full", flag)
			session, err := mcp.NewClient(&mcp.Implementation{Name: "bench", Version: "1"}, nil).Connect(b.Context(), &mcp.CommandTransport{Command: cmd}, nil)
			if err != nil {
				b.Fatal(err)
			}
			c := &contender{ClientSession: session}
			for range 2 { // each host loads the model
				c.call(b, "generate", `{"model":"tiny-says","prompt":"hi"}`)
			}
			var took []int64
			changes := 0
			all, hosts := make([]*dialogue, conversations), make([]string, conversations)
			for i := range all {
				all[i] = newDialogue(fmt.Sprint(i, setting, ". ", strings.Repeat("Answer as a pirate would. ", 40)))
			}
			for n := range messages {
				for i, d := range all {
					host, first := d.goOnWith(b, c)
					if n > 0 {
						took = append(took, first)
						if host != hosts[i] {
							changes++
						}
					}
					hosts[i] = host
				}
			}
			session.Close()
			slices.Sort(took)
			firsts[setting] = took[len(took)/2]
			b.ReportMetric(float64(firsts[setting]), "first-token-ms-"+setting)
			b.ReportMetric(float64(changes), "changes-of-host-"+setting)
		}
		b.ReportMetric(float64(firsts["off"])/float64(max(1, firsts["on"])), "off/on")
	}
}

// goOnWith asks the next question, and returns the host that answered it and how long its first
// token took, in milliseconds.
func (d *dialogue) goOnWith(b *testing.B, c *contender) (host string, first int64) {
	b.Helper()
	d.Messages = append(d.Messages, map[string]string{"role": "user", "content": "what then?"})
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
	return s.Host, s.FirstToken
}
