package e2e_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"

	"ollama-mcp/internal/e2e/tinymodels"
)

const (
	hi  = `"model":"tiny-says","prompt":"hi"`
	png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

func TestMistakesAreAnsweredWithTheirCauseAndLeaveNothingBehind(t *testing.T) {
	s := connect(t, shared)
	var warm sync.WaitGroup
	for range 8 {
		warm.Go(func() { s.start("generate", `{`+hi+`}`).result() })
	}
	warm.Wait()
	files := openFiles(t, s.cmd.Process.Pid)

	for _, c := range []struct {
		name, tool, args string
		words            []string
	}{
		{"unknown argument", "generate", `{"model":"tiny-says","promt":"hi"}`, []string{`"promt"`, `did you mean "prompt"?`}},
		{"missing argument", "generate", `{"model":"tiny-says"}`, []string{`"prompt" is missing`}},
		{"null", "generate", `{"model":"tiny-says","prompt":null}`, []string{`"prompt" is missing`}},
		{"wrong type", "generate", `{"model":"tiny-says","prompt":7}`, []string{`"prompt" must be a text`}},
		{"no object", "generate", `["tiny-says","hi"]`, []string{"must be an object"}},
		{"empty model", "generate", `{"model":"","prompt":"hi"}`, []string{`"model" must not be empty`}},
		{"unknown option", "generate", `{` + hi + `,"options":{"temprature":1}}`, []string{`"options.temprature"`, `did you mean "temperature"?`}},
		{"option of the wrong type", "generate", `{` + hi + `,"options":{"num_ctx":"many"}}`, []string{`"options.num_ctx" must be a whole number`}},
		{"option that would crash Ollama", "generate", `{` + hi + `,"options":{"num_ctx":0}}`, []string{`"options.num_ctx" must be at least 1`}},
		{"option larger than Ollama counts", "generate", `{` + hi + `,"options":{"num_ctx":1e300}}`, []string{`"options.num_ctx" must be at most`}},
		{"no time", "generate", `{` + hi + `,"timeout_seconds":0}`, []string{`"timeout_seconds" must be more than 0`}},
		{"keep_alive that is no time", "generate", `{` + hi + `,"keep_alive":"soon"}`, []string{`"keep_alive"`}},
		{"image that is not base64", "generate", `{` + hi + `,"images":["/tmp/cat.png"]}`, []string{`"images[0]" is not base64`}},
		{"image that is none", "generate", `{` + hi + `,"images":["aGVsbG8="]}`, []string{`"images[0]" is not an image`}},
		{"image for a model that cannot see", "generate", `{` + hi + `,"images":["` + png + `"]}`, []string{"cannot see"}},
		{"thoughts of a model that has none", "generate", `{` + hi + `,"think":true}`, []string{"does not support thinking"}},
		{"suffix for a model that cannot insert", "generate", `{` + hi + `,"suffix":"x"}`, []string{"does not support insert"}},
		{"model that cannot answer", "generate", `{"model":"tiny-words","prompt":"hi"}`, []string{"does not support generate"}},
		{"schema that does not compile", "generate", `{` + hi + `,"format":{"type":"nonsense"}}`, []string{`"format" is not a valid JSON schema`}},
		{"schema from elsewhere", "generate", `{` + hi + `,"format":{"$ref":"` + nobody + `/schema.json"}}`, []string{"only references within the schema are followed"}},
		{"unknown format", "generate", `{` + hi + `,"format":"xml"}`, []string{`"format" must be "json" or an object`}},
		{"no messages", "chat", `{"model":"tiny-says","messages":[]}`, []string{`"messages" must not be empty`}},
		{"unknown role", "chat", `{"model":"tiny-says","messages":[{"role":"robot","content":"hi"}]}`, []string{`"messages[0].role" must be`}},
		{"image in a message", "chat", `{"model":"tiny-says","messages":[{"role":"user","content":"hi","images":["` + png + `"]}]}`, []string{"cannot see"}},
		{"tools for a model that cannot call", "chat", `{"model":"tiny-says","messages":[{"role":"user"}],"tools":[{"type":"function","function":{"name":"f"}}]}`, []string{"does not support tools"}},
		{"tool that is none", "chat", `{"model":"tiny-toolcall","messages":[{"role":"user"}],"tools":[{"type":"function","function":7}]}`, []string{`"tools[0].function"`}},
		{"no dimensions", "embed", `{"model":"tiny-words","input":"a","dimensions":-1}`, []string{`"dimensions" must be`}},
		{"no texts", "embed", `{"model":"tiny-words","input":[]}`, []string{`"input" must not be empty`}},
		{"text that is none", "embed", `{"model":"tiny-words","input":["a",7]}`, []string{`"input[1]" must be a text`}},
		{"unknown host", "list-models", `{"host":"nowhere"}`, []string{`"nowhere"`, sharedHost()}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := s.start(c.tool, c.args).result()
			wantError(t, a, "invalid_argument", c.words...)
			if strings.Contains(a.text(), "file://") || strings.Contains(a.text(), "Go struct") || len(a.text()) > 400 {
				t.Errorf("told is what is no business of the caller's: %q", a.text())
			}
			s.stillAnswers(t)
		})
	}
	eventually(t, "no more files are open than before", func() bool { return openFiles(t, s.cmd.Process.Pid) <= files })
	t.Logf("%d files open, peak memory %s", files, peakMemory(t, s.cmd.Process.Pid))
}

