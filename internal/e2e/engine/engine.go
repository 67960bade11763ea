// Package engine stands in for llama-server, the program in which Ollama has run models
// since version 0.30, so that tests have a current Ollama without compiling llama.cpp. It
// says what the tiny models would say, and fails in any way that a test asks for: what it
// prints, how it ends and what it answers are what Ollama turns into its own errors.
//
// It has no weights, so its vectors tell texts apart and nothing more, and it pays no
// attention to a format, as some engines of Ollama do.
package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"ollama-mcp/internal/e2e/tinymodels"
)

// A Script says how an engine behaves. The zero value lets it work.
type Script struct {
	// Model limits the script to the model of that name, and Path to requests for that
	// path; empty means all.
	Model, Path string

	// Say is what the model writes, piece by piece, in place of what it would.
	Say []string

	// Stderr is printed before the engine exits.
	Stderr string

	// AtStart makes it exit before it is ready.
	AtStart bool

	// Exit makes it exit when it is asked something, or, if Pieces is set, after so many
	// pieces of an answer.
	Exit   bool
	Pieces int

	// Status and Body are its answer to every request.
	Status int
	Body   string
}

// ScriptFile is the name of the file, beside the program, in which it looks for its script.
const ScriptFile = "script.json"

// ReadScript reads the script in a file of JSON. A file that is not there is the zero
// script.
func ReadScript(path string) (s Script, err error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Script{}, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &s)
	}
	return s, err
}

// An Engine answers the requests that Ollama sends to llama-server.
type Engine struct {
	Model tinymodels.Model
	// Context is the number of tokens that a prompt and its answer may have; 0 means any.
	Context int
	// Script is read for each request.
	Script func() (Script, error)
	// Exit ends the program with a last message.
	Exit func(message string)

	runner *tinymodels.Runner
}

// Start exits if the script demands that, and returns the engine's API otherwise.
func (e *Engine) Start() (http.Handler, error) {
	s, err := e.script()
	if err != nil {
		return nil, err
	}
	if s.AtStart {
		e.Exit(s.Stderr)
	}
	e.runner = e.Model.Runner()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { reply(w, map[string]any{"status": "ok"}) })
	for path, answer := range map[string]func(http.ResponseWriter, *http.Request, Script){
		"/completion":          e.complete,
		"/v1/chat/completions": e.chat,
		"/v1/embeddings":       e.embed,
		"/tokenize":            e.tokenize,
		"/detokenize":          e.detokenize,
		"/apply-template":      e.applyTemplate,
	} {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			s, err := e.script()
			switch {
			case err != nil:
				http.Error(w, err.Error(), http.StatusInternalServerError)
			case s.Path != "" && s.Path != path:
				answer(w, r, Script{})
			case s.Exit && s.Pieces == 0:
				e.Exit(s.Stderr)
			case s.Status != 0:
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(s.Status)
				_, _ = io.WriteString(w, s.Body) // the client may have gone
			default:
				answer(w, r, s)
			}
		})
	}
	return mux, nil
}

// script is the one that is meant for this model.
func (e *Engine) script() (Script, error) {
	s, err := e.Script()
	if err != nil || s.Model != "" && s.Model != e.Model.Name {
		return Script{}, err
	}
	return s, nil
}

// tokenTime is how long a token takes, so that a model that never ends is not a busy loop.
const tokenTime = time.Millisecond

// generate writes an answer piece by piece, and returns how it ended and how many tokens
// the prompt and the answer have.
func (e *Engine) generate(r *http.Request, s Script, prompt []int, limit int, stops []string, emit func(piece string) error) (reason string, t timings) {
	pieces := e.runner.Complete(prompt)
	if s.Say != nil {
		pieces = slices.Values(s.Say)
	}
	t = timings{PromptN: len(prompt), PromptMS: 1}
	clock := time.NewTicker(tokenTime)
	defer clock.Stop()
	for piece := range pieces {
		if limit >= 0 && t.PredictedN >= limit {
			return "limit", t
		}
		select {
		case <-clock.C:
		case <-r.Context().Done():
			return "limit", t
		}
		if s.Exit && t.PredictedN == s.Pieces {
			e.Exit(s.Stderr)
		}
		t.PredictedN++
		t.PredictedMS++
		if slices.ContainsFunc(stops, func(stop string) bool { return stop != "" && strings.Contains(piece, stop) }) {
			return "word", t
		}
		if emit(piece) != nil {
			return "limit", t
		}
	}
	t.PredictedN++ // the token that ends the answer
	return "eos", t
}

