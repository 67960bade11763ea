package backend_test

import (
	"encoding/json"
	"strings"
	"testing"

	"ollama-mcp/internal/backend"
)

// said are messages of servers, by the class that they mean. None has an HTTP status: the
// same message comes with several.
var said = map[backend.Class][]string{
	backend.NoRoom: {
		"model requires more system memory (476.8 GiB) than is available (21.6 GiB)",
		"llama-server reported out-of-memory during startup: cudaMalloc failed: out of memory",
		"llama-server process has terminated: exit status 1: cudaMalloc failed: out of memory\nerror loading model: unable to allocate CUDA0 buffer",
		`{"error":{"code":500,"message":"CUDA error: out of memory","type":"server_error"}}`,
		`tokenize error: {"error":{"code":500,"message":"CUDA error: out of memory","type":"server_error"}}`,
		"llama runner process has terminated: exit status 2: error loading model: unable to allocate CUDA0 buffer",
		"ggml_vulkan: Device memory allocation of size 1073741824 failed: ErrorOutOfDeviceMemory",
		"vk::Device::allocateMemory: VK_ERROR_OUT_OF_DEVICE_MEMORY",
		"mlx: metal::malloc: Resource limit (499000) exceeded.", "unable to load full model on GPU",
		"[METAL] Command buffer execution failed: Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)",
		"hipMalloc failed: out of memory", "failed to allocate compute buffers", "failed to allocate memory for model",
		"memory layout cannot be allocated with num_gpu = 99",
		"CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 23.69 GiB total capacity)",
		"model requires 48.0 GiB but only 21.3 GiB are available (after 1.0 GiB overhead)",
		"Failed to load model: insufficient system memory", "RuntimeError: not enough GPU memory",
	},
	backend.Crashed: {
		"llama runner process has terminated", "llama runner process has terminated: signal: killed",
		"llama runner process no longer running: -1 ", "llama-server process no longer running: 134 GGML_ASSERT(n_tokens > 0) failed",
		"SIGSEGV: segmentation violation", "Exception 0xc0000005: access violation", "aborted (core dumped)", "CUDA error: an illegal memory access was encountered",
		"rocBLAS error: Could not initialize Tensile host", "vk::Queue::submit: ErrorDeviceLost",
		"llama-server process has terminated: exit status 1", "mlx runner failed: boom (exit: signal: aborted)",
		"model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, check ollama server logs for details",
		"an error was encountered while running the model: unexpected EOF",
		"an error was encountered while running the model: CUDA error: out of memory", // it had room, and has died
		`do embedding request: Post "http://127.0.0.1:35795/embedding": EOF`, "error reading embed response: unexpected EOF",
		`Post "http://127.0.0.1:40123/tokenize": EOF`, `Post "http://localhost:40123/completion": dial tcp 127.0.0.1:40123: connect: connection refused`,
		`Post "http://127.0.0.1:40123/v1/chat/completions": read tcp 127.0.0.1:5->127.0.0.1:6: read: connection reset by peer`,
	},
	backend.TooLong: {
		// Ollama, its engines and its cloud.
		"the input length exceeds the context length", "prompt too long; exceeded max context length by 7 tokens",
		"the prompt is longer than the context length currently available to the model; shorten the prompt, lower num_predict or raise num_ctx",
		"input length (9000 tokens) exceeds the model's maximum context length (4096 tokens)",
		`{"error":{"code":400,"message":"the request exceeds the available context size, try increasing it","type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":4096}}`,
		`tokenize error: {"error":{"code":400,"message":"the request exceeds the available context size, try increasing it","type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":4096}}`,
		"input after truncation exceeds maximum context length", "input exceeds maximum context length and cannot be truncated further",
		"unable to shift context - keep exceeds context (keep: 5000 context: 4096)", "entire prompt removed by truncation",
		// llama.cpp and llama-cpp-python.
		"request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it",
		"input (600 tokens) is too large to process. increase the physical batch size (current batch size: 512)",
		"Requested tokens (600) exceed context window of 512",
		// vLLM.
		"This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (4500 in the messages, 500 in the completion).",
		"The decoder prompt (length 5000) is longer than the maximum model length of 4096. Make sure that `max_model_len` is no smaller than the number of text tokens.",
		"max_tokens must be at least 1, got -4904. (parameter=max_tokens, value=-4904)",
		"failed to decode batch: could not find a kv cache slot",
		// SGLang.
		"The input (5000 tokens) is longer than the model's context length (4096 tokens).",
		"Requested token count exceeds the model's maximum context length of 4096 tokens.",
		"Input length (5000 tokens) exceeds the maximum allowed length (4096 tokens). Use a shorter input or enable --allow-auto-truncate.",
		// LM Studio.
		"The number of tokens to keep from the initial prompt is greater than the context length. Try to load the model with a larger context length, or provide a shorter input",
		"Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens, which is not enough.",
		"Reached context length of 4096 tokens with model (arch: qwen2), but this model does not currently support mid-generation context overflow.",
		// TGI and TEI.
		"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens and 20 `max_new_tokens`",
		"Input validation error: `inputs` must have less than 512 tokens. Given: 600",
		// Bedrock and Anthropic.
		"Input is too long for requested model.", "prompt is too long: 200251 tokens > 200000 maximum",
		"input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length or `max_tokens` and try again",
		"The model returned the following errors: Input Tokens Exceeded: Number of input tokens exceeds maximum length.",
		"Too many input tokens. Max input tokens: 8192, request input token count: 9000", "expected maxLength: 2048, actual: 3000, please reformat your input and try again.",
		// Groq, Cerebras, GitHub.
		"Please reduce the length of the messages or completion.", "Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192",
		"Request too large for model `m` in organization `o` service tier `on_demand` on tokens per minute (TPM): Limit 6000, Requested 9000, please reduce your message size and try again.",
		"Request body too large for gpt-4o model. Max size: 8000 tokens.",
		// Gemini, Mistral, Cohere, xAI, OpenAI, watsonx.
		"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
		"Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
		"too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 5000.",
		"This model's maximum prompt length is 131072 but the request contains 200000 tokens.",
		"Your input exceeds the context window of this model. Please adjust your input and try again.",
		// LiteLLM, MLX, Zhipu, Qwen, KoboldCpp.
		"litellm.ContextWindowExceededError: litellm.BadRequestError: boom", "Prompt length 9000 > max_kv_size 4096", "Prompt exceeds max length", "Range of input length should be [1, 30720]",
		"Prompt exceeds context window", "输入长度超过模型最大上下文长度", "请求的上下文过长",
		"the number of input tokens 5000 cannot exceed the total tokens limit 4096 for this model",
	},
	backend.Overload: {
		"no slots available after 10 retries", "No available slots", "too many concurrent requests", "您当前使用该API的并发数过高",
		"server busy, please try again.  maximum pending requests exceeded", "too many requests", "Too many requests, please wait before trying again.",
		"Rate limit reached for tokens per minute (TPM): Limit 6000, Used 5000, Requested 2000. Please try again in 10s.",
		"The server is currently overloaded with other requests. Sorry about that!", "The model is overloaded. Please try again later.", "The system is too busy now",
		"ThrottlingException: Rate exceeded", "Request was throttled. Expected available in 3 seconds.", "litellm.RateLimitError: rate limit exceeded", "The engine is at capacity",
		"我们的服务访问量过大", "请求过于频繁，请稍后再试",
	},
	backend.Unauthorized: {
		"unauthorized", "Unauthorized.",
		"API key not valid. Please pass a valid API key.", "Invalid API key provided", "Incorrect API key provided: sk-x.", "invalid x-api-key", "Missing bearer token", "API key is required", "api_key_invalid",
		"Invalid authentication credentials", "The API key has expired", "Authentication failed", "missing Authentication header",
	},
	backend.BadOutput: {
		"error parsing tool call: raw='{\"q\": \"context length exceeded, out of memory', err=unexpected end of JSON input",
		"failed to parse Laguna JSON tool call: invalid character", "llama-server returned invalid tool call arguments for \"f\": unexpected EOF",
		"incomplete GLM tool call", "invalid tool call: no matching closing parenthesis", "failed to parse function call \"f(\": eof",
		"json: unsupported value: NaN", "failed to encode response: json: unsupported value: +Inf", "embedding contains NaN or Inf values",
		"empty embedding response",
		"XML syntax error on line 5: element <parameter> closed by </function>", "Failed to parse input at pos 12: <tool_call>{",
		"Failed to call a function. Please adjust your prompt. See 'failed_generation' for more details.",
		"Failed to generate JSON. Please adjust your prompt. See 'failed_generation' for more details.",
		"The model produced output that does not match the expected peg-native format", "tool call parsing failed: no tool calls found in content",
		"unexpected tokens remaining in message header: [\"to=\"]", "HarmonyError: Unexpected token 12606 while expecting start token 200006",
	},
	backend.Unloadable: {
		"llama-server: error while loading shared libraries: libcudart.so.12: cannot open shared object file",
		"error loading model: unknown model architecture: 'qwen9'", "model failed to load, this may be due to resource limitations or an internal error, check ollama server logs for details",
		"llama runner process has terminated: error loading model: missing tensor 'token_embd.weight'", "unable to load model: /root/.ollama/models/blobs/sha256-1",
		"this model requires MLX support, but the MLX runtime is not available",
		"'llama3.2-vision' is no longer compatible with your version of Ollama and has been replaced by a newer version.",
	},
	backend.Request: {
		"this model does not support tools", `"tiny" does not support chat`, "registry.ollama.ai/library/m:latest does not support generate", "invalid options: num_ctx", `option "temperature" must be of type float32`, `option "stop" must be of an array of strings`,
		"No endpoints found that support tool use. Try disabling \"f\".",
		`invalid format: "x"; expected "json" or a valid JSON Schema object`, "failed to load model vocabulary required for format",
		"Failed to create new sequence: failed to process inputs: image: unknown format", "llama-server template error: conversation roles must alternate",
	},
	backend.ModelMissing: {
		`model "tiny" not found, try pulling it first`, "The model 'x' does not exist or you do not have access to it.", "models/x is not found for API version v1beta, or is not supported for generateContent",
		"The model `mixtral` has been decommissioned and is no longer supported.", "The model gpt-x has been deprecated, learn more here: https://x", "Model Not Exist", "x is not a valid model ID",
		"The API deployment for this resource does not exist.", "No endpoints found for foo/bar.", "No allowed providers are available for the selected model.", "Unable to access model foo. Please visit https://x", "模型不存在，请检查模型代码",
		"Invalid model: mistral-x", "Unknown model: x", "no such model x", "Not found the model x or Permission denied", "model: x was retired on 2026-01-01", "model_decommissioned",
	},
	backend.NoCredit: {
		"this model requires a subscription, upgrade for access: https://ollama.com/upgrade", "you have reached your weekly usage limit, upgrade for higher limits: https://ollama.com/upgrade",
		"Insufficient Balance", "insufficient_balance", "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.",
		"This request requires more credits, or fewer max_tokens.", "Your team has either used all available credits or reached its monthly spending limit.", "Insufficient credits. Add more using https://x",
		"Billing hard limit has been reached", "billing_not_active", "Your account is not active, please check your billing details on our website.", "Your credits are exhausted", "You have run out of credits", "402 Payment Required",
		"insufficient account balance", "Your prepayment credits are depleted.", "Your account balance is negative", "Your account is currently in arrears", "Your account org-1 <ak-1> is suspended, please check your plan and billing details", "余额不足或无可用资源包",
	},
	"": {
		"The `temperature` parameter is deprecated for this model.", "Unsupported parameter: 'max_tokens' is not supported with this model.", "invalid model name",
		"", "boom", "You exceeded your current quota of input tokens, please check your plan", "max_tokens is too large: 5000. This model supports at most 4096 completion tokens",
		"unexpected token in the request", "the key of the map is not valid", "the request is not throttle", "do not exceed the rate", "the account manager is busy", "a capacity of 4 requests",
		"the load balancer has no healthy upstream", "the template needs a balance parameter",
		"max_tokens must be less than or equal to 8192", "temperature must be less than 2", "request body too large",
		`Post "/completion": context deadline exceeded`, "slots are available", "the user is unauthorized", "the plan requires a review", "the process was killed by its owner",
	},
	backend.Server: {
		"connection refused", "connect ECONNREFUSED: connection refused", "read: connection reset by peer", "write: broken pipe",
		"connectex: No connection could be made because the target machine actively refused it.",
		"internal server error", "Internal error, please try again", "upstream error: 502 Bad Gateway", "unexpected server status: llm server loading model", "context canceled",
		"model is being unloaded", "mkdir /root/.ollama: no space left on device", "timed out waiting for llama runner to start - progress 0.42", "timed out waiting for llama-server to start",
		"upstream connect error or disconnect/reset before headers", "the service is temporarily unavailable",
	},
}

