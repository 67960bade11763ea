package backendtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Fault replaces the answer to one request. It may call serve for the answer of a
// healthy host.
type Fault func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc)

// Busy is what Ollama answers when its queue is full.
var Busy = Refuse(http.StatusServiceUnavailable, "server busy, please try again.  maximum pending requests exceeded")

// Refuse answers with a status and an error, in the form of the request's API. Headers
// follow as name and value in turn, such as "Retry-After", "7".
func Refuse(status int, text string, headers ...string) Fault {
	return func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
		body, _ := json.Marshal(errorBody(r.URL.Path, text)) // strings always can be
		Respond(status, "application/json; charset=utf-8", string(body), headers...)(w, r, serve)
	}
}

// Respond answers with a status, a content type and a body.
func Respond(status int, contentType, body string, headers ...string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
		w.Header().Set("Content-Type", contentType)
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// Garbage is an answer that is not JSON.
var Garbage = Respond(http.StatusOK, "application/x-ndjson", "\x00\x01 {]\n")

// HTML is the page of a proxy instead of an answer.
var HTML = Respond(http.StatusOK, "text/html", "<!doctype html>\n<title>Welcome</title>\n")

// Empty is an answer without a body.
var Empty = Respond(http.StatusOK, "application/x-ndjson", "")

// ErrorLine is an answer that consists of an error.
func ErrorLine(text string) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.HandlerFunc) { sendError(w, r, text) }
}

// sendError sends an error in the place of a piece.
func sendError(w http.ResponseWriter, r *http.Request, text string) {
	line, _ := json.Marshal(errorBody(r.URL.Path, text))
	if isOpenAI(r.URL.Path) {
		fmt.Fprintf(w, "data: %s\n\n", line)
		return
	}
	fmt.Fprintf(w, "%s\n", line)
}

// errorBody is an error in the form of the API that path belongs to.
func errorBody(path, text string) any {
	if isOpenAI(path) {
		return map[string]any{"error": map[string]any{"message": text, "type": "error", "param": nil, "code": nil}}
	}
	return map[string]string{"error": text}
}

// HugeLine is an answer that is one piece of so many bytes.
func HugeLine(bytes int) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
		fmt.Fprintf(w, `{"response":"%s","done":true}`+"\n", strings.Repeat("x", bytes))
	}
}

// WrongType serves a good answer under another content type.
func WrongType(contentType string) Fault {
	return func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
		w.Header().Set("Content-Type", contentType)
		serve(w, r)
	}
}

// Hang never answers.
func Hang(_ http.ResponseWriter, r *http.Request, _ http.HandlerFunc) {
	<-r.Context().Done()
}

// SlowHeaders answers after d.
func SlowHeaders(d time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
		if sleep(r.Context(), d) == nil {
			serve(w, r)
		}
	}
}

// Reset ends the connection before it answers.
func Reset(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0) // a reset, not an orderly end
	}
	conn.Close()
}

// Cut ends the connection after n pieces of the answer.
func Cut(n int) Fault {
	return after(n, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
}

// HangAfter sends n pieces and then nothing more.
func HangAfter(n int) Fault {
	return after(n, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
}

// ErrorAfter sends n pieces and then an error.
func ErrorAfter(n int, text string) Fault {
	return after(n, func(w http.ResponseWriter, r *http.Request) { sendError(w, r, text) })
}

// Undone sends n pieces and then ends the answer as if it were complete.
func Undone(n int) Fault {
	return after(n, func(http.ResponseWriter, *http.Request) {})
}

// after lets n pieces pass, calls then, and discards the rest.
func after(n int, then func(http.ResponseWriter, *http.Request)) Fault {
	return func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
		gate := &gate{ResponseWriter: w, left: n, then: func() { then(w, r) }}
		gate.check()
		serve(gate, r)
	}
}

// gate is a writer that ends after some pieces; a flush ends a piece.
type gate struct {
	http.ResponseWriter
	left int
	then func()
	shut bool
}

func (g *gate) Write(b []byte) (int, error) {
	if g.shut {
		return len(b), nil
	}
	return g.ResponseWriter.Write(b)
}

func (g *gate) Flush() {
	if g.shut {
		return
	}
	g.left--
	g.check()
}

func (g *gate) check() {
	http.NewResponseController(g.ResponseWriter).Flush()
	if g.left <= 0 {
		g.shut = true
		g.then()
	}
}

// faults are the faults that tests have ordered.
type faults struct {
	down    bool
	every   Fault // for all requests; nil: none
	when    func(Call) Fault
	next    Fault // for the next calls
	pending int   // how many of them
}

// Fail spoils the next n calls.
func (h *Host) Fail(n int, f Fault) *Host {
	return h.change(func() { h.faults.next, h.faults.pending = f, n })
}

// FailWhen spoils each call for which choose returns a fault that is not nil.
func (h *Host) FailWhen(choose func(Call) Fault) *Host {
	return h.change(func() { h.faults.when = choose })
}

// Break spoils all requests until Mend, those for the version and lists included.
func (h *Host) Break(f Fault) *Host {
	return h.change(func() { h.faults.every = f })
}

// Down makes the host unreachable until Mend: its connections end and new ones
// are refused (through Dial) or reset (through a socket).
func (h *Host) Down() *Host {
	return h.change(func() {
		h.faults.down = true
		for c := range h.conns {
			c.Close()
		}
	})
}

// Mend removes all faults.
func (h *Host) Mend() *Host {
	return h.change(func() { h.faults = faults{} })
}

func (h *Host) isDown() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.faults.down
}

// faultOfAll is the fault of any request, or nil.
func (h *Host) faultOfAll() Fault {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.faults.down {
		return Reset
	}
	return h.faults.every
}

// faultOf takes the fault of a call, or nil.
func (h *Host) faultOf(c Call) Fault {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.faults.pending > 0 {
		h.faults.pending--
		return h.faults.next
	}
	if h.faults.when != nil {
		return h.faults.when(c)
	}
	return nil
}
