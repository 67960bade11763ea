// Package ollama is the backend for hosts that are Ollama servers.
//
// It promises that an answer without an error is complete, that connections are
// reused and bounded, that a request ends with its context, and that errors say in
// plain words what happened and never hold a key or password. It never retries, queues
// or chooses: that is package pool.
package ollama

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/ollama/ollama/api"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/remote"
)

// Options say where a host is and how to talk to it.
type Options struct {
	Name   string // in results and errors; empty: host:port of the URL
	URL    string // address, in any form that ParseHost reads; empty: 127.0.0.1:11434
	APIKey string // sent to this host only, as a bearer token; empty: none
	CAFile string // PEM file of authorities trusted in addition to the system's; empty: none

	Conns       int           // answers that the host is asked for at a time; further ones wait for a connection; 0: 64
	DialTimeout time.Duration // to connect, and again for a TLS handshake; 0: 5 s
	MaxLine     int           // bytes of one line of a streamed answer; 0: 16 MiB

	// Memory bounds the answers that are arriving, together with those of other hosts that
	// share it; nil: one of this host's own, with the defaults.
	Memory *remote.Memory

	// DialContext makes the connections; nil: the network.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Host is an Ollama server. It implements backend.Backend.
type Host struct {
	conn    *remote.Client
	isCloud bool
}

var _ backend.Backend = (*Host)(nil)

// New returns a host without connecting to it. It fails if the URL cannot be
// read, a number is negative, or the CA file holds no certificate.
func New(o Options) (*Host, error) {
	base, err := ParseHost(o.URL)
	if err != nil {
		return nil, fmt.Errorf("URL: %w", err)
	}
	c, err := remote.New(remote.Options{
		Name: o.Name, API: "Ollama", URL: base, Key: o.APIKey, CAFile: o.CAFile,
		Conns: o.Conns, DialTimeout: o.DialTimeout, MaxLine: o.MaxLine, Memory: o.Memory, DialContext: o.DialContext,
		Trace: !isCloud(base), Explain: explain,
	})
	if err != nil {
		return nil, err
	}
	return &Host{conn: c, isCloud: isCloud(base)}, nil
}

// Close closes idle connections. Requests under way go on.
func (h *Host) Close() { h.conn.Close() }

// SetConns changes how many answers the host is asked for at a time; see Options.Conns. It may be called
// at any time.
func (h *Host) SetConns(conns int) { h.conn.SetConns(conns) }

// Name implements backend.Backend.
func (h *Host) Name() string { return h.conn.Name() }

// IsCloud reports whether the host is Ollama's cloud.
func (h *Host) IsCloud() bool { return h.isCloud }

// Generate implements backend.Backend.
func (h *Host) Generate(ctx context.Context, req *backend.GenerateRequest, onPiece func(backend.Piece)) (*backend.Answer, error) {
	lacking, err := h.checkOptions(ctx, req.Options)
	if err != nil {
		return nil, err
	}
	sent := *req
	sent.Stream = new(true)
	return without(lacking)(h.answer(ctx, "/api/generate", &sent, onPiece))
}

// Chat implements backend.Backend.
func (h *Host) Chat(ctx context.Context, req *backend.ChatRequest, onPiece func(backend.Piece)) (*backend.Answer, error) {
	lacking, err := h.checkOptions(ctx, req.Options)
	if err != nil {
		return nil, err
	}
	sent := *req
	sent.Stream = new(true)
	return without(lacking)(h.answer(ctx, "/api/chat", &sent, onPiece))
}

// Embed implements backend.Backend.
func (h *Host) Embed(ctx context.Context, req *backend.EmbedRequest) (*backend.EmbedResponse, error) {
	if req.Input == "" { // Ollama would answer with no vector and no error
		return nil, h.conn.BadRequest("there is no text to embed")
	}
	if _, err := h.checkOptions(ctx, req.Options); err != nil {
		return nil, err
	}
	var got struct {
		Error           said
		Model           remote.Label
		Embeddings      []backend.Vector
		TotalDuration   remote.Number `json:"total_duration"` // ns
		LoadDuration    remote.Number `json:"load_duration"`  // ns
		PromptEvalCount remote.Number `json:"prompt_eval_count"`
	}
	if err := h.conn.Answer(ctx, "/api/embed", req, &got); err != nil {
		return nil, err
	}
	if got.Error != "" {
		e := got.Error.failure()
		e.Message = h.conn.OneLine(e.Message)
		return nil, h.conn.Named(e)
	}
	want, ok := inputs(req.Input)
	if !ok {
		want = len(got.Embeddings)
	}
	if err := backend.CheckVectors(got.Embeddings, want); err != nil {
		return nil, h.conn.Named(err)
	}
	vectors := make([][]float32, len(got.Embeddings))
	for i, v := range got.Embeddings {
		vectors[i] = v
	}
	return &backend.EmbedResponse{
		Model: string(got.Model), Embeddings: vectors, PromptEvalCount: int(got.PromptEvalCount),
		TotalDuration: time.Duration(got.TotalDuration), LoadDuration: time.Duration(got.LoadDuration),
	}, nil
}

// without notes in an answer which options the host does not have.
func without(lacking []string) func(*backend.Answer, error) (*backend.Answer, error) {
	return func(a *backend.Answer, err error) (*backend.Answer, error) {
		if a != nil {
			a.Dropped = append(a.Dropped, lacking...)
		}
		return a, err
	}
}

// checkOptions refuses options that the host cannot have: those which this program does not
// know, unless the host is newer. It returns those that came with a later version than the
// host's. Ollama drops an option that it does not have, and says nothing.
func (h *Host) checkOptions(ctx context.Context, options map[string]any) (lacking []string, err error) {
	unknown := backend.UnknownOptions(options)
	if len(unknown) == 0 && !backend.MayBeNewer(options) {
		return nil, nil
	}
	version, err := h.Version(ctx)
	v, ok := backend.ParseVersion(version)
	switch {
	case len(unknown) == 0:
		return backend.NewerOptions(options, version), nil
	case err != nil && !errors.Is(err, backend.Server): // a host that answers and has no version is not newer
		return nil, err
	case ok && backend.APIVersion.Before(v):
		return nil, nil
	}
	for i, name := range unknown {
		unknown[i] = "options." + name
	}
	return nil, &backend.Error{
		Host: h.Name(), Class: backend.Unsupported,
		Message: h.conn.OneLine(fmt.Sprintf("Ollama %s does not have %s", cmp.Or(version, "of unknown version"), strings.Join(unknown, ", "))),
	}
}

// Models implements backend.Backend.
func (h *Host) Models(ctx context.Context) ([]backend.Model, error) {
	models, err := list[backend.Model](ctx, h, "/api/tags")
	for i := range models {
		m := &models[i]
		m.Name, m.Model = cmp.Or(m.Name, m.Model), cmp.Or(m.Model, m.Name)
	}
	return models, err
}

// Running implements backend.Backend.
func (h *Host) Running(ctx context.Context) ([]backend.RunningModel, error) {
	return list[backend.RunningModel](ctx, h, "/api/ps")
}

// list returns the models that a host lists. What is in its list beside their names may have any
// form: proxies and other servers with Ollama's API write what they have.
func list[M any](ctx context.Context, h *Host, path string) ([]M, error) {
	var got struct{ Models []remote.Lenient[M] }
	if err := h.conn.Info(ctx, http.MethodGet, path, nil, &got); err != nil {
		return nil, err
	}
	if got.Models == nil { // no models would be an empty list
		return nil, h.conn.InvalidAnswer("no list of models in the answer")
	}
	models := make([]M, len(got.Models))
	for i, m := range got.Models {
		models[i] = m.Value
	}
	return models, nil
}

// Show implements backend.Backend.
func (h *Host) Show(ctx context.Context, model string) (*backend.ModelInfo, error) {
	var lenient remote.Lenient[backend.ModelInfo]
	if err := h.conn.Info(ctx, http.MethodPost, "/api/show", &api.ShowRequest{Model: model}, &lenient); err != nil {
		return nil, err
	}
	got := &lenient.Value
	if got.ModelInfo == nil && got.Capabilities == nil && got.Template == "" && !backend.IsDescribedInCloud(got) {
		return nil, h.conn.InvalidAnswer("no description of the model in the answer")
	}
	return got, nil
}

// Version implements backend.Backend.
func (h *Host) Version(ctx context.Context) (string, error) {
	var got struct{ Version remote.Label }
	if err := h.conn.Info(ctx, http.MethodGet, "/api/version", nil, &got); err != nil {
		return "", err
	}
	if got.Version == "" {
		return "", h.conn.InvalidAnswer("no version in the answer")
	}
	return string(got.Version), nil
}

// inputs is the number of texts in an embed request, if its type is known.
func inputs(input any) (int, bool) {
	switch in := input.(type) {
	case string:
		return 1, true
	case []string:
		return len(in), true
	case []any:
		return len(in), true
	}
	return 0, false
}
