package gateway

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"ollama-mcp/cache"
	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/route"
	"ollama-mcp/internal/schema"
)

// Headers of requests, for what neither API has a member for. They mean what the arguments of
// tools of the same name mean.
const (
	headerCache     = "X-Ollama-MCP-Cache"      // auto, off or refresh
	headerPriority  = "X-Ollama-MCP-Priority"   // interactive or batch
	headerLocalOnly = "X-Ollama-MCP-Local-Only" // true or false
	headerTimeout   = "X-Ollama-MCP-Timeout"    // seconds
	headerResume    = "X-Ollama-MCP-Resume"     // whole
)

// headerHost is a header of requests and of answers: the only host that may answer, and the one
// that has answered.
const headerHost = "X-Ollama-MCP-Host"

// Headers of answers, which say what served them.
const (
	headerModel  = "X-Ollama-MCP-Model"
	headerSource = "X-Ollama-MCP-Source" // one of inference.Source
	headerRung   = "X-Ollama-MCP-Rung"   // of the ladder, from 1
	headerAge    = "X-Ollama-MCP-Age"    // of a cached answer, in seconds
	headerNote   = "X-Ollama-MCP-Note"   // what a reader of the answer must know
	headerTrace  = "X-Ollama-MCP-Trace"
	headerCode   = "X-Ollama-MCP-Error" // one of fault.Code
)

// Headers are the headers of answers, which pages of allowed origins may read.
func Headers() []string {
	return []string{headerHost, headerModel, headerSource, headerRung, headerAge, headerNote, headerTrace, headerCode}
}

// seldom are the members of requests for text that have one meaning in Ollama's API.
type seldom struct {
	Model     string            `json:"model"`
	Options   map[string]any    `json:"options"`
	KeepAlive *backend.Duration `json:"keep_alive"`
	Truncate  *bool             `json:"truncate"`
}

// common is what a request asks for in members of every kind of request, and in headers. Options
// that are not known are left out, as Ollama leaves them out; lost names them.
func (x *exchange) common(in seldom) (c inference.Common, lost []string, err error) {
	if in.Model == "" {
		return c, nil, fault.Invalidf("model is required")
	}
	x.asked = in.Model
	c = inference.Common{
		Model: in.Model, KeepAlive: in.KeepAlive, Truncate: in.Truncate, Host: x.req.Header.Get(headerHost),
		Caller: x.who, Call: x.call,
	}
	lost = backend.UnknownOptions(in.Options)
	for name, value := range in.Options {
		if value == nil || slices.Contains(lost, name) {
			continue
		}
		if c.Options == nil {
			c.Options = make(map[string]any)
		}
		c.Options[name] = value
	}
	return c, lost, x.readHeaders(&c)
}

// readHeaders reads the headers of a request.
func (x *exchange) readHeaders(c *inference.Common) error {
	header := x.req.Header
	switch policy := cache.Policy(header.Get(headerCache)); policy {
	case "", cache.Auto, cache.Off, cache.Refresh:
		c.Cache = policy
	default:
		return badHeader(headerCache, "auto, off or refresh", string(policy))
	}
	switch priority := header.Get(headerPriority); priority {
	case "", "interactive":
	case "batch":
		c.Priority = route.Batch
	default:
		return badHeader(headerPriority, "interactive or batch", priority)
	}
	if text := header.Get(headerLocalOnly); text != "" {
		only, err := strconv.ParseBool(text)
		if err != nil {
			return badHeader(headerLocalOnly, "true or false", text)
		}
		c.LocalOnly = only
	}
	if text := header.Get(headerTimeout); text != "" {
		const year = 365 * 24 * time.Hour
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil || !(seconds > 0) || math.IsInf(seconds, 0) {
			return badHeader(headerTimeout, "a number of seconds above 0", text)
		}
		c.Timeout = max(time.Duration(min(seconds, year.Seconds())*float64(time.Second)), 1)
	}
	if text := header.Get(headerResume); text != "" && text != "whole" {
		return badHeader(headerResume, "whole", text)
	}
	return nil
}

func badHeader(name, want, got string) error {
	return fault.Invalidf("the header %s must be %s, not %.40q", name, want, got)
}

// tell sets the headers that say what served an answer.
func (x *exchange) tell(s inference.Served, notes ...string) {
	header := x.w.Header()
	header.Set(headerTrace, x.call.Trace)
	if x.opts.Quiet {
		return
	}
	header.Set(headerModel, plain(s.Model))
	header.Set(headerSource, string(s.Source))
	if s.Host != "" {
		header.Set(headerHost, plain(s.Host))
	}
	if s.Rung > 0 {
		header.Set(headerRung, strconv.Itoa(s.Rung))
	}
	if s.Source == inference.Cached || s.Source == inference.CachedShared || s.Source == inference.CachedSimilar {
		header.Set(headerAge, strconv.FormatFloat(s.Age, 'f', -1, 64))
	}
	if len(notes) > 0 {
		header.Set(headerNote, plain(spelling.Replace(strings.Join(notes, " "))))
	}
}

