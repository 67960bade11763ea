package tracing

// This file is the one place where spans, their attributes and their events are named. Standard
// names are those of OpenTelemetry's conventions for MCP, HTTP and generative AI.

// Names of spans. That of a call is the method and the tool, or the method and the route of the HTTP
// request; that of an attempt is what the host is asked for and the model.
const (
	spanLookUp  = "cache lookup"
	spanCompare = "semantic cache lookup"
	spanFill    = "fill"
	spanRung    = "rung"
	spanQueue   = "queue"
)

// Events of spans.
const (
	eventQueued = "queued"
	eventLoaded = "model loaded"
	eventFirst  = "first token"
	eventRetry  = "retry"
)

// Standard attributes.
const (
	attrMethod        = "mcp.method.name"
	attrHTTPMethod    = "http.request.method"
	attrRoute         = "http.route"
	attrStatus        = "http.response.status_code"
	attrPath          = "url.path"
	attrScheme        = "url.scheme"
	attrTool          = "gen_ai.tool.name"
	attrOperation     = "gen_ai.operation.name"
	attrTransport     = "network.transport"
	attrErrorType     = "error.type"
	attrProvider      = "gen_ai.provider.name"
	attrRequestModel  = "gen_ai.request.model"
	attrResponseModel = "gen_ai.response.model"
	attrInputTokens   = "gen_ai.usage.input_tokens"
	attrOutputTokens  = "gen_ai.usage.output_tokens"
	attrFinish        = "gen_ai.response.finish_reasons"
	attrInstructions  = "gen_ai.system_instructions"
	attrInput         = "gen_ai.input.messages"
	attrOutput        = "gen_ai.output.messages"
)

// Attributes of ours.
const (
	attrTrace      = "ollama_mcp.trace_id" // of results and logs, if it is not that of the trace
	attrRequestID  = "ollama_mcp.request_id"
	attrCaller     = "ollama_mcp.caller"
	attrCache      = "ollama_mcp.cache"
	attrSource     = "ollama_mcp.source"
	attrCode       = "ollama_mcp.error.code"
	attrHost       = "ollama_mcp.host"
	attrRung       = "ollama_mcp.rung"
	attrSkipped    = "ollama_mcp.skipped"
	attrAttempt    = "ollama_mcp.attempt"
	attrHedge      = "ollama_mcp.hedge"
	attrBatch      = "ollama_mcp.batch"
	attrPlace      = "ollama_mcp.queue.place"
	attrExpected   = "ollama_mcp.queue.expected_seconds"
	attrWait       = "ollama_mcp.wait_seconds"
	attrLoad       = "ollama_mcp.load_seconds"
	attrFirstToken = "ollama_mcp.first_token_seconds"
)

// operations are what the conventions call the requests to a host.
var operations = map[string]string{"generate": "text_completion", "chat": "chat", "embed": "embeddings"}
