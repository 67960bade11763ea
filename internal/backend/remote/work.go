package remote

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"

	"ollama-mcp/internal/backend"
)

// workConns bounds the connections for work that is no answer, such as pulling a model: it may
// take hours, and must not take the connections of answers.
const workConns = 16

// upload is the body of a request that is not JSON.
type upload struct {
	io.Reader
	size int64
}

// Do sends a request for work whose answer says nothing but that it is done.
func (c *Client) Do(ctx context.Context, method, path string, in any) error {
	return c.exchange(ctx, c.work, method, path, "application/json", in, func(io.ReadCloser) (int, error) { return 0, nil })
}

// Upload posts so many bytes.
func (c *Client) Upload(ctx context.Context, path string, body io.Reader, size int64) error {
	return c.Do(ctx, http.MethodPost, path, upload{body, size})
}

// Follow posts a request for work, and calls each with every line of the answer, until it
// returns an error or reports that the work is done. A line is valid during the call alone. An
// answer that ends before the work is done is an error.
func (c *Client) Follow(ctx context.Context, path string, in any, each func(line []byte) (done bool, err error)) error {
	return c.exchange(ctx, c.work, http.MethodPost, path, "application/x-ndjson", in, func(body io.ReadCloser) (int, error) {
		lines := NewLines(body, c.maxLine)
		defer lines.recycle()
		for n := 0; ; n++ {
			line, err := lines.Next()
			switch {
			case errors.Is(err, io.EOF):
				return n, &backend.Error{Class: backend.Server, Message: "the host stopped before the work was done"}
			case err != nil:
				return n, err
			case len(bytes.TrimSpace(line)) == 0:
				continue
			}
			if done, err := each(line); done || err != nil {
				return n, err
			}
		}
	})
}
