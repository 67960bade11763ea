package tools

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/internal/schema"
)

func TestErrorOfAWrongArgumentSaysWhatItShouldBe(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{`[1]`, `the arguments must be an object`},
		{`7`, `the arguments must be an object`},
		{`"no JSON"`, `the arguments must be an object`},
		{`{"model":"m","promt":"hi"}`, `unknown argument "promt"; did you mean "prompt"?`},
		{`{"model":"m","prompt":"hi","Model":"n"}`, `unknown argument "Model"; did you mean "model"?`},
		{`{"model":"m","prompt":"hi","url":"http://x"}`, `unknown argument "url"; known are model, prompt, system, `},
		{`{"model":"m"}`, `argument "prompt" is missing`},
		{`{}`, `2 faults: (1) argument "model" is missing (2) argument "prompt" is missing`},
		{`{"model":"","prompt":"hi"}`, `argument "model" must not be empty`},
		{`{"model":"m","prompt":null}`, `argument "prompt" is missing`},
		{`{"model":"m","prompt":7}`, `argument "prompt" must be a text`},
		{`{"model":"m","prompt":"hi","raw":"yes"}`, `argument "raw" must be true or false`},
		{`{"model":"m","prompt":"hi","images":7}`, `argument "images" must be a list`},
		{`{"model":"m","prompt":"hi","images":["x",1]}`, `argument "images[1]" must be a text`},
		{`{"model":"m","prompt":"hi","timeout_seconds":0}`, `argument "timeout_seconds" must be more than 0`},
		{`{"model":"m","prompt":"hi","format":"xml"}`, `argument "format" must be "json" or an object`},
		{`{"model":"m","prompt":"hi","format":3}`, `argument "format" must be "json" or an object`},
		{`{"model":"m","prompt":"hi","think":"hard"}`, `argument "think" must be true or false or "low" or "medium" or "high"`},
		{`{"model":"m","prompt":"hi","temprature":1}`, `unknown argument "temprature"; did you mean "options.temperature"?`},
		{`{"model":"m","prompt":"hi","num_ctxt":1}`, `unknown argument "num_ctxt"; did you mean "options.num_ctx"?`},
		{`{"model":"m","prompt":"hi","options":{"temprature":1}}`, `unknown argument "options.temprature"; did you mean "temperature"?`},
		{`{"model":"m","prompt":"hi","options":{"Temperature":null}}`, `unknown argument "options.Temperature"; did you mean "temperature"?`},
		{`{"model":"m","prompt":"hi","options":{"tempo":1,"numctx":1}}`, `unknown argument "options.numctx"; did you mean "num_ctx"?`},
		{`{"model":"m","prompt":"hi","options":{"temperature":"hot"}}`, `argument "options.temperature" must be a number`},
		{`{"model":"m","prompt":"hi","options":{"num_ctx":1e300}}`, `argument "options.num_ctx" must be at most 2147483647`},
		{`{"model":"m","prompt":"hi","options":{"num_ctx":0}}`, `argument "options.num_ctx" must be at least 1`},
		{`{"model":"m","prompt":"hi","options":{"num_ctx":1.5}}`, `argument "options.num_ctx" must be a whole number`},
		{`{"model":"m","prompt":"hi","options":{"stop":["a",null]}}`, `argument "options.stop[1]" is null; leave it out instead`},
		{`{"model":"m","prompt":"hi","options":{"num_thread":513}}`, `argument "options.num_thread" must be at most 512`},
		{`{"model":"m","prompt":"hi","keep_alive":true}`, `argument "keep_alive" must be a number or a text`},
		{`{"model":"m","prompt":"hi","keep_alive":"soon"}`, `argument "keep_alive" must be a time such as "5m", or seconds, not "soon"`},
	} {
		if _, err := read[generateIn](t, tc.args); err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%s:\n got %v\nwant %s", tc.args, err, tc.want)
		}
	}
	for _, tc := range []struct{ args, want string }{
		{`{"model":"m","messages":[{"content":"hi"}]}`, `argument "messages[0].role" is missing`},
		{`{"model":"m","messages":[{"role":"user","content":"hi"},{"role":"boss"}]}`, `argument "messages[1].role" must be "system" or "user" or "assistant" or "tool"`},
		{`{"model":"m","messages":[{"role":"user"}],"tools":[{"function":7}]}`, `argument "tools[0].function" must be an object with name, parameters`},
		{`{"model":"m","messages":"hi"}`, `argument "messages" must be a list of objects with role, content, thinking, images, tool_calls, tool_name, tool_call_id`},
		{`{"model":"m","messages":["hi"]}`, `argument "messages[0]" must be an object with role, content, thinking, images, tool_calls, tool_name, tool_call_id`},
		{`{"model":"m","messages":[{"role":"user"}],"tools":[{"name":"f","parameters":{}}]}`, `argument "tools[0].function" is missing: it must be an object with name, parameters`},
		{`{"model":"m","prompt":"hi"}`, `unknown argument "prompt"; use "messages" instead`},
		{`{"model":"m","messages":[{"role":"user"}],"system":"Be brief."}`, `unknown argument "system"; use "messages" instead`},
		{`{"model":"m","messages":[{"role":"user"}],"max_tokens":7}`, `unknown argument "max_tokens"; use "options.num_predict" instead`},
		{`{"model":"m","messages":[{"role":"user"}],"options":{"max_tokens":7}}`, `unknown argument "options.max_tokens"; use "options.num_predict" instead`},
		{`{"model":"m","messages":[{"role":"user"}],"cache":false}`, `argument "cache" must be "auto" or "off" or "refresh"`},
		{`{"model":"m","messages":[{"role":"user"}],"tools":[{"function":{}}]}`, `argument "tools[0].function.name" is missing`},
		{
			`{"model":"m","messages":[{"role":"user"}],"tools":[{"function":{"name":"f"}},{"function":{"name":"g","parameters":{"type":7}}}]}`,
			`argument "tools[1].function.parameters.type" cannot be a number`,
		},
		{
			`{"model":"m","messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"x"}}]}]}`,
			`argument "messages[0].tool_calls[0].function.arguments" must be an object`,
		},
		{`{"model":"m","messages":[{"role":"user","contents":"hi"}]}`, `unknown argument "messages[0].contents"; did you mean "content"?`},
	} {
		if _, err := read[chatIn](t, tc.args); err == nil || err.Error() != tc.want {
			t.Errorf("%s:\n got %v\nwant %s", tc.args, err, tc.want)
		}
	}
	for _, tc := range []struct{ args, want string }{
		{`{"model":"m","input":[]}`, `argument "input" must not be empty`},
		{`{"model":"m","input":["a",""]}`, `argument "input[1]" must not be empty`},
		{`{"model":"m","input":["a",2]}`, `argument "input[1]" must be a text`},
		{`{"model":"m","input":2}`, `argument "input" must be a text or a list`},
		{`{"model":"m","input":"a","dimensions":-1}`, `argument "dimensions" must be at least 1`},
		{`{"model":"m","input":"a","output":"file"}`, `argument "output" must be "inline" or "resource" or "auto"`},
	} {
		if _, err := read[embedIn](t, tc.args); err == nil || err.Error() != tc.want {
			t.Errorf("%s:\n got %v\nwant %s", tc.args, err, tc.want)
		}
	}
}

