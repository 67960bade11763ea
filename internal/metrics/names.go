package metrics

// This file is the one place where metrics are named: their names, labels and buckets, and
// the words that explain them to people. docs/metrics.md is made of it.

// kind is the type of a metric, as Prometheus calls it.
type kind string

const (
	counter   kind = "counter"
	gauge     kind = "gauge"
	histogram kind = "histogram"
)

// family describes all time series of one name.
type family struct {
	name    string
	kind    kind
	labels  []string
	buckets []float64 // of a histogram
	help    string
}

// id names a family within the program.
type id int

// The families, in the order in which the documentation has them.
const (
	operationDuration id = iota
	httpDuration
	requestDuration
	firstTokenTime
	outputTokenTime
	inputTokens
	outputTokens

	callErrors
	refusals
	requests
	running
	saturation

	queueDepth
	queueBytes
	queueOldest
	queueWait
	callerWaiting
	modelWaiting

	hostUp
	hostSlots
	hostLatency
	hostModels
	modelSlots
	modelLoad
	breakerState
	modelsEjected

	retries
	retriesLeft
	hedges

	cacheLookups
	cacheEntries
	cacheBytes
	cacheRemoved
	cacheSaved
	semanticLookups

	redisUp
	redisReplicas
	redisLookups
	redisFailures

	jobsKept
	jobsOldest

	ladderAnswers
	ladderState
	ladderChanges

	providerUp
	providerSlots
	providerWaiting
	providerRequests
	providerBreaker

	usageCalls
	usageTokens
	usageSeconds
	budgetUsed
	budgetLimit
	keyExpires

	callLogDropped

	buildInfo
	familyCount // is no family
)

// The buckets of the standard histograms are those that the conventions recommend, with more
// at the end where a model that has to be loaded takes longer. Calls by HTTP have those of calls by
// MCP, so that both can be added.
var (
	mcpBuckets       = []float64{.01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60, 120, 300}
	durationBuckets  = []float64{.01, .02, .04, .08, .16, .32, .64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68}
	firstBuckets     = []float64{.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 25, 50, 100, 250}
	perTokenBuckets  = []float64{.01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5}
	queueWaitBuckets = []float64{.001, .01, .05, .1, .25, .5, 1, 2.5, 5, 10, 25, 50, 100, 250}
	loadBuckets      = []float64{.1, .25, .5, 1, 2.5, 5, 10, 25, 50, 100, 250}
)

// Labels that several families have. Those of the standard families are named as the
// conventions of OpenTelemetry name them, with underscores for dots.
const (
	labelOperation = "gen_ai_operation_name"
	labelProvider  = "gen_ai_provider_name"
	labelRequested = "gen_ai_request_model"
	labelServed    = "gen_ai_response_model"
	labelErrorType = "error_type"
)

