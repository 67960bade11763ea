package ollama

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"ollama-mcp/internal/backend"
)

func mustParse(t testing.TB, host string) *url.URL {
	t.Helper()
	u, err := ParseHost(host)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// answering is a transport whose every answer has this body.
type answering string

func (body answering) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(string(body)))}, nil
}

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
		host, err := New(Options{Name: "a", MaxLine: 1 << 10})
		if err != nil {
			t.Fatal(err)
		}
		host.http = &http.Client{Transport: answering(body)}
		var pieces strings.Builder
		got, err := host.Chat(t.Context(), &backend.ChatRequest{}, func(p backend.Piece) { pieces.WriteString(p.Text) })
		if err != nil {
			if c := backend.ClassOf(err); c != backend.Server && c != backend.TooLong || strings.Contains(err.Error(), "\n") {
				t.Fatalf("error %q of class %q", err, c)
			}
		} else if got == nil || !strings.Contains(strings.ToLower(body), `done`) {
			t.Fatalf("success with %+v", got)
		}
		if got != nil && got.Text != pieces.String() {
			t.Fatalf("answer %q from pieces %q", got.Text, pieces.String())
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
		if !errors.Is(err, errLongLine) || line.read > 1<<20 {
			t.Errorf("%q: got %v after %d bytes", of, err, line.read)
		}
	}
}
