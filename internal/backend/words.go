package backend

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// kindsOfWords is the one table of what servers say about failures whose HTTP status says
// little: Ollama sends the same failure with 400 and with 500, depending on the path. A
// phrase may stand anywhere in the text, also in JSON inside it, and is compared in lower
// case. The first kind that matches counts, so kinds that quote a model or a request come first.
var kindsOfWords = []struct {
	class   Class
	phrases func() *regexp.Regexp
}{
	// What the model wrote, which is quoted in the message, cannot be used.
	{BadOutput, anyOf(
		`(error|failed|failure|unable|cannot) (parsing|to parse|parse)( \w+){0,2} (tool|function)[ _]calls?`,
		`(invalid|malformed|incomplete|unterminated|empty)( \w+){0,3} (tool|function)[ _]?calls?`,
		`(tool|function)[ _]call (parser|parsing)( \w+)? (error|failed)`, `xml syntax error on line`, `failed to parse input at pos`,
		`failed to call a function`, `failed to generate json`, `tool_use_failed|json_validate_failed`, `output( \w+)? (does|did) not match the expected`,
		`harmony ?error`, `unexpected tokens? .{0,40}(message header|expecting start token)`,
		`\bunsupported value: [-+]?(nan|inf)`, `\b(nan|inf)\b.{0,40}\b(values?|embeddings?|logits|vectors?)\b`, `\b(embeddings?|logits|vectors?|output)\b.{0,40}\b(nan|inf)\b`,
		`empty embedding response`, `unmarshal embedding values`,
	)},
	// The account has no credit left, which neither waiting nor another request cures. A
	// quota alone may be one of a minute.
	{NoCredit, anyOf(
		`insufficient[ _](balance|credits?|funds)`, `(insufficient|not enough|out of|requires more|no (more|remaining)) (account |available |remaining )?(credits?|balance|funds)\b`,
		`(all available|all your|used up your) credits?\b`, `\b(credits?|balance|funds|prepayment)\b.{0,20} (too low|exhausted|insufficient|depleted|used up|spent|negative)\b`,
		`(reached|exceeded|over) (your|its|the) (monthly |current |hard )?(spending|billing|usage cost) limit`,
		`\b(account|organization|workspace)\b.{0,80}\b(suspended|deactivated)\b`, `余额不足|欠费`,
		`requires? an? (active |paid )*(subscription|plan)\b`, `upgrade (your plan )?for (higher|more|access)`,
		`billing[ _](hard[ _]limit|not[ _]active)`, `payment required`, `\b(account|billing|subscription)( \w+){0,3} (not active|inactive|overdue|in arrears)`,
	)},
	// The key is missing, or is not one that the server accepts.
	{Unauthorized, anyOf(
		`\bapi[ _-]?key\b.{0,30}\b(not valid|invalid|incorrect|missing|expired|revoked|required|disabled)\b`,
		`\b(invalid|incorrect|missing|expired|wrong|malformed|unknown)( \w+)? (api[ _-]?key|api token|auth\w* (token|header)|access token|bearer token|credentials)\b`,
		`(?m:(^|: )unauthorized[.!]?$)`, `\bapi_key_invalid\b`, `\bunauthenticated\b`, `\bauthentication (failed|required)\b`,
	)},
	// The process that ran the model has died while it worked, perhaps for want of memory.
	{Crashed, anyOf(`error was encountered while running the model`, `model runner has unexpectedly stopped`, `mlx runner exited unexpectedly`)},
	// The memory does not suffice.
	{NoRoom, anyOf(
		`out[ _-]of[ _-]((device|host|gpu|video|system|shared)[ _-])?memory`, `outof(device|host)?memory`, `(cuda|hip|sycl|ggml)_?malloc\w* failed`,
		`failed to (allocate|reserve|commit)`, `(unable|cannot|could not|not able) (to )?allocate`, `allocation failed`, `cannot be allocated`,
		`malloc\b.{0,40}(limit|exceed|fail)`, `load (the )?full model on gpu`,
		`(not enough|insufficient)( \w+){0,3} (v?ram|memory)`, `requires more( \w+){0,2} memory`, `requires [\d.]+ ?[kmgt]i?b but only`, `kv[ _]cache.{0,40}(does not fit|larger than)`,
	)},
	// The prompt does not fit the context: first what is about length in any case, then
	// what is so if it speaks of exceeding too. Limits of a rate also count tokens.
	{TooLong, anyOf(
		`maximum (context|prompt|model|sequence) length`, `max_model_len\b`, `exceed_context_size_error|context_length_exceeded`,
		`\b(prompt|inputs?|messages?|conversation|text|document|query|context)\b( \(?\w+ tokens\)?)? (is|are|was|were)? ?(too long|too large|longer than)`,
		`(input|prompt)( \w+)? (too long|longer than)`, `request( body)? too large for `, `entire prompt removed by truncation`,
		`input tokens? exceeded`, `too many (input|prompt) tokens`, `expected maxlength`,
		`context_?window_?exceeded`, `max_kv_size`, `range of input length`, `(prompt|inputs?|messages?) exceeds? (the )?(max|maximum|limit|context)\b`,
		`(上下文|输入|提示|请求).{0,20}(超过|超出|过长|太长)`,
		`reduce (the length|your (prompt|message))`, `max_(completion_)?tokens must be at least 1, got -`,
		`(find|no) (a |free )*(kv|memory)([ _]cache)? slot`,
	)},
	{TooLong, anyOf(`(context ?(length|size|window|limit)?|available context|token count|input length|prompt length|num_ctx|n_ctx)\b.{0,80}(exceed|overflow|not enough|too small|greater than|larger than)`)},
	{TooLong, anyOf(`(exceed\w*|overflow\w*|greater than|larger than|longer than|more than|beyond|does not fit( in(to)?)?)\b.{0,60}\b(context|n_ctx|num_ctx|maximum (number of )?(input )?tokens|maximum (allowed |input )?length|maximum number of tokens|tokens? limit)\b`)},
	{TooLong, anyOf("(inputs?`?|prompt|messages|total number of tokens in the prompt|input tokens).{0,60}(must (be|have) (<=|less|at most|fewer|no more)|cannot exceed|limit is|over the limit).{0,60}")},
	// The server has too much to do, or we have asked it too often.
	{Overload, anyOf(
		`\b(server|model|engine|service|system|provider|deployment)s? (is|are|was) (currently |temporarily )?(overloaded|too busy|busy|at( full| max\w*)? capacity|rate[ -]limited)\b`,
		`\bserver (busy|overloaded)\b`, `\btoo many( \w+)? requests\b`, `\bthrottl(ed|ing)`, `\brate[ _-]?limit\w* (was )?(reached|exceeded|hit)\b`, `\b(over|out of|insufficient|exceeded) capacity\b`,
		`请求过于频繁|访问量过大|速率限制|并发数过高`, `\bno (free |available )*slots?( are)?( available)?\b`,
	)},
	// The model's file cannot be read, or needs another version of the server.
	{Request, anyOf(
		`does not support (tools|thinking|insert|vision|generate|chat|completions?|embeddings?)\b`, `invalid options?\b`, `\boption \W*\w+\W* must be of\b`,
		`invalid format`, `invalid json schema`, `vocabulary required for format`, `failed to (parse|compile) grammar`, `grammar (compilation|compile|error)`,
		`no endpoints found that (can )?(support|handle)`, `failed to create new sequence`, `(template|jinja)( \w+)? error`, `image: unknown format`, `(decode|decoding|invalid|unsupported|unrecognized)( \w+)? (image|audio)\b`,
	)},
	{Unloadable, anyOf(
		`error loading model`, `(failed|unable|cannot|could not|not able) to load( the)? model`, `model failed to load`, `llama-server startup failed`,
		`(unknown|unsupported) (model )?architecture`, `no longer compatible with your version`, `loading shared librar`, `(model|it) requires mlx`, `(invalid|bad) (gguf )?magic`, `unsupported (gguf|quantization|tensor)`,
	)},
	// The process is gone, or its connection has ended.
	{Crashed, anyOf(
		`(runner|llama-server)( process)? (has terminated|no longer running|exited|has (died|exited|stopped|crashed))`, `mlx runner failed`,
		`do embedding request`, `error reading embed response`,
		`(127\.0\.0\.1|localhost|\[::1\]):\d+\S* .*\b(eof|connection (reset|refused)|broken pipe|forcibly closed|closed idle connection)`,
		`signal: (killed|aborted|segmentation fault|bus error)`, `segmentation (fault|violation)`, `access violation`, `core dumped`, `\bsig(segv|abrt|kill|bus|ill)\b`, `ggml_assert`,
		`illegal memory access`, `device-side assert`, `\b(cuda|hip|rocblas|cublas|vulkan|metal|sycl) error\b`, `device ?lost`,
	)},
	// The server does not have the model, or not any more.
	{ModelMissing, anyOf(
		`no (endpoints found|allowed providers are available) for`, `unable to access model`, `模型不存在`,
		`\b(models?|deployment)\b.{0,200}\b(not found|(does not|doesn't|not) exist)`, `not found the model`, `(unknown|no such|invalid) model( id)?:`, `(unknown|no such) model\b`, `not a valid model\b`,
		`\bmodel[ :]+(\S+ )?((is|was|has been|have been) )?(now )?(no longer (available|supported|served)|deprecated|retired|decommissioned|discontinued|removed|sunset|shut ?down)\b`,
		`\bmodel_(not_found|decommissioned|deprecated|retired)\b`,
	)},
	// The server has failed, or what stands before it, whatever the status says.
	{Server, anyOf(
		`internal (server )?error`, `bad gateway`, `gateway time-?out`, `temporarily unavailable`, `unexpected server status`, `upstream (connect|request) (error|timeout)`,
		`no space left on device`, `(input/output|i/o) error`, `read-only file system`, `\bcontext cancell?ed\b`, `\bbeing unloaded\b`,
		`\bconnection (refused|reset by peer|aborted)\b`, `\bactively refused\b`, `\bbroken pipe\b`, // to what stands behind it
		`timed out waiting for (the )?(llama|mlx|model|runner)`,
	)},
}