// stillAnswers wants the next call to work, with an answer of Ollama's.
func (s *session) stillAnswers(t *testing.T) {
	t.Helper()
	if a := s.start("generate", fmt.Sprintf(`{"model":"tiny-says","prompt":%q}`, fresh())).result(); a.text() != tinymodels.Says.Answer {
		t.Errorf("the next call: got %+v", a)
	}
}

func TestUnknownToolIsAnsweredWithThoseThereAre(t *testing.T) {
	s := connect(t, shared)
	p := s.start("generat", `{}`)
	<-p.done
	failed, ok := errors.AsType[*jsonrpc.Error](p.err)
	if !ok || failed.Code != jsonrpc.CodeInvalidParams || !strings.Contains(failed.Message, "generate, job, list-models") {
		t.Errorf("got %+v, %v, want the error %d and the names", p.answer, p.err, jsonrpc.CodeInvalidParams)
	}
	s.stillAnswers(t)
}

func TestSchemaNestedBeyondReasonIsRefusedAtOnce(t *testing.T) {
	const depth = 2000
	s := connect(t, shared)
	schema := strings.Repeat(`{"items":`, depth) + `{}` + strings.Repeat(`}`, depth)
	s.fails("generate", `{`+hi+`,"format":`+schema+`}`, "invalid_argument", `"format"`)
}

func TestTimeLimitHoldsWhateverItsSize(t *testing.T) {
	s := connect(t, shared, "OLLAMA_MCP_TIMEOUT=100ms", fullMeta)
	if a := s.start("generate", `{`+hi+`,"timeout_seconds":1e-300}`).result(); !strings.HasSuffix(a.code(), "timeout") {
		t.Errorf("with no time at all: got %+v, want that it was not enough", a)
	}
	// One that is longer than can be counted is as good as none.
	if a := s.succeeds("generate", `{"model":"tiny-loops","prompt":"hi","timeout_seconds":1e300,"options":{"num_predict":600}}`); a.Meta.Served.DoneReason != "length" {
		t.Errorf("got the done reason %q, want the whole answer", a.Meta.Served.DoneReason)
	}
}

func TestLinesThatAreNoRequestAreAnsweredAndTheNextOneWorks(t *testing.T) {
	l := startLines(t, shared.URL(), nil)
	l.until(`"id":"hello"`)
	for _, c := range []struct{ name, line, answer string }{
		{"no JSON", `hello?`, `"id":null,"error":{"code":-32700`},
		{"half an object", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{`, `"id":null,"error":{"code":-32700`},
		{"several messages", `[{"jsonrpc":"2.0","id":1,"method":"ping"}]`, `"id":null,"error":{"code":-32600`},
		{"no method", `{"jsonrpc":"2.0","id":7}`, `"id":7,"error":{"code":-32600`},
		{"unknown method", `{"jsonrpc":"2.0","id":8,"method":"tools/cal"}`, `"id":8,"error":{"code":-32601`},
		{"a number too large to count with", toolCall(9, "generate", `{`+hi+`,"options":{"seed":1e400}}`), `"id":9,`},
		{"a line of 64 MB that is no JSON", strings.Repeat("x", 64<<20), `"id":null,"error":{"code":-32`},
		{"a prompt of 50 MB", toolCall(10, "generate", `{"model":"tiny-says","prompt":"`+strings.Repeat("x", 50<<20)+`"}`), `"id":10,"error":{"code":-32600,"message":"the message is larger than 32 MiB`},
	} {
		l.send(c.line)
		got := l.until(`"jsonrpc"`)
		if !strings.Contains(got, c.answer) || strings.Contains(got, "Go struct") {
			t.Errorf("%s: got %.500s, want %s", c.name, got, c.answer)
		}
		l.send(toolCall(99, "generate", `{`+hi+`}`))
		if got := l.until(`"id":99`); !strings.Contains(got, tinymodels.Says.Answer) {
			t.Errorf("the call after %s: got %.500s", c.name, got)
		}
	}
	t.Logf("peak memory %s", peakMemory(t, l.cmd.Process.Pid))
	l.send(`{"jsonrpc":"2.0","id":11,"method":"tools/call","par`)
	l.in.Close()
	l.until(`"code":-32700`)
	if status := l.exit(); status != 0 {
		t.Errorf("exit status %d", status)
	}
}
