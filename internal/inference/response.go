package inference

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"ollama-mcp/cache"
	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/moderation"
	"ollama-mcp/internal/schema"
)

// Response is the answer to a request.
type Response struct {
	Text     string
	Thinking string // "" unless the request asked for it
	// Data is the JSON object that the request's Format asked for, or {"tool_calls": […]}
	// if the model wants functions called; nil for any other answer.
	Data       map[string]any
	CallsTools bool // Data holds tool calls
	// Logprobs are those of the tokens, thoughts included; nil unless the request asked for them
	// and the host tells them.
	Logprobs []backend.Logprob
	Notes    []string // sentences that a reader of the answer must know
	Served   Served
	Metrics  Metrics
}

// ToolCalls are the calls that the model wants to have made; nil for none.
func (r *Response) ToolCalls() (calls []backend.ToolCall) {
	if !r.CallsTools {
		return nil
	}
	if calls, ok := r.Data["tool_calls"].([]backend.ToolCall); ok {
		return calls
	}
	if err := json.Unmarshal(schema.MustMarshal(r.Data["tool_calls"]), &calls); err != nil { // a filter has changed them
		return nil
	}
	return calls
}

// Metrics are what a host tells of its work on an answer. Those of a cached answer are of the
// time when it was made, but for Load and Total.
type Metrics struct {
	PromptTokens, Tokens   int           // 0 if not known
	Load, PromptEval, Eval time.Duration // 0 if not known
	Total                  time.Duration // of the call
}

// Served says what served a call. Times are in milliseconds.
type Served struct {
	Trace           string   `json:"trace_id"`
	Requested       string   `json:"requested_model"`
	Model           string   `json:"model"`
	Host            string   `json:"host"`
	Source          Source   `json:"source"`
	Age             float64  `json:"age_seconds,omitempty"` // of a cached answer
	Similarity      float64  `json:"similarity,omitempty"`  // of the request that a cached answer was given to; 0 for the same one
	Rung            int      `json:"rung,omitempty"`        // of the model's ladder, from 1
	Passed          []string `json:"passed,omitempty"`      // the rungs before, and why they did not answer
	TokensIn        int      `json:"tokens_in,omitempty"`   // 0 if not known, as of an answer that was cut
	TokensOut       int      `json:"tokens_out"`
	TokensPerSecond float64  `json:"tokens_per_second,omitempty"` // 0 if not known
	Retries         int      `json:"retries,omitempty"`
	Hedged          bool     `json:"hedged,omitempty"` // a second host was asked because the first was late
	Overridden      []string `json:"overridden_options,omitempty"`
	Queue           int64    `json:"queue_ms"`          // waited for slots of hosts
	Lost            int64    `json:"lost_ms,omitempty"` // otherwise before the host was asked: by attempts that failed or were late, and pauses after them
	Load            *int64   `json:"load_ms,omitempty"` // nil if not known, as of an answer that was cut
	FirstToken      int64    `json:"first_token_ms"`
	Total           int64    `json:"total_ms"`
	DoneReason      string   `json:"done_reason,omitempty"`
	Filtered        []string `json:"filtered,omitempty"` // rules that have removed parts of the answer
}

// ToFirstToken is how long the beginning of the answer has taken, in ms.
func (s *Served) ToFirstToken() int64 { return s.Queue + s.Lost + s.FirstToken }

// TimedOut reports whether the answer was cut by the time limit of its call.
func (s Served) TimedOut() bool { return s.DoneReason == string(doneTimeout) }

// Source says where an answer came from.
type Source string

// The sources.
const (
	Local         Source = "local"
	Cloud         Source = "cloud"
	Cached        Source = "cache"
	CachedShared  Source = "cache-shared"   // the answer of another replica
	CachedSimilar Source = "cache-semantic" // the cached answer to a paraphrase
	Coalesced     Source = "coalesced"      // the answer to an identical request that was in flight
)

// doneTimeout is the done reason of an answer that our own time limit has cut.
const doneTimeout backend.EndReason = "timeout"

// result is an answer and how it came about, as the engine hands it on and the cache
// keeps it.
type result struct {
	answer    *backend.Answer // nil if nothing arrived
	served    Served
	truncated *promptTooLong      // for which the host has cut the prompt; nil if it has not
	clamped   string              // note that the caller asked for more context than the model can have; "" if not
	pinned    string              // note about options of the caller that were overridden; "" if none were
	think     *backend.ThinkValue // what the host was asked for in the place of the caller's Think; nil for that
	lowered   string              // note that the model was asked to think less hard; "" if it was not
	repaired  string              // note about why the model was asked once more; "" if it was not
	similarTo string              // the question that the answer was given to; "" for this one
	tried     []string            // hosts that were asked in vain; nil for an answer
}

