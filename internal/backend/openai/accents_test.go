package openai

import (
	"strings"
	"testing"

	"ollama-mcp/internal/backend"
)

func data(json string) string { return "data: " + json + "\n\n" }

func delta1(members string) string { return event(`{"delta":{` + members + `}}`) }

func TestAnswersAreReadInEveryForm(t *testing.T) {
	for name, c := range map[string]struct{ body, want string }{
		"one JSON body":           {`{"choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":9}}`, `"hello" thinking "" calls null reason "stop" tokens 3+9`},
		"pretty, [DONE] behind":   {"{\n  \"choices\": [\n    {\"message\": {\"content\": \"hello\"}, \"finish_reason\": \"length\"}\n  ]\n}\n\ndata: [DONE]\n\n", `"hello" thinking "" calls null reason "length" tokens 0+1`},
		"one body as an event":    {data(`{"choices":[{"message":{"content":"hello"},"finish_reason":"stop"}]}`) + done, `"hello" thinking "" calls null reason "stop" tokens 0+1`},
		"one body without reason": {`{"choices":[{"message":{"content":"hello"}}]}`, `"hello" thinking "" calls null reason "unknown" tokens 0+1`},
		"a text completion":       {`{"choices":[{"text":"hello","finish_reason":"stop"}]}`, `"hello" thinking "" calls null reason "stop" tokens 0+1`},
		"one body, calls": {
			`{"choices":[{"message":{"content":null,"tool_calls":[{"id":7,"type":"function","function":{"name":"a","arguments":{"x":1}}},{"function":{"name":"b"}}]},"finish_reason":"tool_calls"}]}`,
			`"" thinking "" calls [{"id":"7","function":{"index":0,"name":"a","arguments":{"x":1}}},{"function":{"index":1,"name":"b","arguments":{}}}] reason "stop" tokens 0+2`,
		},
		"the whole beside the parts": {event(`{"delta":{"content":"hel"},"message":{"content":"hel"}}`) + event(`{"delta":{"content":"lo"},"message":{"content":"hello"}}`) + event(`{"delta":{},"message":{"content":"hello"},"finish_reason":"stop"}`), `"hello" thinking "" calls null reason "stop" tokens 0+2`},
		"a list of chunks":           {`[{"choices":[{"delta":{"content":"hel"}}]},` + "\n" + `{"choices":[{"delta":{"content":"lo"},"finish_reason":"stop"}]}]`, `"hello" thinking "" calls null reason "stop" tokens 0+2`},
		"chunks in one event":        {`data: {"choices":[` + hello + `]}{"choices":[` + stop + `]}` + "\n\n", `"hello" thinking "" calls null reason "stop" tokens 0+1`},
		"a choice for a list":        {data(`{"choices":`+hello+`}`) + data(`{"choices":`+stop+`}`), `"hello" thinking "" calls null reason "stop" tokens 0+1`},
		"choices by number":          {data(`{"choices":{"0":`+hello+`}}`) + data(`{"choices":{ "0" :`+stop+`}}`), `"hello" thinking "" calls null reason "stop" tokens 0+1`},
		"choices by many numbers":    {data(`{"choices":{"10":{"index":1,"delta":{"content":"no"}},"2":{"index":0,"delta":{"content":"hello"}}}}`) + event(stop), `"hello" thinking "" calls null reason "stop" tokens 0+1`},
		"commas at the end":          {data(`{"choices":[{"delta":{"content":"hello,}",},}, ],"usage":{"prompt_tokens":3,`+"\n"+`data: },}`) + event(stop), `"hello,}" thinking "" calls null reason "stop" tokens 3+1`},
		"words of Python":            {data(`{"choices":[{"delta":{"content":"None True","tool_calls":None},"final":False,"logprobs":None}],"ok":True}`) + event(stop), `"None True" thinking "" calls null reason "stop" tokens 0+1`},
		"pretty, commas at the end":  {"{\n  \"choices\": [\n    {\"message\": {\"content\": \"hello\",},\n \"finish_reason\": \"stop\",\n},\n  ],\n}\n", `"hello" thinking "" calls null reason "stop" tokens 0+1`},
		"choices from 1":             {event(`{"index":1,"delta":{"content":"hello"}}`) + event(`{"index":"1","delta":{},"finish_reason":"stop"}`), `"hello" thinking "" calls null reason "stop" tokens 0+1`},

		"parts":               {delta1(`"content":[{"type":"text","text":"hel"},{"type":"image_url","image_url":{"url":"u"}},{"type":"output_text","text":{"value":"lo"}}]`) + event(stop), `"hello" thinking "" calls null reason "stop" tokens 0+1`},
		"parts with thoughts": {delta1(`"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"hello"}]`) + event(stop), `"hello" thinking "hm" calls null reason "stop" tokens 0+1`},
		"a number":            {delta1(`"content":12345678901234567890`) + event(stop), `"12345678901234567890" thinking "" calls null reason "stop" tokens 0+1`},
		"an object":           {delta1(`"content":{"answer":4}`) + event(stop), `"{\"answer\":4}" thinking "" calls null reason "stop" tokens 0+1`},
		"thoughts twice":      {delta1(`"reasoning":"hm","reasoning_content":"hm"`) + delta1(`"reasoning":" so","reasoning_content":" so","content":"hello"`) + event(stop), `"hello" thinking "hm so" calls null reason "stop" tokens 0+2`},

		"other members of any type": {data(`{"id":7,"created":"now","model":null,"object":[],"system_fingerprint":{},"choices":[{"index":"0","logprobs":7,"delta":{"role":5,"content":"hello","refusal":null,"tool_calls":null,"audio":[1]},"finish_reason":false}],"error":""}`) + event(stop), `"hello" thinking "" calls null reason "stop" tokens 0+1`},
		"counts by value":           {event(hello) + event(stop) + data(`{"choices":[],"usage":{"prompt_tokens":12.0,"completion_tokens":"9","total_tokens":null}}`) + done, `"hello" thinking "" calls null reason "stop" tokens 12+9`},
		"counts by other names":     {event(hello) + event(stop) + data(`{"choices":null,"usage":{"input_tokens":1.2e1,"output_tokens":9}}`) + done, `"hello" thinking "" calls null reason "stop" tokens 12+9`},
		"counts in a choice":        {event(hello) + event(`{"delta":{},"finish_reason":"stop","usage":{"prompt_tokens":3,"completion_tokens":9}}`), `"hello" thinking "" calls null reason "stop" tokens 3+9`},
		"zeros at the end":          {data(`{"choices":[`+hello+`],"usage":{"prompt_tokens":3,"completion_tokens":9}}`) + event(stop) + data(`{"usage":{"prompt_tokens":0}}`), `"hello" thinking "" calls null reason "stop" tokens 3+9`},
		"no count":                  {data(`{"choices":[`+hello+`],"usage":"none"}`) + event(stop), `"hello" thinking "" calls null reason "stop" tokens 0+1`},
		"what keeps it alive":       {data("keepalive") + event(hello) + data("") + data("ping 1") + "event: ping\n" + data(`{"type":"ping"}`) + data(`{"message":"still at work"}`) + event(stop), `"hello" thinking "" calls null reason "stop" tokens 0+1`},
		"a byte order mark":         {"\ufeff" + event(hello) + event(stop), `"hello" thinking "" calls null reason "stop" tokens 0+1`},
		"an event over lines":       {"data: {\"choices\":\ndata: [" + hello + "]}\n\n" + event(stop), `"hello" thinking "" calls null reason "stop" tokens 0+1`},
		"numbers of Python":         {data(`{"choices":[{"delta":{"content":"hello NaN"},"logprobs":[NaN,-Infinity,{"x":Infinity}]}],"took":NaN}`) + event(stop), `"hello NaN" thinking "" calls null reason "stop" tokens 0+1`},
		"control characters":        {data("{\"choices\":[{\"delta\":{\"content\":\"he\tl\\\"\x01lo\"}}]}") + event(stop), `"he\tl\"\x01lo" thinking "" calls null reason "stop" tokens 0+1`},
		"the mark in small letters": {event(hello) + event(stop) + data("[done]"), `"hello" thinking "" calls null reason "stop" tokens 0+1`},
		"no error":                  {data(`{"choices":[`+hello+`],"error":{"code":0,"message":""},"base_resp":{"status_code":0,"status_msg":""}}`) + event(stop), `"hello" thinking "" calls null reason "stop" tokens 0+1`},

		"a reason with each part":      {event(`{"delta":{"content":"hel"},"finish_reason":"stop"}`) + event(`{"delta":{"content":"lo"},"finish_reason":"stop"}`) + done, `"hello" thinking "" calls null reason "stop" tokens 0+2`},
		"a reason taken back":          {event(`{"delta":{"content":"hel"},"finish_reason":"stop"}`) + event(`{"delta":{"content":"lo"},"finish_reason":null}`) + done, `"hello" thinking "" calls null reason "unknown" tokens 0+2`},
		"a reason taken back by calls": {event(`{"delta":{"content":"x"},"finish_reason":"stop"}`) + callEvent("0", "x", "a", "{}") + event(`{"delta":{},"finish_reason":"tool_calls"}`), `"x" thinking "" calls [{"id":"x","function":{"index":0,"name":"a","arguments":{}}}] reason "stop" tokens 0+2`},
		"nothing behind the reason":    {event(`{"delta":{"content":"x"},"finish_reason":"stop"}`) + event(`{"delta":{"content":""},"finish_reason":null}`) + done, `"x" thinking "" calls null reason "stop" tokens 0+1`},
		"null in words":                {event(`{"delta":{"content":"x"},"finish_reason":"null"}`) + event(stop), `"x" thinking "" calls null reason "stop" tokens 0+1`},
		"the end alone counted":        {event(stop) + data(`{"usage":{"completion_tokens":1}}`) + done, `"" thinking "" calls null reason "stop" tokens 0+1`},
	} {
		for _, step := range []int{1, 7, 10000} {
			got, err := answer(&stepReader{c.body, step})
			if err != nil || outline(got) != c.want {
				t.Errorf("%s, in steps of %d: got %s, %v\nwant %s", name, step, outline(got), err, c.want)
			}
		}
	}
}

