package remote

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// eventsOf lists the events of a body, as name and data.
func eventsOf(body io.Reader) (all []string, err error) {
	in := NewEvents(NewLines(io.NopCloser(body), 1<<20), func(int) error { return nil })
	for {
		name, data, err := in.Next()
		if err != nil {
			return all, err
		}
		all = append(all, name+"|"+string(data))
	}
}

func TestEventsOfAStreamByTheStandardAreThoseThatWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lineEnd := rapid.SampledFrom([]string{"\n", "\r\n", "\r"})
		word := rapid.StringMatching(`[a-z{}\[\]":, ]{1,12}`)
		var body strings.Builder
		var want []string
		line := func(s string) { body.WriteString(s + lineEnd.Draw(t, "line end")) }
		if rapid.Bool().Draw(t, "byte order mark") {
			body.WriteString(byteOrderMark)
		}
		for range rapid.IntRange(0, 5).Draw(t, "events") {
			name, lines := "", []string{}
			for range rapid.IntRange(1, 6).Draw(t, "lines") {
				switch rapid.IntRange(0, 4).Draw(t, "kind") {
				case 0:
					line(":" + word.Draw(t, "comment"))
				case 1:
					line("id: " + word.Draw(t, "id"))
				case 2:
					name = word.Draw(t, "name")
					line("event: " + name)
				default:
					// Data that is whole already would begin an event of its own.
					if text := strings.Join(lines, "\n"); new(Nesting).IsWhole([]byte(text)) {
						continue
					}
					value := word.Draw(t, "data")
					space := rapid.SampledFrom([]string{"", " "}).Draw(t, "space")
					if space == "" && strings.HasPrefix(value, " ") {
						space = " "
					}
					lines = append(lines, value)
					line("data:" + space + value)
				}
			}
			// A LF behind a CR would be part of the same line end, so the blank line ends as
			// the one before would have.
			body.WriteString("\r\n\r\n")
			if len(lines) > 0 {
				want = append(want, name+"|"+strings.Join(lines, "\n"))
			}
		}
		step := rapid.IntRange(1, 9).Draw(t, "step")
		got, err := eventsOf(&stepReader{body.String(), step})
		if err != io.EOF || fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Fatalf("%q: got %q, %v, want %q", body.String(), got, err, want)
		}
	})
}

func TestEventsAreFoundInWhatServersMakeOfTheStandard(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		want []string
	}{
		"no blank lines":               {"data: {\"a\":1}\ndata: {\"b\":2}\ndata: [DONE]\n", []string{`|{"a":1}`, `|{"b":2}`, `|[DONE]`}},
		"JSON before a colon":          {"{\"a\"\n:1}\n{\"b\"\r:2}", []string{"|{\"a\"\n:1}", "|{\"b\"\n:2}"}},
		"no blank line at the end":     {"event: x\ndata: {\"a\":1}", []string{`x|{"a":1}`}},
		"cut in the last event":        {"data: {\"a\":1}\n\ndata: {\"b\":", []string{`|{"a":1}`}},
		"the name behind the data":     {"data: {}\nevent: error\n\n", []string{`error|{}`}},
		"a name without data":          {"event: error\n\ndata: {}\n\n", []string{`|{}`}},
		"data without a colon":         {"data\ndata: {}\n\n", []string{`|{}`}},
		"JSON over lines of data":      {"data: {\ndata: \"a\":\"}\"\ndata: }\n\n", []string{"|{\n\"a\":\"}\"\n}"}},
		"JSON over lines, one of data": {"data: {\n\"a\":[\n1]\n}\n\n", []string{"|{\n\"a\":[\n1]\n}"}},
		"pretty JSON":                  {"{\n  \"a\": [\n\n  1]\n}\n", []string{"|{\n  \"a\": [\n  1]\n}"}},
		"pretty JSON, then data":       {"{\n\"a\": 1\n}\n\ndata: [DONE]\n\n", []string{"|{\n\"a\": 1\n}", "|[DONE]"}},
		"JSON lines":                   {"{\"a\":1}\n{\"b\":2}\n[DONE]\n", []string{`|{"a":1}`, `|{"b":2}`, `|[DONE]`}},
		"JSON in the place of data":    {"data: {\"a\":1}\n\n{\"error\":\"x\"}", []string{`|{"a":1}`, `|{"error":"x"}`}},
		"JSON behind data":             {"data: {\"a\":1}\n{\"error\":\"x\"}\n", []string{`|{"a":1}`, `|{"error":"x"}`}},
		"brackets in a text":           {"{\"a\":\"\\\"}{\"\n}", []string{"|{\"a\":\"\\\"}{\"\n}"}},
		"text":                         {"hello\nworld: 1\n", nil},
	} {
		for _, step := range []int{1, 2, 1000} {
			got, err := eventsOf(&stepReader{c.body, step})
			if err != io.EOF || fmt.Sprintf("%q", got) != fmt.Sprintf("%q", c.want) {
				t.Errorf("%s, in steps of %d: got %q, %v, want %q", name, step, got, err, c.want)
			}
		}
	}
}

func FuzzLineEnds(f *testing.F) {
	f.Add("data: {\"a\":1}\n\ndata: x\ndata: y\n\n: c\nevent: e\ndata: [DONE]")
	f.Add("\n\n{\n\"a\":\n1}\n")
	f.Fuzz(func(t *testing.T, body string) {
		body = strings.ReplaceAll(body, "\r", "")
		want, wantErr := eventsOf(strings.NewReader(body))
		for _, end := range []string{"\r", "\r\n"} {
			for step := range 3 {
				got, err := eventsOf(&stepReader{strings.ReplaceAll(body, "\n", end), step + 1})
				if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) || err != wantErr {
					t.Fatalf("lines that end with %q: got %q, %v, want %q, %v", end, got, err, want, wantErr)
				}
			}
		}
	})
}

// stepReader reads so many bytes at a time.
type stepReader struct {
	text string
	step int
}

func (r *stepReader) Read(p []byte) (int, error) {
	if r.text == "" {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.step)], r.text)
	r.text = r.text[n:]
	return n, nil
}