// Size implements cache.Value. Lists are short, and counted in the rest.
func (r *result) Size() (n int) {
	const rest = 640 // measured with short texts
	const perToken = 64
	for _, l := range r.answer.Logprobs {
		n += perToken * (1 + len(l.TopLogprobs))
	}
	return n + rest + len(r.answer.Text) + len(r.answer.Thinking) + len(r.similarTo)
}

// clone is a result that a call may change, except for its lists.
func (r *result) clone() *result {
	own, answer := *r, *r.answer
	own.answer = &answer
	return &own
}

// cacheable reports whether an answer is complete, and would be the same another time:
// one that stood in for it, or that asks for tools to be called, is for this once.
func (r *result) cacheable() bool {
	return r.answer.DoneReason.Whole() && len(r.answer.ToolCalls) == 0 && len(r.served.Passed) == 0
}

// clean removes invisible characters from the texts of a model, and frees memory that was
// allocated for more.
func (r *result) clean() {
	a := r.answer
	a.Text, a.Thinking = strings.Clone(moderation.Clean(a.Text)), strings.Clone(moderation.Clean(a.Thinking))
	for i := range a.Logprobs {
		l := &a.Logprobs[i]
		l.Token, l.Bytes = moderation.Clean(l.Token), nil // which say the same
		for j := range l.TopLogprobs {
			l.TopLogprobs[j].Token, l.TopLogprobs[j].Bytes = moderation.Clean(l.TopLogprobs[j].Token), nil
		}
	}
}

// shared is a result for one of the calls that get it. It says so if the answer was made
// for another call.
func (r *result) shared(source cache.Source, entry cache.Entry, took time.Duration) *result {
	r = r.clone()
	r.served.Total = took.Milliseconds()
	switch source {
	case cache.Coalesced:
		if r.served.Source != CachedSimilar {
			r.served.Source = Coalesced
		}
	case cache.Hit:
		r.aged(Cached, entry)
	case cache.SharedHit:
		r.aged(CachedShared, entry)
	}
	return r
}

// aged notes that an answer was cached. The waits of the call that it was made for are
// not those of this one.
func (r *result) aged(source Source, entry cache.Entry) {
	r.served.Source, r.served.Queue, r.served.Lost, r.served.Hedged = source, 0, 0, false
	r.served.Age = rounded(max(0, time.Since(entry.Stored).Seconds()))
	r.answer.Load, r.answer.FirstPiece = 0, 0
}

// respond makes a response of a result.
func (t *task) respond(r *result) (*Response, error) {
	r.served.Trace = t.call.Trace
	r.count()
	t.call.served(r.served)
	a := r.answer
	resp := &Response{
		Text: a.Text, Served: r.served, Notes: t.notes(r),
		Metrics: Metrics{PromptTokens: a.PromptTokens, Tokens: a.Tokens, Load: a.Load, PromptEval: a.PromptEval, Eval: a.Eval, Total: time.Since(t.began)},
	}
	if t.wantsThoughts() {
		resp.Thinking = r.answer.Thinking
	}
	switch {
	case !t.Logprobs:
	case t.settings.Filter != nil && t.only == nil:
		resp.Notes = append(resp.Notes, "There are no logprobs, since answers of this server are filtered.")
	case len(r.answer.Logprobs) == 0:
		resp.Notes = append(resp.Notes, fmt.Sprintf("%s tells no logprobs.", r.served.Host))
	default:
		resp.Logprobs = r.answer.Logprobs
	}
	switch {
	case len(r.answer.ToolCalls) > 0:
		resp.Data, resp.CallsTools = map[string]any{"tool_calls": r.answer.ToolCalls}, true
		return resp, nil
	case t.format == nil:
		return resp, nil
	}
	value, err := t.format.parse(r.answer.Text)
	if err != nil && t.Unfit {
		resp.Notes = append(resp.Notes, fmt.Sprintf("The answer does not fit the format: %v.", err))
		return resp, nil
	}
	if err != nil {
		e := misfit(r.answer, err)
		if e.Retryable && t.deterministic() { // the model would answer the same again
			e.Retryable, e.Hint = false, "ask for less, use a simpler schema or another seed"
		}
		e.Thinking = resp.Thinking
		return nil, e
	}
	resp.Data, _ = value.(map[string]any) // of any other value the text is the answer
	return resp, nil
}

