package cases_test

import (
	"fmt"
	"strings"
)

type backends = map[string]*backend

func replies(all ...reply) *backend { return &backend{replies: all} }

const (
	generate = "generate"
	chat     = "chat"
	embed    = "embed"

	hello   = `"messages":[{"role":"user","content":"hi"}]`
	answerN = `"format":{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}`

	// A model that a host hands on to Ollama's cloud.
	remoteTags = `{"models":[{"name":"m:latest","model":"m:latest","size":1000,"digest":"d1","remote_host":"https://ollama.com:443","remote_model":"m","details":{"family":"llama"}}]}`
	remoteShow = `{"remote_host":"https://ollama.com:443","remote_model":"m","details":{"family":"llama"},"model_info":{"general.architecture":"llama","llama.context_length":8192},"capabilities":["completion","tools"]}`
)

// twice is the same call, two times.
func twice(c call) []call { return []call{c, c} }

func ask(model, want string) call {
	return call{tool: generate, args: fmt.Sprintf(`{"model":%q,"prompt":"hi"}`, model), text: want}
}

func askFails(model, code string, words ...string) call {
	return call{tool: generate, args: fmt.Sprintf(`{"model":%q,"prompt":"hi"}`, model), code: code, words: words}
}

// leaving are cases of what may leave the machine, and of what may be kept.
var leaving = []row{
	{
		name:     "a model of Ollama's cloud on a host stays unasked where only local ones may be",
		backends: backends{"a": {tags: remoteTags, show: remoteShow, replies: []reply{text("out")}}},
		calls:    []call{{tool: generate, args: `{"model":"m","prompt":"secret","local_only":true}`, code: "forbidden"}},
	}, {
		name:     "an alias, a later rung, a chat and vectors reach a model of Ollama's cloud no more than its name does",
		backends: backends{"a": {tags: remoteTags, show: remoteShow, replies: []reply{text("out")}}},
		config:   "models:\n  pro: {try: [m]}\n  max: {try: [missing, m]}\n",
		calls: []call{
			{tool: generate, args: `{"model":"pro","prompt":"secret","local_only":true}`, code: "forbidden"},
			{tool: generate, args: `{"model":"max","prompt":"secret","local_only":true}`, code: "model_not_found", words: []string{"local_only"}},
			{tool: chat, args: `{"model":"m",` + hello + `,"local_only":true}`, code: "forbidden"},
			{tool: embed, args: `{"model":"m","input":"secret","local_only":true}`, code: "forbidden"},
		},
	}, {
		name:     "the name of a cloud model needs no listing",
		backends: backends{"a": {replies: []reply{text("out")}}},
		flags:    []string{"--no-cloud"},
		calls: []call{
			{tool: generate, args: `{"model":"x:cloud","prompt":"secret"}`, code: "forbidden"},
			{tool: chat, args: `{"model":"x:120b-cloud",` + hello + `}`, code: "forbidden"},
			{tool: embed, args: `{"model":"x:cloud","input":"secret"}`, code: "forbidden"},
		},
	}, {
		name:     "an answer of Ollama's cloud says so",
		backends: backends{"a": {tags: remoteTags, show: remoteShow, replies: []reply{text("out")}}},
		calls:    []call{{tool: generate, args: `{"model":"m","prompt":"hi"}`, text: "out", words: []string{`"source":"cloud"`}}},
		asked:    map[string]int{"a": 1},
	}, {
		name:     "an empty answer is not kept",
		backends: backends{"a": replies(text(""), text("Paris"))},
		calls:    []call{{tool: generate, args: `{"model":"m","prompt":"hi"}`}, ask("m", "Paris")},
		asked:    map[string]int{"a": 2},
	}, {
		name:     "an answer that nobody can see is not kept",
		backends: backends{"a": replies(text("\u200b\n"), text("Paris"))},
		calls:    []call{{tool: generate, args: `{"model":"m","prompt":"hi"}`}, ask("m", "Paris")},
		asked:    map[string]int{"a": 2},
	}, {
		name:     "an answer that does not fit its format is not kept",
		backends: backends{"a": replies(text("Paris"), text("Paris"), text(`{"n":4}`))},
		calls: []call{
			{tool: generate, args: `{"model":"m","prompt":"hi",` + answerN + `}`, code: "upstream"},
			{tool: generate, args: `{"model":"m","prompt":"hi",` + answerN + `}`, words: []string{`"n":4`}},
		},
		asked: map[string]int{"a": 3},
	}, {
		name:     "conversations that differ in a large number are two",
		backends: backends{"a": replies(text("one"), text("two"))},
		calls: []call{
			{tool: chat, args: conversation("1234567890123456789"), text: "one"},
			{tool: chat, args: conversation("1234567890123456790"), text: "two"},
		},
		asked: map[string]int{"a": 2},
	}, {
		name:     "tools that differ in one keyword are two",
		backends: backends{"a": replies(text("one"), text("two"))},
		calls: []call{
			{tool: chat, args: `{"model":"m",` + hello + `,` + tool(`{"type":"object","properties":{"n":{"type":"integer","minimum":1}}}`) + `}`, text: "one"},
			{tool: chat, args: `{"model":"m",` + hello + `,` + tool(`{"type":"object","properties":{"n":{"type":"integer","minimum":2}}}`) + `}`, text: "two"},
		},
		asked: map[string]int{"a": 2},
	},
}

// badText is a case of a host that cannot embed one of two texts.
func badText(name string, said reply, code string) row {
	return row{
		name: "a text that cannot be embedded (" + name + ") fails alone, and names itself",
		backends: backends{"a": {
			of:      map[string]reply{"poison": said},
			replies: []reply{lines(`{"model":"e","embeddings":[[1,0]]}`)},
		}},
		calls: []call{{tool: embed, args: `{"model":"e","input":["good","poison"]}`, words: []string{`"vectors":[[1,0],null]`, `"index":1`, `"code":"` + code + `"`, "input[1]."}}},
		asked: map[string]int{"a": 8},
	}
}

func conversation(id string) string {
	return `{"model":"m","messages":[{"role":"user","content":"hi"},{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{"id":` + id + `}}}]},{"role":"tool","tool_name":"f","content":"ok"}]}`
}

func tool(parameters string) string {
	return `"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":` + parameters + `}}]`
}

// accents are cases of answers in forms that nobody asked for, of providers and hosts.
var accents = accentRows()

