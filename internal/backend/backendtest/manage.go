package backendtest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/ollama/ollama/api"

	"ollama-mcp/internal/backend"
)

// PullStep is what a host says of a pull, and for how long it is busy before it says it.
type PullStep struct {
	After time.Duration
	Step  backend.Step
	Error string // in place of a step; "" for none
	// Damages says that the host cannot read what it has pulled in the end. Like Ollama, it
	// calls that a success.
	Damages bool
}

// Pulls makes the host answer pulls with these steps. Unless one of them is an error, "success"
// follows them, and the model is installed. By default a pull is one part of 100 bytes.
func (h *Host) Pulls(steps ...PullStep) *Host {
	return h.change(func() { h.pulls = steps })
}

// Pulled is how many pulls have begun.
func (h *Host) Pulled() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pulled
}

// Created are the requests for new models, oldest first.
func (h *Host) Created() []api.CreateRequest {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.created
}

// Has reports whether the host has a model.
func (h *Host) Has(model string) bool { return h.find(model) != nil }

// manage serves requests that change models. It reports false for any other.
func (h *Host) manage(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case r.Method == http.MethodPost && r.URL.Path == "/api/pull":
		h.pull(w, r)
	case r.Method == http.MethodPost && r.URL.Path == "/api/copy":
		h.copyModel(w, r)
	case r.Method == http.MethodDelete && r.URL.Path == "/api/delete":
		h.delete(w, r)
	case r.Method == http.MethodPost && r.URL.Path == "/api/create":
		h.create(w, r)
	case strings.HasPrefix(r.URL.Path, "/api/blobs/"):
		h.blob(w, r, strings.TrimPrefix(r.URL.Path, "/api/blobs/"))
	default:
		return false
	}
	return true
}

func (h *Host) pull(w http.ResponseWriter, r *http.Request) {
	var req api.PullRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		refuse(w, r.URL.Path, http.StatusBadRequest, err.Error())
		return
	}
	io.Copy(io.Discard, r.Body)
	var steps []PullStep
	h.change(func() {
		h.pulled++
		if steps = h.pulls; steps == nil {
			steps = []PullStep{
				{Step: backend.Step{Status: "pulling manifest"}},
				{Step: backend.Step{Status: "pulling a", Digest: "sha256:a", Total: 100, Completed: 100}},
			}
		}
	})
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := json.NewEncoder(w)
	damaged := false
	for _, s := range steps {
		damaged = damaged || s.Damages
		if sleep(r.Context(), s.After) != nil {
			return
		}
		if s.Error != "" {
			out.Encode(map[string]string{"error": s.Error})
			return
		}
		out.Encode(s.Step)
		w.(http.Flusher).Flush()
	}
	h.Install(Model{Name: req.Model, Damaged: damaged})
	out.Encode(backend.Step{Status: "success"})
}

func (h *Host) copyModel(w http.ResponseWriter, r *http.Request) {
	var req api.CopyRequest
	_ = json.NewDecoder(r.Body).Decode(&req)
	from := h.find(req.Source)
	if from == nil {
		refuse(w, r.URL.Path, http.StatusNotFound, fmt.Sprintf("model %q not found", req.Source))
		return
	}
	m := from.Model
	m.Name = req.Destination
	h.Install(m)
}

func (h *Host) delete(w http.ResponseWriter, r *http.Request) {
	var req api.DeleteRequest
	_ = json.NewDecoder(r.Body).Decode(&req)
	if h.find(req.Model) == nil {
		refuse(w, r.URL.Path, http.StatusNotFound, fmt.Sprintf("model '%s' not found", req.Model))
		return
	}
	h.Remove(req.Model)
}

func (h *Host) create(w http.ResponseWriter, r *http.Request) {
	var req api.CreateRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		refuse(w, r.URL.Path, http.StatusBadRequest, err.Error())
		return
	}
	h.change(func() { h.created = append(h.created, req) })
	out := json.NewEncoder(w)
	out.Encode(backend.Step{Status: "creating"})
	for _, digest := range req.Files {
		h.mu.Lock()
		blob, ok := h.blobs[digest]
		h.mu.Unlock()
		if !ok || strings.Contains(string(blob), "broken") {
			out.Encode(map[string]string{"error": "invalid file magic"})
			return
		}
	}
	h.Install(Model{Name: req.Model})
	out.Encode(backend.Step{Status: "success"})
}

func (h *Host) blob(w http.ResponseWriter, r *http.Request, digest string) {
	if r.Method == http.MethodHead {
		h.mu.Lock()
		defer h.mu.Unlock()
		if _, ok := h.blobs[digest]; !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		return
	}
	data, err := io.ReadAll(r.Body)
	sum := sha256.Sum256(data)
	if err != nil || digest != "sha256:"+hex.EncodeToString(sum[:]) {
		refuse(w, r.URL.Path, http.StatusBadRequest, "digest mismatch")
		return
	}
	h.change(func() {
		if h.blobs == nil {
			h.blobs = make(map[string][]byte)
		}
		h.blobs[digest] = data
	})
	w.WriteHeader(http.StatusCreated)
}