// count takes over what the host tells of its answer.
func (r *result) count() {
	s, a := &r.served, r.answer
	s.TokensIn, s.TokensOut, s.DoneReason = a.PromptTokens, a.Tokens, string(a.DoneReason)
	s.FirstToken = a.FirstPiece.Milliseconds()
	if a.DoneReason != "" && a.DoneReason != doneTimeout { // hosts tell it at the end
		s.Load = new(a.Load.Milliseconds())
	}
	if a.Eval > 0 {
		s.TokensPerSecond = math.Round(float64(a.Tokens)/a.Eval.Seconds()*10) / 10
	}
}

// notes are the sentences that tell the reader of an answer what the text does not say: where it came
// from, what the server changed about the request, and what is missing.
func (t *task) notes(r *result) []string {
	a, ratio := r.answer, t.tokens.of(r.served.Model)
	var notes []string
	add := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	switch {
	case r.similarTo != "":
		add("This is the cached answer, %.0f s old, to a similar question (similarity %.3f): %q. For a new answer call again with cache \"refresh\".",
			math.Ceil(r.served.Age), r.served.Similarity, moderation.Clean(r.similarTo))
	case (t.format != nil || t.Batched) && (r.served.Source == Coalesced || r.served.Source == Cached || r.served.Source == CachedShared):
		// Served.Source says it: programs that parse the answer want no text beside it.
	case r.served.Source == Coalesced:
		add("This answer was made for an identical request that was under way, and is shared with it. For one of your own call again with cache \"refresh\".")
	case r.served.Source == Cached || r.served.Source == CachedShared:
		add("This is a cached answer, %.0f s old. For a new one call again with cache \"refresh\".", math.Ceil(r.served.Age))
	}
	if len(r.served.Passed) > 0 {
		add("Answered by %s instead of %s.", r.served.Model, strings.Join(r.served.Passed, ", "))
	}
	if r.served.Hedged {
		add("Answered by %s, which was asked as well because another host was late.", r.served.Host)
	}
	for _, note := range []string{unchecked(t.Options, a.Dropped), r.pinned, r.clamped, r.lowered, r.repaired} {
		if note != "" {
			notes = append(notes, note)
		}
	}
	switch {
	case r.truncated != nil:
		add("The prompt (about %s) did not fit the model's context: its oldest part was cut and the model read only %s. To have all of it read: %s.",
			fault.Count(r.truncated.prompt, "token"), fault.Count(a.PromptTokens, "token"), r.truncated.remedy())
	case ratio.looksCut(t.text, a.PromptTokens):
		add("The prompt (about %s) may have been cut: the host says that it read only %s. Send less, or raise options.num_ctx.",
			fault.Count(ratio.count(t.text), "token"), fault.Count(a.PromptTokens, "token"))
	}
	if len(a.Dropped) > 0 && t.only == nil {
		add("%s does not support these options, so they were left out: %s.", r.served.Host, strings.Join(a.Dropped, ", "))
	}
	if note := t.endNote(r); note != "" {
		notes = append(notes, note)
	}
	return notes
}

// endNote says what is wrong with the way in which an answer ended; "" if nothing is.
func (t *task) endNote(r *result) string {
	a := r.answer
	empty, end := isEmpty(a), a.DoneReason.End()
	switch {
	case t.only != nil: // nothing of the text is used but a letter
	case a.DoneReason == doneTimeout:
		return fmt.Sprintf("The answer was cut by the time limit of %v. Allow more with timeout_seconds.", t.limit)
	case end == backend.EndNoAnswer:
		return fmt.Sprintf("The prompt was empty: the model was %sed and generated nothing.", a.DoneReason)
	case end == backend.EndFiltered:
		return fmt.Sprintf("The answer is incomplete: %s stopped it by a filter (%q). Rephrase the request, or use another model.", r.served.Host, a.DoneReason)
	case empty && a.Thinking != "":
		return fmt.Sprintf("The model's answer is empty: %s. Raise options.num_predict, or set think to false.", spentOnThinking(a))
	case end == backend.EndCut:
		return fmt.Sprintf("The answer was cut after %s. Raise options.num_predict, or options.num_ctx if the context is full.", fault.Count(a.Tokens, "token"))
	case empty:
		return "The model's answer is empty."
	case end == backend.EndCalls && len(a.ToolCalls) == 0:
		return fmt.Sprintf("The answer may be incomplete: %s says that it ended with a tool call (%q), and sent none.", r.served.Host, a.DoneReason)
	case end == backend.EndUnknown && a.DoneReason == backend.NoReason:
		return fmt.Sprintf("The answer may be incomplete: %s did not say why it ended.", r.served.Host)
	case end == backend.EndUnknown:
		return fmt.Sprintf("The answer may be incomplete: %s gave an unknown reason for its end (%q).", r.served.Host, a.DoneReason)
	}
	return ""
}

