// Package backend is what we ask of a host that serves models, and the ways it
// can fail.
//
// It promises one vocabulary for every kind of host: requests in Ollama's own
// words, answers that are either whole or an error, and errors sorted into
// classes that say who is to blame and whether another host could do better.
// Talking to a host is left to the kinds in the folders below; choosing one, and
// waiting for it, to package pool.
package backend

import (
	"context"
	"strings"
	"time"

	"github.com/ollama/ollama/api"
	"github.com/ollama/ollama/types/model"
)

// Backend is one host. All methods may be called from many goroutines, give up
// as soon as their context ends, and return errors of type *Error.
type Backend interface {
	// Name is what the host is called in results, logs and errors. It never
	// holds a URL, since a URL may hold a password.
	Name() string

	// Generate and Chat ask a model for text. They stream from the host whatever
	// the caller wants, for only a stream can be cancelled at once, and call
	// onPiece, if it is not nil, for each piece that arrives. An answer without
	// an error is complete. With an error the answer still holds what had
	// arrived, and is nil if nothing had.
	Generate(ctx context.Context, req *GenerateRequest, onPiece func(Piece)) (*Answer, error)
	Chat(ctx context.Context, req *ChatRequest, onPiece func(Piece)) (*Answer, error)

	// Embed turns texts into vectors, one per input and in that order.
	Embed(ctx context.Context, req *EmbedRequest) (*EmbedResponse, error)

	// Models lists what is installed, Running what is in memory.
	Models(ctx context.Context) ([]Model, error)
	Running(ctx context.Context) ([]RunningModel, error)
	// Show describes one model: its capabilities, parameters and context length.
	Show(ctx context.Context, model string) (*ModelInfo, error)
	// Version is the version of the host's server.
	Version(ctx context.Context) (string, error)
}

// The words of Ollama's API, which every kind of host is asked in.
type (
	GenerateRequest = api.GenerateRequest
	ChatRequest     = api.ChatRequest
	EmbedRequest    = api.EmbedRequest
	EmbedResponse   = api.EmbedResponse
	Message         = api.Message
	Tool            = api.Tool
	ToolCall        = api.ToolCall
	ImageData       = api.ImageData
	ThinkValue      = api.ThinkValue
	Duration        = api.Duration
	Options         = api.Options
	Model           = api.ListModelResponse
	RunningModel    = api.ProcessModelResponse
	ModelInfo       = api.ShowResponse
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

// Answer is what a model answered.
type Answer struct {
	Text       string
	Thinking   string
	ToolCalls  []ToolCall
	DoneReason string // "stop", "length", "load" …; empty while the answer is incomplete

	// Dropped are the options that the host has no word for and did without, by
	// Ollama's names for them, such as "num_ctx"; nil for none.
	Dropped []string

	PromptTokens int // tokens of the prompt that the model was given; 0 if the host did not say
	Tokens       int // tokens in the answer, thinking included; of an incomplete one, the pieces that came

	FirstPiece time.Duration // from sending the request to the first piece
	Load       time.Duration // spent by the host to load the model
	PromptEval time.Duration // spent on the prompt
	Eval       time.Duration // spent on the answer; as seen from here if the host did not say
	Total      time.Duration // from sending the request to its end, as seen from here
}

// CanonicalNames are the canonical names of models, in their order.
func CanonicalNames(models []Model) []string {
	names := make([]string, len(models))
	for i, m := range models {
		names[i] = CanonicalModel(m.Name)
	}
	return names
}

// CanonicalModel gives a model the one name under which it is queued, cached and
// counted: two names have the same if Ollama takes them for one model, as it does "x",
// "X:latest" and "registry.ollama.ai/library/x". It compares names without regard to
// case. What it takes for no name stays as it is, and so is nobody else's.
func CanonicalModel(name string) string {
	n := model.ParseName(name)
	if !n.IsValid() {
		return name
	}
	return strings.ToLower(n.DisplayShortest())
}