// anyOf matches any of the phrases. It is compiled at first use, since that takes longer than
// much else at the start of the program.
func anyOf(phrases ...string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?s)` + strings.Join(phrases, `|`)) })
}

// ofRate recognizes a limit of tokens in a time, or of a plan: less text alone does not cure it.
var ofRate = regexp.MustCompile(`per[ -](second|minute|min|hour|day|month)|rate[ _-]?limit|quota|\b[tr]p[md]\b`)

// tooLargeForRate recognizes a single request that is more than a rate allows in all of its
// time: waiting never cures it, and less text does.
var tooLargeForRate = regexp.MustCompile(`request( body)? too large for `)

// Recognize is the class of a failure by a server's own words, "" if they say nothing that
// is known. It goes for servers of every kind.
func Recognize(said string) Class {
	const most = 8 << 10 // bytes; what follows repeats it, or quotes the request
	said = said[:min(len(said), most)]
	said = strings.ToLower(said + "\n" + Plain(said))                        // JSON may escape a phrase, and has names beside the message
	said = strings.ReplaceAll(said, "context deadline exceeded", "deadline") // of Go, which is about time
	for _, kind := range kindsOfWords {
		if !kind.phrases().MatchString(said) {
			continue
		}
		if kind.class == TooLong && ofRate.MatchString(said) && !tooLargeForRate.MatchString(said) {
			continue
		}
		return kind.class
	}
	return ""
}

// isOutOfMemory reports whether a message of a model that died says that memory ran out.
func isOutOfMemory(said string) bool {
	said = strings.ToLower(said)
	for _, kind := range kindsOfWords {
		if kind.class == NoRoom && kind.phrases().MatchString(said) {
			return true
		}
	}
	return false
}

// Plain replaces JSON in a server's message by the message in it: an engine's answer is
// passed on as text, such as `tokenize error: {"error":{"message":"…"}}`.
func Plain(said string) string {
	for range 4 { // JSON in JSON in text
		begin := strings.IndexByte(said, '{')
		if begin < 0 {
			return said
		}
		dec := json.NewDecoder(strings.NewReader(said[begin:]))
		var object map[string]json.RawMessage
		if dec.Decode(&object) != nil {
			return said
		}
		inner := messageIn(object)
		if inner == "" {
			return said
		}
		said = said[:begin] + inner + said[begin+int(dec.InputOffset()):]
	}
	return said
}

// messageIn is the message of an error in JSON, "" if it has none.
func messageIn(object map[string]json.RawMessage) (text string) {
	for _, name := range []string{"error", "message", "detail"} {
		raw := object[name]
		if json.Unmarshal(raw, &text) == nil && text != "" {
			return text
		}
		var inner map[string]json.RawMessage
		if json.Unmarshal(raw, &inner) == nil && inner != nil {
			if text = messageIn(inner); text != "" {
				return text
			}
		}
	}
	return ""
}

// sizesIn are the tokens of a prompt and of the context as llama-server names them.
var sizesIn = regexp.MustCompile(`\\*"(n_prompt_tokens|n_ctx)\\*"\s*:\s*(\d{1,9})\b`)

// ContextSizes reads the tokens of a prompt that was refused for its length, and those of
// the context, from a server's answer; 0 for what it does not tell.
func ContextSizes(said string) (prompt, context int) {
	for _, found := range sizesIn.FindAllStringSubmatch(said, -1) {
		n, _ := strconv.Atoi(found[2]) // at most nine digits
		if found[1] == "n_ctx" {
			context = n
		} else {
			prompt = n
		}
	}
	return prompt, context
}
