package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// The request, and the answer of the host, which has a piece for each word.
const (
	model  = "bench:latest"
	prompt = "Why is the sky blue?"
	answer = "Because air scatters blue light, whose waves are short, more than red light, which goes straight."
)

// A host pretends to be an Ollama server with one model.
type host struct {
	url    string
	asked  atomic.Int64 // requests for text
	opened atomic.Int64 // connections
	server *http.Server

	fault   int64         // one in so many requests is answered with 503; 0 for none
	slots   chan struct{} // has a value for each request that is being served; nil for no bound
	service time.Duration // of one request; 0: at once
}

// newHost listens on a free port of this machine until it is closed. It serves so many
// requests at a time, 0 for any number, and takes so long for each.
func newHost(slots int, service time.Duration) (*host, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	h := &host{url: "http://" + l.Addr().String(), service: service}
	if slots > 0 {
		h.slots = make(chan struct{}, slots)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/generate", h.answer(`"response":`, ""))
	mux.HandleFunc("POST /api/chat", h.answer(`"message":{"role":"assistant","content":`, "}"))
	mux.HandleFunc("GET /api/version", text(`{"version":"0.17.4"}`))
	mux.HandleFunc("GET /api/tags", text(`{"models":[{"name":"`+model+`","model":"`+model+`","digest":"0123456789abcdef"}]}`))
	mux.HandleFunc("GET /api/ps", text(`{"models":[]}`))
	h.server = &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute, ConnState: func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			h.opened.Add(1)
		}
	}}
	go func() { _ = h.server.Serve(l) }() // until close
	return h, nil
}

func (h *host) close() { _ = h.server.Close() }

// answer streams the words, spread over the time of the service, and the end, or gives all in
// one object when the request says that it wants no stream. open and end stand around a text.
func (h *host) answer(open, end string) http.HandlerFunc {
	const (
		head = `{"model":"` + model + `","created_at":"2026-01-01T00:00:00Z",`
		tail = `,"done":true,"done_reason":"stop","total_duration":3000000,"load_duration":1000000,` +
			`"prompt_eval_count":6,"prompt_eval_duration":1000000,"eval_count":16,"eval_duration":1000000}` + "\n"
	)
	words := strings.SplitAfter(answer, " ")
	return func(w http.ResponseWriter, r *http.Request) {
		asked := h.asked.Add(1)
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client has gone
		}
		if h.fault > 0 && asked%h.fault == 0 {
			http.Error(w, `{"error":"server busy, please try again"}`, http.StatusServiceUnavailable)
			return
		}
		if h.slots != nil {
			select {
			case h.slots <- struct{}{}:
				defer func() { <-h.slots }()
			case <-r.Context().Done():
				return
			}
		}
		begun := time.Now()
		if bytes.Contains(body, []byte(`"stream":false`)) {
			time.Sleep(h.service)
			text(head+open+`"`+answer+`"`+end+tail)(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		for i, word := range words {
			// Until a point in time: a timer is late, and so would be each piece.
			time.Sleep(time.Until(begun.Add(h.service * time.Duration(i+1) / time.Duration(len(words)))))
			_, _ = io.WriteString(w, head+open+`"`+word+`"`+end+`,"done":false}`+"\n")
			_ = http.NewResponseController(w).Flush()
		}
		_, _ = io.WriteString(w, head+open+`""`+end+tail)
	}
}

// text answers every request with the same JSON.
func text(json string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, json)
	}
}

// A post asks the host without a server in between.
type post struct {
	url    string
	client http.Client
}

func newPost(h *host) *post {
	return &post{
		url:    h.url + "/api/generate",
		client: http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
}

func (p *post) close() { p.client.CloseIdleConnections() }

// used is nothing: there is no server.
func (p *post) used() (time.Duration, error) { return 0, nil }

func (p *post) call(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url,
		bytes.NewReader([]byte(`{"model":"`+model+`","prompt":"`+prompt+`","stream":false}`)))
	if err != nil {
		return err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if !bytes.Contains(body, []byte(answer)) {
		return fmt.Errorf("unexpected answer: %.200s", body)
	}
	return nil
}
