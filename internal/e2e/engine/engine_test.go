package engine_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"ollama-mcp/internal/e2e/engine"
	"ollama-mcp/internal/e2e/tinymodels"
)

// exited is what Exit panics with in these tests, since it must not return.
type exited string

// start serves an engine that behaves as the script says.
func start(t *testing.T, m tinymodels.Model, s engine.Script) (url string, ends <-chan string) {
	t.Helper()
	messages := make(chan string, 1)
	e := &engine.Engine{
		Model:  m,
		Script: func() (engine.Script, error) { return s, nil },
		Exit: func(message string) {
			messages <- message
			panic(http.ErrAbortHandler) // the connection breaks, as when a process ends
		},
	}
	api, err := e.Start()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	return server.URL, messages
}

func post(t *testing.T, url, body string) (status int, text string, err error) {
	t.Helper()
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(raw), err
}

// event is one of /completion or of /v1/chat/completions.
type event struct {
	Content  string
	Stop     bool
	StopType string `json:"stop_type"`
	Choices  []struct {
		Delta struct {
			Content   string
			Reasoning string `json:"reasoning_content"`
			ToolCalls []struct {
				Function struct{ Name, Arguments string }
			} `json:"tool_calls"`
		}
		Finish string `json:"finish_reason"`
	}
	Timings struct {
		PromptN    int `json:"prompt_n"`
		PredictedN int `json:"predicted_n"`
	}
}

func events(t *testing.T, text string) (all []event) {
	t.Helper()
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok || data == "[DONE]" {
			continue
		}
		var e event
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			t.Fatalf("%v: %s", err, data)
		}
		all = append(all, e)
	}
	return all
}

func TestCompletionIsWhatTheModelSays(t *testing.T) {
	for prompt, want := range map[string]string{
		`"<|user|>hi<|end|><|assistant|>"`: tinymodels.Says.Answer,
		`"hi"`:                             tinymodels.Says.Answer,
		`{"prompt_string":"hi"}`:           tinymodels.Says.Answer,
		`[1]`:                              tinymodels.Says.Answer, // the marker of an answer
	} {
		url, _ := start(t, tinymodels.Says, engine.Script{})
		_, text, err := post(t, url+"/completion", `{"prompt":`+prompt+`,"n_predict":100}`)
		var said string
		all := events(t, text)
		for _, e := range all {
			said += e.Content
		}
		if last := all[len(all)-1]; err != nil || said != want || !last.Stop || last.StopType != "eos" || last.Timings.PredictedN != 10 {
			t.Errorf("%s: got %q (%v), ended with %+v, want %q and its end", prompt, said, err, last, want)
		}
	}
}

func TestAnswerEndsAtItsLimit(t *testing.T) {
	url, _ := start(t, tinymodels.Loops, engine.Script{})
	_, text, err := post(t, url+"/completion", `{"prompt":"hi","n_predict":3}`)
	if all := events(t, text); err != nil || len(all) != 4 || all[3].StopType != "limit" || all[3].Timings.PredictedN != 3 {
		t.Errorf("got %q, %v, want three words and the limit", text, err)
	}
}

func TestChatTellsThoughtsAndCallsApart(t *testing.T) {
	const ask = `{"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}],"tools":[{}]}`
	url, _ := start(t, tinymodels.Thinks, engine.Script{})
	_, text, err := post(t, url+"/v1/chat/completions", ask)
	var said, thought string
	for _, e := range events(t, text) {
		said += e.Choices[0].Delta.Content
		thought += e.Choices[0].Delta.Reasoning
	}
	if err != nil || said != tinymodels.Thinks.Answer || thought != tinymodels.Thinks.Thought {
		t.Errorf("got %q after the thought %q (%v)", said, thought, err)
	}

	url, _ = start(t, tinymodels.ToolCall, engine.Script{})
	_, text, err = post(t, url+"/v1/chat/completions", ask)
	all := events(t, text)
	if len(all) != 2 || all[1].Choices[0].Finish != "tool_calls" {
		t.Fatalf("got %q, %v, want a call and its end", text, err)
	}
	if f := all[0].Choices[0].Delta.ToolCalls[0].Function; f.Name != "get_weather" || f.Arguments != `{"city": "Oslo"}` {
		t.Errorf("got %+v", f)
	}
}