func TestErrorInEveryFormIsAnErrorInItsOwnWords(t *testing.T) {
	for name, c := range map[string]struct {
		body, said string
		class      backend.Class
	}{
		"an object named error":       {data(`{"object":"error","message":"boom","type":"InternalServerError","code":500}`), "boom", backend.Server},
		"an object of type error":     {data(`{"type":"error","error":{"type":"overloaded_error","message":"boom"}}`), "boom", backend.Overload},
		"an event of that name":       {"event: error\n" + data(`{"message":"boom"}`), "boom", backend.Server},
		"such an event with text":     {"event: error\n" + data(`boom`), "boom", backend.Server},
		"words of an error":           {data(`Error: boom`), "Error: boom", backend.Server},
		"words of an exception":       {data(`RuntimeException: boom`), "RuntimeException: boom", backend.Server},
		"the name behind it":          {"data: {\"message\":\"boom\"}\nevent: error\n\n", "boom", backend.Server},
		"an exception":                {"event: throttlingException\n" + data(`{"message":"boom"}`), "boom", backend.Server},
		"a text":                      {data(`{"error":"boom"}`), "boom", backend.Server},
		"true":                        {data(`{"error":true,"message":"boom"}`), "boom", backend.Server},
		"beside choices":              {data(`{"choices":[{"delta":{"content":""},"finish_reason":"error"}],"error":{"message":"boom","code":"rate_limit_exceeded"}}`), "boom", backend.Overload},
		"in a choice":                 {event(`{"delta":{},"error":{"message":"boom","code":429},"finish_reason":"error"}`), "boom", backend.Overload},
		"a detail":                    {data(`{"detail":"boom"}`), "boom", backend.Server},
		"a list of errors":            {data(`{"errors":[{"message":"boom"},{"message":"bang"}]}`), "boom", backend.Server},
		"code and msg":                {data(`{"code":500,"msg":"boom","data":null}`), "boom", backend.Server},
		"a code in words":             {data(`{"code":"server_overloaded","message":"boom"}`), "boom", backend.Overload},
		"a status beside it":          {data(`{"choices":null,"base_resp":{"status_code":1004,"status_msg":"boom"}}`), "boom", backend.Server},
		"in a list":                   {data(`[{"error":{"code":503,"message":"boom","status":"UNAVAILABLE"}}]`), "boom", backend.Overload},
		"JSON in a text":              {data(`{"error":{"message":"{\"error\":{\"message\":\"boom\",\"code\":\"context_length_exceeded\"}}"}}`), "boom", backend.TooLong},
		"JSON outside of events":      {"{\n\"error\": {\n\"message\": \"boom\"\n}\n}\n", "boom", backend.Server},
		"a code alone":                {data(`{"error":{"code":"context_length_exceeded"}}`), "context_length_exceeded", backend.TooLong},
		"nothing but that it is one":  {data(`{"error":{"x":1}}`), "the server sent an error that says nothing", backend.Server},
		"a message, and then the end": {data(`{"message":"boom"}`), "boom", backend.Server},
		"a key that is refused":       {data(`{"error":{"type":"authentication_error","message":"boom"}}`), "boom", backend.Unauthorized},
	} {
		for _, end := range []string{"", done, event(`{"delta":{},"finish_reason":null}`) + done} {
			got, err := answer(strings.NewReader(event(hello) + c.body + end))
			e, ok := err.(*backend.Error)
			if !ok || e.Class != c.class || e.Message != c.said || got == nil || got.Text != "hello" {
				t.Errorf("%s: got %s, %v, want what came and %s: %s", name, outline(got), err, c.class, c.said)
			}
		}
	}
}

