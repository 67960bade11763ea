package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

// A host and then the server are killed while a map is under way. Called again, it gets every
// answer once, and asks again only for what was in flight.
func TestMapOverTwoHostsGoesOnAfterHostAndServerWereKilled(t *testing.T) {
	t.Parallel()
	models := []tinymodels.Model{tinymodels.Says}
	one, other := ollamatest.Start(t, ollamatest.Options{Models: models}), ollamatest.Start(t, ollamatest.Options{Models: models})
	const inputs = 500
	dir := t.TempDir()
	var rows strings.Builder
	for i := range inputs {
		fmt.Fprintf(&rows, "{\"n\":%d}\n", i)
	}
	if err := os.WriteFile(filepath.Join(dir, "in.jsonl"), []byte(rows.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	call := `{"model":"tiny-says","prompt":"Number {{n}}","lines":["in.jsonl"],"output_file":"out.jsonl","wait_seconds":600}`
	args := []string{"--host", one.URL(), "--host", other.URL(), "--slots=2", "--state-dir", filepath.Join(dir, "state"), "--allow-dir", dir, "--allow-write", dir}
	kept := func() (n int) {
		names, err := filepath.Glob(filepath.Join(dir, "state", "batches", "*.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			n += strings.Count(string(text), "\n")
		}
		return n
	}

	l := startLines(t, "", nil, args...)
	l.send(toolCall(1, "map", call))
	eventually(t, "a fifth is done", func() bool { return kept() >= inputs/5 })
	one.Kill()
	eventually(t, "half is done", func() bool { return kept() >= inputs/2 })
	l.signal(syscall.SIGKILL)
	l.exit()
	before := kept()

	ctx := deadline(t)
	s := attach(t, ctx, command(ctx, "", args...), "")
	var out struct{ Inputs, Answered, Failed, Reused int }
	a := s.succeeds("map", call)
	if err := json.Unmarshal([]byte(a.text()), &out); err != nil || out.Answered != inputs || out.Failed != 0 || out.Reused != before {
		t.Errorf("got %s, %v, and %d answers were there", a.text(), err, before)
	}
	text, err := os.ReadFile(filepath.Join(dir, "out.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	next := 0
	for line := range strings.Lines(string(text)) {
		var row struct {
			Index        int
			Name, Output string
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil || row.Index != next || row.Name != fmt.Sprintf("in.jsonl:%d", next+1) || row.Output != tinymodels.Says.Answer {
			t.Fatalf("row %d is %s, %v", next, line, err)
		}
		next++
	}
	s.succeeds("generate", fmt.Sprintf(`{"model":"tiny-says","prompt":%q}`, fresh())) // so that the log has what came before
	asked := ended(one, "/api/generate") + ended(other, "/api/generate") - 1
	t.Logf("%d rows, %d were kept when the server was killed, and the hosts were asked %d times", next, before, asked)
	if next != inputs || asked > inputs+inputs/20 {
		t.Errorf("%d rows, and the hosts were asked %d times", next, asked)
	}
}

// An interactive call goes before all inputs of a map that wait, so that it waits for at most one turn
// of a slot. Requests for /api/chat are the interactive call's, the others those of the map and of a
// call that keeps the slot until all of them wait.
func TestInteractiveCallBesideAMapWaitsForOneTurnOfARealHost(t *testing.T) {
	t.Parallel()
	withAndWithoutCache(t, func(t *testing.T, env ...string) {
		ollama := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Loops}})
		s := connect(t, ollama, append(env, "OLLAMA_MCP_SLOTS=1")...)
		first := s.start("generate", fmt.Sprintf(`{"model":"tiny-loops","prompt":%q}`, fresh()))
		first.until(" tokens, ")
		const inputs = 20
		var list []string
		for range inputs {
			list = append(list, fresh())
		}
		raw, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		all := s.start("map", fmt.Sprintf(`{"model":"tiny-loops","prompt":"{{input}}","inputs":%s,"options":{"num_predict":2}}`, raw))
		eventually(t, "inputs of the map wait", func() bool {
			var queue struct{ Waiting int }
			convert(t, s.succeeds("status", "{}").StructuredContent["queue"], &queue)
			return queue.Waiting >= 2
		})
		chat := s.start("chat", fmt.Sprintf(`{"model":"tiny-loops","messages":[{"role":"user","content":%q}],"options":{"num_predict":2}}`, fresh()))
		if note := chat.until("queued, "); !strings.HasPrefix(note.Message, "queued, 1st of ") {
			t.Errorf("the interactive call is told %q", note.Message)
		}
		first.cancel()
		chat.result()
		eventually(t, "its request is in the log", func() bool { return ended(ollama, "/api/chat") > 0 })
		before, _, _ := strings.Cut(ollama.Log(), ` "/api/chat"`)
		turns := strings.Count(before, ` "/api/generate"`)
		if a := all.result(); turns > 1 || a.StructuredContent["answered"] != float64(inputs) {
			t.Errorf("%d turns were before that of the interactive call, and the map has %s", turns, a.text())
		}
	})
}

func TestProbabilitiesOfARealModelAreTold(t *testing.T) {
	withAndWithoutCache(t, func(t *testing.T, env ...string) {
		s := connect(t, shared, env...)
		a := s.succeeds("generate", fmt.Sprintf(`{"model":"tiny-says","prompt":%q,"top_logprobs":3}`, fresh()))
		if a.text() != tinymodels.Says.Answer || !strings.Contains(a.rest(), "Logprobs of 9 tokens: mean 0.00, ") || !strings.Contains(a.rest(), "ollama://logprobs/") {
			t.Errorf("got %+v", a)
		}
	})
}