// answerFormat is the format that a request wants its answer in. It remembers the last text
// that was checked, since the same one is looked at more than once on its way to the caller.
type answerFormat struct {
	schema *schema.Format

	mu      sync.Mutex // guards what follows
	checked bool
	text    string
	value   any
	err     error
}

// parse returns the value of a text that fits the format, without the invisible characters
// that were escaped in it. It is called while no slot of a host is held: the time that it
// takes depends on the schema and on the text.
func (f *answerFormat) parse(text string) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.checked || f.text != text {
		f.checked, f.text = true, text
		if f.value, f.err = f.schema.Decode(text); f.err == nil {
			f.value = moderation.CleanValue(f.value)
			f.err = f.schema.Check(f.value)
		}
	}
	return f.value, f.err
}

// misfit is the error of an answer that does not fit the format.
func misfit(a *backend.Answer, err error) *fault.Error {
	e := &fault.Error{
		Code: fault.Upstream, Message: "the answer does not fit the format: " + err.Error(), Retryable: true,
		Hint: "try again, ask for less, or use a simpler schema", Partial: a.Text, ForLogs: "the answer does not fit the format",
	}
	end := a.DoneReason.End()
	switch cut := end == backend.EndCut; {
	case cut && isEmpty(a) && a.Thinking != "":
		e.Message = "the model's answer is empty: " + spentOnThinking(a)
		e.Hint = "raise options.num_predict, or set think to false"
	case cut:
		e.Message = "the answer does not fit the format, since it was cut after " + fault.Count(a.Tokens, "token")
		e.Hint = "raise options.num_predict, or options.num_ctx if the context is full"
	case end == backend.EndFiltered:
		e.Message = fmt.Sprintf("the answer does not fit the format, since the host stopped it by a filter (%q)", a.DoneReason)
		e.Hint = "put the request differently, or use another model"
	case isEmpty(a):
		e.Message = "the answer does not fit the format: it is empty"
	}
	if end == backend.EndCut || end == backend.EndFiltered {
		e.Retryable = false // the same call would end the same way
	}
	return e
}

// spentOnThinking says why an answer is empty of which there are thoughts.
func spentOnThinking(a *backend.Answer) string {
	if a.Tokens == 1 {
		return "it spent its only token on thinking"
	}
	return fmt.Sprintf("it spent all its %d tokens on thinking", a.Tokens)
}

// isEmpty reports whether an answer is of no use to anybody: there is no text that a reader
// sees, and no tool is to be called.
func isEmpty(a *backend.Answer) bool { return len(a.ToolCalls) == 0 && moderation.IsBlank(a.Text) }

// rounded is a number to three digits behind the point, for people to read.
func rounded(f float64) float64 { return math.Round(f*1000) / 1000 }

// sharedResult is a result as replicas share it. Its JSON is part of the form of their records.
type sharedResult struct {
	Answer   *backend.Answer     `json:"answer"`
	Served   Served              `json:"served"`
	Clamped  string              `json:"clamped,omitempty"`
	Pinned   string              `json:"pinned,omitempty"`
	Think    *backend.ThinkValue `json:"think,omitempty"`
	Lowered  string              `json:"lowered,omitempty"`
	Repaired string              `json:"repaired,omitempty"`
}

// isForAll reports whether other replicas may use a result: that of a prompt which was cut tells of this
// replica's hosts, and that of a similar question is the answer to another.
func (r *result) isForAll() bool { return r.truncated == nil && r.similarTo == "" }

// codec makes JSON of results that other replicas may use.
type codec struct{}

// Encode returns nil for a value that is no result, and for one that is not for all.
func (codec) Encode(v cache.Value) []byte {
	r, ok := v.(*result)
	if !ok || !r.isForAll() {
		return nil
	}
	raw, err := json.Marshal(sharedResult{r.answer, r.served, r.clamped, r.pinned, r.think, r.lowered, r.repaired})
	if err != nil { // a number that JSON does not know
		return nil
	}
	return raw
}

// Decode checks and cleans what comes from elsewhere like the answer of a host.
func (codec) Decode(raw []byte) (cache.Value, bool) {
	var s sharedResult
	if json.Unmarshal(raw, &s) != nil || s.Answer == nil {
		return nil, false
	}
	r := &result{answer: s.Answer, served: s.Served, clamped: s.Clamped, pinned: s.Pinned, think: s.Think, lowered: s.Lowered, repaired: s.Repaired}
	if !r.cacheable() || isEmpty(r.answer) {
		return nil, false
	}
	r.clean()
	return r, true
}
