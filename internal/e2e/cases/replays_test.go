package cases_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ollama-mcp/internal/e2e"
)

// A recorded answer of an Ollama is replayed to the program: replayedAnswers says what its
// caller must get, replayedFailures what for one that is a failure. Each recording is
// "VERSION/NAME.http", which `make recordings` has written.
var replays = replayRows()

// replayedAnswers are calls by the names of the recordings that answer them.
var replayedAnswers = map[string]call{
	"generate":          {tool: generate, args: `"model":"tiny-says"`, text: fox},
	"generate-cut":      {tool: generate, args: `"model":"tiny-loops"`, text: " tick tock tick", words: []string{"cut after 3 tokens"}},
	"generate-thinking": {tool: generate, args: `"model":"tiny-thinks","think":true`, text: "It is four.", words: []string{"Two and two make what?"}},
	"generate-format":   {tool: generate, args: `"model":"tiny-json","format":"json"`, words: []string{`"answer":42`}},
	"chat":              {tool: chat, args: `"model":"tiny-says"`, text: fox},
	"chat-tools":        {tool: chat, args: `"model":"tiny-toolcall",` + tool(`{"type":"object"}`), words: []string{"get_weather", `"city":"Oslo"`}},
	"chat-thinking":     {tool: chat, args: `"model":"tiny-thinks","think":true`, text: "It is four.", words: []string{"Two and two make what?"}},
	"chat-format":       {tool: chat, args: `"model":"tiny-json","format":{"type":"object","required":["answer"]}`, words: []string{`"answer":42`}},
	"embed":             {tool: embed, args: `"model":"tiny-words"`, words: []string{`"count":2`, `"dimensions":256`}},
	"native-generate":   {tool: generate, args: `"model":"tiny-says"`, text: fox},
	"native-chat":       {tool: chat, args: `"model":"tiny-says"`, text: fox},
	"native-tools":      {tool: chat, args: `"model":"tiny-toolcall",` + tool(`{"type":"object"}`), words: []string{"get_weather", `"city":"Oslo"`}},
	"native-thinking":   {tool: chat, args: `"model":"tiny-thinks","think":true`, text: "It is four.", words: []string{"Two and two make what?"}},
}

// replayedFailures are failures by the beginnings of the names of their recordings.
var replayedFailures = map[string]struct {
	code  string
	words []string
	most  int // requests
}{
	"generate-endless":      {"upstream", []string{" no no no"}, 4},
	"error-missing":         {"model_not_found", nil, 2}, // once more, since the host lists it
	"error-no-thinking":     {"invalid_argument", []string{"does not support thinking"}, 1},
	"error-no-tools":        {"invalid_argument", []string{"does not support tools"}, 1},
	"error-no-embedding":    {"invalid_argument", []string{"does not support chat"}, 1},
	"error-think-level":     {"invalid_argument", []string{"think"}, 1},
	"error-too-long":        {"context_too_long", nil, 1},
	"error-native-too-long": {"context_too_long", nil, 1},
	"error-embed-too-long":  {"context_too_long", []string{"input[0], input[1]"}, 3}, // each text by itself
	"error-context-":        {"context_too_long", []string{"about 9000 tokens", "4096"}, 1},
	"error-context-embed":   {"context_too_long", []string{"input[0], input[1]"}, 3},
	"error-memory-":         {"upstream", []string{"num_ctx"}, 1},
	"error-exit-":           {"upstream", []string{"crashed"}, 2},
	"error-exit-embed":      {"upstream", []string{"crashes", "input[0], input[1]"}, 4}, // once more, and then each text by itself
	"error-exit-halfway-":   {"upstream", []string{"crashed"}, 2},
	"error-vector-embed":    {"upstream", []string{"input[0]"}, 3},
}

const fox = "The quick brown fox jumps over the lazy dog."

// replayRows are one row for all that a version answers well, with its lists of models, and
// one for each of its failures.
func replayRows() (rows []row) {
	for _, file := range recordings("*", "version.http") {
		folder := filepath.Dir(file)
		version := filepath.Base(folder)
		host := func() *backend {
			return &backend{version: version, tags: recorded(filepath.Join(folder, "tags.http")).body, of: map[string]reply{}}
		}
		whole := row{name: "what Ollama " + version + " answers is understood", backends: backends{"a": host()}, asked: map[string]int{"a": 0}}
		for _, file := range recordings(version, "*.http") {
			name := strings.TrimSuffix(filepath.Base(file), ".http")
			if c, ok := replayedAnswers[name]; ok {
				c.args = arguments(c, name)
				whole.calls = append(whole.calls, c)
				whole.backends["a"].of[`"`+name+`"`] = recorded(file)
				whole.asked["a"]++
			}
			if prefix := longestPrefix(name); prefix != "" {
				want := replayedFailures[prefix]
				failing := host()
				failing.replies = []reply{recorded(file)}
				c := wayToAsk(name)
				c.args, c.code, c.words = arguments(c, name), want.code, want.words
				rows = append(rows, row{
					name: "Ollama " + version + ", " + name, backends: backends{"a": failing},
					calls: []call{c}, asked: map[string]int{"a": want.most},
				})
			}
		}
		rows = append(rows, whole)
	}
	return rows
}

// arguments are those of a call whose text names the recording, by which the backend knows
// what to answer.
func arguments(c call, name string) string {
	switch c.tool {
	case generate:
		return fmt.Sprintf(`{%s,"prompt":%q}`, c.args, name)
	case chat:
		return fmt.Sprintf(`{%s,"messages":[{"role":"user","content":%q}]}`, c.args, name)
	}
	return fmt.Sprintf(`{%s,"input":[%q,"bread"]}`, c.args, name)
}

// wayToAsk is a call of the tool that the recording of a failure is an answer to.
func wayToAsk(name string) call {
	switch {
	case strings.Contains(name, "embed") && name != "error-no-embedding":
		return call{tool: embed, args: `"model":"tiny-words"`}
	case strings.Contains(name, "generate"), name == "error-missing", name == "error-too-long":
		return call{tool: generate, args: `"model":"tiny-says"`}
	}
	return call{tool: chat, args: `"model":"tiny-says"`}
}

func longestPrefix(name string) (longest string) {
	for prefix := range replayedFailures {
		if strings.HasPrefix(name, prefix) && len(prefix) > len(longest) {
			longest = prefix
		}
	}
	return longest
}

// recordings are the files of that name, which may be a pattern, of the versions.
func recordings(version, name string) []string {
	pattern, err := e2e.Path("..", "backend", "ollama", "testdata", "replays", version, name)
	if err != nil {
		panic(err) // there is no go command
	}
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		panic(fmt.Sprintf("no recordings %s: %v", pattern, err))
	}
	slices.Sort(files)
	return files
}

// recorded is the response of a recording.
func recorded(file string) reply {
	raw, err := os.ReadFile(file)
	if err != nil {
		panic(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), nil)
	if err != nil {
		panic(fmt.Sprintf("%s: %v", file, err))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		panic(fmt.Sprintf("%s: %v", file, err))
	}
	return reply{status: response.StatusCode, header: "Content-Type: " + response.Header.Get("Content-Type"), body: string(body)}
}
