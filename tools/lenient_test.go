package tools

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ollama-mcp/internal/schema"
)

// Each of these calls means the same as the plain one, in words that hosts and models use.
func TestArgumentsAreReadAsTheirCallerMeantThem(t *testing.T) {
	same(t, read[generateIn], `{"model":"m","prompt":"p"}`, []string{
		`{"model":"m","prompt":"p","system":null,"suffix":null,"raw":null,"images":null,"format":null,"think":null,"fallback_models":null,"min_similarity":null,
			"options":null,"keep_alive":null,"truncate":null,"timeout_seconds":null,"priority":null,"host":null,"cache":null,"local_only":null}`,
		`{"model":"m","prompt":"p","raw":"","images":"","format":"","think":"","fallback_models":"","min_similarity":"","options":"","keep_alive":"",
			"truncate":"","timeout_seconds":" ","priority":"","cache":"","local_only":""}`,
		`{"model":"m","prompt":"p","images":"null","options":"null","think":"null","timeout_seconds":"null"}`,
		`"{\"model\":\"m\",\"prompt\":\"p\"}"`,
		`{"model":"m","prompt":[{"type":"text","text":"p"}]}`,
	})
	same(t, read[generateIn], `{"model":"m","prompt":"p","options":{}}`, []string{
		`{"model":"m","prompt":"p","options":[]}`,
		`{"model":"m","prompt":"p","options":[ ]}`,
		`{"model":"m","prompt":"p","options":"{}"}`,
		`{"model":"m","prompt":"p","options":"[]"}`,
		`{"model":"m","prompt":"p","options":{"temperature":null,"stop":null,"num_ctx":""}}`,
	})
	same(t, read[generateIn], `{"model":"m","prompt":"p","raw":true,"timeout_seconds":1.5,"min_similarity":1,"truncate":false,"think":true,
			"options":{"num_ctx":4096,"temperature":0.7,"stop":["a","b"],"use_mmap":false},"fallback_models":["x"],"priority":"batch"}`, []string{
		`{"model":"m","prompt":"p","raw":"true","timeout_seconds":"1.5","min_similarity":"1","truncate":"False","think":"true",
			"options":"{\"num_ctx\":\"4096\",\"temperature\":\"0.7\",\"stop\":\"[\\\"a\\\",\\\"b\\\"]\",\"use_mmap\":\"FALSE\"}","fallback_models":"[\"x\"]","priority":"\"batch\""}`,
		`{"model":"m","prompt":"p","raw":" TRUE ","timeout_seconds":" 1.5e0\n","min_similarity":"1.0","truncate":"false","think":"True",
			"options":{"num_ctx":4096.0,"temperature":"7e-1","stop":["a","b"],"use_mmap":"false"},"fallback_models":["x"],"priority":"batch"}`,
	})
	same(t, read[generateIn], `{"model":"m","prompt":"p","format":{"type":"object","properties":{"z":{"enum":[1.0,1e2]},"a":{}}}}`, []string{
		`{"model":"m","prompt":"p","format":"{\"type\":\"object\",\"properties\":{\"z\":{\"enum\":[1.0,1e2]},\"a\":{}}}"}`,
	})
	same(t, read[generateIn], `{"model":"m","prompt":"p","format":"json"}`, []string{`{"model":"m","prompt":"p","format":"\"json\""}`})
	const chat = `{"model":"m","messages":[{"role":"user","content":"hi"},{"role":"assistant","tool_calls":[{"id":"1","function":{"name":"f","arguments":{"z":1,"a":2}}}]}],
			"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}]}`
	same(t, read[chatIn], chat, []string{
		strings.Replace(chat, `{"role":"assistant",`, `{"role":"assistant","content":null,"images":null,"thinking":null,"tool_name":null,`, 1),
		strings.Replace(chat, `"content":"hi"`, `"content":[{"type":"text","text":"h"},{"type":"text","text":"i"}]`, 1),
		strings.Replace(chat, `{"z":1,"a":2}`, `"{\"z\":1,\"a\":2}"`, 1),
		asText(t, chat, "messages"),
		asText(t, chat, "tools"),
		asText(t, asText(t, chat, "tools"), "messages"),
	})
	same(t, read[chatIn], `{"model":"m","messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"ho"}],"tools":[]}`, []string{
		`{"model":"m","messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"ho","refusal":null,"annotations":[],"audio":null,"function_call":null}],"tools":{}}`,
		`{"model":"m","messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"ho","annotations":[ ]}],"tools":"{}"}`,
	})
	const roles = `{"model":"m","messages":[{"role":"system","content":"a"},{"role":"user","content":"b"},{"role":"assistant","content":"c"}]}`
	same(t, read[chatIn], roles, []string{
		strings.Replace(roles, "system", "developer", 1),
		strings.Replace(roles, "system", "Developer", 1),
		strings.NewReplacer("user", "human", "assistant", "ai").Replace(roles),
		strings.NewReplacer("user", "Human", "assistant", "model").Replace(roles),
	})
	same(t, read[embedIn], `{"model":"m","input":["a","b"],"dimensions":10}`, []string{
		`{"model":"m","input":["a","b"],"dimensions":"10","output":null,"encoding":null}`,
		`{"model":"m","input":["a","b"],"dimensions":10.0}`,
		`{"model":"m","input":["a","b"],"dimensions":1e1}`,
	})
	same(t, read[generateIn], `{"model":"m","prompt":"p","think":"high","priority":"batch","fallback_models":["small"],"options":{"stop":["x"]}}`, []string{
		`{"model":"m","prompt":"p","think":"High","priority":"BATCH","fallback_models":"small","options":{"stop":"x"}}`,
	})
	same(t, read[chatIn], `{"model":"m","messages":[{"role":"user","content":"hi"}]}`, []string{
		`{"model":"m","messages":{"role":"User","content":"hi"}}`,
		`{"model":"m","messages":"{\"role\":\"user\",\"content\":\"hi\"}"}`,
	})
	same(t, read[listModelsIn], `{}`, []string{`[]`, `null`, `""`, `"{}"`, `{"capability":null}`, `{"capability":"","query":null,"host":null}`})
}