func TestFailuresAreKnownByAServersWordsWhateverWrapsThem(t *testing.T) {
	for class, all := range said {
		for _, text := range all {
			quoted, _ := json.Marshal(text) // strings always can be
			for _, wrapped := range []string{text, "tokenize error: " + text, `{"error":{"message":` + string(quoted) + `}}`, strings.ToUpper(text) + "\n\n"} {
				if got := backend.Recognize(wrapped); got != class {
					t.Errorf("%q is %q, want %q", wrapped, got, class)
				}
			}
		}
	}
}

func TestJSONInAMessageGivesWayToTheMessageInIt(t *testing.T) {
	for text, want := range map[string]string{
		"boom": "boom",
		`{"error":{"code":500,"message":"CUDA error: out of memory","type":"server_error"}}`: "CUDA error: out of memory",
		`tokenize error: {"error":{"code":400,"message":"too long"}}`:                        "tokenize error: too long",
		`{"error":"{\"error\":{\"message\":\"deep\"}}"}`:                                     "deep",
		`a {"detail":"b"} c`:    "a b c",
		`broken {"error":`:      `broken {"error":`,
		`raw={"q":1}`:           `raw={"q":1}`,
		`{"error":{"code":12}}`: `{"error":{"code":12}}`,
	} {
		if got := backend.Plain(text); got != want {
			t.Errorf("%s becomes %q, want %q", text, got, want)
		}
	}
}

