package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"

	"ollama-mcp/internal/e2e/procgroup"
)

// A client sends requests to the program over one connection or none, and counts what comes
// back. Each request that was sent is answered once.
type client interface {
	// call sends a request and waits for its answer. A client whose context ends cancels the
	// request as the transport has it.
	call(ctx context.Context, method string, params any) (response, error)
	close()
}

// response is an answer of the protocol.
type response struct {
	ID     int64 // 0 if it has none
	Result *result
	Error  *struct {
		Code    int
		Message string
	}
	Method string // of a request or notification of the server, which is no answer
}

type result struct {
	IsError           bool
	Content           []struct{ Type, Text string }
	StructuredContent map[string]any
	Meta              struct {
		Served struct {
			Model, Host string
			TokensIn    int `json:"tokens_in"`
			TokensOut   int `json:"tokens_out"`
			served
		} `json:"ollama-mcp/served"`
	} `json:"_meta"`
}

// served is where the time of a call went, in milliseconds.
type served struct {
	Queue      int64 `json:"queue_ms"`
	Load       int64 `json:"load_ms"`
	FirstToken int64 `json:"first_token_ms"`
	Total      int64 `json:"total_ms"`
}

// errStatus is an answer of HTTP that is not 2xx, with or without a message of the protocol.
type errStatus struct {
	status int
	body   string
}

func (e *errStatus) Error() string { return fmt.Sprintf("status %d: %.200s", e.status, e.body) }

// errLost means that the connection ended before the answer.
var errLost = errors.New("the connection ended before the answer")

// requestIDs are never used twice, so that an answer that comes to the wrong client is seen.
var requestIDs atomic.Int64

// message is a request in JSON.
func message(id int64, method string, params any, modern bool) []byte {
	if modern {
		fields := map[string]any{"_meta": map[string]any{
			"io.modelcontextprotocol/protocolVersion":    modernVersion,
			"io.modelcontextprotocol/clientInfo":         map[string]any{"name": "soak", "version": "1"},
			"io.modelcontextprotocol/clientCapabilities": map[string]any{},
		}}
		raw, _ := json.Marshal(params) // of maps and texts
		_ = json.Unmarshal(raw, &fields)
		params = fields
	}
	m := map[string]any{"jsonrpc": "2.0", "method": method, "params": params}
	if id != 0 {
		m["id"] = id
	}
	raw, _ := json.Marshal(m)
	return raw
}

const (
	modernVersion = "2026-07-28"
	legacyVersion = "2025-11-25"
)

var initializeParams = map[string]any{
	"protocolVersion": legacyVersion, "capabilities": map[string]any{}, "clientInfo": map[string]any{"name": "soak", "version": "1"},
}

// waiting are the requests of a connection, over which answers come in any order.
type waiting struct {
	violate func(format string, args ...any)

	mu     sync.Mutex
	asked  map[int64]chan response // until answered
	done   map[int64]bool          // answered, or cancelled and so perhaps not answered
	closed bool
}

func newWaiting(violate func(string, ...any)) *waiting {
	return &waiting{violate: violate, asked: make(map[int64]chan response), done: make(map[int64]bool)}
}

// add returns where the answer to a request will come; the channel is closed if the
// connection ends before.
func (w *waiting) add(id int64) <-chan response {
	w.mu.Lock()
	defer w.mu.Unlock()
	answer := make(chan response, 1)
	if w.closed {
		close(answer)
	} else {
		w.asked[id] = answer
	}
	return answer
}

// cancelled says that a request may go unanswered, and reports whether it has been answered.
func (w *waiting) cancelled(id int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asked[id] != nil {
		delete(w.asked, id)
		w.done[id] = false
	}
}

