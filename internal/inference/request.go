package inference

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"ollama-mcp/cache"
	"ollama-mcp/internal/affinity"
	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/route"
	"ollama-mcp/internal/schema"
)

// Kind says which of Ollama's endpoints answers a request.
type Kind int

// The kinds.
const (
	Generate Kind = iota // one prompt is answered or continued
	Chat                 // the next message of a conversation is written
)

func (k Kind) String() string {
	if k == Chat {
		return "chat"
	}
	return "generate"
}

// Common is what requests of every kind hold. Only Model is required.
type Common struct {
	Model   string         // as the caller names it: a model, an alias, or provider/model
	Options map[string]any // Ollama's model options
	// KeepAlive is how long the model stays in memory; nil leaves it to the settings and
	// to the host.
	KeepAlive *backend.Duration
	// Truncate says whether input that exceeds the context is cut; nil leaves it to
	// Options.ContextGuard.
	Truncate  *bool
	Timeout   time.Duration // 0 means Options.Timeout
	Priority  route.Priority
	Host      string // name of the only host that may answer; "" for any
	Cache     cache.Policy
	LocalOnly bool // the request may not leave for a cloud

	Caller caller.Caller
	Call   *Call // that the request is part of; nil makes it a call of its own
}

// Request asks a model for text.
type Request struct {
	Common
	Kind Kind

	// These are for Generate.
	Prompt string
	System string
	Suffix string // text after the gap, for models that can insert
	Raw    bool   // the prompt is sent without the model's template
	Images []backend.ImageData

	// These are for Chat.
	Messages []backend.Message // not empty
	Tools    []backend.Tool

	Format   json.RawMessage     // "json" in quotes, or a JSON schema; nil for text
	Think    *backend.ThinkValue // nil leaves it to the model
	Fallback []string            // models to try if this one cannot answer; nil means those of the settings
	// MinSimilarity is the least similarity, from 0 to 1, at which a cached answer to a
	// paraphrase may be reused. It can only raise what is configured; 1 reuses none.
	MinSimilarity float64
	// Logprobs asks for the probabilities of the tokens, and TopLogprobs for those of so many
	// alternatives to each, backend.MostLogprobs at most.
	Logprobs    bool
	TopLogprobs int
	// Batched says that the request is one of many, whose answers need no note that they were
	// cached.
	Batched bool
	// KeptByCaller says that the caller keeps the answer itself, so that the cache need not: it has
	// answers for such requests, but keeps theirs only in place of older ones.
	KeptByCaller bool
	// Stream, if it is not nil, is given the answer in pieces: as they come where nothing has to
	// be checked in the whole answer, and else at its end. All have been given when Do returns,
	// also of a cached answer. It is called by one goroutine at a time, holds up neither the host
	// nor other callers, and ends the request with an error. Once it has been given text, a
	// failure ends the request, unless Restart is set.
	Stream func(Piece) error
	// Restart lets another attempt replace what Stream was given; see Piece.Again.
	Restart bool
	// Thoughts has the thoughts of the model returned even if Think leaves it to the model
	// whether it thinks.
	Thoughts bool
	// Unfit has an answer returned, with a note, that does not fit Format even though the model
	// was asked again. Otherwise that is an error.
	Unfit bool

	only *rungOnly // nil for the whole ladder
}

// rungOnly has one rung of a ladder answer, which the caller may use because of the ladder.
type rungOnly struct {
	rung   route.Rung
	others int // rungs behind it
}

// prefixes are the hashes of the beginnings of the prompt to a model: by them the pool finds hosts
// that have read one before. Tools come first, as in most templates.
func (r *Request) prefixes(model string) []uint64 {
	h := affinity.NewHasher(model)
	if r.Kind == Generate {
		if r.System != "" && !r.Raw {
			_, _ = h.WriteString(r.System)
			h.End()
		}
		for _, image := range r.Images {
			_, _ = h.Write(image)
		}
		_, _ = h.WriteString(r.Prompt)
		h.End()
		return h.Prefixes()
	}
	for _, tool := range r.Tools {
		_, _ = h.Write(tool.RawMessage)
	}
	for _, m := range r.Messages {
		_, _ = h.WriteString(m.Role)
		for _, image := range m.Images {
			_, _ = h.Write(image)
		}
		_, _ = h.WriteString(m.Content)
		for _, call := range m.ToolCalls {
			_, _ = h.WriteString(call.Function.Name)
		}
		h.End()
	}
	return h.Prefixes()
}

