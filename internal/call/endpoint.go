package call

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/mark3labs/mcp-go/mcp"
)

// endpoint is a server that runs, at a URL.
type endpoint struct{ url, key string }

func (*endpoint) close() error { return nil }

// ask posts a request. When ctx ends, the connection is closed, which cancels the request.
func (e *endpoint) ask(ctx context.Context, r *request, told func(*message)) (*message, error) {
	resp, err := e.post(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("the server did not answer: %w", err)
	}
	defer resp.Body.Close()
	if media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); media == "text/event-stream" {
		return lastOf(resp.Body, told)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("the answer broke off: %w", err)
	}
	answer := new(message)
	if err := json.Unmarshal(body, answer); err != nil || answer.Result == nil && answer.Error == nil {
		return nil, e.explain(resp, body)
	}
	return answer, nil
}

func (e *endpoint) post(ctx context.Context, r *request) (*http.Response, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("MCP-Protocol-Version", version)
	req.Header.Set(mcp.HeaderMethod, string(r.Method))
	if tool, ok := r.Params["name"].(string); ok {
		req.Header.Set(mcp.HeaderName, tool)
	}
	if e.key != "" {
		req.Header.Set("Authorization", "Bearer "+e.key)
	}
	return http.DefaultClient.Do(req)
}

// lastOf reads a stream of events up to the answer.
func lastOf(body io.Reader, told func(*message)) (*message, error) {
	lines := bufio.NewReader(body)
	var data []byte
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return nil, fmt.Errorf("the answer broke off: %w", err)
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
			if value, ok := bytes.CutPrefix(line, []byte("data:")); ok {
				data = append(data, value...)
			}
			continue
		}
		m := new(message)
		err, data = json.Unmarshal(data, m), data[:0]
		switch {
		case err != nil: // what is no message is nothing that we wait for
		case m.Method == "":
			return m, nil
		default:
			told(m)
		}
	}
}

// explain says what an answer means that is none of the protocol.
func (e *endpoint) explain(resp *http.Response, body []byte) error {
	var said struct {
		Description string `json:"error_description"`
	}
	_ = json.Unmarshal(body, &said) // whose description is empty if the body is something else
	switch {
	case resp.StatusCode == http.StatusUnauthorized && e.key == "":
		return errors.New("the server wants a key: set OLLAMA_MCP_KEY to one that it accepts")
	case resp.StatusCode == http.StatusUnauthorized && said.Description != "":
		return fmt.Errorf("the server does not accept the key in OLLAMA_MCP_KEY: %s", said.Description)
	case resp.StatusCode == http.StatusUnauthorized:
		return errors.New("the server does not accept the key in OLLAMA_MCP_KEY; it may have been revoked, or be that of another server")
	case resp.StatusCode < 300 || resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusMethodNotAllowed:
		return errors.New("the server takes no MCP there: the URL usually ends in /mcp")
	case said.Description != "":
		return fmt.Errorf("the server answered %s: %s", resp.Status, said.Description)
	}
	return fmt.Errorf("the server answered %s", resp.Status)
}