func TestSizesOfPromptAndContextAreReadWhereverTheyStand(t *testing.T) {
	const engine = `{"error":{"code":400,"message":"too long","n_prompt_tokens":9000,"n_ctx": 4096}}`
	quoted, _ := json.Marshal("tokenize error: " + engine)
	twice, _ := json.Marshal(string(quoted))
	for text, want := range map[string][2]int{
		engine: {9000, 4096}, string(quoted): {9000, 4096}, string(twice): {9000, 4096},
		`{"n_ctx":2048}`: {0, 2048}, `{"n_ctx":"big"}`: {}, `{"n_ctx":99999999999999}`: {}, "n_ctx 4096": {}, "": {},
	} {
		if prompt, context := backend.ContextSizes(text); [2]int{prompt, context} != want {
			t.Errorf("%s: got %d and %d, want %v", text, prompt, context, want)
		}
	}
}

func FuzzPlainMessageIsNeverLongerAndStaysAsItIs(f *testing.F) {
	for _, text := range []string{"", "boom", `{"error":"x"}`, `tokenize error: {"error":{"message":"{\"error\":\"y\"}"}}`, `{"error":{}}{`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := backend.Plain(text)
		if len(got) > len(text)+2*strings.Count(text, "\\")+3*len(text) { // a byte that is no UTF-8 becomes three
			t.Fatalf("%q becomes %q", text, got)
		}
		if !strings.Contains(text, "{") && got != text {
			t.Fatalf("%q, which holds no JSON, becomes %q", text, got)
		}
		backend.Recognize(text)
		backend.ContextSizes(text)
	})
}