// plain is a text that can be the value of a header.
func plain(text string) string {
	const most = 1000
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text[:min(len(text), most)])
}

// lostNote says which options were left out; nothing if none were.
func lostNote(lost []string) []string {
	if len(lost) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("Options that are not known were left out: %s.", strings.Join(lost, ", "))}
}

// textWriter writes answers of text in the form of an API.
type textWriter interface {
	// piece is a part of a streamed answer, which may be the first.
	piece(p inference.Piece) []any
	// like is a piece as all have it that have text alone, but for the first, with markText and, where
	// pieces have a time, markTime.
	like() any
	// end is what follows the last piece.
	end(resp *inference.Response) []any
	// whole is an answer in one piece.
	whole(resp *inference.Response) any
	// failed is an error in the middle of a stream.
	failed(status int, code, text string) any
}

// ask has the engine answer a request for text, in pieces if they are wanted.
func (x *exchange) ask(req inference.Request, lost []string, streams bool, events bool, out textWriter) (finish func(), err error) {
	req.Thoughts, req.Unfit = true, true
	if !streams {
		resp, err := x.opts.Engine.Do(x.ctx, req)
		if err != nil {
			return nil, err
		}
		x.tell(resp.Served, append(lostNote(lost), resp.Notes...)...)
		return x.answer(out.whole(resp)), nil
	}
	s := &stream{exchange: x, out: out, events: events, notes: lostNote(lost)}
	req.Stream, req.Restart = s.piece, x.req.Header.Get(headerResume) == "whole"
	resp, err := x.opts.Engine.Do(x.ctx, req)
	if err != nil {
		return nil, err
	}
	return func() { s.end(resp) }, nil
}

// stream is a response that is sent in pieces.
type stream struct {
	*exchange
	out    textWriter
	events bool // of server-sent events, and not lines of JSON
	notes  []string
	form   form                     // of pieces of text, from the second on
	flow   *http.ResponseController // nil before the stream has begun
	buf    []byte                   // for what is sent next
}

// piece sends a piece of the answer. Its error says that the client has left, or may have no more: an
// answer may be whole long before a slow client has read it.
func (s *stream) piece(p inference.Piece) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	isFirst := s.stream == nil
	if isFirst {
		s.begin(p.Served)
	}
	if !s.hold(p.Waiting) {
		return errors.New("those that wait to be read take as much memory as they may at the moment")
	}
	if isFirst || !isText(p) {
		return s.send(s.out.piece(p)...)
	}
	if s.form.after == nil {
		s.form.learn(s.out.like())
	}
	s.buf = s.chunk(s.buf[:0], func(to []byte) []byte { return s.form.append(to, p.Text) })
	return s.put(s.buf)
}

// begin sends the head of the response.
func (s *stream) begin(served inference.Served) {
	s.tell(served, s.notes...)
	s.exchange.stream, s.flow = s, http.NewResponseController(s.w)
	header, kind := s.w.Header(), "application/x-ndjson"
	if s.events {
		kind = "text/event-stream"
		header.Set("Cache-Control", "no-cache")
	}
	header.Set("Content-Type", kind)
	header.Set("X-Accel-Buffering", "no") // nginx would hold the pieces back
	s.w.WriteHeader(http.StatusOK)
}

// send writes chunks, and has the client get them.
func (s *stream) send(chunks ...any) error { return s.put(s.chunks(chunks...)) }

// put writes chunks that are JSON already, and has the client get them.
func (s *stream) put(text []byte) error {
	if _, err := s.w.Write(text); err != nil {
		return err
	}
	return s.flow.Flush()
}

// chunks are the bytes of chunks, which are valid until the next are made.
func (s *stream) chunks(all ...any) []byte {
	s.buf = s.buf[:0]
	for _, chunk := range all {
		s.buf = s.chunk(s.buf, func(to []byte) []byte { return append(to, schema.MustMarshal(chunk)...) })
	}
	return s.buf
}

// chunk appends a chunk, whose JSON is what appendJSON appends.
func (s *stream) chunk(to []byte, appendJSON func([]byte) []byte) []byte {
	if !s.events {
		return append(appendJSON(to), '\n')
	}
	return append(appendJSON(append(to, "data: "...)), "\n\n"...)
}

// end writes the end of the stream, which the client gets with the end of the response. If it cannot
// be written, nobody is left to be told.
func (s *stream) end(resp *inference.Response) {
	if s.stream == nil {
		s.notes = append(s.notes, resp.Notes...)
		s.begin(resp.Served)
	}
	last := s.chunks(s.out.end(resp)...)
	if s.events {
		last = append(last, "data: [DONE]\n\n"...)
	}
	_, _ = s.w.Write(last)
}

// fail ends the stream with an error, as end does.
func (s *stream) fail(status int, code, text string) {
	_, _ = s.w.Write(s.chunks(s.out.failed(status, code, text)))
}
