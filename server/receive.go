package server

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/internal/caller"
)

// receive reads the message that a request brings, which is then to be let go of. If
// it cannot, it says why.
func (h *HTTP) receive(w http.ResponseWriter, req *http.Request, from caller.Caller) (m incoming, ok bool) {
	kind, _, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		refuse(w, http.StatusUnsupportedMediaType, rpcError(nil, mcp.INVALID_REQUEST, "the Content-Type must be application/json", nil))
		return m, false
	}
	limit, whose := h.server.opts.MaxMessage, "this server takes"
	if own := from.Limits.Body; own > 0 && own < limit {
		limit, whose = own, "you may send"
	}
	body, err := h.readBody(w, req, limit)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		refuse(w, http.StatusRequestEntityTooLarge, tooLong(nil, limit, whose))
		return m, false
	case errors.Is(err, errNoRoom):
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusServiceUnavailable, h.server.room.refusal(nil))
		return m, false
	case errors.Is(err, os.ErrDeadlineExceeded):
		refuse(w, http.StatusRequestTimeout, rpcError(nil, mcp.INVALID_REQUEST, "the message did not arrive in time", retry("timeout", true)))
		return m, false
	case err != nil:
		refuse(w, http.StatusBadRequest, rpcError(nil, mcp.INVALID_REQUEST, "the message did not arrive whole", nil))
		return m, false
	}
	var e envelope
	_, _ = e.Write(body)
	m = e.message(body)
	m.from, m.header, m.held = from, namesOf(req.Header), int64(len(body))
	return m, true
}

// readBody takes no more memory than has arrived, whatever was announced, and room
// for all of it. There is a deadline for reading.
func (h *HTTP) readBody(w http.ResponseWriter, req *http.Request, limit int64) ([]byte, error) {
	if req.ContentLength > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	flow := http.NewResponseController(w)
	noDeadline(flow)
	var body bytes.Buffer
	if n := req.ContentLength; n > 0 {
		body.Grow(int(min(n, 64<<10)) + bytes.MinRead)
	}
	in := metered{in: http.MaxBytesReader(w, req.Body, limit), room: &h.server.room}
	_, err := io.Copy(&body, &in)
	if err == nil {
		_ = flow.SetReadDeadline(time.Time{}) // or the end of the wait would be taken for the client's
	} else {
		in.room.give(in.held)
	}
	extend(flow)
	return body.Bytes(), err
}
