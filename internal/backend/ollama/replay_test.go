package ollama_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/ollama"
)

// said is what an answer must say.
type said struct {
	text, thinking, done string
	calls                string // as JSON without ids
}

const fox = "The quick brown fox jumps over the lazy dog."

// replayed are the recorded answers, by the name of their file without what the name says
// about the way to ask: all versions, and all ways, say the same.
var replayed = map[string]said{
	"generate":          {text: fox, done: "stop"},
	"generate-cut":      {text: " tick tock tick", done: "length"},
	"generate-thinking": {text: "It is four.", thinking: "Two and two make what?", done: "stop"},
	"generate-format":   {text: "{\n  \"answer\": 42\n}", done: "stop"},
	"chat":              {text: fox, done: "stop"},
	"chat-tools":        {done: "stop", calls: `[{"name":"get_weather","arguments":{"city":"Oslo"}}]`},
	"chat-thinking":     {text: "It is four.", thinking: "Two and two make what?", done: "stop"},
	"chat-format":       {text: "{\n  \"answer\": 42\n}", done: "stop"},
	"native-generate":   {text: fox, done: "stop"},
	"native-chat":       {text: fox, done: "stop"},
	"native-tools":      {done: "stop", calls: `[{"name":"get_weather","arguments":{"city":"Oslo"}}]`},
	"native-thinking":   {text: "It is four.", thinking: "Two and two make what?", done: "stop"},
}

// replayedFailures are the recorded failures, by the beginning of the name of their file.
var replayedFailures = map[string]struct {
	class backend.Class
	text  string // that came before
}{
	"generate-endless":      {backend.Server, strings.Repeat(" no", 31)},
	"error-missing":         {backend.ModelMissing, ""},
	"error-no-thinking":     {backend.Request, ""},
	"error-no-tools":        {backend.Request, ""},
	"error-no-embedding":    {backend.Request, ""},
	"error-think-level":     {backend.Request, ""},
	"error-too-long":        {backend.TooLong, ""},
	"error-native-too-long": {backend.TooLong, ""},
	"error-embed-too-long":  {backend.TooLong, ""},
	"error-context-":        {backend.TooLong, ""},
	"error-memory-":         {backend.NoRoom, ""},
	"error-exit-":           {backend.Crashed, ""},
	"error-exit-halfway-":   {backend.Crashed, ""},
	"error-vector-embed":    {backend.BadOutput, ""},
}

// replay serves a recorded response, whatever is asked.
func replay(t *testing.T, file string) *ollama.Host {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(recorded.Body)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", recorded.Header.Get("Content-Type"))
		w.WriteHeader(recorded.StatusCode)
		w.Write(body)
	}))
	t.Cleanup(srv.Close)
	return open(t, ollama.Options{Name: "a", URL: srv.URL})
}

// recordings are the files, which `make recordings` has written.
func recordings(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/replays/*/*.http")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	return files
}

func TestRecordedAnswersOfEveryVersionAreRead(t *testing.T) {
	for _, file := range recordings(t) {
		name := strings.TrimSuffix(filepath.Base(file), ".http")
		want, ok := replayed[name]
		if !ok {
			continue
		}
		got, err := askRecorded(t, replay(t, file), name)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if got.Text != want.text || got.Thinking != want.thinking || string(got.DoneReason) != want.done || callsOf(t, got) != want.calls {
			t.Errorf("%s: got %+v, want %+v", file, got, want)
		}
		if got.PromptTokens == 0 || got.Tokens == 0 || got.Eval == 0 {
			t.Errorf("%s: what the host counted is missing in %+v", file, got)
		}
	}
}

func TestRecordedFailuresOfEveryVersionAreUnderstood(t *testing.T) {
	for _, file := range recordings(t) {
		name := strings.TrimSuffix(filepath.Base(file), ".http")
		var longest string
		for prefix := range replayedFailures {
			if strings.HasPrefix(name, prefix) && len(prefix) > len(longest) {
				longest = prefix
			}
		}
		if longest == "" {
			if strings.HasPrefix(name, "error") {
				t.Errorf("%s: nothing is said about it", file)
			}
			continue
		}
		want := replayedFailures[longest]
		got, err := askRecorded(t, replay(t, file), name)
		if backend.ClassOf(err) != want.class {
			t.Errorf("%s: got %v, want the class %q", file, err, want.class)
		}
		if want.text != "" && (got == nil || got.Text != want.text) {
			t.Errorf("%s: got %+v, want the text %q", file, got, want.text)
		}
	}
}

func TestRecordedListsOfEveryVersionAreRead(t *testing.T) {
	for _, folder := range folders(t) {
		host := func(name string) *ollama.Host { return replay(t, filepath.Join(folder, name+".http")) }
		if got, err := host("version").Version(t.Context()); err != nil || got != filepath.Base(folder) {
			t.Errorf("%s: version %q, %v", folder, got, err)
		}
		if got, err := host("tags").Models(t.Context()); err != nil || len(got) < 9 || got[0].Size == 0 {
			t.Errorf("%s: models %+v, %v", folder, got, err)
		}
		if got, err := host("ps").Running(t.Context()); err != nil || len(got) == 0 || got[0].ContextLength == 0 {
			t.Errorf("%s: running %+v, %v", folder, got, err)
		}
		got, err := host("show").Show(t.Context(), "tiny-toolcall")
		if err != nil || len(got.Capabilities) != 2 || got.Capabilities[1] != "tools" {
			t.Errorf("%s: %+v, %v", folder, got, err)
		}
		vectors, err := host("embed").Embed(t.Context(), &backend.EmbedRequest{Model: "tiny-words", Input: []string{"docker", "bread"}})
		if err != nil || len(vectors.Embeddings[0]) != 256 || len(vectors.Embeddings[1]) != 256 {
			t.Errorf("%s: %+v, %v", folder, vectors, err)
		}
	}
}

func folders(t *testing.T) []string {
	t.Helper()
	folders, err := filepath.Glob("testdata/replays/*")
	if err != nil || len(folders) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	return folders
}

// askRecorded asks in the way that the name of a recording says.
func askRecorded(t *testing.T, host *ollama.Host, name string) (*backend.Answer, error) {
	t.Helper()
	switch {
	case strings.Contains(name, "embed") && !strings.Contains(name, "no-embedding"):
		_, err := host.Embed(t.Context(), &backend.EmbedRequest{Model: "m", Input: []string{"docker"}})
		return nil, err
	case strings.Contains(name, "generate"):
		return host.Generate(t.Context(), &backend.GenerateRequest{Model: "m", Prompt: "hi"}, nil)
	default:
		return host.Chat(t.Context(), &backend.ChatRequest{Model: "m", Messages: []backend.Message{{Role: "user", Content: "hi"}}}, nil)
	}
}

// callsOf is what an answer calls, as JSON.
func callsOf(t *testing.T, a *backend.Answer) string {
	t.Helper()
	if len(a.ToolCalls) == 0 {
		return ""
	}
	type call struct {
		Name      string `json:"name"`
		Arguments any    `json:"arguments"`
	}
	var calls []call
	for _, c := range a.ToolCalls {
		calls = append(calls, call{c.Function.Name, c.Function.Arguments})
	}
	raw, err := json.Marshal(calls)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