// take hands a message that came over the connection to who waits for it.
func (w *waiting) take(raw []byte) {
	var r response
	if err := json.Unmarshal(raw, &r); err != nil {
		w.violate("not JSON: %.200q", raw)
		return
	}
	if r.Method != "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if answer := w.asked[r.ID]; answer != nil {
		delete(w.asked, r.ID)
		w.done[r.ID] = true
		answer <- r
		return
	}
	switch answered, known := w.done[r.ID]; {
	case !known && r.ID == 0:
		w.violate("an answer without an id: %.300s", raw)
	case !known:
		w.violate("an answer to a request of another client: %.300s", raw)
	case answered:
		w.violate("a second answer to request %d: %.300s", r.ID, raw)
	default: // it was on its way when the request was cancelled
		w.done[r.ID] = true
	}
}

func (w *waiting) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, answer := range w.asked {
		close(answer)
	}
	clear(w.asked)
}

// await waits for an answer, and cancels the request if ctx ends before.
func (w *waiting) await(ctx context.Context, id int64, answer <-chan response, cancel func()) (response, error) {
	select {
	case r, ok := <-answer:
		if !ok {
			return r, errLost
		}
		return r, nil
	case <-ctx.Done():
		w.cancelled(id)
		cancel()
		return response{}, ctx.Err()
	}
}

func cancelMessage(id int64) []byte {
	return message(0, "notifications/cancelled", map[string]any{"requestId": id}, false)
}

// stdio is the program as a subprocess. Many callers share it.
type stdio struct {
	*waiting
	cmd   *exec.Cmd
	group *procgroup.Group
	in    io.WriteCloser
	write sync.Mutex // one message at a time
	read  sync.WaitGroup
}

// startStdio starts a command whose standard error goes where the command says.
func startStdio(cmd *exec.Cmd, violate func(string, ...any)) (*stdio, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s := &stdio{waiting: newWaiting(violate), cmd: cmd, in: in}
	if s.group, err = procgroup.Start(cmd); err != nil {
		return nil, err
	}
	s.read.Go(func() {
		defer s.end()
		for lines := bufio.NewReader(out); ; {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				return
			}
			s.take(line)
		}
	})
	if _, err := s.call(context.Background(), "initialize", initializeParams); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *stdio) say(line []byte) {
	s.write.Lock()
	defer s.write.Unlock()
	_, _ = s.in.Write(append(line, '\n')) // if the program has ended, its output has too
}

func (s *stdio) call(ctx context.Context, method string, params any) (response, error) {
	id := requestIDs.Add(1)
	answer := s.add(id)
	s.say(message(id, method, params, false))
	return s.await(ctx, id, answer, func() { s.say(cancelMessage(id)) })
}

// close has the program end, in good order if it can.
func (s *stdio) close() {
	s.in.Close()
	s.read.Wait()
	if err := s.cmd.Wait(); err != nil {
		s.violate("the program on stdio did not end in good order: %v", err)
	}
	s.group.Kill()
}

// web is a caller over HTTP: every request is a POST of its own.
type web struct {
	base, key string
	modern    bool // without a session
	http      *http.Client
	violate   func(format string, args ...any)

	mu      sync.Mutex
	session string // "" until there is one
}

func newWeb(base, key string, modern bool, violate func(string, ...any)) *web {
	return &web{base: base, key: key, modern: modern, http: &http.Client{Transport: &http.Transport{}}, violate: violate}
}

func (w *web) call(ctx context.Context, method string, params any) (response, error) {
	if !w.modern {
		if err := w.begin(ctx); err != nil {
			return response{}, err
		}
	}
	return w.send(ctx, method, params)
}

// begin opens a session if there is none.
func (w *web) begin(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.session != "" {
		return nil
	}
	req, err := w.request(ctx, message(requestIDs.Add(1), "initialize", initializeParams, false))
	if err != nil {
		return err
	}
	resp, err := w.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if w.session = resp.Header.Get("Mcp-Session-Id"); resp.StatusCode != http.StatusOK || w.session == "" {
		return &errStatus{resp.StatusCode, string(body)}
	}
	return nil
}

func (w *web) request(ctx context.Context, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.base+"/mcp", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("Authorization", "Bearer "+w.key)
	return req, nil
}

