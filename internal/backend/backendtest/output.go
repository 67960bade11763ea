package backendtest

import (
	"context"
	"encoding/json"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/ollama/ollama/api"

	"ollama-mcp/internal/backend"
)

// tooLong is the message of Ollama's runners about a prompt that exceeds the context.
const tooLong = "the input length exceeds the context length"

// output is the answer to one call.
type output struct {
	w         http.ResponseWriter
	call      Call
	model     Model
	reply     func(Call) Reply
	tokenTime time.Duration
	firstWait time.Duration
	arrived   time.Time
	loaded    time.Time // when the model was ready
}

// text streams an answer, a token at a time.
func (o *output) text(ctx context.Context) {
	prompt, fits := o.promptTokens(o.call.text)
	if !fits {
		refuse(o.w, o.call.Path, http.StatusBadRequest, tooLong)
		return
	}
	if o.call.loadsOnly() {
		o.send(piece{done: "load"})
		return
	}
	reply := o.reply(o.call)
	pieces, cut := o.pieces(reply)
	// Each piece has its point in time: were it a time after the one before, timers, which
	// are late, would make the answer later with every piece.
	due := time.Now().Add(o.firstWait)
	if sleepUntil(ctx, due) != nil {
		return
	}
	first := time.Now()
	for _, p := range pieces {
		due = due.Add(o.tokenTime)
		if sleepUntil(ctx, due) != nil {
			return
		}
		o.send(p)
	}
	if len(reply.ToolCalls) > 0 {
		o.send(piece{calls: reply.ToolCalls})
	}
	last := piece{done: reply.DoneReason}
	switch {
	case last.done != "":
	case cut:
		last.done = "length"
	default:
		last.done = "stop"
	}
	last.metrics = api.Metrics{
		TotalDuration:      time.Since(o.arrived),
		LoadDuration:       o.loaded.Sub(o.arrived),
		PromptEvalCount:    prompt,
		PromptEvalDuration: first.Sub(o.loaded),
		EvalCount:          len(pieces),
		EvalDuration:       time.Since(first),
	}
	o.send(last)
}

// promptTokens estimates how many tokens the model sees of a prompt, and says
// whether it may see them: with truncate off a prompt must fit.
func (o *output) promptTokens(prompt string) (n int, fits bool) {
	n = (len(prompt) + 3) / 4
	context := o.call.numCtx(o.model)
	if n <= context {
		return n, true
	}
	return context, o.call.truncate == nil || *o.call.truncate
}

// piece is one line of an answer, or one event.
type piece struct {
	text     string
	thinking string
	calls    []backend.ToolCall
	logprobs []backend.Logprob
	done     string // the reason, if it is the last
	metrics  api.Metrics
}

// pieces are the tokens of a reply, as many as num_predict allows.
func (o *output) pieces(r Reply) (pieces []piece, cut bool) {
	for _, word := range tokens(r.Thinking) {
		pieces = append(pieces, piece{thinking: word})
	}
	for i, word := range tokens(r.Text) {
		p := piece{text: word}
		if i == 0 && o.call.wantsLogprobs() {
			p.logprobs = r.Logprobs
		}
		pieces = append(pieces, p)
	}
	if most, ok := o.call.Options["num_predict"].(float64); ok && most >= 0 && len(pieces) > int(most) {
		return pieces[:int(most)], true
	}
	return pieces, false
}

func tokens(s string) []string {
	if s == "" {
		return nil
	}
	return strings.SplitAfter(s, " ")
}

func (o *output) send(p piece) {
	defer http.NewResponseController(o.w).Flush()
	if isOpenAI(o.call.Path) {
		o.event(p)
		return
	}
	if o.w.Header().Get("Content-Type") == "" {
		o.w.Header().Set("Content-Type", "application/x-ndjson")
	}
	enc := json.NewEncoder(o.w)
	if o.call.Chat != nil {
		enc.Encode(chatLine{
			ChatResponse: api.ChatResponse{
				Model: o.call.Model, CreatedAt: time.Now(), RemoteHost: o.model.Remote,
				Done: p.done != "", DoneReason: p.done, Metrics: p.metrics, Logprobs: p.logprobs,
			},
			Message: backend.Message{Role: "assistant", Content: p.text, Thinking: p.thinking, ToolCalls: p.calls},
		})
	} else {
		enc.Encode(api.GenerateResponse{
			Model: o.call.Model, CreatedAt: time.Now(), RemoteHost: o.model.Remote,
			Response: p.text, Thinking: p.thinking, Logprobs: p.logprobs,
			Done: p.done != "", DoneReason: p.done, Metrics: p.metrics,
		})
	}
}

// chatLine is a line of a chat, with tool calls that hold all that a test has put into them.
type chatLine struct {
	api.ChatResponse
	Message backend.Message `json:"message"`
}

// vectors answers an embed request.
func (o *output) vectors(ctx context.Context) {
	got := api.EmbedResponse{Model: o.call.Model, Embeddings: [][]float32{}}
	due := time.Now()
	for _, text := range o.call.inputs() {
		n, fits := o.promptTokens(text)
		if !fits {
			refuse(o.w, o.call.Path, http.StatusBadRequest, tooLong)
			return
		}
		due = due.Add(o.tokenTime)
		if sleepUntil(ctx, due) != nil {
			return
		}
		got.PromptEvalCount += n
		got.Embeddings = append(got.Embeddings, embed(text, o.model.Dimensions, o.call.Embed.Dimensions))
	}
	got.LoadDuration = o.loaded.Sub(o.arrived)
	got.TotalDuration = time.Since(o.arrived)
	if isOpenAI(o.call.Path) {
		respond(o.w, http.StatusOK, openAIVectors(got))
		return
	}
	respond(o.w, http.StatusOK, got)
}

// embed returns a vector for a text, such that texts with common words have similar
// vectors: the sum of a random vector for each word, cut to the dimensions wanted (0: all)
// and normalised.
func embed(text string, dimensions, wanted int) []float32 {
	sum := make([]float64, dimensions)
	for word := range strings.FieldsSeq(strings.ToLower(text)) {
		hash := fnv.New64a()
		hash.Write([]byte(word))
		random := rand.New(rand.NewPCG(hash.Sum64(), 0))
		for i := range sum {
			sum[i] += random.NormFloat64()
		}
	}
	if wanted > 0 && wanted < dimensions {
		sum = sum[:wanted]
	}
	var square float64
	for _, x := range sum {
		square += x * x
	}
	length := math.Max(math.Sqrt(square), 1e-12)
	vector := make([]float32, len(sum))
	for i, x := range sum {
		vector[i] = float32(x / length)
	}
	return vector
}
