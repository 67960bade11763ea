// Package openai is the backend for servers with the OpenAI API: OpenAI itself, vLLM,
// the server of llama.cpp, LM Studio, Ollama below /v1.
//
// It promises the same as every backend, and that no option is dropped silently: the
// answer names those that the API does not support. It never retries, queues or chooses:
// that is package pool. Whether a prompt that does not fit is refused is up to the
// server: all known ones refuse it but Ollama, which truncates it.
package openai

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/remote"
)

// Options say where a host is and how to talk to it.
type Options struct {
	Name   string // in results and errors; empty: host:port of the URL
	URL    string // prefix of the API's paths, such as https://api.openai.com/v1
	Key    string // sent to this host only, as a bearer token; empty: none
	CAFile string // PEM file of authorities trusted in addition to the system's; empty: none

	Trace bool // the server is told which span a request is part of

	Conns int // answers that the server is asked for at a time; further ones wait for a connection; 0: 64

	// Memory bounds the answers that are arriving, together with those of other hosts that
	// share it; nil: one of this host's own, with the defaults.
	Memory *remote.Memory

	// DialContext makes the connections; nil: the network.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Host is a server that has the OpenAI API. It implements backend.Backend.
type Host struct {
	conn      *remote.Client
	maxTokens string // the parameter that is num_predict at Ollama

	mu sync.Mutex // guards what follows
	// refusals counts by model, and by path and member, how many forms of a member the
	// server has refused. The inner maps are not changed.
	refusals map[string]map[string]int
}

var _ backend.Backend = (*Host)(nil)

// New returns a host without connecting to it. It fails if the URL cannot be read
// or would send the key over a public network unencrypted, a number is negative,
// or the CA file holds no certificate.
func New(o Options) (*Host, error) {
	base, err := parseURL(o.URL)
	if err == nil && o.Key != "" && base.Scheme == "http" && !remote.IsLocal(base.Hostname()) {
		err = errors.New("a key is sent over http to local addresses only; use https")
	}
	if err != nil {
		return nil, fmt.Errorf("URL: %w", err)
	}
	c, err := remote.New(remote.Options{
		Name: o.Name, API: "OpenAI", URL: base, Key: o.Key, CAFile: o.CAFile,
		Conns: o.Conns, Memory: o.Memory, DialContext: o.DialContext, Trace: o.Trace, Explain: explain,
	})
	if err != nil {
		return nil, err
	}
	return &Host{conn: c, maxTokens: maxTokensParameter(base.Hostname())}, nil
}

// parseURL reads the base of an API. Errors quote nothing, since the URL might
// hold a password.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("does not read https://HOST/PATH")
	case u.User != nil:
		return nil, errors.New("is no place for a user and password")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("has a query or a fragment")
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = strings.TrimRight(u.RawPath, "/")
	return u, nil
}

// Close closes idle connections. Requests under way go on.
func (h *Host) Close() { h.conn.Close() }

// Name implements backend.Backend.
func (h *Host) Name() string { return h.conn.Name() }

// Embed implements backend.Backend. Vectors are as long as the server makes them:
// OpenAI's have length 1, as Ollama's have.
func (h *Host) Embed(ctx context.Context, req *backend.EmbedRequest) (*backend.EmbedResponse, error) {
	if req.Input == "" {
		return nil, h.conn.BadRequest("there is no text to embed")
	}
	sent := request{"model": req.Model, "input": req.Input, "encoding_format": "float"}
	if req.Dimensions > 0 {
		sent["dimensions"] = req.Dimensions
	}
	began := time.Now()
	var got embeddings
	if err := h.conn.Answer(ctx, "/embeddings", sent, &got); err != nil {
		return nil, err
	}
	vectors, err := got.inOrder(req.Input)
	if err != nil {
		return nil, h.conn.Named(err)
	}
	return &backend.EmbedResponse{
		Model: cmp.Or(string(got.Model), req.Model), Embeddings: vectors,
		PromptEvalCount: int(got.Usage.PromptTokens), TotalDuration: time.Since(began),
	}, nil
}

// Models implements backend.Backend. Of a model it tells the name and, if the
// server does, when it was made.
func (h *Host) Models(ctx context.Context) ([]backend.Model, error) {
	var got modelList
	if err := h.conn.Info(ctx, http.MethodGet, "/models", nil, &got); err != nil {
		return nil, err
	}
	if got.Data == nil && got.Object != "list" { // Ollama's list of no models has no data
		return nil, h.conn.InvalidAnswer("no list of models in the answer")
	}
	models := make([]backend.Model, len(got.Data))
	for i, m := range got.Data {
		models[i] = backend.Model{Name: string(m.ID), Model: string(m.ID)}
		if m.Created > 0 {
			models[i].ModifiedAt = time.Unix(int64(m.Created), 0)
		}
	}
	return models, nil
}

// modelList is a list of models. As in a chunk, what it does not name may be there in any
// form.
type modelList struct {
	Object remote.Label
	Data   []listedModel
}

type listedModel struct {
	ID      remote.Label
	Created remote.Number // Unix time
}

// UnmarshalJSON takes the list without the object around it as well, as Together sends it.
func (l *modelList) UnmarshalJSON(raw []byte) error {
	if raw[0] == '[' {
		l.Object = "list"
		return remote.Decode(raw, &l.Data)
	}
	type plain modelList
	return remote.Decode(raw, (*plain)(l))
}

// Running implements backend.Backend. The API does not tell, so it is always none.
func (h *Host) Running(context.Context) ([]backend.RunningModel, error) { return nil, nil }

// Show implements backend.Backend. The API tells no more of a model than that it
// is there.
func (h *Host) Show(ctx context.Context, model string) (*backend.ModelInfo, error) {
	models, err := h.Models(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range models {
		if m.Name == model {
			return &backend.ModelInfo{ModifiedAt: m.ModifiedAt}, nil
		}
	}
	return nil, &backend.Error{Host: h.Name(), Class: backend.ModelMissing, Message: "the server does not list it"}
}

// Version implements backend.Backend. The API has no version to tell, so it is
// always empty; but the server is asked for its models, so that an error says
// that it is not well.
func (h *Host) Version(ctx context.Context) (string, error) {
	_, err := h.Models(ctx)
	return "", err
}
