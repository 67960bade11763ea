package e2e_test

import (
	"encoding/json"
	"strings"
	"testing"

	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

// dialogue is a conversation with tiny-says about some instructions.
type dialogue struct {
	Model    string              `json:"model"`
	Messages []map[string]string `json:"messages"`
}

func newDialogue(instructions string) *dialogue {
	return &dialogue{"tiny-says", []map[string]string{{"role": "system", "content": instructions}}}
}

// goOn asks the next question, and returns the host that answered it.
func (c *dialogue) goOn(s *session) (host string) {
	s.t.Helper()
	c.Messages = append(c.Messages, map[string]string{"role": "user", "content": "what then?"})
	args, err := json.Marshal(c)
	if err != nil {
		s.t.Fatal(err)
	}
	a := s.succeeds("chat", string(args))
	c.Messages = append(c.Messages, map[string]string{"role": "assistant", "content": a.text()})
	return a.Meta.Served.Host
}

// Under least-busy, idle hosts take turns whatever their speed, so that only the prompts decide.
func TestConversationStaysWithTheHostThatHasReadIt(t *testing.T) {
	t.Parallel()
	models := []tinymodels.Model{tinymodels.Says}
	one, other := ollamatest.Start(t, ollamatest.Options{Models: models}), ollamatest.Start(t, ollamatest.Options{Models: models})
	loadedOn(t, one, tinymodels.Says.Name)
	loadedOn(t, other, tinymodels.Says.Name)
	ctx := deadline(t)
	s := attach(t, ctx, command(ctx, "", "--host", one.URL(), "--host", other.URL(), "--route=least-busy", "--slots=2"), "")
	for range 2 { // each host is seen to have the model in memory
		if _, err := s.lend(`{"model":"tiny-says","prompt":"` + fresh() + `"}`); err != nil {
			t.Fatal(err)
		}
	}
	instructions := strings.Repeat("Answer as a pirate would. ", 40)
	first, second := newDialogue("One. "+instructions+fresh()), newDialogue("Two. "+instructions+fresh())
	home, otherHome := first.goOn(s), second.goOn(s)
	if home == otherHome {
		t.Errorf("two conversations begin on %s, though hosts take turns", home)
	}
	for range 3 { // two of the first for each of the second: by turns they would change hosts
		hosts := []string{first.goOn(s), first.goOn(s), second.goOn(s)}
		if hosts[0] != home || hosts[1] != home || hosts[2] != otherHome {
			t.Errorf("the conversations go on at %v, and began at %s and %s", hosts, home, otherHome)
		}
	}
}