func TestAnswerOfAnotherAPISaysWhose(t *testing.T) {
	for body, whose := range map[string]string{
		`{"model":"m","message":{"role":"assistant","content":"hi"},"done":true,"done_reason":"stop"}`:                                      "Ollama's own API",
		`{"model":"m","response":"h","done":false}` + "\n" + `{"model":"m","response":"i","done":true,"done_reason":"stop"}` + "\n":         "Ollama's own API",
		`{"type":"message","role":"assistant","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":{"input_tokens":3}}`: "Anthropic's API",
		"event: message_start\n" + data(`{"type":"message_start","message":{"content":[]}}`) + "event: content_block_delta\n" +
			data(`{"type":"content_block_delta","delta":{"type":"text_delta","text":"hi"}}`) + "event: message_stop\n" + data(`{"type":"message_stop"}`): "Anthropic's API",
		`{"candidates":[{"content":{"parts":[{"text":"hi"}]},"finishReason":"STOP"}]}`:                                 "Google's own API",
		`{"object":"response","status":"completed","output":[{"type":"message","content":[{"text":"hi"}]}]}`:           "OpenAI's Responses API",
		data(`{"type":"response.created","response":{}}`) + data(`{"type":"response.output_text.delta","delta":"hi"}`): "OpenAI's Responses API",
	} {
		got, err := answer(strings.NewReader(body))
		if err == nil || !strings.Contains(err.Error(), whose) || !backend.IsMisdirected(err) {
			t.Errorf("%s: got %s, %v, want an error that names %s", body, outline(got), err, whose)
		}
	}
}