// timings are what an engine tells about an answer.
type timings struct {
	CacheN      int     `json:"cache_n"`
	PromptN     int     `json:"prompt_n"`
	PromptMS    float64 `json:"prompt_ms"`
	PredictedN  int     `json:"predicted_n"`
	PredictedMS float64 `json:"predicted_ms"`
}

func (e *Engine) complete(w http.ResponseWriter, r *http.Request, s Script) {
	var in struct {
		Prompt   json.RawMessage `json:"prompt"`
		NPredict *int            `json:"n_predict"`
		Stop     []string        `json:"stop"`
	}
	if !decode(w, r, &in) {
		return
	}
	prompt, err := e.prompt(in.Prompt)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !e.fits(w, prompt) {
		return
	}
	events := stream(w)
	reason, t := e.generate(r, s, prompt, limitOf(in.NPredict), in.Stop, func(piece string) error {
		return events(map[string]any{"content": piece, "stop": false})
	})
	_ = events(map[string]any{"content": "", "stop": true, "stop_type": reason, "timings": t}) // the client may have gone
}

// fits refuses a prompt that is too long, in llama-server's words.
func (e *Engine) fits(w http.ResponseWriter, prompt []int) bool {
	if e.Context == 0 || len(prompt) < e.Context {
		return true
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	const refusal = `{"error":{"code":400,"message":"request (%d tokens) exceeds the available context size (%d tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":%d,"n_ctx":%d}}`
	_, _ = fmt.Fprintf(w, refusal, len(prompt), e.Context, len(prompt), e.Context) // the client may have gone
	return false
}

// prompt reads a prompt in any of the forms that llama-server takes.
func (e *Engine) prompt(raw json.RawMessage) (tokens []int, err error) {
	var text string
	var media struct {
		PromptString string `json:"prompt_string"`
	}
	switch {
	case json.Unmarshal(raw, &tokens) == nil && tokens != nil:
		return tokens, nil
	case json.Unmarshal(raw, &text) == nil:
		return e.runner.Tokenize(text), nil
	case json.Unmarshal(raw, &media) == nil:
		return e.runner.Tokenize(media.PromptString), nil
	}
	return nil, fmt.Errorf("a prompt that is neither text nor tokens: %.100s", raw)
}

func (e *Engine) tokenize(w http.ResponseWriter, r *http.Request, _ Script) {
	var in struct{ Content string }
	if decode(w, r, &in) {
		reply(w, map[string]any{"tokens": e.runner.Tokenize(in.Content)})
	}
}

func (e *Engine) detokenize(w http.ResponseWriter, r *http.Request, _ Script) {
	var in struct{ Tokens []int }
	if decode(w, r, &in) {
		reply(w, map[string]any{"content": e.runner.Detokenize(in.Tokens)})
	}
}

// limitOf is the most tokens that an answer may have; negative is any number.
func limitOf(nPredict *int) int {
	if nPredict == nil {
		return -1
	}
	return *nPredict
}

func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

func reply(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // the client may have gone
}

// stream begins a stream of server-sent events and returns what sends one.
func stream(w http.ResponseWriter) (send func(event any) error) {
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w).Flush
	return func(event any) error {
		raw, err := json.Marshal(event)
		if err == nil {
			_, err = fmt.Fprintf(w, "data: %s\n\n", raw)
		}
		if err == nil {
			err = flush()
		}
		return err
	}
}
