package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync/atomic"
	"time"
)

// installed is how many models each of the polled hosts has, which its lists describe as Ollama does.
const installed = 30

// polled are pretend hosts, which are asked for an answer once, and from then on only how they are.
type polled struct {
	urls     []string
	requests atomic.Int64
	server   *http.Server
}

func newPolled(n int) (*polled, error) {
	h := new(polled)
	type details struct {
		Format            string   `json:"format"`
		Family            string   `json:"family"`
		Families          []string `json:"families"`
		ParameterSize     string   `json:"parameter_size"`
		QuantizationLevel string   `json:"quantization_level"`
	}
	type listed struct {
		Name          string    `json:"name"`
		Model         string    `json:"model"`
		ModifiedAt    time.Time `json:"modified_at"`
		Size          int64     `json:"size"`
		Digest        string    `json:"digest"`
		Details       details   `json:"details"`
		ExpiresAt     time.Time `json:"expires_at,omitzero"`
		SizeVRAM      int64     `json:"size_vram,omitzero"`
		ContextLength int       `json:"context_length,omitzero"`
	}
	var tags, running []listed
	for i := range installed {
		name := fmt.Sprintf("model-%d:8b", i)
		if i == 0 {
			name = model
		}
		m := listed{Name: name, Model: name, ModifiedAt: time.Now(), Size: 5 << 30, Digest: fmt.Sprintf("%064x", i), Details: details{"gguf", "llama", []string{"llama"}, "8.0B", "Q4_K_M"}}
		tags = append(tags, m)
		if i < 2 {
			m.ExpiresAt, m.SizeVRAM, m.ContextLength = time.Now().Add(time.Hour), m.Size, 8192
			running = append(running, m)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/chat", new(host).answer(`"message":{"role":"assistant","content":`, "}"))
	mux.HandleFunc("POST /api/generate", new(host).answer(`"response":`, ""))
	for path, value := range map[string]any{"/api/version": map[string]string{"version": "0.17.4"}, "/api/tags": map[string]any{"models": tags}, "/api/ps": map[string]any{"models": running}} {
		body, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			h.requests.Add(1)
			text(string(body))(w, r)
		})
	}
	h.server = &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			h.close()
			return nil, err
		}
		h.urls = append(h.urls, "http://"+l.Addr().String())
		go func() { _ = h.server.Serve(l) }() // until close
	}
	return h, nil
}

func (h *polled) close() { _ = h.server.Close() }

// pollFor measures, for some time, the processor time that a server uses to know how its hosts are, and
// prints what part of a core that is.
func pollFor(ctx context.Context, p plan, lasts time.Duration, w io.Writer) error {
	h, err := newPolled(p.polling)
	if err != nil {
		return err
	}
	defer h.close()
	command := append(p.server[:len(p.server):len(p.server)], "--metrics-address=127.0.0.1:0")
	for _, url := range h.urls {
		command = append(command, "--host="+url)
	}
	server, err := start(ctx, command, h.urls[0])
	if err != nil {
		return err
	}
	defer server.close()
	if err := server.call(ctx); err != nil { // without any, a server on stdio does not poll
		return err
	}
	if err := sleepFor(ctx, lasts/6); err != nil { // the first polls connect, and decode all for the first time
		return err
	}
	before, err := server.used()
	if err != nil {
		return err
	}
	asked, began := h.requests.Load(), time.Now()
	if err := sleepFor(ctx, lasts); err != nil {
		return err
	}
	after, err := server.used()
	if err != nil {
		return err
	}
	took, requests := time.Since(began), h.requests.Load()-asked
	fmt.Fprintf(w, "polling %d hosts with %d models each, for %v (%s, %s/%s, %d CPUs):\n", p.polling, installed, took.Round(time.Second),
		time.Now().Format(time.DateOnly), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	fmt.Fprintf(w, "%.1f requests a second, %.2f %% of a core\n", float64(requests)/took.Seconds(), 100*(after-before).Seconds()/took.Seconds())
	return nil
}

func sleepFor(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
