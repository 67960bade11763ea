package cases_test

import (
	"fmt"
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
	},
}

func conversation(id string) string {
	return `{"model":"m","messages":[{"role":"user","content":"hi"},{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{"id":` + id + `}}}]},{"role":"tool","tool_name":"f","content":"ok"}]}`
}

func tool(parameters string) string {
	return `"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":` + parameters + `}}]`
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
	for name, body := range map[string]string{
		"lines that end in CRLF": "data: " + delta("Paris") + "\r\n\r\ndata: " + finish("stop") + "\r\n\r\ndata: [DONE]\r\n\r\n",
		"data without a space":   "data:" + delta("Paris") + "\n\ndata:" + finish("stop") + "\n\ndata:[DONE]\n\n",
		"an id that is a number": "data: " + `{"id":7,"created":"now","choices":[{"index":0,"delta":{"content":"Paris"},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n",
	} {
		rows = append(rows, row{
			name:     "a provider that sends " + name + " is understood",
			backends: backends{"p": replies(reply{body: body})},
			calls:    []call{{tool: generate, args: `{"model":"p/m1","prompt":"hi"}`, text: "Paris"}},
			asked:    map[string]int{"p": 1},
		})
	}
	return rows
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
			name:     "a broken tool call is tried at most once more and is the model's fault",
			backends: backends{"a": replies(refusal(500, `error parsing tool call: raw='{"x":' err=unexpected end of JSON input`)), "b": replies(refusal(500, `error parsing tool call: raw='{"x":' err=unexpected end of JSON input`))},
			calls:    []call{{tool: chat, args: `{"model":"m",` + hello + `,` + tool(`{"type":"object"}`) + `}`, code: "upstream", words: []string{"tool"}}},
			asked:    map[string]int{"a": 2, "b": 2, total: 2},
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
			name:     "an option of newer versions is sent",
			backends: backends{"a": replies(text("fast"))},
			calls:    []call{{tool: generate, args: `{"model":"m","prompt":"hi","options":{"draft_num_predict":8}}`, text: "fast"}},
			asked:    map[string]int{"a": 1},
			sent:     map[string][]string{"a": {`"draft_num_predict":8`}},
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
	)
}

// callers are cases of what callers send.
var callers = []row{
	{
		name:     "a prompt that is JSON stays a text",
		backends: backends{"a": replies(text("Paris"))},
		calls:    []call{{tool: generate, args: `{"model":"m","prompt":"{\"a\":1}"}`, text: "Paris"}},
		asked:    map[string]int{"a": 1},
		sent:     map[string][]string{"a": {`{\"a\":1}`}},
	}, {
		name:     "a BOM before a message is skipped",
		backends: backends{"a": replies(text("Paris"))},
		calls:    []call{{message: "\ufeff" + `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"generate","arguments":{"model":"m","prompt":"hi"}}}`, text: "Paris"}},
		asked:    map[string]int{"a": 1},
	},
}