var families = [familyCount]family{
	operationDuration: {
		"mcp_server_operation_duration_seconds", histogram,
		[]string{"mcp_method_name", "gen_ai_tool_name", labelErrorType, "network_transport"},
		mcpBuckets,
		"Time of tool calls as the server saw them, refused ones included. error_type is tool_error for a result that is an error. Calls by the gateway are in http_server_request_duration_seconds.",
	},
	httpDuration: {
		"http_server_request_duration_seconds", histogram,
		[]string{"http_request_method", "http_route", "http_response_status_code", "url_scheme", labelErrorType},
		mcpBuckets,
		"Time of requests to the gateway, refused ones included. error_type is the code of an error of the server, and of one in the middle of a stream.",
	},
	requestDuration: {
		"gen_ai_server_request_duration_seconds", histogram,
		[]string{labelOperation, labelProvider, labelRequested, labelServed, labelErrorType},
		durationBuckets,
		"Time of calls to a model, from their arrival to their end, without those that the cache answered. error_type is the code of the error.",
	},
	firstTokenTime: {
		"gen_ai_server_time_to_first_token_seconds", histogram,
		[]string{labelOperation, labelProvider, labelRequested, labelServed},
		firstBuckets,
		"Time from when a request began to wait for a slot until the first token of its answer came.",
	},
	outputTokenTime: {
		"gen_ai_server_time_per_output_token_seconds", histogram,
		[]string{labelOperation, labelProvider, labelRequested, labelServed},
		perTokenBuckets,
		"Mean time per token of an answer, after the first one.",
	},
	inputTokens: {
		"gen_ai_client_inference_usage_input_tokens_total", counter,
		[]string{labelOperation, labelProvider, labelRequested, labelServed},
		nil,
		"Tokens of prompts that models have read. Answers from the cache, and shared ones, count nothing.",
	},
	outputTokens: {
		"gen_ai_client_inference_usage_output_tokens_total", counter,
		[]string{labelOperation, labelProvider, labelRequested, labelServed},
		nil,
		"Tokens that models have generated, thoughts included. Answers from the cache, and shared ones, count nothing.",
	},

	callErrors: {
		"ollama_mcp_errors_total", counter,
		[]string{"tool", "code"},
		nil,
		"Tool calls that failed, by the code of the error.",
	},
	refusals: {
		"ollama_mcp_refused_messages_total", counter,
		[]string{"reason"},
		nil,
		"Messages and HTTP requests that were refused before they reached a tool.",
	},
	requests: {
		"ollama_mcp_requests_total", counter,
		[]string{"outcome"},
		nil,
		"Requests to the pool of hosts. outcome is served, failed, cancelled, gave_up (cancelled or timed out in the queue) or refused.",
	},
	running: {
		"ollama_mcp_running", gauge, nil, nil,
		"Requests that hosts are processing.",
	},
	saturation: {
		"ollama_mcp_saturation", gauge, nil, nil,
		"Requests that run or wait, divided by the slots of the healthy hosts. Above 1 there are more than the hosts can work on.",
	},

	queueDepth:    {"ollama_mcp_queue_depth", gauge, []string{"priority"}, nil, "Requests that wait for a slot."},
	queueBytes:    {"ollama_mcp_queue_bytes", gauge, nil, nil, "Size of the prompts that wait."},
	queueOldest:   {"ollama_mcp_oldest_wait_seconds", gauge, nil, nil, "How long the oldest waiting request has waited; 0 if none waits."},
	queueWait:     {"ollama_mcp_queue_wait_seconds", histogram, nil, queueWaitBuckets, "Time that requests waited for a slot before they got one."},
	callerWaiting: {"ollama_mcp_caller_waiting", gauge, []string{"caller"}, nil, "Requests that wait, by caller."},
	modelWaiting:  {"ollama_mcp_model_waiting", gauge, []string{"model"}, nil, "Requests that wait, by model."},

	hostUp:        {"ollama_mcp_host_up", gauge, []string{"host"}, nil, "1 if the host is sent requests, 0 if it is down or ejected."},
	hostSlots:     {"ollama_mcp_host_slots", gauge, []string{"host", "state"}, nil, "Slots of a host, by state: busy or free."},
	hostLatency:   {"ollama_mcp_host_latency_seconds", gauge, []string{"host"}, nil, "Mean time of recent requests on a host, without loading; absent if there were none."},
	hostModels:    {"ollama_mcp_host_models", gauge, []string{"host", "state"}, nil, "Models of a host, by state: installed or loaded."},
	modelSlots:    {"ollama_mcp_model_slots", gauge, []string{"host", "model", "state"}, nil, "Learned slots of a model on a host, by state: busy or free."},
	modelLoad:     {"ollama_mcp_model_load_seconds", histogram, []string{"model"}, loadBuckets, "Time that hosts took to load a model for a request. Requests that found it loaded are left out."},
	breakerState:  {"ollama_mcp_breaker_state", gauge, []string{"host", "state"}, nil, "1 for the state of a host's circuit breaker: closed, half-open or open; 0 for the other states."},
	modelsEjected: {"ollama_mcp_models_ejected", gauge, []string{"host"}, nil, "Models that a healthy host is not asked for, because they fail there."},

	retries:     {"ollama_mcp_retries_total", counter, []string{"reason"}, nil, "Attempts after the first, by the failure of the attempt before."},
	retriesLeft: {"ollama_mcp_retry_budget", gauge, nil, nil, "Retries that are allowed now."},
	hedges:      {"ollama_mcp_hedges_total", counter, []string{"outcome"}, nil, "Second attempts beside a host that was late, by outcome: won or lost."},

	cacheLookups:    {"ollama_mcp_cache_lookups_total", counter, []string{"result"}, nil, "Look-ups in the answer cache. result is hit, miss, coalesced (joined an identical request in flight) or shared (another replica had the answer, or made it)."},
	cacheEntries:    {"ollama_mcp_cache_entries", gauge, nil, nil, "Cached answers."},
	cacheBytes:      {"ollama_mcp_cache_bytes", gauge, nil, nil, "Memory of the cached answers."},
	cacheRemoved:    {"ollama_mcp_cache_removed_total", counter, []string{"reason"}, nil, "Answers that are not cached any more, or never were. reason is evicted, expired, too_large or crowded_out (less popular than those in its place)."},
	cacheSaved:      {"ollama_mcp_cache_saved_seconds_total", counter, nil, nil, "Time that cached and shared answers would have taken."},
	semanticLookups: {"ollama_mcp_cache_semantic_lookups_total", counter, []string{"result"}, nil, "Look-ups for paraphrases. result is hit, shadow (would have been one), or why there was none."},

	jobsKept:   {"ollama_mcp_jobs", gauge, []string{"state"}, nil, "Jobs that this replica has, by state: underway or ended. The others can ask for them, but do not count them."},
	jobsOldest: {"ollama_mcp_oldest_job_seconds", gauge, nil, nil, "How long ago the oldest job that is underway here began; 0 if none is."},

	redisUp:       {"ollama_mcp_redis_up", gauge, nil, nil, "1 if Redis can be reached and takes new answers, 0 if not, and the replica goes on with its share of each limit; absent without --redis."},
	redisReplicas: {"ollama_mcp_redis_replicas", gauge, nil, nil, "Replicas that were heard of through Redis in the last seconds, or when it could last be reached, this one included."},
	redisLookups:  {"ollama_mcp_redis_lookups_total", counter, []string{"result"}, nil, "Look-ups for answers of other replicas. result is hit or miss."},
	redisFailures: {"ollama_mcp_redis_failures_total", counter, []string{"reason"}, nil, "Failures with Redis, by reason: command (one failed or took too long), unreadable (a record is broken or of another version) or too_large (an answer was not stored)."},

	ladderAnswers: {"ollama_mcp_ladder_answers_total", counter, []string{"model", "rung"}, nil, "Answers by the rung that gave them. Rung 1 is the model that was asked for, the others are its fallbacks."},
	ladderState:   {"ollama_mcp_ladder_state", gauge, []string{"model", "state"}, nil, "1 for a ladder that is overloaded, degraded or recovering; absent for one that is normal."},
	ladderChanges: {"ollama_mcp_ladder_changes_total", counter, []string{"model", "state"}, nil, "Changes of a ladder to a state: normal, overloaded, degraded or recovering."},

	providerUp:       {"ollama_mcp_provider_up", gauge, []string{"provider"}, nil, "1 if the provider is sent requests, 0 if not."},
	providerSlots:    {"ollama_mcp_provider_slots", gauge, []string{"provider", "state"}, nil, "Slots of a provider, by state: busy or free."},
	providerWaiting:  {"ollama_mcp_provider_queue_depth", gauge, []string{"provider"}, nil, "Requests that wait for a provider."},
	providerRequests: {"ollama_mcp_provider_requests_total", counter, []string{"provider", "outcome"}, nil, "Requests to a provider, with the outcomes of ollama_mcp_requests_total."},
	providerBreaker:  {"ollama_mcp_provider_breaker_state", gauge, []string{"provider", "state"}, nil, "1 for the state of a provider's circuit breaker, 0 for the other states."},

	usageCalls:   {"ollama_mcp_usage_calls_total", counter, []string{"caller", "model", "source"}, nil, "Calls to a model, by caller and by the source of the answer: local, cloud, cache, or none for a failed call."},
	usageTokens:  {"ollama_mcp_usage_tokens_total", counter, []string{"caller", "model", "source", "direction"}, nil, "Tokens by caller, source and direction (in or out). Those of source cache were saved."},
	usageSeconds: {"ollama_mcp_usage_seconds_total", counter, []string{"caller", "model", "source"}, nil, "Time of these calls."},

	budgetUsed:  {"ollama_mcp_key_budget_used", gauge, []string{"caller", "unit"}, nil, "Calls and tokens that a key with a daily budget has used today, in UTC."},
	budgetLimit: {"ollama_mcp_key_budget_limit", gauge, []string{"caller", "unit"}, nil, "Calls and tokens that a key may use in a day; absent without a limit."},
	keyExpires:  {"ollama_mcp_key_expires_timestamp_seconds", gauge, []string{"caller"}, nil, "When a key expires, in Unix time; absent for a key that does not."},

	callLogDropped: {"ollama_mcp_call_log_dropped_total", counter, []string{"reason"}, nil, "Calls without a line in the call log, by reason: buffer_full (they came too fast) or disk (the file could not be written)."},

	buildInfo: {"ollama_mcp_build_info", gauge, []string{"version", "goversion"}, nil, "1, with the version of the program."},
}
