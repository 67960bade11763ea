package openai_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/backend/openai"
)

func ask(t testing.TB, b backend.Backend) (*backend.Answer, error) {
	return b.Chat(t.Context(), &backend.ChatRequest{Model: backendtest.Tiny, Messages: []backend.Message{{Role: "user", Content: "hello"}}}, nil)
}

// The bodies are those of the servers named, as their sources or users tell.
func TestRefusalsHaveTheirClassAndWords(t *testing.T) {
	fake := backendtest.New("a")
	host := open(t, openai.Options{Name: "a", URL: fake.Listen(t) + "/v1"})
	for _, c := range []struct {
		server string
		status int
		body   string
		class  backend.Class
		said   string
	}{
		{"OpenAI", 401, `{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`, backend.Unauthorized, "Incorrect API key provided"},
		{"OpenAI", 404, `{"error":{"message":"The model 'x' does not exist or you do not have access to it.","type":"invalid_request_error","param":null,"code":"model_not_found"}}`, backend.ModelMissing, "The model 'x' does not exist or you do not have access to it."},
		{"OpenAI", 403, `{"error":{"message":"Project p does not have access to model x","code":"model_not_found"}}`, backend.ModelMissing, "Project p does not have access to model x"},
		{"OpenAI", 429, `{"error":{"message":"Rate limit reached","type":"requests","param":null,"code":"rate_limit_exceeded"}}`, backend.Overload, "Rate limit reached"},
		{"OpenAI", 429, `{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`, backend.NoCredit, "You exceeded your current quota"},
		{"OpenAI", 400, `{"error":{"message":"Your input exceeds the limit","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`, backend.TooLong, "Your input exceeds the limit"},
		{"OpenAI", 400, `{"error":{"message":"Unrecognized request argument supplied: x","type":"invalid_request_error","param":null,"code":null}}`, backend.Request, "Unrecognized request argument supplied: x"},
		{"OpenAI", 500, `{"error":{"message":"The server had an error","type":"server_error"}}`, backend.Server, "The server had an error"},
		{"older vLLM", 400, `{"object":"error","message":"This model's maximum context length is 4096 tokens. However, you requested 5000.","type":"BadRequestError","param":null,"code":400}`, backend.TooLong, "This model's maximum context length is 4096 tokens. However, you requested 5000."},
		{"vLLM", 404, `{"error":{"message":"The model x does not exist.","type":"NotFoundError","param":null,"code":404}}`, backend.ModelMissing, "The model x does not exist."},
		{"vLLM", 401, `{"error":"Unauthorized"}`, backend.Unauthorized, "Unauthorized"},
		{"FastAPI", 404, `{"detail":"Not Found"}`, backend.Server, "Not Found"},
		{"FastAPI", 422, `{"detail":[{"loc":["body"],"msg":"field required"}]}`, backend.Request, "field required (body)"},
		{"llama.cpp", 400, `{"error":{"code":400,"message":"request (36146 tokens) exceeds the available context size (32768 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":36146,"n_ctx":32768}}`, backend.TooLong, "request (36146 tokens) exceeds the available context size (32768 tokens), try increasing it"},
		{"llama.cpp", 503, `{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}`, backend.Overload, "Loading model"},
		{"LM Studio", 400, `{"error":"The number of tokens to keep from the initial prompt is greater than the context length."}`, backend.TooLong, "The number of tokens to keep from the initial prompt is greater than the context length."},
		{"llama-cpp-python", 500, `{"error":{"message":"Requested tokens (2285) exceed context window of 2048","type":"internal_server_error"}}`, backend.TooLong, "Requested tokens (2285) exceed context window of 2048"},
		{"Gemini", 400, `[{"error":{"code":400,"message":"The input token count (9) exceeds the maximum number of tokens allowed (8).","status":"INVALID_ARGUMENT"}}]`, backend.TooLong, "The input token count (9) exceeds the maximum number of tokens allowed (8)."},
		{"DeepSeek", 402, `{"error":{"message":"Insufficient Balance","type":"unknown_error"}}`, backend.NoCredit, "Insufficient Balance"},
		{"Anthropic", 400, `{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}`, backend.NoCredit, "Your credit balance is too low to access the Anthropic API."},
		{"xAI", 403, `{"code":"forbidden","error":"Your team has either used all available credits or reached its monthly spending limit."}`, backend.NoCredit, "Your team has either used all available credits or reached its monthly spending limit."},
		{"Gemini", 429, `[{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.","status":"RESOURCE_EXHAUSTED"}}]`, backend.Overload, "You exceeded your current quota, please check your plan and billing details."},
		{"Groq", 400, `{"error":{"message":"The model x has been decommissioned and is no longer supported.","type":"invalid_request_error","code":"model_decommissioned"}}`, backend.ModelMissing, "The model x has been decommissioned and is no longer supported."},
		{"DeepSeek", 400, `{"error":{"message":"Model Not Exist","type":"invalid_request_error","code":"invalid_request_error"}}`, backend.ModelMissing, "Model Not Exist"},
		{"GitHub", 410, `{"error":{"message":"This endpoint is gone"}}`, backend.ModelMissing, "This endpoint is gone"},
		{"GitHub", 410, "", backend.ModelMissing, ""},
		{"Anthropic", 529, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, backend.Overload, "Overloaded"},
		{"Ollama", 404, `{"error":{"message":"model 'x' not found","type":"not_found_error","param":null,"code":null}}`, backend.ModelMissing, "model 'x' not found"},
		{"Anthropic", 404, `{"type":"error","error":{"type":"not_found_error","message":"model: claude-9"}}`, backend.ModelMissing, "model: claude-9"},
		{"Azure", 404, `{"error":{"code":"DeploymentNotFound","message":"It is not there."}}`, backend.ModelMissing, "It is not there."},
		{"Together", 404, `{"error":{"message":"It is not there.","type":"invalid_request_error","code":"model_not_available"}}`, backend.ModelMissing, "It is not there."},
		{"KoboldCpp", 503, `{"detail":{"msg":"Prompt exceeds context window","type":"service_unavailable"}}`, backend.TooLong, "Prompt exceeds context window"},
		{"OpenAI", 500, `{"error":{"message":"The server is currently overloaded with other requests.","type":"server_error"}}`, backend.Overload, "The server is currently overloaded with other requests."},
		{"Bedrock", 400, `{"__type":"ThrottlingException","message":"Too many requests, please wait before trying again."}`, backend.Overload, "Too many requests, please wait before trying again."},
		{"Gemini", 400, `[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}]`, backend.Unauthorized, "API key not valid. Please pass a valid API key."},
		{"OpenRouter", 404, `{"error":{"message":"No endpoints found that support tool use.","code":404}}`, backend.Request, "No endpoints found that support tool use."},
		{"a proxy", 407, "", backend.Unauthorized, ""},
		{"a proxy", 502, "<html>Bad Gateway</html>", backend.Server, "answered with HTML"},
		{"a proxy", 404, "<html>model not found</html>", backend.Server, "answered with HTML"},
		{"a proxy", 403, "", backend.Unauthorized, ""},
	} {
		fake.Break(backendtest.Respond(c.status, "application/json", c.body))
		_, err := ask(t, host)
		e, ok := errors.AsType[*backend.Error](err)
		if !ok || e.Class != c.class || e.Message != c.said || e.Status != c.status {
			t.Errorf("%s: %d %s\ngot  %+v\nwant %q, %q", c.server, c.status, c.body, err, c.class, c.said)
		}
	}
}