func accentRows() (rows []row) {
	const hi = `{"model":"p/m1","prompt":"hi"}`
	for name, r := range map[string]reply{
		"compressed, in events":          compressed(events(delta("hello"), finish("stop"), "[DONE]")),
		"compressed, in one piece":       compressed(reply{body: `{"choices":[{"message":{"content":"hello"},"finish_reason":"stop"}]}`}),
		"with commas at the end":         {body: `{"choices":[{"message":{"content":"hello",},"finish_reason":"stop",},],}`},
		"with commas at the end, events": events(`{"choices":[{"delta":{"content":"hello"},},],}`, finish("stop")),
		"with words of Python":           {body: `{"choices":[{"message":{"content":"hello","tool_calls":None},"finish_reason":"stop"}],"cached":False}`},
		"with choices by number":         {body: `{"choices":{"0":{"message":{"content":"hello"},"finish_reason":"stop"}}}`},
		"with one choice for a list":     {body: `{"choices":{"message":{"content":"hello"},"finish_reason":"stop"}}`},
	} {
		rows = append(rows, row{
			name: "an answer of a provider " + name + " is read", backends: backends{"p": replies(r)},
			calls: []call{{tool: generate, args: hi, text: "hello"}}, asked: map[string]int{"p": 1},
		})
	}
	for name, c := range map[string]struct {
		r     reply
		words string
	}{
		"in Ollama's form":    {lines(`{"model":"m1","message":{"role":"assistant","content":"hello"},"done":true,"done_reason":"stop"}`), "Ollama's own API"},
		"in Anthropic's form": {reply{body: `{"type":"message","role":"assistant","content":[{"type":"text","text":"hello"}],"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":1}}`}, "Anthropic's API"},
		"compressed by br":    {reply{header: "Content-Encoding: br", body: "\x8b\x02\x80hello\x03"}, "compressed as"},
	} {
		rows = append(rows, row{
			name: "an answer of a provider " + name + " says what is wrong", backends: backends{"p": replies(c.r)},
			calls: []call{{tool: generate, args: hi, code: "upstream", words: []string{c.words, "the address that is configured for p is wrong, or a proxy"}}}, asked: map[string]int{"p": 2},
		})
	}
	return append(rows,
		row{
			name:     "a refusal of a provider that is compressed has its words",
			backends: backends{"p": replies(compressed(reply{status: 400, body: `{"error":{"message":"the flux capacitor is upset"}}`}))},
			calls:    []call{{tool: generate, args: hi, code: "invalid_argument", words: []string{"flux capacitor"}}}, asked: map[string]int{"p": 1},
		},
		row{
			name:     "vectors of a provider in Ollama's form are read",
			backends: backends{"p": replies(compressed(reply{body: `{"model":"m1","embeddings":[[1,0],],}`})), "a": replies(refusal(500, "model requires more system memory (476.8 GiB) than is available (21.6 GiB)"))},
			config:   "models:\n  e: {same_as: [p/m1]}\n",
			calls:    []call{{tool: embed, args: `{"model":"e","input":["hi"]}`, words: []string{"[[1,0]]"}}}, asked: map[string]int{"p": 1, "a": 1},
		},
		row{
			name:     "an answer of a host that is compressed, with commas at the end, is read",
			backends: backends{"a": replies(compressed(lines(`{"response":"hello","done":false,}`, `{"done":true,"done_reason":"stop",}`)))},
			calls:    []call{{tool: generate, args: `{"model":"m","prompt":"hi"}`, text: "hello"}}, asked: map[string]int{"a": 1},
		},
	)
}

// endings are cases of answers that end in other ways than they should.
var endings = endingRows()

func endingRows() (rows []row) {
	for _, why := range []string{"length", "max_tokens", "model_length"} {
		rows = append(rows, row{
			name:     "an answer that a provider cut by its length (" + why + ") is said to be",
			backends: backends{"p": replies(events(delta("half"), finish(why), "[DONE]"))},
			calls:    []call{{tool: generate, args: `{"model":"p/m1","prompt":"hi"}`, text: "half", words: []string{"cut after"}}},
			asked:    map[string]int{"p": 1},
		})
	}
	for _, why := range []string{"content_filter", "safety"} {
		rows = append(rows, row{
			name:     "an answer that a filter of a provider stopped (" + why + ") is said to be",
			backends: backends{"p": replies(events(delta("half"), finish(why), "[DONE]"))},
			calls:    []call{{tool: generate, args: `{"model":"p/m1","prompt":"hi"}`, words: []string{"filter"}}},
			asked:    map[string]int{"p": 1},
		})
	}
	for _, why := range []string{"error", "abort", "insufficient_system_resource"} {
		rows = append(rows, row{
			name:     "an answer that failed at a provider (" + why + ") is left for the next rung",
			backends: backends{"p": replies(events(delta("half"), finish(why), "[DONE]")), "a": replies(text("whole"))},
			config:   "models:\n  pro: {try: [p/m1, small]}\n",
			calls:    []call{ask("pro", "whole")},
			asked:    map[string]int{"p": 4, "a": 1},
		})
	}
	return append(rows,
		row{
			name:     "an answer that ends when the model is unloaded is not whole",
			backends: backends{"a": replies(reason("half", "unload"))},
			calls:    []call{{tool: generate, args: `{"model":"m","prompt":"hi"}`, words: []string{"half", "unload"}, code: "upstream"}},
			asked:    map[string]int{"a": 4},
		},
		row{
			name:     "a reason that nobody knows is said and not kept",
			backends: backends{"p": replies(events(delta("text"), finish("moonlight"), "[DONE]"))},
			calls:    twice(call{tool: generate, args: `{"model":"p/m1","prompt":"hi"}`, text: "text", words: []string{"moonlight"}}),
			asked:    map[string]int{"p": 2},
		},
		row{
			name: "text after the mark of the end takes the mark back",
			backends: backends{"p": replies(events(
				`{"choices":[{"index":0,"delta":{"content":"one "},"finish_reason":"stop"}]}`,
				`{"choices":[{"index":0,"delta":{"content":"two "},"finish_reason":"stop"}]}`,
				`{"choices":[{"index":0,"delta":{"content":"three"},"finish_reason":"stop"}]}`, "[DONE]"))},
			calls: []call{ask("p/m1", "one two three")},
			asked: map[string]int{"p": 1},
		},
		row{
			name: "tokens that are counted after the mark of the end are used up",
			backends: backends{"p": replies(events(delta("text"), `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`,
				`{"choices":[],"usage":null}`, `{"choices":[],"usage":{"prompt_tokens":60,"completion_tokens":40}}`, "[DONE]")), "a": replies(text("local"))},
			config:   "models:\n  pro: {try: [p/m1, small]}\n",
			provider: ", max_tokens_per_day: 100",
			calls:    []call{ask("pro", "text"), {tool: generate, args: `{"model":"pro","prompt":"again"}`, text: "local"}},
			asked:    map[string]int{"p": 1, "a": 1},
		},
		row{
			name:     "an answer without a reason for its end is noted and not kept",
			backends: backends{"p": replies(events(delta("half"), "[DONE]"))},
			calls:    twice(call{tool: generate, args: `{"model":"p/m1","prompt":"hi"}`, text: "half", words: []string{"Note: "}}),
			asked:    map[string]int{"p": 2},
		},
		row{
			name:     "an error in a stream is one: with object error",
			backends: backends{"p": replies(events(delta("half"), `{"object":"error","message":"the GPU is on fire","code":500}`))},
			calls:    []call{askFails("p/m1", "upstream", "the GPU is on fire", "half")},
			asked:    map[string]int{"p": 4},
		},
		row{
			name:     "an error in a stream is one: as an event of that name",
			backends: backends{"p": replies(reply{body: "data: " + delta("half") + "\n\nevent: error\ndata: {\"message\":\"the GPU is on fire\"}\n\n"})},
			calls:    []call{askFails("p/m1", "upstream", "the GPU is on fire")},
			asked:    map[string]int{"p": 4},
		},
		row{
			name:     "an error in a stream is one: with type error",
			backends: backends{"p": replies(events(delta("half"), `{"type":"error","error":{"type":"server_error","message":"the GPU is on fire"}}`))},
			calls:    []call{{tool: generate, args: `{"model":"p/m1","prompt":"hi","timeout_seconds":2}`, code: "upstream", words: []string{"the GPU is on fire"}}},
			asked:    map[string]int{"p": 4},
		},
	)
}