func TestAnswerOfManyTokensAndNoTextHasFailed(t *testing.T) {
	const nothing = `data: {"choices":[` + stop + `],"usage":{"completion_tokens":12}}` + "\n\n" + done
	if got, err := answer(strings.NewReader(nothing)); backend.ClassOf(err) != backend.Server {
		t.Errorf("got %s, %v", outline(got), err)
	}
	const uncalled = `data: {"choices":[{"delta":{},"finish_reason":"tool_calls"}],"usage":{"completion_tokens":12}}` + "\n\n" + done
	if got, err := answer(strings.NewReader(uncalled)); backend.ClassOf(err) != backend.Server {
		t.Errorf("calls that did not come: got %s, %v", outline(got), err)
	}
	const thoughts = `data: {"choices":[{"delta":{"reasoning":"hm"},"finish_reason":"stop"}],"usage":{"completion_tokens":12}}` + "\n\n" + done
	if got, err := answer(strings.NewReader(thoughts)); err != nil || got.Thinking != "hm" {
		t.Errorf("thoughts alone: got %s, %v", outline(got), err)
	}
	const cut = `data: {"choices":[{"delta":{},"finish_reason":"length"}],"usage":{"completion_tokens":12}}` + "\n\n" + done
	if got, err := answer(strings.NewReader(cut)); err != nil || got.DoneReason != "length" {
		t.Errorf("cut before the first text: got %s, %v", outline(got), err)
	}
}

// fragments are events with parts of tool calls.
func fragments(calls ...string) string {
	var body strings.Builder
	for _, c := range calls {
		body.WriteString(event(`{"delta":{"tool_calls":[` + c + `]}}`))
	}
	return body.String() + event(`{"delta":{},"finish_reason":"tool_calls"}`)
}