func TestRetryAfterIsReadInBothForms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := backendtest.New("a")
		t.Cleanup(fake.Close)
		host := open(t, openai.Options{URL: "http://a/v1", DialContext: fake.Dial})
		for _, header := range []string{"90", time.Now().Add(90 * time.Second).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")} {
			fake.Break(backendtest.Refuse(429, "slow down", "Retry-After", header))
			_, err := ask(t, host)
			if e, ok := errors.AsType[*backend.Error](err); !ok || e.RetryAfter != 90*time.Second {
				t.Errorf("%q gave %+v, want 90 s", header, err)
			}
		}
		for _, said := range []backendtest.Fault{
			backendtest.Refuse(429, "Rate limit reached. Please try again in 1m30s."),
			backendtest.Respond(200, "text/event-stream", "data: {\"error\":{\"message\":\"Please retry in 90 seconds\",\"code\":429}}\n\n"),
		} {
			fake.Break(said)
			_, err := ask(t, host)
			if e, ok := errors.AsType[*backend.Error](err); !ok || e.RetryAfter != 90*time.Second {
				t.Errorf("in words: got %+v, want 90 s", err)
			}
		}
	})
}

func TestTimeToWaitIsReadFromAnErrorInAStreamToo(t *testing.T) {
	fake := backendtest.New("a")
	host := open(t, openai.Options{URL: fake.Listen(t) + "/v1"})
	for event, want := range map[string]backend.Error{
		`{"error":{"code":429,"message":"slow down","details":[{"retryDelay":"46s"}]}}`:                  {Class: backend.Overload, Status: 429, RetryAfter: 46 * time.Second},
		`{"error":{"type":"rate_limit_error","message":"Please try again in 20ms."}}`:                    {Class: backend.Overload, Status: 429, RetryAfter: 20 * time.Millisecond},
		`{"type":"error","error":{"type":"overloaded_error","message":"Please retry after 3 seconds."}}`: {Class: backend.Overload, RetryAfter: 3 * time.Second},
		`{"error":{"message":"Please retry after 3 seconds."}}`:                                          {Class: backend.Server},
		`{"error":{"code":"insufficient_quota","message":"You exceeded your current quota"}}`:            {Class: backend.NoCredit, RetryAfter: 5 * time.Minute},
	} {
		fake.Break(backendtest.Respond(200, "text/event-stream", "data: "+event+"\n\n"))
		_, err := ask(t, host)
		if e, ok := errors.AsType[*backend.Error](err); !ok || e.Class != want.Class || e.Status != want.Status || e.RetryAfter != want.RetryAfter {
			t.Errorf("%s gave %+v, want %+v", event, err, want)
		}
	}
}

func TestErrorsHoldNoKey(t *testing.T) {
	const key = "sk-of-ours"
	for name, f := range map[string]backendtest.Fault{
		"echo":         backendtest.Refuse(401, "no such key: "+key),
		"echo as text": backendtest.Respond(500, "text/plain", key),
		"error event":  backendtest.ErrorLine(key),
		"redirect":     backendtest.Respond(307, "text/html", "", "Location", "http://"+key+"/"),
		"reset":        backendtest.Reset,
	} {
		fake := backendtest.New("a").Break(f)
		host := open(t, openai.Options{URL: fake.Listen(t) + "/v1", Key: key})
		if _, err := ask(t, host); err == nil || strings.Contains(err.Error(), key) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
