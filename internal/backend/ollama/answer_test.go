package ollama

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/remote"
)

func FuzzAnswer(f *testing.F) {
	for _, body := range []string{
		``, `{}`, `null`, `[]`, "\n\n", `<html>`, `{"done":true}`,
		"{\"response\":\"a\"}\n{\"response\":\"b\",\"done\":true,\"done_reason\":\"stop\",\"eval_count\":2}\n",
		"{\"message\":{\"content\":\"a\",\"thinking\":\"t\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{\"x\":[1]}}}]}}\n{\"done\":true}",
		"{\"response\":\"a\"}\n{\"error\":\"boom\"}\n{\"done\":true}", `{"error":"boom","done":true}`,
		`{"response":"` + strings.Repeat("x", 2000) + `","done":true}`, strings.Repeat(" ", 3000) + `{"done":true}`,
		`{"tool_calls":[{"function":{"arguments":null}}],"done":true}`, `{"done":true`, `{"done":1}`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		var pieces strings.Builder
		a := remote.Assemble(func(p backend.Piece) { pieces.WriteString(p.Text) })
		_, err := read(a, strings.NewReader(body), 1<<10)
		if c := backend.ClassOf(err); err != nil && c != "" && c != backend.Server && c != backend.TooLong && c != backend.Request {
			t.Fatalf("error %q of class %q", err, c)
		}
		if err == nil && !strings.Contains(strings.ToLower(body), `done`) {
			t.Fatal("success without the word done")
		}
		if got := a.Result(err == nil); got != nil && got.Text != pieces.String() || got == nil && pieces.Len() > 0 {
			t.Fatalf("answer %+v from pieces %q", got, pieces.String())
		}
	})
}

// endless is a reader without end.
type endless struct {
	of   byte
	read int
}

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = e.of
	}
	e.read += len(p)
	return len(p), nil
}

func TestEndlessLineIsNotReadToItsEnd(t *testing.T) {
	for _, of := range []byte{' ', '1'} {
		line := &endless{of: of}
		var c chunk
		err := json.NewDecoder(&lineLimiter{r: line, left: 1 << 20}).Decode(&c)
		if !errors.Is(err, remote.ErrLongLine) || line.read > 1<<20 {
			t.Errorf("%q: got %v after %d bytes", of, err, line.read)
		}
	}
}