// wantsThoughts reports whether the thoughts of the model are to be returned.
func (r *Request) wantsThoughts() bool {
	if r.Think == nil {
		return r.Thoughts
	}
	return r.Think.Bool()
}

// logprobs is how many tokens are to be told of at each place in the answer; 0 for none.
func (r *Request) logprobs() int {
	if !r.Logprobs {
		return 0
	}
	return 1 + r.TopLogprobs
}

// deterministic reports whether the same request gets the same answer.
func (r *Request) deterministic() bool {
	temperature, given := r.Options["temperature"].(float64)
	return r.Options["seed"] != nil || given && temperature == 0
}

// asksForChance reports whether the request itself asks for an answer that differs from one
// time to the next: a caller who sets how a model samples, and no seed, wants samples. One
// who leaves that to the model wants an answer.
func (r *Request) asksForChance() bool {
	if r.deterministic() {
		return false
	}
	for _, option := range []string{"temperature", "top_p", "top_k", "min_p", "mirostat"} {
		value := r.Options[option]
		if value != nil && (option != "mirostat" || value != 0.0) { // mirostat 0 turns it off
			return true
		}
	}
	return false
}

// identity is the part of a request that its answer depends on, as JSON, without model
// and parameters. Images are replaced by their hashes.
func (r *Request) identity() any {
	if r.Kind == Chat {
		return []any{withHashes(r.Messages), r.Tools}
	}
	return []any{r.Prompt, r.System, r.Suffix, r.Raw, hashes(r.Images)}
}

// textSize is the text of the prompt, in bytes. Models read functions as JSON, or much
// like it.
func (r *Request) textSize() int {
	n := len(r.Prompt) + len(r.System) + len(r.Suffix) + jsonSize(r.Tools)
	for _, m := range r.Messages {
		n += len(m.Content) + jsonSize(m.ToolCalls)
	}
	return n
}

// imageSize is the size of all images, in bytes.
func (r *Request) imageSize() (n int) {
	for _, image := range r.Images {
		n += len(image)
	}
	for _, m := range r.Messages {
		for _, image := range m.Images {
			n += len(image)
		}
	}
	return n
}

// hashes stand for images where these are only compared.
func hashes(images []backend.ImageData) []backend.ImageData {
	sums := make([]backend.ImageData, len(images))
	for i, image := range images {
		sum := sha256.Sum256(image)
		sums[i] = sum[:]
	}
	return sums
}

// withHashes returns messages with the hashes of their images.
func withHashes(messages []backend.Message) []backend.Message {
	messages = slices.Clone(messages)
	for i, m := range messages {
		if len(m.Images) > 0 {
			messages[i].Images = hashes(m.Images)
		}
	}
	return messages
}

func jsonSize[T any](values []T) int {
	if len(values) == 0 {
		return 0
	}
	raw, err := json.Marshal(values)
	if err != nil {
		return 0 // the host refuses what cannot be sent
	}
	return len(raw)
}

// task is one request on its way through the engine.
type task struct {
	*Engine
	Request
	call     *Call
	settings *Settings     // the one snapshot that the request goes by
	scope    string        // under which its answer is cached
	format   *answerFormat // that the answer must fit; nil for text
	text     int           // bytes of text in the prompt
	images   int           // bytes of images in the prompt
	began    time.Time
	limit    time.Duration // that the request may take; 0 for no limit
	deadline time.Time     // when limit is over; the zero Time for never

	// tracker is the state of the answer that the request waits for; nil before it waits.
	tracker *tracker
	stream  *stream // nil if the answer is wanted whole
}

