package loadtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"ollama-mcp/internal/backend"
)

// Target is a host that is called without a pool.
type Target struct {
	URL    string // address, complete with scheme and port
	APIKey string // sent as a bearer token; "" means none
}

// Direct returns the contestants that a pool is compared with: one connection to the first
// host, which carries one call after another; and Go's default client, which opens
// connections as needed and keeps two idle ones per host, with the hosts taking turns.
// close ends their connections.
func Direct(hosts ...Target) (contestants []Contestant, close func()) {
	return directOver(http.DefaultTransport.(*http.Transport).DialContext, hosts...)
}

// Keeping returns a contestant that calls a host with a client of net/http which keeps so many
// idle connections, as that many programs with one each do. close ends them.
func Keeping(connections int, host Target) (c Contestant, close func()) {
	d := newDirect("client with connections of its own", http.DefaultTransport.(*http.Transport).DialContext, []Target{host})
	d.transport.MaxIdleConns, d.transport.MaxIdleConnsPerHost = 0, connections
	return d.contestant(), d.transport.CloseIdleConnections
}

// dialer opens connections, as DialContext of http.Transport does.
type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

func directOver(dial dialer, hosts ...Target) (contestants []Contestant, close func()) {
	one := newDirect("one connection", dial, hosts[:1])
	one.transport.MaxConnsPerHost = 1
	one.transport.Protocols = new(http.Protocols)
	one.transport.Protocols.SetHTTP1(true) // later ones let calls share a connection
	many := newDirect("default client", dial, hosts)
	return []Contestant{one.contestant(), many.contestant()}, func() {
		one.transport.CloseIdleConnections()
		many.transport.CloseIdleConnections()
	}
}

// direct calls hosts with a client of net/http.
type direct struct {
	name      string
	hosts     []Target
	transport *http.Transport
	calls     atomic.Uint64
	opened    atomic.Int64
}

func newDirect(name string, dial dialer, hosts []Target) *direct {
	// What http.DefaultClient uses, but with connections of its own.
	d := &direct{name: name, hosts: hosts, transport: http.DefaultTransport.(*http.Transport).Clone()}
	d.transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err == nil {
			d.opened.Add(1)
		}
		return conn, err
	}
	return d
}

func (d *direct) contestant() Contestant {
	return Contestant{Name: d.name, Do: d.do, Opened: func() int { return int(d.opened.Load()) }}
}

func (d *direct) do(ctx context.Context, q Request) (Result, error) {
	host := d.hosts[(d.calls.Add(1)-1)%uint64(len(d.hosts))]
	req, err := newRequest(ctx, host, q)
	if err != nil {
		return Result{}, d.failure(backend.Request, err)
	}
	resp, err := (&http.Client{Transport: d.transport}).Do(req)
	if err != nil {
		return Result{}, d.failure(backend.Transport, err)
	}
	defer func() { _ = resp.Body.Close() }()
	return d.read(q, resp)
}

func newRequest(ctx context.Context, host Target, q Request) (*http.Request, error) {
	path, body := "/api/generate", map[string]any{"model": q.Model, "truncate": false}
	if q.Kind == Embed {
		path, body["input"] = "/api/embed", q.Prompt
	} else {
		body["prompt"], body["options"] = q.Prompt, map[string]any{"num_predict": q.Tokens}
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(host.URL, "/")+path, bytes.NewReader(text))
	if err == nil && host.APIKey != "" {
		req.Header.Set("Authorization", "Bearer "+host.APIKey)
	}
	return req, err
}

// line is one JSON object of a response of either kind.
type line struct {
	Response        string
	Thinking        string
	Done            bool
	EvalCount       int `json:"eval_count"`
	PromptEvalCount int `json:"prompt_eval_count"`
	Error           string
}

// read reads a response to its end, since net/http keeps the connection only then.
func (d *direct) read(q Request, resp *http.Response) (a Result, err error) {
	if resp.StatusCode >= http.StatusBadRequest {
		return Result{}, d.refusal(resp)
	}
	dec := json.NewDecoder(resp.Body)
	for done := false; ; {
		var l line
		switch err := dec.Decode(&l); {
		case errors.Is(err, io.EOF) && done:
			return a, nil
		case err != nil:
			return Result{}, d.failure(backend.Server, fmt.Errorf("the answer was cut: %w", err))
		case l.Error != "":
			return Result{}, d.failure(backend.Server, errors.New(l.Error))
		}
		if a.FirstToken == 0 && l.Response+l.Thinking != "" {
			a.FirstToken = time.Since(q.Began)
		}
		a.Tokens, done = l.EvalCount, l.Done
		if q.Kind == Embed {
			a.Tokens, done = l.PromptEvalCount, true
		}
	}
}

// refusal is the error of a response whose status reports one.
func (d *direct) refusal(resp *http.Response) error {
	l := line{Error: resp.Status}
	_ = json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&l) // else the status has to do
	return d.failure(statusClass(resp.StatusCode), errors.New(l.Error))
}

func (d *direct) failure(class backend.Class, err error) error {
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err // without the address, which may hold a password
	}
	return &backend.Error{Host: d.name, Class: class, Message: err.Error(), Err: err}
}

func statusClass(status int) backend.Class {
	switch {
	case status == http.StatusNotFound:
		return backend.ModelMissing
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return backend.Unauthorized
	case status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests:
		return backend.Overload
	case status >= http.StatusInternalServerError:
		return backend.Server
	}
	return backend.Request
}
