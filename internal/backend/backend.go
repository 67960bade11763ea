// Package backend is the interface to a host that serves models, and the ways in
// which one can fail.
//
// It promises one vocabulary for every kind of host: requests in the types of
// Ollama's API, answers that are either complete or an error, and errors sorted into
// classes that say who is to blame and whether another host could do better.
// Talking to a host is left to the packages below this one; choosing one, and
// waiting for it, to package pool.
package backend

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/ollama/ollama/api"
	"github.com/ollama/ollama/types/model"
)

// Backend is one host. All methods may be called from many goroutines, give up
// as soon as their context ends, and return errors of type *Error.
type Backend interface {
	// Name is the host's name in results, logs and errors. It never holds a URL,
	// since a URL may hold a password.
	Name() string

	// Generate and Chat request text from a model. They always stream from the host,
	// since only a stream can be cancelled at once, and call onPiece, if it is not nil,
	// for each piece that arrives. An answer without an error is complete. With an
	// error, the answer holds the part that had arrived, and is nil if there was none.
	Generate(ctx context.Context, req *GenerateRequest, onPiece func(Piece)) (*Answer, error)
	Chat(ctx context.Context, req *ChatRequest, onPiece func(Piece)) (*Answer, error)

	// Embed turns texts into vectors, one per input and in that order.
	Embed(ctx context.Context, req *EmbedRequest) (*EmbedResponse, error)

	// Models lists the models that are installed, Running those that are in memory.
	Models(ctx context.Context) ([]Model, error)
	Running(ctx context.Context) ([]RunningModel, error)
	// Show describes one model: its capabilities, parameters and context length.
	Show(ctx context.Context, model string) (*ModelInfo, error)
	// Version is the version of the host's server.
	Version(ctx context.Context) (string, error)
}

// ChatRequest asks for the next message of a conversation, in the form of Ollama's API.
type ChatRequest struct {
	Model     string          `json:"model"`
	Messages  []Message       `json:"messages"`
	Stream    *bool           `json:"stream,omitempty"`
	Format    json.RawMessage `json:"format,omitempty"`
	KeepAlive *Duration       `json:"keep_alive,omitempty"`
	Tools     []Tool          `json:"tools,omitempty"`
	Options   map[string]any  `json:"options"`
	Think     *ThinkValue     `json:"think,omitempty"`
	Truncate  *bool           `json:"truncate,omitempty"`

	Logprobs    bool `json:"logprobs,omitempty"`     // with the answer; see Answer
	TopLogprobs int  `json:"top_logprobs,omitempty"` // alternatives for each token, MostLogprobs at most
}

// MostLogprobs is how many alternatives a host tells for a token.
const MostLogprobs = 20

// Message is one message of a conversation.
type Message struct {
	Role       string      `json:"role"`
	Content    string      `json:"content"`
	Thinking   string      `json:"thinking,omitempty"`
	Images     []ImageData `json:"images,omitempty"`
	ToolCalls  []ToolCall  `json:"tool_calls,omitempty"`
	ToolName   string      `json:"tool_name,omitempty"`    // of role tool: whose result this is
	ToolCallID string      `json:"tool_call_id,omitempty"` // of role tool: the call that this is the result of
}

// The types of Ollama's API, which serve as the vocabulary for every kind of host.
type (
	GenerateRequest = api.GenerateRequest
	EmbedRequest    = api.EmbedRequest
	EmbedResponse   = api.EmbedResponse
	ImageData       = api.ImageData
	ThinkValue      = api.ThinkValue
	Duration        = api.Duration
	Options         = api.Options
	Model           = api.ListModelResponse
	RunningModel    = api.ProcessModelResponse
	ModelInfo       = api.ShowResponse
	Logprob         = api.Logprob      // the logarithm of a token's probability, and those of alternatives
	TokenLogprob    = api.TokenLogprob // the same for an alternative
)

// Piece is a part of an answer that has just arrived. Either of Text and Thinking may be
// empty.
type Piece struct {
	Text     string
	Thinking string

	// TextSoFar and ThinkingSoFar are all that has arrived of the answer, this piece
	// included. They share memory with it, so that keeping the latest costs nothing.
	TextSoFar     string
	ThinkingSoFar string
}

// Answer is the answer of a model.
type Answer struct {
	Text       string
	Thinking   string
	ToolCalls  []ToolCall
	DoneReason EndReason // never empty for an answer that has ended

	// Logprobs are those of the tokens, thoughts included, if they were requested and the host
	// tells them; nil for none.
	Logprobs []Logprob

	// Remote is the cloud that the host says it has passed the request on to; "" if it has
	// answered itself.
	Remote string

	// Dropped names the options that the host does not support and that were left out,
	// by Ollama's names, such as "num_ctx"; nil for none.
	Dropped []string

	PromptTokens int // tokens of the prompt that the model evaluated; 0 if unknown
	Tokens       int // tokens in the answer, thinking included; of an incomplete answer, the number of pieces

	FirstPiece time.Duration // from sending the request to the first piece
	Load       time.Duration // spent by the host to load the model
	PromptEval time.Duration // spent on the prompt
	Eval       time.Duration // spent on the answer; measured here if the host did not report it
	Total      time.Duration // from sending the request to the end of the answer, measured here
}

// CanonicalNames are the canonical names of models, in their order.
func CanonicalNames(models []Model) []string {
	names := make([]string, len(models))
	for i, m := range models {
		names[i] = CanonicalModel(m.Name)
	}
	return names
}

// IsModelName reports whether a text can be the name of a model, with or without a tag, a
// namespace and a registry. A URL is none.
func IsModelName(name string) bool {
	return !strings.Contains(name, "://") && model.ParseName(name).IsValid()
}

// RegistryOf is the registry in the name of a model; "" for Ollama's own.
func RegistryOf(name string) string {
	own, n := model.DefaultName().Host, model.ParseName(name)
	if strings.EqualFold(n.Host, own) {
		return ""
	}
	return n.Host
}

// CanonicalModel is the one name under which a model is queued, cached and counted. It is
// the same for all names that Ollama resolves to one model, such as "x", "X:latest" and
// "registry.ollama.ai/library/x"; Ollama compares names without regard to case. A string
// that is no valid name is returned unchanged.
func CanonicalModel(name string) string {
	if isCanonical(name) {
		return name // as are all names but those that come from a caller or a file
	}
	n := model.ParseName(name)
	if !n.IsValid() {
		return name
	}
	return strings.ToLower(n.DisplayShortest())
}

// isCanonical reports whether a name has the canonical form of a model from Ollama's own
// library, such as "qwen3:8b". It may say no of names that have.
func isCanonical(name string) bool {
	model, tag, _ := strings.Cut(name, ":")
	return isPlainPart(model) && isPlainPart(tag)
}

func isPlainPart(part string) bool {
	if part == "" || len(part) > 80 || part[0] == '-' || part[0] == '.' {
		return false
	}
	for _, c := range []byte(part) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return true
}