func (w *web) send(ctx context.Context, method string, params any) (response, error) {
	id := requestIDs.Add(1)
	req, err := w.request(ctx, message(id, method, params, w.modern))
	if err != nil {
		return response{}, err
	}
	if w.modern {
		req.Header.Set("Mcp-Protocol-Version", modernVersion)
		req.Header.Set("Mcp-Method", method)
		if named, ok := params.(map[string]any); ok {
			req.Header.Set("Mcp-Name", fmt.Sprint(named["name"]))
		}
	} else {
		w.mu.Lock()
		req.Header.Set("Mcp-Session-Id", w.session)
		w.mu.Unlock()
		req.Header.Set("Mcp-Protocol-Version", legacyVersion)
	}
	resp, err := w.http.Do(req)
	if err != nil {
		return response{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return response{}, err
	}
	if resp.StatusCode != http.StatusOK {
		return response{}, &errStatus{resp.StatusCode, string(body)}
	}
	return w.only(id, resp.Header.Get("Content-Type"), body)
}

// only returns the one answer in a body, which is an object or a stream of events.
func (w *web) only(id int64, kind string, body []byte) (found response, err error) {
	messages := [][]byte{body}
	if strings.HasPrefix(kind, "text/event-stream") {
		messages = nil
		for line := range bytes.Lines(body) {
			if data, ok := bytes.CutPrefix(line, []byte("data:")); ok {
				messages = append(messages, data)
			}
		}
	}
	answers := 0
	for _, raw := range messages {
		var r response
		if err := json.Unmarshal(raw, &r); err != nil {
			w.violate("not JSON: %.200q", raw)
			continue
		}
		if r.Method != "" {
			continue
		}
		if r.ID != id {
			w.violate("request %d got an answer to %d: %.300s", id, r.ID, raw)
		}
		answers++
		found = r
	}
	if answers != 1 {
		w.violate("request %d got %d answers: %.300s", id, answers, body)
		return found, errLost
	}
	return found, nil
}

func (w *web) close() { w.http.CloseIdleConnections() }

// sse is a caller with a stream of events over which all answers come.
type sse struct {
	*waiting
	key      string
	endpoint string // where requests are posted
	http     *http.Client
	stop     context.CancelFunc
	read     sync.WaitGroup
}

func openSSE(ctx context.Context, base, key string, violate func(string, ...any)) (*sse, error) {
	streamCtx, stop := context.WithCancel(context.Background())
	s := &sse{waiting: newWaiting(violate), key: key, http: &http.Client{Transport: &http.Transport{}}, stop: stop}
	req, err := http.NewRequestWithContext(streamCtx, http.MethodGet, base+"/sse", nil)
	if err != nil {
		stop()
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := s.http.Do(req)
	if err != nil {
		stop()
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		stop()
		return nil, &errStatus{resp.StatusCode, string(body)}
	}
	endpoint := make(chan string, 1)
	s.read.Go(func() {
		defer s.end()
		defer resp.Body.Close()
		for lines := bufio.NewReader(resp.Body); ; {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				close(endpoint)
				return
			}
			data, ok := bytes.CutPrefix(line, []byte("data:"))
			switch data = bytes.TrimSpace(data); {
			case !ok:
			case s.endpoint == "":
				at, err := req.URL.Parse(string(data))
				if err != nil {
					at = &url.URL{}
				}
				s.endpoint = at.String()
				endpoint <- s.endpoint
			default:
				s.take(data)
			}
		}
	})
	if _, ok := <-endpoint; !ok {
		s.close()
		return nil, errLost
	}
	if _, err := s.call(ctx, "initialize", initializeParams); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *sse) post(ctx context.Context, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.endpoint, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.key)
	resp, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusAccepted {
		return &errStatus{resp.StatusCode, string(said)}
	}
	return err
}

func (s *sse) call(ctx context.Context, method string, params any) (response, error) {
	id := requestIDs.Add(1)
	answer := s.add(id)
	if err := s.post(ctx, message(id, method, params, false)); err != nil {
		s.cancelled(id)
		return response{}, err
	}
	return s.await(ctx, id, answer, func() { _ = s.post(context.Background(), cancelMessage(id)) })
}

func (s *sse) close() {
	s.stop()
	s.read.Wait()
	s.http.CloseIdleConnections()
}