// same reads arguments that mean the same as others.
func same[In any](t *testing.T, read func(*testing.T, string) (In, error), plain string, others []string) {
	t.Helper()
	want, err := read(t, plain)
	if err != nil {
		t.Fatalf("%s: %v", plain, err)
	}
	for _, args := range others {
		if got, err := read(t, args); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v, error %v\nwant %+v", args, got, err, want)
		}
	}
}

// asText puts the JSON of an argument into a text.
func asText(t *testing.T, args, name string) string {
	t.Helper()
	var all map[string]json.RawMessage
	if err := json.Unmarshal([]byte(args), &all); err != nil {
		t.Fatal(err)
	}
	all[name] = schema.MustMarshal(string(all[name]))
	return string(schema.MustMarshal(all))
}

func TestTextStaysText(t *testing.T) {
	for _, text := range []string{`{"a":1}`, `[]`, `["x","y"]`, `null`, `true`, `7`, `"quoted"`, ` `, ``} {
		quoted := string(schema.MustMarshal(text))
		// The unknown "raw" as a text makes sure that the arguments are not read as they are.
		in, err := read[generateIn](t, `{"model":"m","raw":"false","prompt":`+quoted+`,"system":`+quoted+`,"suffix":`+quoted+`}`)
		if err != nil || in.Prompt != text || in.System != text || in.Suffix != text {
			t.Errorf("prompt %s: got %+v, error %v", quoted, in, err)
		}
		chat, err := read[chatIn](t, `{"model":"m","options":"{}","messages":[{"role":"user","content":`+quoted+`}]}`)
		if err != nil || chat.Messages[0].Content != text {
			t.Errorf("content %s: got %+v, error %v", quoted, chat, err)
		}
		if text == "" {
			continue // refused as an input
		}
		embed, err := read[embedIn](t, `{"model":"m","dimensions":"8","input":`+quoted+`}`)
		if err != nil || !reflect.DeepEqual(embed.Input, texts{text}) {
			t.Errorf("input %s: got %+v, error %v", quoted, embed, err)
		}
		embed, err = read[embedIn](t, `{"model":"m","dimensions":"8","input":[`+quoted+`,"x"]}`)
		if err != nil || !reflect.DeepEqual(embed.Input, texts{text, "x"}) {
			t.Errorf("input of two, %s: got %+v, error %v", quoted, embed, err)
		}
	}
}