func TestToolCallsAreToldApartHoweverTheyCome(t *testing.T) {
	for name, c := range map[string]struct{ body, want string }{
		"name in each part":                 {fragments(`{"index":0,"id":"x","function":{"name":"read_file","arguments":""}}`, `{"index":0,"function":{"name":"read_file","arguments":"{\"p\":"}}`, `{"index":0,"function":{"name":"read_file","arguments":"1}"}}`, `{"index":0,"function":{"name":"read_file","arguments":""}}`), `x read_file {"p":1}`},
		"name in parts":                     {fragments(`{"index":0,"id":"x","function":{"name":"read_"}}`, `{"index":0,"function":{"name":"file","arguments":"{}"}}`), `x read_file {}`},
		"name so far":                       {fragments(`{"index":0,"id":"x","function":{"name":"read"}}`, `{"index":0,"function":{"name":"read_file","arguments":"{}"}}`), `x read_file {}`},
		"two on index 0 without id":         {fragments(`{"index":0,"function":{"name":"a","arguments":"{\"k\":1}"}}`, `{"index":0,"function":{"name":"b","arguments":"{}"}}`), ` a {"k":1};  b {}`},
		"the same twice, without id":        {fragments(`{"index":0,"function":{"name":"a","arguments":"{\"k\":1}"}}`, `{"index":0,"function":{"name":"a","arguments":"{\"k\":2}"}}`), ` a {"k":1};  a {"k":2}`},
		"no index, no id":                   {fragments(`{"function":{"name":"a","arguments":"{\"k\":"}}`, `{"function":{"arguments":"1}"}}`, `{"function":{"name":"b","arguments":"{}"}}`), ` a {"k":1};  b {}`},
		"no index, several in one":          {fragments(`{"function":{"name":"a","arguments":"{\"k\":"}},{"function":{"name":"b","arguments":"{\"l\":"}}`, `{"function":{"arguments":"1}"}},{"function":{"arguments":"2}"}}`), ` a {"k":1};  b {"l":2}`},
		"no index, ids":                     {fragments(`{"id":"x","function":{"name":"a","arguments":"{"}}`, `{"id":"y","function":{"name":"b","arguments":"{"}}`, `{"id":"x","function":{"arguments":"}"}}`, `{"id":"y","function":{"arguments":"}"}}`), `x a {}; y b {}`},
		"another id each time":              {fragments(`{"index":0,"id":"x","function":{"name":"a","arguments":"{\"k\":"}}`, `{"index":0,"id":"y","function":{"arguments":"1}"}}`), `x a {"k":1}`},
		"another id each time, no index":    {fragments(`{"id":"x","function":{"name":"a","arguments":"{\"k\":"}}`, `{"id":"y","function":{"arguments":"1}"}}`), `x a {"k":1}`},
		"null for what is missing":          {fragments(`{"index":0,"id":"x","type":"function","function":{"name":"a","arguments":null}}`, `{"index":0,"id":null,"type":null,"function":{"name":null,"arguments":"{\"k\":1}"}}`), `x a {"k":1}`},
		"an object":                         {fragments(`{"index":"0","id":12,"function":{"name":"a","arguments":{"k":1234567890123456789}}}`), `12 a {"k":1234567890123456789}`},
		"JSON in JSON":                      {fragments(`{"index":0,"id":"x","function":{"name":"a","arguments":"\"{\\\"k\\\":1}\""}}`), `x a {"k":1}`},
		"a list for an object":              {fragments(`{"index":0,"id":"x","function":{"name":"a","arguments":"[]"}}`, `{"index":1,"id":"y","function":{"name":"b","arguments":" [ ] "}}`), `x a {}; y b {}`},
		"the word null":                     {fragments(`{"index":0,"id":"x","function":{"name":"a","arguments":"null"}}`), `x a {}`},
		"all of it again":                   {fragments(`{"index":0,"id":"x","function":{"name":"a","arguments":"{\"k\":1}"}}`, `{"index":0,"id":"x","function":{"name":"a","arguments":"{\"k\":1}"}}`), `x a {"k":1}`},
		"one for a list":                    {event(`{"delta":{"tool_calls":{"id":"x","function":{"name":"a","arguments":"{}"}}}}`) + event(stop), `x a {}`},
		"the form from before tools":        {event(`{"delta":{"function_call":{"name":"a","arguments":"{\"k\":"}}}`) + event(`{"delta":{"function_call":{"arguments":"1}"}}}`) + event(`{"delta":{},"finish_reason":"function_call"}`), ` a {"k":1}`},
		"index from 1, and a stop by a cut": {callEvent("1", "x", "a", "{}") + callEvent("2", "y", "b", "{") + event(`{"delta":{},"finish_reason":"max_tokens"}`), `x a {}`},
	} {
		got, err := answer(strings.NewReader(c.body))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var calls []string
		for _, c := range got.ToolCalls {
			arguments := string(c.Function.Arguments)
			if arguments == "" {
				arguments = "{}"
			}
			calls = append(calls, c.ID+" "+c.Function.Name+" "+arguments)
		}
		if all := strings.Join(calls, "; "); all != c.want {
			t.Errorf("%s: got %q, want %q", name, all, c.want)
		}
	}
}

