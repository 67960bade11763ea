package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"ollama-mcp/internal/loadtest"
)

// A client speaks JSON-RPC, one message a line, for any number of callers at once. It does
// as little as possible: the processor time that it uses is not there for the server.
type client struct {
	calls   atomic.Int64 // that were made by call
	lenient atomic.Bool  // lines that are no JSON are skipped

	mu      sync.Mutex // guards all below; a line is written under it so that lines stay whole
	w       io.Writer
	lastID  int
	waiting map[int]chan message // by id
	over    error                // why no more answers will come; set once, before the channels are closed
}

// message is a line from the server; one with a method is not an answer.
type message struct {
	ID     int
	Method string
	Result json.RawMessage
	Error  *struct{ Message string }
}

var errHungUp = errors.New("the server has hung up")

func newClient(w io.Writer) *client {
	return &client{w: w, waiting: make(map[int]chan message)}
}

// listen delivers answers until r ends, and then fails all requests that still wait.
func (c *client) listen(r io.Reader) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			c.end(errHungUp)
			return
		}
		var m message
		if err := json.Unmarshal(line, &m); err != nil {
			if c.lenient.Load() {
				continue
			}
			c.end(fmt.Errorf("the server wrote %.100q: %w", line, err))
			return
		}
		if m.Method == "" {
			c.deliver(m)
		}
	}
}

func (c *client) end(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = why
	for id, answer := range c.waiting {
		close(answer)
		delete(c.waiting, id)
	}
}

func (c *client) deliver(m message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if answer, ok := c.waiting[m.ID]; ok {
		answer <- m // has room for one
		delete(c.waiting, m.ID)
	}
}

// request sends a request and returns the result; params is JSON.
func (c *client) request(ctx context.Context, method, params string) (json.RawMessage, error) {
	answer := make(chan message, 1)
	if err := c.send(method, params, answer); err != nil {
		return nil, err
	}
	select {
	case m, ok := <-answer:
		switch {
		case !ok:
			return nil, fmt.Errorf("%s: %w", method, c.over)
		case m.Error != nil:
			return nil, fmt.Errorf("%s: %s", method, m.Error.Message)
		}
		return m.Result, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: %w", method, ctx.Err())
	}
}

func (c *client) send(method, params string, answer chan message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over != nil {
		return c.over
	}
	c.lastID++
	c.waiting[c.lastID] = answer
	_, err := fmt.Fprintf(c.w, `{"jsonrpc":"2.0","id":%d,"method":%q,"params":%s}`+"\n", c.lastID, method, params)
	return err
}

// greet opens the session and returns once the server has listed its tools.
func (c *client) greet(ctx context.Context) error {
	_, err := c.request(ctx, "initialize",
		`{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"overhead","version":"0"}}`)
	if err != nil {
		return err
	}
	if err := c.notify("notifications/initialized"); err != nil {
		return err
	}
	_, err = c.request(ctx, "tools/list", `{}`)
	return err
}

func (c *client) notify(method string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := fmt.Fprintf(c.w, `{"jsonrpc":"2.0","method":%q}`+"\n", method)
	return err
}

// ask asks a question through the server's tool. The number of tokens stays unknown, since
// the control does not report it. An answer without text is an error: the control returns
// one if the host refuses.
func (c *client) ask(ctx context.Context, q loadtest.Request) (loadtest.Result, error) {
	type arguments struct {
		Model  string `json:"model"`
		Prompt string `json:"prompt"`
	}
	params, err := json.Marshal(struct {
		Name      string    `json:"name"`
		Arguments arguments `json:"arguments"`
	}{"generate", arguments{q.Model, q.Prompt}})
	if err != nil {
		return loadtest.Result{}, err
	}
	got, err := c.request(ctx, "tools/call", string(params))
	if err != nil {
		return loadtest.Result{}, err
	}
	var result struct {
		IsError bool
		Content []struct{ Text string }
	}
	if err := json.Unmarshal(got, &result); err != nil {
		return loadtest.Result{}, err
	}
	if result.IsError || len(result.Content) == 0 || result.Content[0].Text == "" {
		return loadtest.Result{}, fmt.Errorf("no answer: %.200s", got)
	}
	return loadtest.Result{}, nil
}

// call asks the model once through the server's tool. No two prompts are the same, so
// that no answer can come from a cache, and progress is asked for.
func (c *client) call(ctx context.Context) error {
	n := c.calls.Add(1)
	got, err := c.request(ctx, "tools/call", fmt.Sprintf(
		`{"name":"generate","arguments":{"model":%q,"prompt":"%s (%d)"},"_meta":{"progressToken":%d}}`, model, prompt, n, n))
	if err != nil {
		return err
	}
	if !bytes.Contains(got, []byte(answer)) {
		return fmt.Errorf("unexpected answer: %.200s", got)
	}
	return nil
}
