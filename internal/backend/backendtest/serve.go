package backendtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/ollama/ollama/api"

	"ollama-mcp/internal/backend"
)

// serve answers every request.
func (h *Host) serve(w http.ResponseWriter, r *http.Request) {
	if f := h.faultOfAll(); f != nil {
		f(w, r, h.route)
		return
	}
	h.route(w, r)
}

func (h *Host) route(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "HEAD /", "GET /":
		io.WriteString(w, "Ollama is running")
	case "GET /api/version":
		h.mu.Lock()
		version := h.version
		h.mu.Unlock()
		respond(w, http.StatusOK, map[string]string{"version": version})
	case "GET /api/tags":
		respond(w, http.StatusOK, h.tags())
	case "GET /api/ps":
		respond(w, http.StatusOK, h.ps())
	case "POST /api/show":
		h.show(w, r)
	case "POST /api/generate", "POST /api/chat", "POST /api/embed",
		"POST /v1/chat/completions", "POST /v1/completions", "POST /v1/embeddings":
		h.call(w, r)
	case "GET /v1/models":
		h.openAIModels(w)
	default:
		if h.manage(w, r) {
			return
		}
		http.NotFound(w, r)
	}
}

func (h *Host) show(w http.ResponseWriter, r *http.Request) {
	var req api.ShowRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		refuse(w, r.URL.Path, http.StatusBadRequest, err.Error())
		return
	}
	if m := h.find(req.Model); m != nil {
		respond(w, http.StatusOK, m.show())
	} else {
		refuse(w, r.URL.Path, http.StatusNotFound, fmt.Sprintf("model '%s' not found", req.Model))
	}
}

func (h *Host) find(model string) *resident {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.models[backend.CanonicalModel(model)]
}

// call serves a request for an answer or for vectors, and counts it.
func (h *Host) call(w http.ResponseWriter, r *http.Request) {
	c, err := readCall(r)
	if err != nil {
		refuse(w, r.URL.Path, http.StatusBadRequest, err.Error())
		return
	}
	h.change(func() {
		if len(h.calls) == keptCalls {
			h.calls = h.calls[keptCalls/10:]
		}
		h.calls = append(h.calls, c)
		h.stats.Calls++
		h.stats.InFlight++
		h.stats.MaxInFlight = max(h.stats.MaxInFlight, h.stats.InFlight)
	})
	defer h.change(func() {
		h.stats.InFlight--
		if r.Context().Err() != nil {
			h.stats.Left++
		} else {
			h.stats.Finished++
		}
	})
	serve := func(w http.ResponseWriter, r *http.Request) { h.work(w, r, c) }
	if f := h.faultOf(c); f != nil {
		f(w, r, serve)
		return
	}
	serve(w, r)
}

// work answers a call, in a slot.
func (h *Host) work(w http.ResponseWriter, r *http.Request, c Call) {
	m := h.find(c.Model)
	if m == nil {
		refuse(w, r.URL.Path, http.StatusNotFound, fmt.Sprintf("model '%s' not found", c.Model))
		return
	}
	ctx, arrived := r.Context(), time.Now()
	if h.slots.enter(ctx) != nil {
		return
	}
	defer h.slots.leave()
	began := time.Now()
	h.change(func() { h.stats.Working++ })
	defer h.change(func() {
		h.stats.Working--
		h.stats.Held += time.Since(began)
	})

	release, err := h.use(ctx, m, c.numCtx(m.Model), c.keepAlive())
	if err != nil {
		return
	}
	defer release()
	out := output{w: w, call: c, model: m.Model, arrived: arrived, loaded: time.Now()}
	h.mu.Lock()
	out.tokenTime, out.firstWait, out.reply = h.tokenTime, h.firstWait, h.reply
	h.mu.Unlock()
	if c.Embed != nil {
		out.vectors(ctx)
	} else {
		out.text(ctx)
	}
}

func respond(w http.ResponseWriter, status int, body any) {
	if w.Header().Get("Content-Type") == "" { // a fault may have set another
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
	}
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}

// refuse answers with an error, in the form of the API that path belongs to.
func refuse(w http.ResponseWriter, path string, status int, text string) {
	respond(w, status, errorBody(path, text))
}