func TestWhatAServerAddsToACallIsKept(t *testing.T) {
	body := delta1(`"reasoning_content":"hm"`) +
		fragments(`{"index":0,"id":"x","type":"function","function":{"name":"a","arguments":"{\"id\":1234567890123456789}","strict":true},"extra_content":{"google":{"thought_signature":"c2ln"}}}`, `{"index":0,"extra_content":null,"function":{"arguments":""}}`)
	got, err := answer(strings.NewReader(body))
	const want = `"" thinking "hm" calls [{"id":"x","function":{"index":0,"name":"a","arguments":{"id":1234567890123456789},"strict":true},` +
		`"extra_content":{"google":{"thought_signature":"c2ln"}},"reasoning_content":"hm"}] reason "stop" tokens 0+3`
	if err != nil || outline(got) != want {
		t.Errorf("got %s, %v\nwant %s", outline(got), err, want)
	}
}

func TestEndByCallsOfWhichThereAreNoneKeepsItsReason(t *testing.T) {
	for _, reason := range []string{"tool_calls", "tool_use", "function_call"} {
		got, err := answer(strings.NewReader(event(`{"delta":{"content":"I look."},"finish_reason":"`+reason+`"}`) + done))
		if err != nil || got.Text != "I look." || string(got.DoneReason) != reason || got.DoneReason.Whole() {
			t.Errorf("%s: got %s, %v", reason, outline(got), err)
		}
		got, err = answer(strings.NewReader(callEvent("0", "x", "a", "{}") + event(`{"delta":{},"finish_reason":"`+reason+`"}`) + done))
		if err != nil || len(got.ToolCalls) != 1 || got.DoneReason != "stop" {
			t.Errorf("%s, with a call: got %s, %v", reason, outline(got), err)
		}
	}
}

func TestCharactersInTwoPiecesAreWhole(t *testing.T) {
	for name, c := range map[string]struct{ body, want string }{
		"surrogates":           {delta1(`"content":"a\ud83d"`) + delta1(`"content":"\ude00b"`) + event(stop), `"a😀b" thinking "" calls null reason "stop" tokens 0+2`},
		"surrogates in parts":  {delta1(`"content":[{"type":"text","text":"a\ud83d"}]`) + delta1(`"content":[{"type":"text","text":"\ude00b"}]`) + event(stop), `"a😀b" thinking "" calls null reason "stop" tokens 0+2`},
		"surrogates, thoughts": {delta1(`"reasoning":"a\ud83d"`) + delta1(`"reasoning":"\ude00b"`) + delta1(`"content":"x"`) + event(stop), `"x" thinking "a😀b" calls null reason "stop" tokens 0+3`},
		"bytes":                {delta1("\"content\":\"a\xf0\x9f\"") + delta1("\"content\":\"\x98\x80b\"") + event(stop), `"a😀b" thinking "" calls null reason "stop" tokens 0+2`},
		"half of one":          {delta1(`"content":"a\ud83d"`) + event(stop), `"a�" thinking "" calls null reason "stop" tokens 0+1`},
		"bytes of arguments":   {callEvent("0", "c", "f", `{\"x\":\"`+"\xf0\x9f") + callEvent("0", "c", "", "\x98\x80"+`\"}`) + event(stop), `"" thinking "" calls [{"id":"c","function":{"index":0,"name":"f","arguments":{"x":"😀"}}}] reason "stop" tokens 0+2`},
		"escapes of arguments": {callEvent("0", "c", "f", `{\"x\":\"\ud83d`) + callEvent("0", "c", "", `\ude00\"}`) + event(stop), `"" thinking "" calls [{"id":"c","function":{"index":0,"name":"f","arguments":{"x":"😀"}}}] reason "stop" tokens 0+2`},
	} {
		got, err := answer(&stepReader{c.body, 5})
		if err != nil || outline(got) != c.want {
			t.Errorf("%s: got %s, %v, want %s", name, outline(got), err, c.want)
		}
	}
}
