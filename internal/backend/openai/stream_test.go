package openai

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/remote"
)

// answer reads a body as it might come.
func answer(body io.Reader) (*backend.Answer, error) {
	a := remote.Assemble(nil)
	err := new(reading).read(a, remote.NewLines(io.NopCloser(body), 1<<10))
	return a.Result(err == nil), err
}

func event(choice string) string { return `data: {"choices":[` + choice + "]}\n\n" }

const (
	hello = `{"delta":{"content":"hello"}}`
	stop  = `{"delta":{},"finish_reason":"stop"}`
	count = `data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":9}}` + "\n\n"
	done  = "data: [DONE]\n\n"
)

func TestAnswerIsCompleteOnceTheServerSaysSo(t *testing.T) {
	for name, c := range map[string]struct {
		body   string
		reason backend.EndReason
		tokens int
	}{
		"as documented":         {event(hello) + event(stop) + count + done, "stop", 9},
		"without an end mark":   {event(hello) + event(stop), "stop", 1},
		"without a reason":      {event(hello) + done, backend.NoReason, 1},
		"length":                {event(hello) + event(`{"delta":{},"finish_reason":"length"}`) + done, "length", 1},
		"filtered":              {event(hello) + event(`{"delta":{},"finish_reason":"content_filter"}`) + done, "content_filter", 1},
		"reason with the text":  {event(`{"delta":{"content":"hello"},"finish_reason":"stop"}`), "stop", 1},
		"usage with the reason": {event(hello) + `data: {"choices":[` + stop + `],"usage":{"completion_tokens":4}}` + "\n", "stop", 4},
		"text completion":       {event(`{"text":"hello","finish_reason":null}`) + event(`{"text":"","finish_reason":"stop"}`), "stop", 1},
		"nulls":                 {`data: {"error":null,"usage":null,"choices":[{"delta":{"role":"assistant","content":null,"tool_calls":null}}]}` + "\n" + event(hello) + event(stop), "stop", 1},
		"comments and fields":   {": OPENROUTER PROCESSING\n\nevent: message\nid: 7\nretry: 5\n" + event(hello) + event(stop), "stop", 1},
		"CRLF and no spaces":    {"data:{\"choices\":[" + hello + "]}\r\n\r\ndata:{\"choices\":[" + stop + "]}\r\n\r\ndata:[DONE]\r\n", "stop", 1},
		"another choice":        {event(hello+`,{"index":1,"delta":{"content":"other"},"finish_reason":"length"}`) + event(stop), "stop", 1},
		"refusal":               {event(`{"delta":{"refusal":"hello"}}`) + event(stop), "stop", 1},
		"no line end":           {event(hello) + strings.TrimSpace(event(stop)), "stop", 1},
	} {
		for way, body := range map[string]io.Reader{
			"at once":      strings.NewReader(c.body),
			"byte by byte": iotest.OneByteReader(strings.NewReader(c.body)),
		} {
			got, err := answer(body)
			if err != nil || got.Text != "hello" || got.DoneReason != c.reason || got.Tokens != c.tokens {
				t.Errorf("%s, %s: got %+v, %v", name, way, got, err)
			}
		}
	}
}

func TestAnswerThatDoesNotEndIsAnErrorAndWhatCame(t *testing.T) {
	reset := errors.New("connection reset")
	for name, c := range map[string]struct {
		body io.Reader
		want error
	}{
		"ended":         {strings.NewReader(event(hello)), io.EOF},
		"cut":           {io.MultiReader(strings.NewReader(event(hello)), iotest.ErrReader(reset)), reset},
		"error":         {strings.NewReader(event(hello) + `data: {"error":{"message":"boom"}}` + "\n" + event(stop) + done), backend.Server},
		"error as text": {strings.NewReader(event(hello) + `{"error":"boom"}`), backend.Server},
		"busy":          {strings.NewReader(event(hello) + `data: {"error":{"message":"slow down","code":429}}` + "\n"), backend.Overload},
		"too long":      {strings.NewReader(event(hello) + `data: {"error":{"code":"context_length_exceeded"}}` + "\n"), backend.TooLong},
		"long line":     {strings.NewReader(event(hello) + "data: " + strings.Repeat(" ", 2<<10)), remote.ErrLongLine},
	} {
		got, err := answer(c.body)
		if !errors.Is(err, c.want) || got == nil || got.Text != "hello" || got.DoneReason != "" {
			t.Errorf("%s: got %+v, %v, want what came and %v", name, got, err, c.want)
		}
	}
	for _, body := range []string{"", ": still there\n\n", done} {
		if got, err := answer(strings.NewReader(body)); got != nil || err != io.EOF {
			t.Errorf("%q: got %+v, %v, want nothing", body, got, err)
		}
	}
}