// shapes are cases of how providers write what they say.
var shapes = shapeRows()

func shapeRows() (rows []row) {
	const whole = `{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Paris"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}`
	pretty := strings.NewReplacer(",", ",\n  ", "{", "{\n  ").Replace(whole)
	for name, body := range map[string]string{
		"one JSON body":            whole,
		"one JSON body, pretty":    pretty,
		"one JSON body and a mark": whole + "\n\ndata: [DONE]\n\n",
		"a body with a BOM":        "\ufeffdata: " + delta("Paris") + "\n\ndata: " + finish("stop") + "\n\ndata: [DONE]\n\n",
		"lines that end in CRLF":   "data: " + delta("Paris") + "\r\n\r\ndata: " + finish("stop") + "\r\n\r\ndata: [DONE]\r\n\r\n",
		"lines that end in CR":     "data: " + delta("Paris") + "\r\rdata: " + finish("stop") + "\r\rdata: [DONE]\r\r",
		"data without a space":     "data:" + delta("Paris") + "\n\ndata:" + finish("stop") + "\n\ndata:[DONE]\n\n",
		"comments and keep-alives": ": hello\n\ndata: keepalive\n\ndata: " + delta("Paris") + "\n\n: ping\n\ndata: " + finish("stop") + "\n\ndata: [DONE]\n\n",
		"an event on two lines":    "data: {\"choices\":[{\"index\":0,\ndata: \"delta\":{\"content\":\"Paris\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
		"content in parts":         "data: " + `{"choices":[{"index":0,"delta":{"content":[{"type":"text","text":"Pa"},{"type":"text","text":"ris"}]},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n",
		"an id that is a number":   "data: " + `{"id":7,"created":"now","choices":[{"index":0,"delta":{"content":"Paris"},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n",
		"numbers of Python":        "data: " + `{"choices":[{"index":0,"logprobs":{"x":[NaN,-Infinity]},"delta":{"content":"Paris"},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n",
		"an error that is none":    "data: " + `{"error":"","choices":[{"index":0,"delta":{"content":"Paris"},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n",
		"usage in fractions":       "data: " + delta("Paris") + "\n\ndata: " + `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":12.0,"completion_tokens":2.0}}` + "\n\ndata: [DONE]\n\n",
	} {
		rows = append(rows, row{
			name:     "a provider that sends " + name + " is understood",
			backends: backends{"p": replies(reply{body: body})},
			calls:    []call{{tool: generate, args: `{"model":"p/m1","prompt":"hi"}`, text: "Paris"}},
			asked:    map[string]int{"p": 1},
		})
	}
	call2 := func(deltas ...string) reply {
		var data []string
		for _, d := range deltas {
			data = append(data, `{"choices":[{"index":0,"delta":{"tool_calls":[`+d+`]},"finish_reason":null}]}`)
		}
		return events(append(data, finish("tool_calls"), "[DONE]")...)
	}
	const asks = `{"model":"p/m1",` + hello + `,"tools":[{"type":"function","function":{"name":"read_file","description":"d","parameters":{"type":"object","properties":{"x":{}}}}}]}`
	return append(rows,
		row{
			name: "a host's lines may come as events, with a byte order mark and counts in quotes",
			backends: backends{"a": replies(reply{body: "\ufeffdata: " + `{"response":"Pa\ud83d","done":false}` + "\n\n: ping\n\ndata: " + `{"response":"\ude00ris","done":false}` +
				"\n\ndata: " + `{"done":true,"done_reason":"stop","prompt_eval_count":"3","eval_count":2.0}` + "\n\ndata: [DONE]\n\n"})},
			calls: twice(ask("m", "Pa😀ris")),
			asked: map[string]int{"a": 1},
		},
		row{
			name:     "an error behind the mark of a host's end is one",
			backends: backends{"a": replies(lines(`{"response":"half","done":true,"done_reason":"stop"}`, `{"error":"the GPU is on fire"}`))},
			calls:    []call{askFails("m", "upstream", "the GPU is on fire", "half")},
			asked:    map[string]int{"a": 4},
		},
		row{
			name:     "channels that a host does not know are told apart",
			backends: backends{"a": replies(text("<|channel|>analysis<|message|>They ask.<|end|><|start|>assistant<|channel|>final<|message|>Paris<|return|>"))},
			calls:    twice(ask("m", "Paris")),
			asked:    map[string]int{"a": 1},
		},
		row{
			name:     "a closing tag that was opened by the prompt ends thoughts",
			backends: backends{"p": replies(events(delta("They ask."), delta("\n</think>"), delta("\n\nParis"), finish("stop"), "[DONE]"))},
			calls:    []call{ask("p/m1", "Paris")},
			asked:    map[string]int{"p": 1},
		},
		row{
			name: "a provider that streams nothing and knows no instructions is asked in another way, once",
			backends: backends{"p": {of: map[string]reply{
				`"stream":true`:   {status: 400, body: `{"error":{"message":"Your organization must be verified to stream this model.","param":"stream","code":"unsupported_value"}}`},
				`"role":"system"`: {status: 400, body: `{"error":{"message":"System role not supported"}}`},
				`"developer"`:     {status: 400, body: `{"error":{"message":"Developer instruction is not enabled for this model"}}`},
			}, replies: []reply{{body: `{"choices":[{"message":{"content":"Paris"},"finish_reason":"stop"}]}`}}}},
			calls: []call{{tool: generate, args: `{"model":"p/m1","prompt":"hi","system":"be brief"}`, text: "Paris"}, {tool: generate, args: `{"model":"p/m1","prompt":"again","system":"be brief"}`, text: "Paris"}},
			asked: map[string]int{"p": 5},
			sent:  map[string][]string{"p": {`"stream":false`, `be brief\n\nagain`}},
		},
		row{
			name:     "a provider's arguments may be an object",
			backends: backends{"p": replies(call2(`{"index":0,"id":"c1","function":{"name":"read_file","arguments":{"x":1}}}`))},
			calls:    []call{{tool: chat, args: asks, words: []string{"read_file", `"x":1`}}},
			asked:    map[string]int{"p": 1},
		},
		row{
			name: "the name of a call may come again with each piece",
			backends: backends{"p": replies(call2(`{"index":0,"id":"c1","function":{"name":"read_file","arguments":"{\"x\""}}`,
				`{"index":0,"id":"c1","function":{"name":"read_file","arguments":":1"}}`, `{"index":0,"id":"c1","function":{"name":"read_file","arguments":"}"}}`))},
			calls: []call{{tool: chat, args: asks, words: []string{`"name":"read_file"`, `"x":1`, "!read_fileread_file"}}},
			asked: map[string]int{"p": 1},
		},
		row{
			name:     "two whole calls on one index, without ids, are two",
			backends: backends{"p": replies(call2(`{"index":0,"function":{"name":"read_file","arguments":"{\"x\":1}"}}`, `{"index":0,"function":{"name":"read_file","arguments":"{\"x\":2}"}}`))},
			calls:    []call{{tool: chat, args: asks, words: []string{`"x":1`, `"x":2`}}},
			asked:    map[string]int{"p": 1},
		},
		row{
			name:     "thoughts that come twice are told once",
			backends: backends{"p": replies(events(`{"choices":[{"index":0,"delta":{"reasoning":"hm","reasoning_content":"hm"}}]}`, delta("Paris"), finish("stop"), "[DONE]"))},
			calls:    []call{{tool: chat, args: `{"model":"p/m1",` + hello + `,"think":true}`, text: "Paris", words: []string{"!hmhm"}}},
			asked:    map[string]int{"p": 1},
		},
		row{
			name:     "a tool's schema goes to a provider as it came",
			backends: backends{"p": replies(events(delta("Paris"), finish("stop"), "[DONE]"))},
			calls: []call{{
				tool: chat, text: "Paris",
				args: `{"model":"p/m1",` + hello + `,"tools":[{"type":"function","function":{"name":"f","strict":true,"parameters":{"type":"object","$defs":{"t":{"oneOf":[{"type":"string"},{"type":"null"}]}},"properties":{"a":{"$ref":"#/$defs/t"},"b":{"type":"object","required":["c"],"properties":{"c":true}}}}}}]}`,
			}},
			asked: map[string]int{"p": 1},
			sent:  map[string][]string{"p": {`"$ref":"#/$defs/t"`, `"oneOf"`, `"strict":true`, `"required":["c"]`, `"c":true`}},
		},
		row{
			name:     "a tool without parameters has an empty object of them",
			backends: backends{"p": replies(events(delta("Paris"), finish("stop"), "[DONE]"))},
			calls:    []call{{tool: chat, text: "Paris", args: `{"model":"p/m1",` + hello + `,"tools":[{"type":"function","function":{"name":"f"}}]}`}},
			asked:    map[string]int{"p": 1},
			sent:     map[string][]string{"p": {`!"type":""`, "!null"}},
		},
		row{
			name:     "large numbers of a tool's arguments keep all their digits",
			backends: backends{"p": replies(call2(`{"index":0,"id":"c1","function":{"name":"read_file","arguments":"{\"x\":1234567890123456789}"}}`))},
			calls:    []call{{tool: chat, args: asks, words: []string{"1234567890123456789"}}},
			asked:    map[string]int{"p": 1},
		},
		row{
			name:     "what a provider needs back with a call is sent back",
			backends: backends{"p": replies(events(delta("Paris"), finish("stop"), "[DONE]"))},
			calls: []call{{tool: chat, text: "Paris", args: `{"model":"p/m1","messages":[{"role":"user","content":"hi"},
				{"role":"assistant","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":{"id":1234567890123456789}},"extra_content":{"google":{"thought_signature":"abc="}}}]},{"role":"tool","tool_name":"f","tool_call_id":"c1","content":"ok"}]}`}},
			asked: map[string]int{"p": 1},
			sent:  map[string][]string{"p": {"thought_signature", "1234567890123456789"}},
		},
		row{
			name: "a provider that refuses json_object is asked in another way, once",
			backends: backends{"p": {of: map[string]reply{
				`"json_object"`: {status: 400, body: `{"error":{"message":"'response_format.type' must be 'json_schema' or 'text'","type":"invalid_request_error"}}`},
			}, replies: []reply{events(delta(`{"n":4}`), finish("stop"), "[DONE]")}}},
			calls: []call{
				{tool: generate, args: `{"model":"p/m1","prompt":"as JSON","format":"json"}`, words: []string{`"n":4`}},
				{tool: generate, args: `{"model":"p/m1","prompt":"as JSON, again","format":"json"}`, words: []string{`"n":4`}},
			},
			asked: map[string]int{"p": 3},
		},
		row{
			name: "a provider that refuses stream_options is asked without them, once",
			backends: backends{"p": {of: map[string]reply{
				`"stream_options"`: {status: 400, body: `{"error":{"message":"Unrecognized request argument supplied: stream_options","type":"invalid_request_error"}}`},
			}, replies: []reply{events(delta("Paris"), finish("stop"), "[DONE]")}}},
			calls: []call{ask("p/m1", "Paris"), {tool: generate, args: `{"model":"p/m1","prompt":"again"}`, text: "Paris"}},
			asked: map[string]int{"p": 3},
		},
		row{
			name: "a provider that refuses max_tokens is asked with its own word, once",
			backends: backends{"p": {of: map[string]reply{
				`"max_tokens"`: {status: 400, body: `{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","type":"invalid_request_error","param":"max_tokens","code":"unsupported_parameter"}}`},
			}, replies: []reply{events(delta("Paris"), finish("stop"), "[DONE]")}}},
			calls: []call{
				{tool: generate, args: `{"model":"p/m1","prompt":"hi","options":{"num_predict":9}}`, text: "Paris"},
				{tool: generate, args: `{"model":"p/m1","prompt":"again","options":{"num_predict":9}}`, text: "Paris"},
			},
			asked: map[string]int{"p": 3},
			sent:  map[string][]string{"p": {`"max_completion_tokens":9`}},
		},
		row{
			name:     "thoughts in tags and a fence do not keep JSON from fitting",
			backends: backends{"p": replies(events(delta("<think>hm</think>```json\n{\"n\":4}\n```"), finish("stop"), "[DONE]"))},
			calls:    []call{{tool: generate, args: `{"model":"p/m1","prompt":"hi",` + answerN + `}`, words: []string{`"n":4`}}},
			asked:    map[string]int{"p": 1},
		},
		row{
			name:     "an end by a tool call that did not come is said and not kept",
			backends: backends{"p": replies(events(delta("I look."), finish("tool_use"), "[DONE]"))},
			calls:    twice(call{tool: chat, args: asks, text: "I look.", words: []string{"ended with a tool call", "tool_use"}}),
			asked:    map[string]int{"p": 2},
		},
		row{
			name:     "vectors that all have one index come in the order of the texts",
			backends: backends{"p": replies(reply{body: `{"object":"list","data":[{"index":0,"embedding":[1,0]},{"index":0,"embedding":[0,1]}],"usage":{"prompt_tokens":2}}`}), "a": replies(refusal(500, "model requires more system memory (476.8 GiB) than is available (21.6 GiB)"))},
			config:   "models:\n  e: {same_as: [p/m1]}\n",
			calls:    []call{{tool: embed, args: `{"model":"e","input":["one","two"]}`, words: []string{"[[1,0],[0,1]]"}}},
			asked:    map[string]int{"p": 1, "a": 1},
		},
		row{
			name:     "a success without text of a provider that wrote tokens is a failure",
			backends: backends{"p": replies(events(finish("stop"), "[DONE]"))},
			calls:    []call{askFails("p/m1", "upstream")},
			asked:    map[string]int{"p": 4},
		},
	)
}

// failures are cases of Ollama's words for what has failed.
var failures = failureRows()

func failureRows() (rows []row) {
	for _, said := range []string{
		"llama-server reported out-of-memory during startup: cudaMalloc failed: out of memory",
		"llama-server process has terminated: exit status 1: cudaMalloc failed: out of memory",
		"model requires more system memory (476.8 GiB) than is available (21.6 GiB)",
		"ggml_vulkan: Device memory allocation of size 1073741824 failed: vk::Device::allocateMemory: ErrorOutOfDeviceMemory",
		"llama runner process has terminated: error loading model: unable to allocate CUDA0 buffer",
	} {
		rows = append(rows, row{
			name:     "no memory is no fault of two hosts: " + said,
			backends: backends{"a": replies(refusal(500, said)), "b": replies(refusal(500, said))},
			calls: append(
				[]call{askFails("m", "upstream", "num_ctx", `"retryable":false`)},
				slicesOf(5, askFails("m", "upstream", "num_ctx", `"retryable":false`))...),
			asked: map[string]int{"a": 1, "b": 1},
		})
	}
	for _, said := range []string{
		"llama-server process no longer running: exit status 1 ",
		`Post "http://127.0.0.1:35967/tokenize": EOF`,
		"llama runner process no longer running: 2",
		`do embedding request: Post "http://127.0.0.1:35795/embedding": EOF`,
	} {
		rows = append(rows, row{
			name: "a crash under vectors, called the caller's fault, is not: " + said,
			backends: backends{
				"a": replies(refusal(400, said)),
				"b": replies(lines(`{"model":"e","embeddings":[[1,0]]}`)),
			},
			calls: []call{
				{tool: embed, args: `{"model":"e","input":["one"]}`, words: []string{"[1,0]"}},
				{tool: embed, args: `{"model":"e","input":["two"]}`, words: []string{"[1,0]"}},
				{tool: embed, args: `{"model":"e","input":["three"]}`, words: []string{"[1,0]"}},
			},
			asked: map[string]int{"a": 3, "b": 3},
		})
	}
	for _, said := range []string{
		"the prompt is longer than the context length currently available to the model; shorten the prompt, adjust the context length in settings, or use a model with a longer context length",
		"the input length exceeds the context length",
		"input length (9000 tokens) exceeds the model's maximum context length (4096 tokens)",
		`{"error":{"code":400,"message":"request (1003 tokens) exceeds the available context size (256 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":1003,"n_ctx":256}}`,
	} {
		rows = append(rows, row{
			name: "a prompt that is too long is left for the next rung: " + said,
			backends: backends{"a": {
				of:      map[string]reply{`"m"`: refusal(400, said), `"m:latest"`: refusal(400, said)},
				replies: []reply{text("short")},
			}},
			config: "models:\n  pro: {try: [m, small]}\n",
			calls: []call{
				askFails("m", "context_too_long"),
				ask("pro", "short"),
			},
			asked: map[string]int{"a": 3},
		})
	}
	for _, said := range []string{
		"This model's maximum context length is 4096 tokens. However, you requested 9000 tokens.",
		"The input (9000 tokens) is longer than the model's context length (4096 tokens).",
		"`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 9000 `inputs` tokens and 20 `max_new_tokens`",
		"Input is too long for requested model.",
		"Please reduce the length of the messages or completion.",
		"litellm.ContextWindowExceededError: litellm.BadRequestError: boom",
		"输入长度超过模型最大上下文长度",
		"Trying to keep the first 9000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens.",
	} {
		rows = append(rows, row{
			name:     "a prompt that is too long for a provider is left for the next rung: " + said,
			backends: backends{"p": replies(reply{status: 400, body: fmt.Sprintf(`{"error":{"message":%q,"type":"invalid_request_error"}}`, said)}), "a": replies(text("short"))},
			config:   "models:\n  pro: {try: [p/m1, small]}\n",
			calls:    []call{askFails("p/m1", "context_too_long"), ask("pro", "short")},
			asked:    map[string]int{"p": 2, "a": 1},
		})
	}
	return append(rows,
		row{
			name:     "an error in an answer may be an object",
			backends: backends{"a": replies(lines(`{"response":"half","done":false}`, `{"error":{"code":500,"message":"the GPU is on fire"}}`))},
			calls:    []call{askFails("m", "upstream", "the GPU is on fire", "half")},
			asked:    map[string]int{"a": 4},
		},
		row{
			name:     "a broken tool call is tried at most once more and is the model's fault",
			backends: backends{"a": replies(refusal(500, `error parsing tool call: raw='{"x":' err=unexpected end of JSON input`)), "b": replies(refusal(500, `error parsing tool call: raw='{"x":' err=unexpected end of JSON input`))},
			calls:    []call{{tool: chat, args: `{"model":"m",` + hello + `,` + tool(`{"type":"object"}`) + `}`, code: "upstream", words: []string{"tool"}}},
			asked:    map[string]int{"a": 2, "b": 2, total: 2},
		},
		badText("NaN", refusal(500, "failed to encode response: json: unsupported value: NaN"), "upstream"),
		badText("a refusal", refusal(400, "what is this?"), "invalid_argument"),
		badText("too long", refusal(400, "the input length exceeds the context length"), "context_too_long"),
		badText("unknown words", refusal(500, "the flux capacitor is upset"), "upstream"),
		badText("no vector", lines(`{"model":"e","embeddings":[]}`), "upstream"),
		row{
			name:     "vectors with null are a failure",
			backends: backends{"a": replies(lines(`{"model":"e","embeddings":[[null,1.0]]}`))},
			calls:    []call{{tool: embed, args: `{"model":"e","input":["hi"]}`, code: "upstream"}},
			asked:    map[string]int{"a": 4},
		},
		row{
			name:     "a vector with NaN, as Python writes it, is the text's fault",
			backends: backends{"a": {of: map[string]reply{"poison": lines(`{"model":"e","embeddings":[[NaN,0]]}`)}, replies: []reply{lines("\ufeff" + `{"model":"e","embeddings":[[1,0]],"prompt_eval_count":"2"}`)}}},
			calls: []call{
				{tool: embed, args: `{"model":"e","input":["good"]}`, words: []string{"[[1,0]]"}},
				{tool: embed, args: `{"model":"e","input":["poison"]}`, code: "upstream", words: []string{"contains something other than numbers", `"retryable":false`}},
			},
			asked: map[string]int{"a": 8},
		},
		row{
			name:     "a vector of null is a failure",
			backends: backends{"a": replies(lines(`{"model":"e","embeddings":[null]}`))},
			calls:    []call{{tool: embed, args: `{"model":"e","input":["hi"]}`, code: "upstream"}},
			asked:    map[string]int{"a": 4},
		},
		row{
			name:     "an empty vector is a failure",
			backends: backends{"a": replies(lines(`{"model":"e","embeddings":[[]]}`))},
			calls:    []call{{tool: embed, args: `{"model":"e","input":["hi"]}`, code: "upstream"}},
			asked:    map[string]int{"a": 4},
		},
		row{
			name:     "vectors of two lengths are a failure",
			backends: backends{"a": replies(lines(`{"model":"e","embeddings":[[1,0],[1,0,0]]}`))},
			calls:    []call{{tool: embed, args: `{"model":"e","input":["hi","ho"]}`, code: "upstream"}},
			asked:    map[string]int{"a": 4},
		},
		row{
			name: "a model that does not load takes no host from the other models",
			backends: backends{
				"a": badModel(), "b": badModel(), "c": badModel(),
			},
			calls: append(slicesOf(4, askFails("bad", "upstream")), ask("m", "good")),
			asked: map[string]int{"a": 9, "b": 9, "c": 9},
		},
		row{
			name: "think max falls to high where a host does not know it",
			backends: backends{"a": {of: map[string]reply{
				`"max"`: refusal(400, `invalid think value: "max" (must be "high", "medium", "low", true, or false)`),
			}, replies: []reply{text("deep")}}},
			calls: []call{{tool: chat, args: `{"model":"m",` + hello + `,"think":"max"}`, text: "deep", words: []string{"high"}}},
			asked: map[string]int{"a": 2},
			sent:  map[string][]string{"a": {`"think":"high"`}},
		},
		row{
			name:     "an option of newer versions is sent",
			backends: backends{"a": replies(text("fast"))},
			calls:    []call{{tool: generate, args: `{"model":"m","prompt":"hi","options":{"draft_num_predict":8}}`, text: "fast"}},
			asked:    map[string]int{"a": 1},
			sent:     map[string][]string{"a": {`"draft_num_predict":8`}},
		},
		row{
			name:     "an option of newer versions that an older host drops is named",
			backends: backends{"a": {version: "0.24.0", replies: []reply{text("slow")}}},
			calls:    []call{{tool: generate, args: `{"model":"m","prompt":"hi","options":{"draft_num_predict":8}}`, text: "slow", words: []string{"left out: draft_num_predict"}}},
			asked:    map[string]int{"a": 1},
		},
		row{
			name:     "an option that nobody knows goes to a newer host alone",
			backends: backends{"a": {version: "0.24.0", replies: []reply{text("old")}}, "b": {version: "0.99.0", replies: []reply{text("new")}}},
			calls: slicesOf(3, call{
				tool: generate, args: `{"model":"m","prompt":"hi","cache":"off","options":{"tempo":3}}`, text: "new", words: []string{"sent unchecked: tempo"},
			}),
			asked: map[string]int{"b": 3},
			sent:  map[string][]string{"b": {`"tempo":3`}},
		},
		row{
			name:     "an option that no host can have is refused, and a typing error is named",
			backends: backends{"a": replies(text("old"))},
			calls: []call{
				{tool: generate, args: `{"model":"m","prompt":"hi","options":{"tempo":3}}`, code: "invalid_argument", words: []string{"0.34.0 does not have options.tempo"}},
				{tool: generate, args: `{"model":"m","prompt":"hi","options":{"temprature":1}}`, code: "invalid_argument", words: []string{`did you mean`, "temperature"}},
			},
		},
		row{
			name:     "a provider is sent no option that its API does not have",
			backends: backends{"p": replies(events(delta("yes"), finish("stop"), "[DONE]"))},
			calls:    []call{{tool: generate, args: `{"model":"p/m1","prompt":"hi","options":{"tempo":3}}`, text: "yes", words: []string{"left out: tempo", "!unchecked"}}},
			asked:    map[string]int{"p": 1},
			sent:     map[string][]string{"p": {"!tempo"}},
		},
		row{
			name:     "a crash after the first text counts as one",
			backends: backends{"a": replies(lines(`{"response":"half","done":false}`, `{"error":"an error was encountered while running the model: unexpected EOF"}`)), "b": replies(lines(`{"response":"half","done":false}`, `{"error":"an error was encountered while running the model: unexpected EOF"}`))},
			calls:    []call{askFails("m", "upstream", "half", `"retryable":false`)},
			asked:    map[string]int{"a": 1, "b": 1},
		},
	)
}

func badModel() *backend {
	return &backend{
		of: map[string]reply{
			`"bad"`:        refusal(500, "llama-server process has terminated: exit status 1: error loading model: unknown model architecture"),
			`"bad:latest"`: refusal(500, "llama-server process has terminated: exit status 1: error loading model: unknown model architecture"),
		},
		replies: []reply{text("good")},
	}
}

func slicesOf(n int, c call) (all []call) {
	for range n {
		all = append(all, c)
	}
	return all
}

// tooLargeForNginx is what nginx answers by default to more than a megabyte.
var tooLargeForNginx = reply{status: 413, body: "<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n<body>\r\n<center><h1>413 Request Entity Too Large</h1></center>\r\n</body>\r\n</html>\r\n"}

// ladders are cases of rungs that refuse.
var ladders = ladderRows()

func ladderRows() (rows []row) {
	for name, r := range map[string]reply{
		"a parameter it does not know":     {status: 400, body: `{"error":{"message":"Unsupported value: 'temperature' does not support 0.2 with this model.","type":"invalid_request_error","param":"temperature"}}`},
		"a model that is gone":             {status: 410, body: `{"error":{"message":"this model has been retired"}}`},
		"a body that is too large":         {status: 413, body: `{"error":{"message":"Request too large"}}`},
		"thoughts it cannot have":          {status: 400, body: `{"error":{"message":"m1 does not support thinking"}}`},
		"a caller without credit":          {status: 402, body: `{"error":{"message":"Insufficient credits. Add more using https://example.com/credits"}}`},
		"a caller whose quota is used up":  {status: 429, body: `{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","code":"insufficient_quota"}}`},
		"a key that it does not know":      {status: 401, body: `{"error":{"message":"Incorrect API key provided"}}`},
		"a model that it does not have":    {status: 404, body: `{"error":{"message":"The model m1 does not exist"}}`},
		"a key, with another status":       {status: 400, body: `[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}]`},
		"a deployment that is not there":   {status: 404, body: `{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}`},
		"an account that is suspended":     {status: 429, body: `{"error":{"message":"Your account org-1 is suspended, please check your plan and billing details","type":"exceeded_current_quota_error"}}`},
		"a request that breaks its policy": {status: 403, body: `{"error":{"message":"Your request was flagged"}}`},
	} {
		rows = append(rows, row{
			name:     "a rung that refuses " + name + " is passed",
			backends: backends{"p": replies(r), "a": replies(text("small answer"))},
			config:   "models:\n  pro: {try: [p/m1, small]}\n",
			calls:    []call{{tool: generate, args: `{"model":"pro","prompt":"hi","options":{"temperature":0.2}}`, text: "small answer", words: []string{"p/m1"}}},
			asked:    map[string]int{"p": 2, "a": 1},
		})
	}
	return append(rows,
		row{
			name:     "hosts that are all busy say when to come back",
			backends: backends{"a": replies(reply{status: 503, header: "Retry-After: 50", body: `{"error":"server busy"}`}), "b": replies(reply{status: 503, header: "Retry-After: 40", body: `{"error":"server busy"}`})},
			calls:    []call{{tool: generate, args: `{"model":"m","prompt":"hi","timeout_seconds":5}`, code: "overloaded", words: []string{`"retry_after_seconds":4`, "!OLLAMA_HOST"}}},
			asked:    map[string]int{"a": 1, "b": 1},
		},
		row{
			name:     "a host behind a wrong address is asked once more at most",
			backends: backends{"a": replies(reply{status: 308, header: "Location: https://example.com/"}), "b": replies(reply{status: 404, body: "404 page not found"})},
			calls:    []call{askFails("m", "upstream", "is wrong")},
			asked:    map[string]int{"a": 1, "b": 1},
		},
		row{
			name:     "a rung that says wait is passed and not asked before its time",
			backends: backends{"p": replies(reply{status: 429, header: "Retry-After: 60", body: `{"error":{"message":"Rate limit reached"}}`}), "a": replies(text("small answer"), text("small again"))},
			config:   "models:\n  pro: {try: [p/m1, small]}\n",
			calls:    []call{ask("pro", "small answer"), {tool: generate, args: `{"model":"pro","prompt":"again"}`, text: "small again"}},
			asked:    map[string]int{"p": 1, "a": 2},
		},
		row{
			name:     "a wait in milliseconds is read",
			backends: backends{"p": replies(reply{status: 429, header: "retry-after-ms: 46000", body: `{"error":{"message":"Rate limit reached"}}`})},
			calls:    []call{{tool: generate, args: `{"model":"p/m1","prompt":"hi","timeout_seconds":5}`, code: "overloaded", words: []string{`"retry_after_seconds":4`}}},
			asked:    map[string]int{"p": 1},
		},
		row{
			name:     "a wait until a limit is reset is read",
			backends: backends{"p": replies(reply{status: 429, header: "x-ratelimit-remaining-requests: 9\nx-ratelimit-reset-requests: 1s\nx-ratelimit-remaining-tokens: 0\nx-ratelimit-reset-tokens: 0m46s", body: `{"error":{"message":"Rate limit reached"}}`})},
			calls:    slicesOf(2, call{tool: generate, args: `{"model":"p/m1","prompt":"hi","timeout_seconds":5}`, code: "overloaded", words: []string{`"retry_after_seconds":4`}}),
			asked:    map[string]int{"p": 1},
		},
		row{
			name:     "a request that a proxy finds too large can be made smaller",
			backends: backends{"a": replies(tooLargeForNginx), "p": replies(tooLargeForNginx)},
			calls:    []call{askFails("m", "invalid_argument", "smaller images", `"retryable":false`), askFails("p/m1", "invalid_argument", "smaller images", `"retryable":false`)},
			asked:    map[string]int{"a": 1, "p": 1},
		},
		row{
			name:     "a wait in the body is read",
			backends: backends{"p": replies(reply{status: 429, body: `[{"error":{"code":429,"message":"Quota exceeded.","status":"RESOURCE_EXHAUSTED","details":[{"retryDelay":"46s"}]}}]`})},
			calls:    slicesOf(2, call{tool: generate, args: `{"model":"p/m1","prompt":"hi","timeout_seconds":5}`, code: "overloaded", words: []string{`"retry_after_seconds":4`}}),
			asked:    map[string]int{"p": 1},
		},
		row{
			name:     "a wait in the words is read",
			backends: backends{"p": replies(reply{status: 429, body: `{"error":{"message":"Rate limit reached. Please try again in 1m1.5s.","code":"rate_limit_exceeded"}}`}), "a": replies(text("small answer"), text("small again"))},
			config:   "models:\n  pro: {try: [p/m1, small]}\n",
			calls:    []call{ask("pro", "small answer"), {tool: generate, args: `{"model":"pro","prompt":"again"}`, text: "small again"}},
			asked:    map[string]int{"p": 1, "a": 2},
		},
		row{
			name:     "a provider without credit is left alone",
			backends: backends{"p": replies(reply{status: 429, body: `{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}`})},
			calls:    slicesOf(3, askFails("p/m1", "unauthorized", "no credit left", `"retryable":false`)),
			asked:    map[string]int{"p": 1},
		},
		row{
			name:     "a model that a provider has retired is not found",
			backends: backends{"p": replies(reply{status: 410, body: `{"error":{"message":"gone"}}`}, reply{status: 400, body: `{"error":{"message":"The model m1 has been decommissioned and is no longer supported."}}`})},
			calls:    slicesOf(2, askFails("p/m1", "model_not_found")),
			asked:    map[string]int{"p": 2},
		},
	)
}

// callers are cases of what callers send.
var callers = []row{
	{
		name:     "null is left out",
		backends: backends{"a": replies(text("Paris"))},
		calls:    []call{{tool: generate, args: `{"model":"m","prompt":"hi","system":null,"suffix":null,"images":null,"format":null,"options":null,"think":null,"truncate":null,"keep_alive":null,"timeout_seconds":null,"local_only":null}`, text: "Paris"}},
		asked:    map[string]int{"a": 1},
	}, {
		name:     "an empty format is none",
		backends: backends{"a": replies(text("Paris"))},
		calls:    []call{{tool: generate, args: `{"model":"m","prompt":"hi","format":""}`, text: "Paris"}},
		asked:    map[string]int{"a": 1},
	}, {
		name:     "an array where an object is due is an empty one",
		backends: backends{"a": replies(text("Paris"))},
		calls: []call{
			{message: `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"list-models","arguments":[],"_meta":[]}}`, words: []string{"m:latest"}},
			{tool: generate, args: `{"model":"m","prompt":"hi","options":[]}`, text: "Paris"},
		},
		asked: map[string]int{"a": 1},
	}, {
		name:     "JSON in a text is taken where no text is due",
		backends: backends{"a": replies(text("Paris"))},
		calls:    []call{{tool: chat, args: `{"model":"m","messages":"[{\"role\":\"user\",\"content\":\"hi\"}]","options":"{\"seed\":1}","timeout_seconds":"30"}`, text: "Paris"}},
		asked:    map[string]int{"a": 1},
		sent:     map[string][]string{"a": {`"seed":1`}},
	}, {
		name:     "a prompt that is JSON stays a text",
		backends: backends{"a": replies(text("Paris"))},
		calls:    []call{{tool: generate, args: `{"model":"m","prompt":"{\"a\":1}"}`, text: "Paris"}},
		asked:    map[string]int{"a": 1},
		sent:     map[string][]string{"a": {`{\"a\":1}`}},
	}, {
		name:     "what an automation adds by itself is left out and said",
		backends: backends{"a": replies(text("Paris"))},
		calls:    []call{{tool: generate, args: `{"model":"m","prompt":"hi","toolCallId":"1","sessionId":"2","action":"sendMessage","chatInput":"hi","stream":false}`, text: "Paris", words: []string{"toolCallId"}}},
		asked:    map[string]int{"a": 1},
	}, {
		name:     "roles have the names of other APIs too",
		backends: backends{"a": replies(text("Paris"))},
		calls:    []call{{tool: chat, args: `{"model":"m","messages":[{"role":"developer","content":"be brief"},{"role":"human","content":"hi"}]}`, text: "Paris"}},
		asked:    map[string]int{"a": 1},
		sent:     map[string][]string{"a": {`"role":"system"`, `"role":"user"`, "!developer", "!human"}},
	}, {
		name:     "messages may have the members that an SDK gives them, and {} is no tools",
		backends: backends{"a": replies(text("Paris"))},
		calls: []call{{tool: chat, text: "Paris", args: `{"model":"m","tools":{},"messages":[{"role":"user","content":"hi"},
			{"role":"assistant","content":"ho","refusal":null,"annotations":[],"audio":null,"function_call":null},{"role":"user","content":"and?"}]}`}},
		asked: map[string]int{"a": 1},
	}, {
		name:     "an option that is misspelled beside options is named with its place",
		backends: backends{"a": replies(text("Paris"))},
		calls:    []call{{tool: generate, args: `{"model":"m","prompt":"hi","temprature":1}`, code: "invalid_argument", words: []string{"options.temperature"}}},
	}, {
		name:     "all faults of a call are named at once",
		backends: backends{"a": replies(text("Paris"))},
		calls:    []call{{tool: generate, args: `{"model":"m","promt":"hi","temperature":1,"timeout_seconds":"soon"}`, code: "invalid_argument", words: []string{"promt", "temperature", "timeout_seconds"}}},
	}, {
		name:     "a BOM before a message is skipped",
		backends: backends{"a": replies(text("Paris"))},
		calls:    []call{{message: "\ufeff" + `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"generate","arguments":{"model":"m","prompt":"hi"}}}`, text: "Paris"}},
		asked:    map[string]int{"a": 1},
	}, {
		name:     "a call and a text are in each half of the result",
		backends: backends{"a": replies(lines(`{"message":{"content":"I look.","tool_calls":[{"function":{"name":"f","arguments":{"id":12345678901234567}}}]},"done":false}`, `{"done":true,"done_reason":"stop"}`))},
		calls:    []call{{tool: chat, args: `{"model":"m",` + hello + `,` + tool(`{"type":"object"}`) + `}`, words: []string{`"text":"I look."`, `12345678901234567`}}},
		asked:    map[string]int{"a": 1},
	},
}
