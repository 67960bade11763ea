package app

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"ollama-mcp/internal/backend/backendtest"
)

// initialized begins a session of a client.
const initialized = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}
{"jsonrpc":"2.0","method":"notifications/initialized"}
`

// toolCall is a message that calls a tool.
func toolCall(id int, tool, arguments string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":%s}}`+"\n", id, tool, arguments)
}

func TestCallLogHasOneLineForEachCall(t *testing.T) {
	host := backendtest.New("gpu-1").Answer("quick brown fox")
	file := t.TempDir() + "/calls.jsonl"
	stdin := initialized + toolCall(2, "generate", `{"model":"tiny","prompt":"canary"}`)
	env := []string{"OLLAMA_HOST=" + host.Listen(t), "OLLAMA_API_KEY=sesame", "OLLAMA_MCP_CALL_LOG=" + file}
	if _, errs, status := program(t, stdin, env); status != 0 {
		t.Fatalf("status %d, %q", status, errs)
	}
	stdin = initialized + toolCall(3, "list-models", `{}`) +
		toolCall(4, "generate", `{"model":"missing","prompt":"canary"}`) +
		toolCall(5, "generate", `{"modle":"tiny","prompt":["canary"]}`) +
		toolCall(6, "chat", `{"model":"tiny","messages":[{"role":"user","content":"canary"}],"wait_seconds":0}`) + // becomes a job
		toolCall(7, "generate", `{"model":"tiny","prompt":"canary","format":{"type":"object"}}`) +
		toolCall(8, "generate", `{"model":"tiny","prompt":"canary","priority":"canary"}`)
	if _, errs, status := program(t, stdin, env); status != 0 {
		t.Fatalf("status %d, %q", status, errs)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(text)) {
		var l struct {
			Tool     string
			Response struct{ Source string }
			Error    struct{ Code string }
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if l.Tool == "chat" { // which may end with the server, since nobody waits for the job
			l.Response.Source, l.Error.Code = "", ""
		}
		got = append(got, l.Tool+" "+l.Response.Source+l.Error.Code)
	}
	slices.Sort(got)
	want := []string{
		"chat ", "generate invalid_argument", "generate invalid_argument", "generate local", "generate localupstream", "generate model_not_found", "list-models ",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q, in\n%s", got, want, text)
	}
	for _, secret := range []string{"canary", "brown", "sesame"} {
		if strings.Contains(string(text), secret) {
			t.Errorf("the call log has %q:\n%s", secret, text)
		}
	}

	out, errs, status := program(t, "", nil, "calls", file)
	if status != 0 || !strings.HasPrefix(out, "7 calls from ") || !strings.Contains(out, "\ngpu-1 ") && !strings.Contains(out, "MODEL") {
		t.Errorf("status %d, %q, %q", status, out, errs)
	}
	out, _, status = program(t, string(text), nil, "calls", "--json", "--top=1", "-")
	var report struct{ Calls, Failed int }
	if err := json.Unmarshal([]byte(out), &report); err != nil || status != 0 || report.Calls != 7 || report.Failed < 4 {
		t.Errorf("status %d, %v, %+v in %q", status, err, report, out)
	}
}

func TestCallLogHasPromptsAndAnswersOnlyIfWanted(t *testing.T) {
	host := backendtest.New("gpu-1").Answer("quick brown fox")
	file := t.TempDir() + "/calls.jsonl"
	stdin := initialized + toolCall(2, "generate", `{"model":"tiny","prompt":"canary"}`)
	env := []string{"OLLAMA_HOST=" + host.Listen(t), "OLLAMA_API_KEY=sesame"}
	if _, errs, status := program(t, stdin, env, "--call-log="+file, "--log-content"); status != 0 {
		t.Fatalf("status %d, %q", status, errs)
	}
	text, err := os.ReadFile(file)
	if want := `"content":{"prompt":"canary","answer":"quick brown fox"}`; err != nil || !strings.Contains(string(text), want) || strings.Contains(string(text), "sesame") {
		t.Errorf("%v: %s, want %s", err, text, want)
	}
}

// An error may quote an answer. The caller may see that, and logs may not.
func TestErrorsInLogsQuoteNoAnswer(t *testing.T) {
	host := backendtest.New("gpu-1").Answer(`"canary"`)
	file := t.TempDir() + "/calls.jsonl"
	stdin := initialized + toolCall(2, "generate", `{"model":"tiny","prompt":"?","format":{"type":"string","pattern":"^x"}}`)
	out, errs, _ := program(t, stdin, []string{"OLLAMA_HOST=" + host.Listen(t)}, "--call-log="+file, "--log-level=debug")
	text, err := os.ReadFile(file)
	if err != nil || strings.Contains(string(text)+errs, "canary") || !strings.Contains(string(text), "does not fit the format") {
		t.Errorf("%v: %s %s", err, text, errs)
	}
	if !strings.Contains(out, "canary") {
		t.Errorf("the caller is told %s", out)
	}
}

// A disk that cannot be used costs nobody an answer, and is one line of the log for each thing
// that is not kept.
func TestDiskThatCannotBeUsedKeepsNobodyFromTheTools(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	notADir, old := dir+"/file", dir+"/old"
	if err := os.WriteFile(notADir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(old+"/usage", 0o700); err != nil {
		t.Fatal(err)
	}
	for day := -1; day <= 1; day++ { // whichever it is when the program looks
		name := time.Now().UTC().AddDate(0, 0, day).Format(time.DateOnly) + ".json"
		if err := os.WriteFile(old+"/usage/"+name, []byte(`{"version":99}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		option, says string
		lines        int
	}{
		{"--call-log=/missing/calls.jsonl", "the call log cannot be written", 1},
		{"--call-log=/dev/full", "the call log cannot be written", 1},
		{"--call-log=" + dir, "the call log cannot be written", 1},
		{"--call-log=" + notADir + "/calls.jsonl", "the call log cannot be written", 1},
		{"--state-dir=" + notADir, "the state directory cannot be used", 3},
		{"--state-dir=" + notADir + "/state", "the state directory cannot be used", 3},
		{"--state-dir=" + old, "broken file of usage set aside", 1},
	} {
		out, errs, status := program(t, initialized+toolCall(2, "usage", `{}`), nil, tc.option, "--log-level=warn")
		if status != 0 || !strings.Contains(out, `"id":2,"result"`) || strings.Contains(out, "isError") || strings.Count(errs, tc.says) != tc.lines {
			t.Errorf("%s: status %d, %q, %q", tc.option, status, out, errs)
		}
	}
}

func TestCallsExplainsWhatItCannotRead(t *testing.T) {
	for _, tc := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"calls"}, misuse, "usage: ollama-mcp calls FILE"},
		{[]string{"calls", "--top=-1", "-"}, misuse, "--top"},
		{[]string{"calls", "missing.jsonl"}, failure, "missing.jsonl"},
		{[]string{"calls", "--tpo=1"}, misuse, "--tpo"},
	} {
		if _, errs, status := program(t, "", nil, tc.args...); status != tc.status || !strings.Contains(errs, tc.want) {
			t.Errorf("%q: status %d, %q", tc.args, status, errs)
		}
	}
	if out, _, status := program(t, "", nil, "calls", "-"); status != 0 || out != "no calls\n" {
		t.Errorf("of nothing: status %d, %q", status, out)
	}
}