func TestArgumentsAreDecoded(t *testing.T) {
	in, err := read[generateIn](t, `{"model":"m","prompt":"hi","think":"high","format":{"type":"object"},
		"options":{"num_ctx":4096,"stop":["x"],"use_mmap":true},"keep_alive":"-1","truncate":false,"timeout_seconds":1.5}`)
	if err != nil {
		t.Fatal(err)
	}
	if in.Think.Value != "high" || string(in.Format.RawMessage) != `{"type":"object"}` || *in.Truncate {
		t.Errorf("think, format or truncate: %+v", in)
	}
	if got := in.KeepAlive.Duration.Duration; got < 100*365*24*time.Hour {
		t.Errorf("keep_alive -1: %v, want for ever", got)
	}
	if got := in.timeout(); got != 1500*time.Millisecond {
		t.Errorf("timeout: %v", got)
	}
	if raw, _ := json.Marshal(in.Options); string(raw) != `{"num_ctx":4096,"stop":["x"],"use_mmap":true}` {
		t.Errorf("options as sent: %s", raw)
	}

	for args, want := range map[string]texts{
		`{"model":"m","input":"one"}`:         {"one"},
		`{"model":"m","input":["one","two"]}`: {"one", "two"},
	} {
		if in, err := read[embedIn](t, args); err != nil || !reflect.DeepEqual(in.Input, want) {
			t.Errorf("%s: %v, %v", args, in.Input, err)
		}
	}
}

func TestKeepAliveTakesWhatOllamaTakes(t *testing.T) {
	for raw, want := range map[string]time.Duration{
		`"5m"`: 5 * time.Minute, `300`: 5 * time.Minute, `"300"`: 5 * time.Minute, `0`: 0, `"0"`: 0,
	} {
		var k keepAlive
		if err := json.Unmarshal([]byte(raw), &k); err != nil || k.Duration.Duration != want {
			t.Errorf("%s: %v, %v", raw, k.Duration, err)
		}
	}
}