func TestTokensMakeTheTextAgain(t *testing.T) {
	const prompt = "<|user|>ä <think>{}<|end|><|assistant|>"
	url, _ := start(t, tinymodels.Thinks, engine.Script{})
	_, tokens, err := post(t, url+"/tokenize", fmt.Sprintf(`{"content":%q}`, prompt))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(tokens, ",") + 1; n != len("ä {}")+4 {
		t.Errorf("%d tokens: %s", n, tokens)
	}
	_, back, err := post(t, url+"/detokenize", tokens)
	var got struct{ Content string }
	if err := json.Unmarshal([]byte(back), &got); err != nil || got.Content != prompt {
		t.Errorf("got %s, %v", back, err)
	}
	if err != nil {
		t.Error(err)
	}
}

func TestVectorsOfTextsThatShareWordsAreNear(t *testing.T) {
	url, _ := start(t, tinymodels.Words, engine.Script{})
	vector := func(text string) []float64 {
		_, body, err := post(t, url+"/v1/embeddings", fmt.Sprintf(`{"input":%q}`, text))
		var got struct {
			Data []struct{ Embedding []float64 }
		}
		if err != nil || json.Unmarshal([]byte(body), &got) != nil {
			t.Fatalf("%s, %v", body, err)
		}
		return got.Data[0].Embedding
	}
	near := func(a, b string) (sum float64) {
		x, y := vector(a), vector(b)
		for i := range x {
			sum += x[i] * y[i]
		}
		return sum
	}
	if same, related, other := near("a docker box", "A docker box!"), near("a docker box", "docker box"), near("a docker box", "sour bread"); same < 0.999 || related < other+0.2 {
		t.Errorf("%.2f to itself, %.2f to a related text, %.2f to another", same, related, other)
	}
}

func TestScriptDecidesHowTheEngineFails(t *testing.T) {
	const ask = `{"prompt":"hi","content":"hi","input":"hi"}`
	t.Run("exits when asked", func(t *testing.T) {
		url, ends := start(t, tinymodels.Says, engine.Script{Exit: true, Stderr: "gone"})
		if _, _, err := post(t, url+"/tokenize", ask); err == nil || <-ends != "gone" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("exits after two pieces", func(t *testing.T) {
		url, ends := start(t, tinymodels.Says, engine.Script{Exit: true, Pieces: 2})
		_, text, err := post(t, url+"/completion", ask)
		<-ends
		if all := events(t, text); err == nil || len(all) != 2 {
			t.Errorf("got %q, %v, want two pieces and a break", text, err)
		}
	})
	t.Run("answers with an error on one path", func(t *testing.T) {
		url, _ := start(t, tinymodels.Words, engine.Script{Path: "/v1/embeddings", Status: 500, Body: "boom"})
		if status, text, _ := post(t, url+"/v1/embeddings", ask); status != 500 || text != "boom" {
			t.Errorf("got %d %s", status, text)
		}
		if status, _, _ := post(t, url+"/tokenize", ask); status != 200 {
			t.Errorf("another path: got %d", status)
		}
	})
	t.Run("is for another model", func(t *testing.T) {
		url, _ := start(t, tinymodels.Says, engine.Script{Model: "other", Status: 500})
		if status, _, err := post(t, url+"/completion", ask); status != 200 {
			t.Errorf("got %d, %v", status, err)
		}
	})
	t.Run("says something else", func(t *testing.T) {
		url, _ := start(t, tinymodels.Says, engine.Script{Say: []string{"a", "b"}})
		if _, text, _ := post(t, url+"/completion", ask); len(events(t, text)) != 3 {
			t.Errorf("got %q", text)
		}
	})
	t.Run("exits at the start", func(t *testing.T) {
		e := &engine.Engine{
			Model:  tinymodels.Says,
			Script: func() (engine.Script, error) { return engine.Script{AtStart: true, Stderr: "full"}, nil },
			Exit:   func(message string) { panic(exited(message)) },
		}
		defer func() {
			if got := recover(); got != exited("full") {
				t.Errorf("got %v", got)
			}
		}()
		_, err := e.Start()
		t.Errorf("it has started: %v", err)
	})
}

func TestScriptThatIsNotThereLetsTheEngineWork(t *testing.T) {
	if s, err := engine.ReadScript(filepath.Join(t.TempDir(), engine.ScriptFile)); err != nil || s.Status != 0 || s.Exit {
		t.Errorf("got %+v, %v", s, err)
	}
}
