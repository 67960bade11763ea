package ollama

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"ollama-mcp/internal/backend"
)

// patience is how long a body may go on after the last line that matters.
const patience = time.Second

// stream posts in and calls next for each line of the answer, which it decodes,
// until it says that this was the last. Errors are of type *backend.Error.
func (h *Host) stream(ctx context.Context, path string, in any, next func(*json.Decoder) (last bool, err error)) error {
	resp, err := h.post(ctx, path, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body := lineLimiter{r: resp.Body}
	dec := json.NewDecoder(&body)
	for count := 0; ; count++ {
		body.left = h.maxLine
		last, err := next(dec)
		if err != nil {
			return h.broken(ctx, err, count)
		}
		if last {
			drain(resp.Body)
			return nil
		}
	}
}

// post sends a request and returns an answer with status 200, whose body the
// caller closes.
func (h *Host) post(ctx context.Context, path string, in any) (*http.Response, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, &backend.Error{Host: h.name, Class: backend.Request, Message: "cannot be written as JSON", Err: err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, standIn+path, bytes.NewReader(body))
	if err != nil {
		return nil, h.failure(ctx, err, 0)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/x-ndjson")
	resp, err := h.http.Do(req)
	if err != nil {
		return nil, h.failure(ctx, err, 0)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, h.refusal(ctx, resp)
	}
	return resp, nil
}

var errLongLine = errors.New("line too long")

// lineLimiter keeps a decoder from buffering a line without bound: it ends in
// an error unless left is set again after each line.
type lineLimiter struct {
	r    io.Reader
	left int // bytes
}

func (l *lineLimiter) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errLongLine
	}
	n, err := l.r.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}

// drain reads what is left of a body, so that its connection can be used again,
// but neither for long nor much: beyond that a new connection is cheaper.
func drain(body io.ReadCloser) {
	timer := time.AfterFunc(patience, func() { body.Close() })
	defer timer.Stop()
	io.Copy(io.Discard, io.LimitReader(body, maxErrorBody)) // what cannot be read is not missed
}