func TestThoughtsAreKeptApartUnderEitherName(t *testing.T) {
	for _, name := range []string{"reasoning", "reasoning_content"} {
		got, err := answer(strings.NewReader(event(`{"delta":{"`+name+`":"hm"}}`) + event(hello) + event(stop)))
		if err != nil || got.Thinking != "hm" || got.Text != "hello" {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

func callEvent(index, id, name, arguments string) string {
	return event(`{"delta":{"tool_calls":[{"index":` + index + `,"id":"` + id + `","function":{"name":"` + name + `","arguments":"` + arguments + `"}}]}}`)
}

func TestToolCallsArePutTogetherFromFragments(t *testing.T) {
	end := event(`{"delta":{},"finish_reason":"tool_calls"}`)
	for name, c := range map[string]struct{ body, want string }{
		"one after another": {callEvent("0", "x", "a", "") + callEvent("0", "", "", `{\"k\":`) + callEvent("0", "", "", `1}`) + callEvent("1", "y", "b", "") + end, `x a {"k":1}; y b {}`},
		"interleaved":       {callEvent("0", "x", "a", "{") + callEvent("1", "y", "b", "{") + callEvent("0", "", "", "}") + callEvent("1", "", "", "}") + end, `x a {}; y b {}`},
		"one index for all": {callEvent("0", "x", "a", "{}") + callEvent("0", "y", "b", "{}") + end, `x a {}; y b {}`},
		"id said again":     {callEvent("0", "x", "a", "{") + callEvent("0", "x", "", "}") + end, `x a {}`},
		"without ids":       {callEvent("0", "", "a", "{}") + callEvent("1", "", "b", "{}") + end, ` a {};  b {}`},
	} {
		got, err := answer(strings.NewReader(c.body))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var calls []string
		for _, c := range got.ToolCalls {
			calls = append(calls, c.ID+" "+c.Function.Name+" "+cmp.Or(string(c.Function.Arguments), "{}"))
		}
		if all := strings.Join(calls, "; "); all != c.want || got.DoneReason != "stop" {
			t.Errorf("%s: got %q and reason %q, want %q", name, all, got.DoneReason, c.want)
		}
	}
}

func TestToolCallThatIsCutIsNoCall(t *testing.T) {
	body := callEvent("0", "x", "a", "{}") + callEvent("1", "y", "b", `{\"k\":`)
	got, err := answer(strings.NewReader(body + event(`{"delta":{},"finish_reason":"length"}`)))
	if err != nil || len(got.ToolCalls) != 1 || got.DoneReason != "length" {
		t.Errorf("cut by the limit: got %+v, %v, want the first call", got, err)
	}
	if got, err = answer(strings.NewReader(body + event(stop))); !errors.Is(err, backend.BadOutput) {
		t.Errorf("called whole: got %+v, %v", got, err)
	}
}

func FuzzAnswer(f *testing.F) {
	for _, body := range []string{
		"", "data:", "data: {}", "data: [DONE]", "data: null\n", "[]", "<html>", "{\"error\":\"boom\"}", "data: {\"error\":[]}",
		event(hello) + event(stop) + count + done, event(hello), event("null") + done, event(`{"index":-1}`) + event(stop),
		callEvent("0", "x", "a", "{}") + event(stop), callEvent("-1", "", "", `[1]`) + event(stop), callEvent("0", "x", "a", "{") + event(`{"finish_reason":"length"}`),
		"data: {\"usage\":{\"completion_tokens\":-5}}\n" + done, "data: " + strings.Repeat("x", 2000), ": c\nevent: e\r\nid\n" + event(stop),
		"\ufeff{\n\"choices\":[\n{\"message\":{\"content\":\"hi\"}}]}\ndata: [DONE]", "event: error\ndata: no\n\n", "data: {\"choices\":\rdata: []}\r\r",
		`data: {"choices":[{"delta":{"content":[{"text":"a"},{"thinking":[{"text":"b"}]},7]}}]}` + "\n\n" + done,
	} {
		f.Add(body, uint8(7))
	}
	f.Fuzz(func(t *testing.T, body string, step uint8) {
		var pieces strings.Builder
		a := remote.Assemble(func(p backend.Piece) { pieces.WriteString(p.Text) })
		err := new(reading).read(a, remote.NewLines(io.NopCloser(strings.NewReader(body)), 1<<10))
		got := a.Result(err == nil)
		if err == nil && !strings.Contains(body, "[DONE]") && !strings.Contains(strings.ToLower(body), "finish_reason") && !strings.Contains(strings.ToLower(body), "message") {
			t.Fatalf("success with %+v", got)
		}
		if got == nil && (err == nil || pieces.Len() > 0) || got != nil && got.Text != pieces.String() {
			t.Fatalf("answer %+v from pieces %q", got, pieces.String())
		}
		if got != nil && (got.DoneReason == "") != (err != nil) {
			t.Fatalf("reason %q with error %v", got.DoneReason, err)
		}
		// However the bytes arrive, the answer is the same.
		inSteps, errInSteps := answer(&stepReader{body, int(step%7) + 1})
		if (err == nil) != (errInSteps == nil) || outline(got) != outline(inSteps) {
			t.Fatalf("at once %s, %v; in steps %s, %v", outline(got), err, outline(inSteps), errInSteps)
		}
	})
}

// stepReader returns so many bytes of a text with each read.
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

// outline is an answer without its times.
func outline(a *backend.Answer) string {
	if a == nil {
		return "none"
	}
	calls, _ := json.Marshal(a.ToolCalls)
	return fmt.Sprintf("%q thinking %q calls %s reason %q tokens %d+%d", a.Text, a.Thinking, calls, a.DoneReason, a.PromptTokens, a.Tokens)
}