// newTask checks a request. Its error is a *fault.Error.
func (e *Engine) newTask(req Request, call *Call) (*task, error) {
	t := &task{
		Engine: e, Request: req, call: call, settings: e.opts.Settings(), scope: req.Kind.String(),
		text: req.textSize(), images: req.imageSize(), began: time.Now(), limit: cmp.Or(req.Timeout, e.opts.Timeout),
	}
	if t.limit > 0 {
		t.deadline = call.Began.Add(t.limit)
	}
	if req.only == nil { // which was permitted as a part of its ladder
		if err := e.permit(call, req.Common); err != nil {
			return nil, err
		}
	}
	if call.observer != nil {
		call.asks(Asked{Messages: max(1, len(req.Messages)), PromptTokens: e.tokens.of(req.Model).count(t.text), Request: &t.Request})
	}
	for i, name := range req.Fallback {
		if err := checkName(fmt.Sprintf("fallback_models[%d]", i), name); err != nil {
			return nil, err
		}
		if err := MayUse(req.Caller, name); err != nil {
			return nil, err
		}
	}
	if req.Kind == Chat && len(req.Messages) == 0 {
		return nil, fault.Invalidf(`argument "messages" must not be empty`)
	}
	if err := checkImages(&req); err != nil {
		return nil, err
	}
	if len(req.Format) > 0 {
		format, err := schema.CompileFormat(req.Format)
		if err != nil {
			return nil, fault.Invalidf(`argument "format" %v`, err)
		}
		t.format = &answerFormat{schema: format}
	}
	return t, nil
}

// permit refuses what is no model's name, a model that the caller may not use, a host that
// does not exist, and a caller who may ask no model now.
func (e *Engine) permit(call *Call, c Common) error {
	if err := checkName("model", c.Model); err != nil {
		return err
	}
	call.served(Served{Requested: c.Model}) // so that the record has it, whatever follows
	if _, err := e.hosts(c.Host); err != nil {
		return err
	}
	if err := MayUse(c.Caller, c.Model); err != nil || e.opts.Admit == nil {
		return err
	}
	return e.opts.Admit(c.Caller)
}

// MayUse returns an error if a caller may not use a model, by whatever name.
func MayUse(who caller.Caller, model string) error {
	if who.MayUse(backend.CanonicalModel(model)) {
		return nil
	}
	return &fault.Error{
		Code: fault.Forbidden, Message: fmt.Sprintf("%q may not use the model %q", who.ID, model),
		Hint: "use one that list-models names",
	}
}

// mayTruncate reports whether a host may cut input that exceeds the context.
func (e *Engine) mayTruncate(c *Common) bool {
	if c.Truncate != nil {
		return *c.Truncate
	}
	return e.opts.ContextGuard == "warn" || e.opts.ContextGuard == "off"
}

// longestName is longer than any model's name: the longest that Ollama has, with host,
// namespace, model and tag, takes 593 bytes.
const longestName = 600

// checkName refuses what cannot be a model's name. argument is what it came in.
func checkName(argument, name string) error {
	switch {
	case len(name) > longestName:
		return fault.Invalidf("argument %q has %d bytes, and no model has a name of more than %d: take one from list-models", argument, len(name), longestName)
	case strings.TrimSpace(name) != name:
		return fault.Invalidf("argument %q begins or ends with a blank: take a name from list-models as it is", argument)
	case strings.ContainsFunc(name, isUnseen):
		return fault.Invalidf("argument %q holds a character that nobody can see: take a name from list-models as it is", argument)
	}
	return nil
}

func isUnseen(r rune) bool { return !unicode.IsGraphic(r) }

// pullable are names that Ollama may know, with nothing in them that means something else
// in a shell or in a path.
var pullable = regexp.MustCompile(`^\w[\w.-]*(:\d+)?(/\w[\w.-]*)*(:\w[\w.-]*)?$`)
