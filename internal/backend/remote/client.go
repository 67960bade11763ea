// Package remote is what the backends that are reached over HTTP have in common.
//
// It promises that connections are kept, reused and bounded, that a request ends
// with its context, that the size of an answer is bounded, that credentials go to
// the one host they are for, and that errors say in plain words what happened and
// never hold a key or a password. The content of requests, and the meaning of
// answers, are left to the backends.
package remote

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	Name   string   // name of the host in errors; empty: host:port of the URL
	API    string   // whose API the host has, for errors: "Ollama"
	URL    *url.URL // prefix of all requests; a user and password in it become credentials
	Key    string   // sent as a bearer token, takes precedence over a user and password; empty: none
	CAFile string   // PEM file of authorities trusted in addition to the system's; empty: none

	Conns       int           // answers that the host is asked for at a time; further ones wait for a connection; 0: 64
	DialTimeout time.Duration // to connect, and again for a TLS handshake; 0: 5 s
	MaxLine     int           // bytes of one line of a streamed answer; 0: 16 MiB
	Trace       bool          // the host is told which span a request is part of
	Memory      *Memory       // bounds the answers that are arriving; nil: one of its own, with the defaults

	// DialContext makes the connections; nil: the network.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// Explain reads the body of a refusal: its class, and the host's message.
	Explain func(status int, body []byte) (class backend.Class, message string)
}

// Client talks to one host. It may be used from many goroutines.
type Client struct {
	name    string
	api     string
	url     string // prefix of all requests, without user and password
	auth    string // value of the Authorization header; empty sends none
	gate    *gate  // of answers
	answers *http.Transport
	info    *http.Transport
	work    *http.Transport
	trace   bool
	secrets *strings.Replacer
	maxLine int
	memory  *Memory
	explain func(status int, body []byte) (backend.Class, string)
}

// New returns a client that has not connected yet. It fails if a number is
// negative or the CA file holds no certificate.
func New(o Options) (*Client, error) {
	if o.Conns < 0 || o.DialTimeout < 0 || o.MaxLine < 0 {
		return nil, errors.New("negative Conns, DialTimeout or MaxLine")
	}
	o.DialTimeout = cmp.Or(o.DialTimeout, 5*time.Second)
	if o.Memory == nil {
		o.Memory = NewMemory(0, 0)
	}
	gate := newGate(connsFor(o.Conns))
	answers, err := newTransport(o, 0, gate)
	if err != nil {
		return nil, err
	}
	info, err := newTransport(o, infoConns, nil)
	if err != nil {
		return nil, err
	}
	work, err := newTransport(o, workConns, nil)
	if err != nil {
		return nil, err
	}
	prefix := *o.URL
	prefix.User = nil
	return &Client{
		name:    cmp.Or(o.Name, o.URL.Host),
		api:     o.API,
		url:     prefix.String(),
		auth:    authorization(o.Key, o.URL.User),
		gate:    gate,
		answers: answers,
		info:    info,
		work:    work,
		trace:   o.Trace,
		secrets: redactor(o.Key, o.URL.User),
		maxLine: cmp.Or(o.MaxLine, 16<<20),
		memory:  o.Memory,
		explain: o.Explain,
	}, nil
}

// connsFor is how many connections there may be for so many answers at a time. One more is for a model
// that goes on loading after the request that needed it has timed out.
func connsFor(answers int) int { return cmp.Or(answers, 64) + 1 }

// SetConns changes how many answers the host is asked for at a time; see Options.Conns. It may be called
// at any time. Answers under way go on.
func (c *Client) SetConns(conns int) {
	if over := c.gate.resize(connsFor(conns)); over {
		c.answers.CloseIdleConnections()
	}
}

// Name is the name of the host.
func (c *Client) Name() string { return c.name }

// Close closes idle connections. Requests under way go on.
func (c *Client) Close() {
	c.answers.CloseIdleConnections()
	c.info.CloseIdleConnections()
	c.work.CloseIdleConnections()
}

// Stream posts a request for an answer, with in as JSON, and has read take the lines of
// the answer and add them to a. Where all connections are busy, it waits for one. An
// error of type *backend.Error that read returns is returned with the host's name in it;
// any other is explained. If read returns no error, the answer has ended, and the reason
// that the host gave says whether it failed. With an error the answer is what has arrived,
// or nil if nothing has.
func (c *Client) Stream(ctx context.Context, path, accept string, in any, a *Assembly, read func(*Assembly, *Lines) error) (*backend.Answer, error) {
	a.account = c.memory.account(ctx)
	defer a.account.release()
	err := c.exchange(ctx, c.answers, http.MethodPost, path, accept, in, func(body io.ReadCloser) (pieces int, err error) {
		lines := newLines(body, c.maxLine, a.Hold)
		defer lines.recycle()
		if err = read(a, lines); err == nil {
			err = c.ended(a)
		}
		return a.Pieces(), err
	})
	return a.Result(err == nil), err
}

