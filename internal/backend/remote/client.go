// Package remote is what the kinds of hosts that are reached over HTTP have in
// common.
//
// It promises that connections are kept and used again, that a request ends with
// its context, that what comes back is bounded, that credentials go to the one
// host they are for, and that errors say in plain words what happened and never
// hold a key or password. What is asked, and what an answer means, is left to the
// kinds.
package remote

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"ollama-mcp/internal/backend"
)

// Options say where a host is and how to talk to it.
type Options struct {
	Name   string   // what it is called in errors; empty: host:port of the URL
	API    string   // whose API it has, for errors: "Ollama"
	URL    *url.URL // what all paths begin with; a user and password in it become credentials
	Key    string   // sent as a bearer token, before a user and password; empty: none
	CAFile string   // PEM file of authorities trusted beside the system's; empty: none

	Conns       int           // idle connections kept open; 0: 4
	DialTimeout time.Duration // to connect, and again for a TLS handshake; 0: 5 s
	MaxLine     int           // bytes of one line of a streamed answer; 0: 16 MiB

	// DialContext makes the connections; nil: the network.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// Explain reads what the host says about a refusal: its class, and the words.
	Explain func(status int, body []byte) (class backend.Class, said string)
}

// Client talks to one host. It may be used from many goroutines.
type Client struct {
	name    string
	api     string
	http    *http.Client
	idle    func() // closes idle connections
	secrets *strings.Replacer
	maxLine int
	explain func(status int, body []byte) (backend.Class, string)
}

// New returns a client that has not connected yet. It fails if a number is
// negative or the CA file holds no certificate.
func New(o Options) (*Client, error) {
	if o.Conns < 0 || o.DialTimeout < 0 || o.MaxLine < 0 {
		return nil, errors.New("negative Conns, DialTimeout or MaxLine")
	}
	o.Conns = cmp.Or(o.Conns, 4)
	o.DialTimeout = cmp.Or(o.DialTimeout, 5*time.Second)
	t, err := newTransport(o)
	if err != nil {
		return nil, err
	}
	return &Client{
		name:    cmp.Or(o.Name, o.URL.Host),
		api:     o.API,
		http:    &http.Client{Transport: t, CheckRedirect: refuseRedirect},
		idle:    t.next.CloseIdleConnections,
		secrets: redactor(o.Key, o.URL.User),
		maxLine: cmp.Or(o.MaxLine, 16<<20),
		explain: o.Explain,
	}, nil
}

// Name is what the host is called.
func (c *Client) Name() string { return c.name }

// HTTP sends requests for StandIn to the host. Its errors are for Failed.
func (c *Client) HTTP() *http.Client { return c.http }

// MaxLine is how many bytes one line of a streamed answer may have.
func (c *Client) MaxLine() int { return c.maxLine }

// Close closes idle connections. Requests under way go on.
func (c *Client) Close() { c.idle() }

// Do sends a request, with in as JSON unless it is nil, and returns an answer with
// status 200, whose body the caller closes. Errors are of type *backend.Error.
func (c *Client) Do(ctx context.Context, method, path, accept string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		sent, err := json.Marshal(in)
		if err != nil {
			return nil, &backend.Error{Host: c.name, Class: backend.Request, Message: "cannot be written as JSON", Err: err}
		}
		body = bytes.NewReader(sent)
	}
	req, err := http.NewRequestWithContext(ctx, method, StandIn+path, body)
	if err != nil {
		return nil, c.Failed(ctx, err)
	}
	req.Header.Set("Accept", accept)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.Failed(ctx, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, c.refusal(ctx, resp)
	}
	return resp, nil
}

// ErrLongLine is for the error of a read function that met a line above MaxLine.
var ErrLongLine = errors.New("line too long")

// Stream sends a request as Do does and has read take the answer, which reads no
// further than it must. An error of type *backend.Error that read returns is returned with the
// host's name in it; any other is explained, and pieces say how far read came. A
// read without an error has read all that matters.
func (c *Client) Stream(ctx context.Context, method, path, accept string, in any, read func(io.ReadCloser) (pieces int, err error)) error {
	resp, err := c.Do(ctx, method, path, accept, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if pieces, err := read(resp.Body); err != nil {
		return c.broken(ctx, err, pieces)
	}
	drain(resp.Body)
	return nil
}

// JSON sends a request as Do does and decodes the answer into out.
func (c *Client) JSON(ctx context.Context, method, path string, in, out any) error {
	return c.Stream(ctx, method, path, "application/json", in, func(body io.ReadCloser) (pieces int, err error) {
		return 0, json.NewDecoder(body).Decode(out)
	})
}

// Patience is how long a body may go on after the last line that matters.
const Patience = time.Second

// drain reads what is left of a body, so that its connection can be used again,
// but neither for long nor much: beyond that a new connection is cheaper.
func drain(body io.ReadCloser) {
	timer := time.AfterFunc(Patience, func() { body.Close() })
	defer timer.Stop()
	io.Copy(io.Discard, io.LimitReader(body, maxErrorBody)) // what cannot be read is not missed
}