func TestAllFaultsOfACallAreNamedAtOnce(t *testing.T) {
	for _, tc := range []struct {
		args  string
		want  []string
		count int
	}{
		{`{"promt":"p","temperature":1,"top_k":2,"raw":"yes","timeout_seconds":0,"keep_alive":"soon","options":{"num_ctx":0,"temprature":1,"seed":1e12}}`, []string{
			`argument "model" is missing`, `unknown argument "promt"; did you mean "prompt"?`, `unknown argument "temperature"; it belongs in "options"`, `unknown argument "top_k"; it belongs in "options"`,
			`argument "raw" must be true or false`, `argument "timeout_seconds" must be more than 0`, `argument "keep_alive" must be a time`,
			`argument "options.num_ctx" must be at least 1`, `unknown argument "options.temprature"; did you mean "temperature"?`,
			`"options.seed" must be at most`,
		}, 10},
		{`{"model":"m","prompt":"p","options":{"seed":1e12,"top_k":-1e12},"keep_alive":"soon"}`, []string{
			`"options.seed" must be at most`, `"options.top_k" must be at most`, `argument "keep_alive" must be a time`,
		}, 3},
		{`{"model":7,"prompt":true,"images":[1,"x",{}]}`, []string{`"model" must be a text`, `"prompt" must be a text`, `"images[0]" must be a text`, `"images[2]" must be a text`}, 4},
	} {
		_, err := read[generateIn](t, tc.args)
		checkFaults(t, tc.args, err, tc.want, tc.count)
	}
	for _, tc := range []struct {
		args  string
		want  []string
		count int
	}{
		{`{"model":"m","messages":"[{\"role\":\"boss\",\"contents\":\"x\"},{\"content\":5}]","tools":[{"function":{"name":"f","parameters":{"type":7}}},{"function":{}}]}`, []string{
			`"messages[0].role" must be "system"`, `unknown argument "messages[0].contents"; did you mean "content"?`,
			`"messages[1].role" is missing`, `"messages[1].content" must be a text`, `"tools[1].function.name" is missing`,
			`"tools[0].function.parameters.type" cannot be a number`,
		}, 6},
		{`{"model":"m","messages":[],"tools":[{"function":{"name":"f","parameters":{"type":7}}},{"function":{"name":"g","parameters":{"type":8}}}]}`, []string{
			`"tools[0].function.parameters.type" cannot be a number`, `"tools[1].function.parameters.type" cannot be a number`,
		}, 2},
	} {
		_, err := read[chatIn](t, tc.args)
		checkFaults(t, tc.args, err, tc.want, tc.count)
	}
	many := `{"model":"m","messages":[` + strings.Repeat(`{"role":"boss"},`, 24) + `{"role":"boss"}]}`
	_, err := read[chatIn](t, many)
	if err == nil || len(err.Error()) > 2000 || !strings.Contains(err.Error(), `"messages[9].role"`) || !strings.HasSuffix(err.Error(), "and 15 more") {
		t.Errorf("25 faults: got %v, want the first 10 and how many more there are", err)
	}
}

func checkFaults(t *testing.T, args string, err error, want []string, count int) {
	t.Helper()
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), fmt.Sprintf("%d faults: (1) ", count)) {
		t.Errorf("%s:\n got %v\nwant %d faults in a line", args, err, count)
		return
	}
	for _, fault := range want {
		if !strings.Contains(err.Error(), fault) {
			t.Errorf("%s:\n got %v\nwant %s in it", args, err, fault)
		}
	}
}