// ended takes in the reason for which the host has ended its answer, and fails if that
// says that the host could not finish it.
func (c *Client) ended(a *Assembly) error {
	got := &a.Answer
	got.DoneReason = cmp.Or(backend.EndReason(c.OneLine(string(got.DoneReason))), backend.NoReason)
	end := got.DoneReason.End()
	if end == backend.EndFailed || end == backend.EndNoAnswer && a.Pieces() > 0 {
		return &backend.Error{Class: backend.Server, Message: fmt.Sprintf("the host ended its answer with the reason %q", got.DoneReason)}
	}
	return nil
}

// Answer posts a request for an answer as Stream does, and decodes the answer, which is
// one JSON value, into out.
func (c *Client) Answer(ctx context.Context, path string, in, out any) error {
	return c.value(ctx, c.answers, http.MethodPost, path, in, out)
}

// Info asks the host about itself or its models, with in as JSON unless it is nil, and
// decodes the answer into out. Such requests are short, and have connections of their
// own: a host is not taken for dead because answers occupy all the others.
func (c *Client) Info(ctx context.Context, method, path string, in, out any) error {
	return c.value(ctx, c.info, method, path, in, out)
}

// value sends a request whose answer is one JSON value.
func (c *Client) value(ctx context.Context, via *http.Transport, method, path string, in, out any) error {
	taken := c.memory.account(ctx)
	defer taken.release()
	return c.exchange(ctx, via, method, path, "application/json", in, func(body io.ReadCloser) (pieces int, err error) {
		all := withoutMark(held{body, taken.hold})
		dec := json.NewDecoder(all)
		err = dec.Decode(out)
		if _, ok := errors.AsType[*json.SyntaxError](err); ok {
			return 0, decodeRest(io.MultiReader(dec.Buffered(), all), out, err)
		}
		return 0, err
	})
}

// decodeRest decodes a value that is no JSON, but may be what Python writes for it; err if not.
func decodeRest(body io.Reader, out any, err error) error {
	rest, readErr := io.ReadAll(body)
	if readErr != nil {
		return readErr
	}
	if rest = bytes.TrimSpace(rest); !BeginsJSON(rest) {
		return err
	}
	return Decode(firstValue(rest), out)
}

// withoutMark is a body without the byte order mark that it may begin with.
func withoutMark(body io.Reader) io.Reader {
	buffered := bufio.NewReader(body)
	if begin, _ := buffered.Peek(len(byteOrderMark)); string(begin) == byteOrderMark { // an error comes with the next read
		_, _ = buffered.Discard(len(byteOrderMark))
	}
	return buffered
}

// exchange sends a request and has read take the body of an answer with status 200 or 201. What
// is sent is JSON, unless it is an upload.
// Errors are of type *backend.Error.
func (c *Client) exchange(ctx context.Context, via *http.Transport, method, path, accept string, in any, read func(io.ReadCloser) (pieces int, err error)) error {
	var sent io.Reader
	file, isFile := in.(upload)
	if isFile {
		sent = file.Reader
	} else if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return &backend.Error{Host: c.name, Class: backend.Request, Message: "cannot be written as JSON", Err: err}
		}
		sent = bytes.NewReader(text)
	}
	if via == c.answers {
		waits, done := wait(ctx)
		defer done()
		ctx = waits
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, sent)
	if err != nil {
		return c.transportError(ctx, err)
	}
	req.Header.Set("Accept", accept)
	if isFile {
		req.ContentLength = file.size
		req.Header.Set("Content-Type", "application/octet-stream")
	} else if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.auth != "" {
		req.Header.Set("Authorization", c.auth)
	}
	if t := backend.TraceOf(ctx); c.trace && t.Parent != "" {
		req.Header.Set("Traceparent", t.Parent)
		if t.State != "" {
			req.Header.Set("Tracestate", t.State)
		}
	}
	// Not through an http.Client, which adds redirects, which are never followed: they
	// would take a prompt, and perhaps a key, to a host that nobody configured.
	resp, err := via.RoundTrip(req)
	if err != nil {
		return c.transportError(ctx, err)
	}
	defer resp.Body.Close()
	if err := decompress(resp); err != nil {
		return c.answerError(ctx, err, 0)
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated {
		return c.refusal(ctx, resp)
	}
	body := http.MaxBytesReader(nil, resp.Body, maxAnswer)
	if pieces, err := read(body); err != nil {
		return c.answerError(ctx, err, pieces)
	}
	drain(body)
	return nil
}

// DrainTimeout limits how long a body is read after the last line that matters.
const DrainTimeout = time.Second

// drain reads the rest of a body, so that its connection can be reused, but neither
// for long nor much: beyond that a new connection is cheaper.
func drain(body io.ReadCloser) {
	timer := time.AfterFunc(DrainTimeout, func() { body.Close() })
	defer timer.Stop()
	io.Copy(io.Discard, io.LimitReader(body, maxErrorBody)) // an error costs the connection, and nothing else
}
