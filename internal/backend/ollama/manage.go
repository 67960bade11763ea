package ollama

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/ollama/ollama/api"

	"ollama-mcp/internal/backend"
)

// This file is how the models of a host are managed. None of it takes a connection of answers.

// Load loads a model into memory, with the runner options that its calls will have. keep is how
// long it stays there without a call; nil leaves that to the host.
func (h *Host) Load(ctx context.Context, name string, options map[string]any, keep *backend.Duration) error {
	info, err := h.Show(ctx, name)
	if err != nil {
		return err
	}
	if len(info.Capabilities) > 0 && !slices.Contains(info.Capabilities, "completion") {
		return h.conn.Do(ctx, http.MethodPost, "/api/embed", &api.EmbedRequest{Model: name, Input: []string{}, Options: options, KeepAlive: keep})
	}
	return h.conn.Do(ctx, http.MethodPost, "/api/generate", &api.GenerateRequest{Model: name, Options: options, KeepAlive: keep, Stream: new(false)})
}

// Unload has a model leave memory as soon as no call uses it.
func (h *Host) Unload(ctx context.Context, name string) error {
	now := &backend.Duration{Duration: 0 * time.Second}
	return h.conn.Do(ctx, http.MethodPost, "/api/generate", &api.GenerateRequest{Model: name, KeepAlive: now, Stream: new(false)})
}

// Pull downloads a model. If insecure is set, its registry is asked over plain HTTP. each is
// told of every step.
func (h *Host) Pull(ctx context.Context, name string, insecure bool, each func(backend.Step)) error {
	return h.follow(ctx, "/api/pull", &api.PullRequest{Model: name, Insecure: insecure, Stream: new(true)}, each)
}

// Create makes a model. each is told of every step.
func (h *Host) Create(ctx context.Context, req *backend.CreateRequest, each func(backend.Step)) error {
	sent := *req
	sent.Stream = new(true)
	return h.follow(ctx, "/api/create", &sent, each)
}

// follow asks for work that the host tells the steps of, the last of which is "success".
func (h *Host) follow(ctx context.Context, path string, in any, each func(backend.Step)) error {
	return h.conn.Follow(ctx, path, in, func(line []byte) (done bool, err error) {
		var step struct {
			backend.Step
			Error string `json:"error"`
		}
		if err := json.Unmarshal(line, &step); err != nil {
			return false, err
		}
		if step.Error != "" {
			return false, &backend.Error{Class: backend.Server, Message: backend.Plain(step.Error)} // no model has answered, so none has crashed
		}
		each(step.Step)
		return step.Status == "success", nil
	})
}

// Copy gives a model a second name, which replaces a model of that name.
func (h *Host) Copy(ctx context.Context, from, to string) error {
	return h.conn.Do(ctx, http.MethodPost, "/api/copy", &api.CopyRequest{Source: from, Destination: to})
}

// Delete removes a model.
func (h *Host) Delete(ctx context.Context, name string) error {
	return h.conn.Do(ctx, http.MethodDelete, "/api/delete", &api.DeleteRequest{Model: name})
}

// HasBlob reports whether the host has the file of that digest, as of "sha256:…".
func (h *Host) HasBlob(ctx context.Context, digest string) (bool, error) {
	err := h.conn.Do(ctx, http.MethodHead, "/api/blobs/"+digest, nil)
	if refused, ok := errors.AsType[*backend.Error](err); ok && refused.Status == http.StatusNotFound {
		return false, nil
	}
	return err == nil, err
}

// SendBlob sends the host a file of so many bytes and that digest.
func (h *Host) SendBlob(ctx context.Context, digest string, file io.Reader, size int64) error {
	return h.conn.Upload(ctx, "/api/blobs/"+digest, file, size)
}