func TestArgumentsThatHostsAddAreIgnoredAndOthersNamed(t *testing.T) {
	s := schemaOf[generateIn](t)
	in, _, ignored, err := decodeAs[generateIn](s, request(t, `{"toolCallId":"c1","model":"m","stream":false,"sessionId":"s","action":"x","prompt":"p","chatInput":{"a":1}}`))
	if err != nil || in.Model != "m" || in.Prompt != "p" || !slices.Equal(ignored, []string{"toolCallId", "stream", "sessionId", "action", "chatInput"}) {
		t.Errorf("got %+v, ignored %v, error %v", in, ignored, err)
	}
	in, _, ignored, err = decodeAs[generateIn](s, request(t, `{"model":"m","max_tokens":null,"prompt":"p","stop":null}`))
	if err != nil || in.Prompt != "p" || !slices.Equal(ignored, []string{"max_tokens", "stop"}) {
		t.Errorf("unknown arguments that are null: got %+v without %q, %v", in, ignored, err)
	}
	_, _, _, err = decodeAs[generateIn](s, request(t, `{"toolCallId":"c1","model":"m","prompt":"p","url":"x","user":"y"}`))
	if want := `unknown arguments "url", "user"; known are `; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestArgumentsOfToolCallsKeepEveryDigitAndTheirOrder(t *testing.T) {
	const arguments = `{"z":1234567890123456789,"a":{"n":[9007199254740993,0.1000000000000000055511151231257827],"b":1},"y":-0.0}`
	for _, given := range []string{arguments, string(schema.MustMarshal(arguments))} {
		in, err := read[chatIn](t, `{"model":"m","messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":`+given+`}}]}]}`)
		if err != nil {
			t.Fatal(err)
		}
		if got := in.Messages[0].ToolCalls[0].Function.Arguments; string(got) != arguments {
			t.Errorf("%s:\n got %s\nwant %s", given, got, arguments)
		}
	}
}

// However a call is put into words that mean the same, it is read the same.
func TestAnyWayOfWritingACallIsReadTheSame(t *testing.T) {
	s := schemaOf[chatIn](t)
	plain := map[string]any{
		"model": "m", "think": "high", "local_only": true, "timeout_seconds": 2.5, "keep_alive": "5m",
		"options":  map[string]any{"num_ctx": 4096.0, "temperature": 0.5, "stop": []any{"x"}, "use_mmap": true},
		"messages": []any{map[string]any{"role": "user", "content": "7"}, map[string]any{"role": "assistant", "content": "{}", "images": []any{}}},
		"tools":    []any{map[string]any{"function": map[string]any{"name": "f", "parameters": map[string]any{}}}},
	}
	want, err := read[chatIn](t, string(schema.MustMarshal(plain)))
	if err != nil {
		t.Fatal(err)
	}
	optional := []string{"format", "priority", "truncate", "fallback_models", "min_similarity"}
	rapid.Check(t, func(t *rapid.T) {
		args := sloppy(t, plain, "").(map[string]any)
		for _, name := range optional {
			if rapid.Bool().Draw(t, "add "+name) {
				args[name] = rapid.SampledFrom([]any{nil, "", " ", "null"}).Draw(t, name)
			}
		}
		raw := schema.MustMarshal(args)
		got, _, _, err := decodeAs[chatIn](s, requestOf(args, raw))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s:\n got %+v, error %v\nwant %+v", raw, got, err, want)
		}
	})
}

// sloppy writes a value as a model might. What is at the path of a text stays as it is.
func sloppy(t *rapid.T, value any, path string) any {
	switch v := value.(type) {
	case map[string]any:
		changed := make(map[string]any, len(v))
		for name, member := range v {
			changed[name] = sloppy(t, member, path+"."+name)
		}
		value = changed
		if len(v) == 0 && rapid.Bool().Draw(t, path+" as a list") {
			return []any{}
		}
	case []any:
		changed := make([]any, len(v))
		for i, item := range v {
			changed[i] = sloppy(t, item, path+"[]")
		}
		value = changed
	case string:
		return v
	}
	if path != "" && rapid.Bool().Draw(t, path+" as a text") {
		return string(schema.MustMarshal(value))
	}
	return value
}

func schemaOf[In any](t *testing.T) *schema.Schema {
	t.Helper()
	s, err := schema.For(reflect.TypeFor[In](), typeSchemas)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
