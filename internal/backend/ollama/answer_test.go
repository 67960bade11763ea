package ollama

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/remote"
)

// readWith reads a body with read or readAny, and returns what came of it, with pieces
// that were told.
func readWith(read func(*remote.Assembly, *remote.Lines) error, body string, maxLine int) (got *backend.Answer, pieces []backend.Piece, err error) {
	a := remote.Assemble(func(p backend.Piece) { pieces = append(pieces, p) })
	err = read(a, remote.NewLines(io.NopCloser(strings.NewReader(body)), maxLine))
	if got = a.Result(err == nil); got != nil { // what a clock says differs
		got.FirstPiece, got.Eval, got.Total = 0, 0, 0
	}
	return got, pieces, err
}

// bodies are what hosts send, and what they should not.
var bodies = []string{
	``, `{}`, `null`, `[]`, "\n\n", "\f", `<html>`, `{"done":true}`, "  \r\n{ \"done\" : true }\r\n",
	"{\"response\":\"a\"}\n{\"response\":\"b\",\"done\":true,\"done_reason\":\"stop\",\"eval_count\":2}\n",
	"{\"response\":\"a\"}\n{\"response\":\"b\"}\n\n{\"response\":\"c\",\"done\":true,\"context\":[1,22,0],\"total_duration\":5,\"load_duration\":1,\"prompt_eval_count\":6,\"prompt_eval_duration\":7,\"eval_count\":8,\"eval_duration\":9}\n",
	"{\"model\":\"m\",\"created_at\":\"2026-01-02T03:04:05Z\",\"message\":{\"role\":\"assistant\",\"content\":\"a\\n\\u003cb\\u003e\",\"thinking\":\"t\"},\"done\":false}\n{\"message\":{\"content\":\"\"},\"done\":true}\n",
	"{\"message\":{\"content\":\"a\",\"thinking\":\"t\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{\"x\":[1]}}}]}}\n{\"done\":true}",
	"{\"response\":\"a\"}\n{\"error\":\"boom\"}\n{\"done\":true}", `{"error":"boom","done":true}`,
	`{"response":"` + strings.Repeat("x", 2000) + `","done":true}`, strings.Repeat(" ", 3000) + `{"done":true}`,
	`{"tool_calls":[{"function":{"arguments":null}}],"done":true}`, `{"done":true`, `{"done":1}`,
	`{"response":"a"}{"response":"b"} {"done":true}`, "{\"response\":\n\"a\",\n\"done\":true}", `{"done":true}rest`, "{\"done\"\r:true}", "{\"done\"\n:true}", `{"response":"a","done":true,}`,
	`{"Response":"a","DONE":true}`, `{"response":"a","response":"b","done":false,"done":true}`,
	`{"message":{"content":"a"},"message":{"thinking":"b"},"done":true}`, `{"message":null,"response":null,"done":true}`,
	`{"response":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00","done":true}`, `{"response":"\ud83d","done":true}`, `{"response":"\ud83d\u0041","done":true}`,
	`{"response":"\udE00\x","done":true}`, `{"response":"\u00g0","done":true}`, `{"response":"\`, `{"response":"é😀`, `{"response":"é😀","done":true}`,
	"{\"response\":\"\xff\",\"done\":true}", "{\"response\":\"\x01\",\"done\":true}", "{\"response\":\"\x7f\u2028\",\"done\":true}", "{\"r\xffesponse\":\"a\",\"done\":true}",
	`{"eval_count":-1,"done":true}`, `{"eval_count":01,"done":true}`, `{"eval_count":0,"done":true}`, `{"eval_count":1e3,"done":true}`, `{"eval_count":1.5,"done":true}`, `{"eval_count":,"done":true}`,
	`{"eval_count":9223372036854775807,"done":true}`, `{"eval_count":9223372036854775808,"done":true}`, `{"eval_count":"1","done":true}`,
	`{"done":truee}`, `{"done":tru`, `{"done":"true"}`, `{"context":[],"done":true}`, `{"context":[1,],"done":true}`, `{"context":[-1,"a",{}],"done":true}`,
	"{\"response\":\"\"}\n{\"response\":\"\",\"done\":true,\"done_reason\":\"\xf3\xa6\x8e\xcestop\",\"remote_host\":\"\xff\"}",
	`{"model":1,"done":true}`, `{"model":"\q","done":true}`, `{"logprobs":[{"token":"a"}],"response":"a","done":true}`, `{"":1,"done":true}`,
}

// FuzzRead holds the quick way to read an answer against encoding/json.
func FuzzRead(f *testing.F) {
	for _, body := range bodies {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		const unbounded = 1 << 30
		got, pieces, err := readWith(read, body, unbounded)
		want, wantPieces, wantErr := readWith(readAny, body, unbounded)
		if (err == nil) != (wantErr == nil) || backend.ClassOf(err) != backend.ClassOf(wantErr) {
			t.Fatalf("error %v, encoding/json: %v", err, wantErr)
		}
		if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(pieces, wantPieces) {
			t.Fatalf("answer %+v with pieces %q\nencoding/json: %+v with pieces %q", got, pieces, want, wantPieces)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	for _, body := range bodies {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		got, pieces, err := readWith(read, body, 1<<10)
		var text, thinking strings.Builder
		for _, p := range pieces {
			text.WriteString(p.Text)
			thinking.WriteString(p.Thinking)
			if p.TextSoFar != text.String() || p.ThinkingSoFar != thinking.String() {
				t.Fatalf("piece %+v, and so far %q and %q", p, &text, &thinking)
			}
		}
		if c := backend.ClassOf(err); err != nil && c != "" && c != backend.Server && c != backend.TooLong && c != backend.Request {
			t.Fatalf("error %q of class %q", err, c)
		}
		if err == nil && !strings.Contains(strings.ToLower(body), `done`) {
			t.Fatal("success without the word done")
		}
		if got != nil && (got.Text != text.String() || got.Thinking != thinking.String()) || got == nil && len(pieces) > 0 {
			t.Fatalf("answer %+v from pieces %q", got, pieces)
		}
	})
}

// line is a piece as Ollama sends it.
const line = `{"model":"tiny:latest","created_at":"2026-01-02T03:04:05.678901234Z","response":" word","done":false}` + "\n"

// end is the last piece.
const end = `{"model":"tiny:latest","created_at":"2026-01-02T03:04:05.678901234Z","response":"","done":true,"done_reason":"stop","context":[1,2,3],` +
	`"total_duration":3000000,"load_duration":1000000,"prompt_eval_count":6,"prompt_eval_duration":1000000,"eval_count":9,"eval_duration":1000000}` + "\n"

func TestUsualLinesNeedNoReflection(t *testing.T) {
	const escaped = `{"model":"tiny:latest","created_at":"2026-01-02T03:04:05Z","message":{"role":"assistant","content":"\n\u003cb\u003e é 😀 \"","thinking":"hm"},"done":false}`
	for _, text := range []string{line, end, escaped} {
		var got, want chunk
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		want.known = true
		if !got.parse([]byte(text)) || !reflect.DeepEqual(got, want) {
			t.Errorf("%s\nis read as %+v\nwant       %+v", text, got, want)
		}
	}
}

func TestPieceCostsOneAllocation(t *testing.T) {
	allocations := func(pieces int) float64 {
		body := strings.Repeat(line, pieces) + end
		return testing.AllocsPerRun(10, func() {
			a := remote.Assemble(nil)
			if err := read(a, remote.NewLines(io.NopCloser(strings.NewReader(body)), 1<<20)); err != nil {
				t.Fatal(err)
			}
		})
	}
	few, many := allocations(10), allocations(1010)
	if each := (many - few) / 1000; each > 1.1 {
		t.Errorf("10 pieces cost %.0f allocations and 1010 cost %.0f, which is %.2f each", few, many, each)
	}
}

// BenchmarkRead compares reading an answer with what encoding/json alone makes of it.
func BenchmarkRead(b *testing.B) {
	body := strings.Repeat(line, 64) + end
	for name, read := range map[string]func(*remote.Assembly, *remote.Lines) error{"ours": read, "encoding-json": readAny} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := readWith(read, body, 1<<20); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
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
		for name, read := range map[string]func(*remote.Assembly, *remote.Lines) error{"read": read, "readAny": readAny} {
			body := &endless{of: of}
			err := read(remote.Assemble(nil), remote.NewLines(io.NopCloser(body), 1<<20))
			if !errors.Is(err, remote.ErrLongLine) || body.read > 2<<20 {
				t.Errorf("%s of %q: got %v after %d bytes", name, of, err, body.read)
			}
		}
	}
}

func TestLinesAreReadAsTheyArrive(t *testing.T) {
	in, out := io.Pipe()
	go func() {
		for i := range 3 {
			fmt.Fprintf(out, `{"response":"%d"}`+"\n", i)
		}
		fmt.Fprint(out, `{"done":true}`+"\n")
		// The body goes on, and nothing comes.
	}()
	var pieces []string
	a := remote.Assemble(func(p backend.Piece) { pieces = append(pieces, p.Text) })
	if err := read(a, remote.NewLines(in, 1<<10)); err != nil || strings.Join(pieces, " ") != "0 1 2" {
		t.Errorf("got %q, %v", pieces, err)
	}
}