func TestOnlyImagesAreAcceptedAsImages(t *testing.T) {
	const png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
	images, err := decodeImages("images", []string{png, "data:image/png;base64," + png})
	if err != nil || len(images) != 2 || !reflect.DeepEqual(images[0], images[1]) {
		t.Errorf("a PNG: %d images, %v", len(images), err)
	}
	for bad, want := range map[string]string{
		"https://example.com/a.png": `argument "images[0]" is not base64`,
		"/tmp/a.png":                `argument "images[0]" is not`,
		"aGVsbG8gd29ybGQ=":          `argument "images[0]" is not an image but text/plain`,
		"":                          `argument "images[0]" is not an image`,
	} {
		if _, err := decodeImages("images", []string{bad}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", bad, err, want)
		}
	}
}

func TestTimeoutIsNeverZeroOrNegative(t *testing.T) {
	for seconds, want := range map[period]time.Duration{1e-300: 1, 1.5: 1500 * time.Millisecond, 1e300: 365 * 24 * time.Hour} {
		if got := (modelArgs{TimeoutSeconds: seconds}).timeout(); got != want {
			t.Errorf("%v: %v, want %v", seconds, got, want)
		}
	}
}

// Whatever a client sends, it is answered with arguments or with an error that fits on a
// line. What it means is JSON and means itself, and arguments that are right as they are mean
// themselves too.
func FuzzArguments(f *testing.F) {
	f.Add(`{"model":"m","messages":"[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}]}]","options":[],"think":"True","stream":false}`)
	f.Add(`{"":[]}`)
	f.Add(`{"messages":{"":[],"ve":[[]]}}`)
	f.Add(`1E830`)
	f.Add(`{"model":"m","messages":[{"role":"user","content":"hi"}]}`)
	f.Add(`{"model":"m","messages":[{"role":"tool","tool_calls":[{"function":{"arguments":3}}]}],"tools":[{"function":1}]}`)
	f.Add(`{"model":"m","messages":[],"options":{"stop":[[]]},"keep_alive":"1e999","format":{"$ref":"#"}}`)
	s, err := schema.For(reflect.TypeFor[chatIn](), typeSchemas)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, args string) {
		var value any
		if json.Unmarshal([]byte(args), &value) != nil {
			return // the front has refused what is not JSON, and numbers that a double does not hold
		}
		in, _, _, err := decodeAs[chatIn](s, request(t, args))
		if err != nil && (strings.TrimSpace(err.Error()) == "" || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%q: got the error %q, want a line", args, err)
		}
		none := func(string) bool { return false }
		meant, _ := s.Lenient(json.RawMessage(args), none)
		if !json.Valid(meant) {
			t.Fatalf("%q means %q, which is not JSON", args, meant)
		}
		if again, _ := s.Lenient(meant, none); !bytes.Equal(again, meant) {
			t.Errorf("%q means %q, and that means %q", args, meant, again)
		}
		if err == nil {
			if same, _, _, err := decodeAs[chatIn](s, request(t, string(meant))); err != nil || !reflect.DeepEqual(same, in) {
				t.Errorf("%q is read as %+v, and what it means as %+v, %v", args, in, same, err)
			}
		}
	})
}

// read decodes arguments as a client would send them.
func read[In any](t *testing.T, args string) (In, error) {
	t.Helper()
	in, _, _, err := decodeAs[In](schemaOf[In](t), request(t, args))
	return in, err
}

// decodeAs is decode for tests that know the type.
func decodeAs[In any](s *schema.Schema, req mcp.CallToolRequest) (In, *waitSeconds, []string, error) {
	in, wait, ignored, err := decode(reflect.TypeFor[In](), s, req)
	return *in.(*In), wait, ignored, err
}

// request is a call with arguments as package server hands it over.
func request(t *testing.T, args string) mcp.CallToolRequest {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(args), &value); err != nil {
		t.Fatalf("%s: %v", args, err)
	}
	return requestOf(value, json.RawMessage(args))
}

func requestOf(value any, raw json.RawMessage) (req mcp.CallToolRequest) {
	req.Params.Arguments, req.Params.RawArguments = value, raw
	return req
}

func TestOptionsThatResembleNoKnownOneAreLeftToTheHost(t *testing.T) {
	for args, want := range map[string]options{
		`{"tempo":{"a":[1,"b"]},"seed":1}`:     {"tempo": map[string]any{"a": []any{1.0, "b"}}, "seed": 1.0},
		`{"tempo":true,"xyzzy":"","seed":"1"}`: {"tempo": true, "xyzzy": "", "seed": 1.0},
		`{"tempo":null,"xyzzy":null}`:          {},
		`"{\"tempo\":1}"`:                      {"tempo": 1.0},
	} {
		in, err := read[generateIn](t, `{"model":"m","prompt":"hi","options":`+args+`}`)
		if err != nil || !reflect.DeepEqual(in.Options, want) {
			t.Errorf("%s: got %v, error %v", args, in.Options, err)
		}
	}
}
