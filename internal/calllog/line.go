package calllog

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/mailru/easyjson/buffer"
	"github.com/mailru/easyjson/jwriter"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/inference"
)

// Line is a line of the file: a call, or a notice that some are missing.
type Line struct {
	Time        time.Time    `json:"timestamp"` // when the call began
	Trace       string       `json:"trace_id,omitempty"`
	RequestID   string       `json:"request_id,omitempty"` // of its HTTP request
	Tool        string       `json:"tool,omitempty"`
	API         string       `json:"api,omitempty"` // method and path of a call by the gateway, whose tool does the same
	Caller      string       `json:"caller,omitempty"`
	Request     *Request     `json:"request,omitempty"`  // absent if no model was asked for
	Response    *Response    `json:"response,omitempty"` // absent if no host was asked, and nothing answered
	Performance *Performance `json:"performance,omitempty"`
	Fallback    []string     `json:"fallback,omitzero"` // models before the one that answered, and why they did not
	Cache       string       `json:"cache,omitempty"`
	Error       *Error       `json:"error,omitempty"`
	Content     *Content     `json:"content,omitempty"`

	Dropped *Dropped `json:"dropped,omitempty"` // calls that have no line, in a notice
}

// Request is what a call asked for.
type Request struct {
	Model        string `json:"model"`
	Messages     int    `json:"messages_count"`
	PromptTokens int    `json:"prompt_tokens_estimate"`
}

// Response is what answered a call, or failed to.
type Response struct {
	InputTokens  int    `json:"input_tokens"`
	OutputTokens int    `json:"output_tokens"`
	Source       string `json:"source"`
	Model        string `json:"model"`
	Host         string `json:"host,omitempty"`
	DoneReason   string `json:"done_reason,omitempty"`
}

// Performance is how long a call took, in milliseconds.
type Performance struct {
	Latency         int64   `json:"latency_ms"`
	Queue           int64   `json:"queue_ms"`
	Lost            int64   `json:"lost_ms,omitempty"` // by attempts that failed or were late
	Load            int64   `json:"load_ms"`
	FirstToken      int64   `json:"first_token_ms"`
	TokensPerSecond float64 `json:"tokens_per_second"`
	Retries         int     `json:"retries,omitempty"`
}

// Error is why a call failed.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message,omitempty"`
}

// Content is the text of prompts and answers.
type Content struct {
	System   string            `json:"system,omitempty"`
	Prompt   string            `json:"prompt,omitempty"`
	Suffix   string            `json:"suffix,omitempty"`
	Messages []backend.Message `json:"messages,omitempty"` // without images
	Texts    []string          `json:"texts,omitempty"`
	Images   int               `json:"images,omitempty"` // number of images
	Answer   string            `json:"answer,omitempty"`
	Thinking string            `json:"thinking,omitempty"`
	Data     map[string]any    `json:"data,omitempty"` // tool calls
}

// localCaller is the caller of calls on stdio: the user who started the program.
const localCaller = "local"

const (
	usualSize = 2 << 10  // bytes of memory for a line without texts
	maxKept   = 64 << 10 // bytes of memory of a line that are kept for the next
	maxError  = 1000     // bytes of the message of an error
)

// sheet is where a line is made; its memory is used for one after another.
type sheet struct {
	line        Line
	request     Request
	response    Response
	performance Performance
	err         Error
	text        []byte
}

// write makes the line of a call. It may be read until the next one is made.
func (s *sheet) write(r *inference.Record) []byte {
	s.fill(r)
	line := s.encode(&s.line)
	s.line.Content = nil // it is needed no longer
	return line
}

// encode makes a line as encoding/json would by the tags of Line, in less than half of the time. The names of
// members stand in both.
func (s *sheet) encode(l *Line) []byte {
	var content []byte
	if l.Content != nil {
		content = marshal(l.Content)
	}
	w := &jwriter.Writer{NoEscapeHTML: true, Buffer: buffer.Buffer{Buf: slices.Grow(s.text[:0], usualSize+len(content))}}
	text := func(begin, value string) {
		if value != "" {
			w.RawString(begin)
			w.String(value)
		}
	}
	number := func(begin string, value int64) {
		w.RawString(begin)
		w.Int64(value)
	}
	w.RawString(`{"timestamp":"`)
	w.Buffer.Buf = l.Time.AppendFormat(w.Buffer.Buf, time.RFC3339Nano)
	w.RawByte('"')
	text(`,"trace_id":`, l.Trace)
	text(`,"request_id":`, l.RequestID)
	text(`,"tool":`, l.Tool)
	text(`,"api":`, l.API)
	text(`,"caller":`, l.Caller)
	if r := l.Request; r != nil {
		w.RawString(`,"request":{"model":`)
		w.String(r.Model)
		number(`,"messages_count":`, int64(r.Messages))
		number(`,"prompt_tokens_estimate":`, int64(r.PromptTokens))
		w.RawByte('}')
	}
	if r := l.Response; r != nil {
		number(`,"response":{"input_tokens":`, int64(r.InputTokens))
		number(`,"output_tokens":`, int64(r.OutputTokens))
		w.RawString(`,"source":`)
		w.String(r.Source)
		w.RawString(`,"model":`)
		w.String(r.Model)
		text(`,"host":`, r.Host)
		text(`,"done_reason":`, r.DoneReason)
		w.RawByte('}')
	}
	if p := l.Performance; p != nil {
		number(`,"performance":{"latency_ms":`, p.Latency)
		number(`,"queue_ms":`, p.Queue)
		if p.Lost != 0 {
			number(`,"lost_ms":`, p.Lost)
		}
		number(`,"load_ms":`, p.Load)
		number(`,"first_token_ms":`, p.FirstToken)
		w.RawString(`,"tokens_per_second":`)
		w.Float64(p.TokensPerSecond)
		if p.Retries != 0 {
			number(`,"retries":`, int64(p.Retries))
		}
		w.RawByte('}')
	}
	if l.Fallback != nil {
		w.RawString(`,"fallback":[`)
		for i, model := range l.Fallback {
			if i > 0 {
				w.RawByte(',')
			}
			w.String(model)
		}
		w.RawByte(']')
	}
	text(`,"cache":`, l.Cache)
	if e := l.Error; e != nil {
		w.RawString(`,"error":{"code":`)
		w.String(e.Code)
		text(`,"message":`, e.Message)
		w.RawByte('}')
	}
	if content != nil {
		w.RawString(`,"content":`)
		w.Raw(content, nil)
	}
	if l.Dropped != nil {
		w.RawString(`,"dropped":`)
		w.Raw(marshal(l.Dropped), nil)
	}
	w.RawString("}\n")
	line, _ := w.BuildBytes() // no part can fail
	if s.text = line; cap(line) > maxKept {
		s.text = nil // there was a line with long texts
	}
	return line
}

// marshal encodes what few lines have; nil if a tool call of a model is no JSON.
func marshal(v any) []byte {
	var text bytes.Buffer
	to := json.NewEncoder(&text)
	to.SetEscapeHTML(false)
	if err := to.Encode(v); err != nil {
		return nil
	}
	return bytes.TrimSpace(text.Bytes())
}

// fill says what there is to say of a call.
func (s *sheet) fill(r *inference.Record) {
	by := &r.Served
	s.performance = Performance{Latency: r.Took.Milliseconds(), Queue: by.Queue, Lost: by.Lost, FirstToken: by.FirstToken, TokensPerSecond: by.TokensPerSecond, Retries: by.Retries}
	if by.Load != nil {
		s.performance.Load = *by.Load
	}
	s.line = Line{
		Time: r.Began.UTC().Truncate(time.Millisecond), Trace: r.Trace, RequestID: r.RequestID, Tool: r.Tool, API: r.HTTP.String(), Caller: cmp.Or(r.Caller, localCaller),
		Performance: &s.performance, Fallback: by.Passed, Cache: string(r.Cache),
	}
	if s.line.Fallback == nil {
		s.line.Fallback = []string{} // for programs that iterate over it
	}
	if by.Requested != "" {
		s.request = Request{by.Requested, r.Asked.Messages, r.Asked.PromptTokens}
		s.line.Request, s.line.Content = &s.request, contentOf(&r.Asked)
	}
	if r.WasAnswered() {
		s.response = Response{by.TokensIn, by.TokensOut, string(by.Source), by.Model, by.Host, by.DoneReason}
		s.line.Response = &s.response
	}
	if r.Code != "" {
		s.err = Error{string(r.Code), r.Err[:min(len(r.Err), maxError)]}
		s.line.Error = &s.err
	}
}

// contentOf returns the texts of a call; nil if the record has none.
func contentOf(a *inference.Asked) *Content {
	if a.Request == nil && a.Texts == nil {
		return nil
	}
	c := &Content{Texts: a.Texts, Answer: a.Partial}
	if r := a.Request; r != nil {
		c.System, c.Prompt, c.Suffix, c.Images = r.System, r.Prompt, r.Suffix, len(r.Images)
		for _, m := range r.Messages {
			c.Images += len(m.Images)
			m.Images = nil
			c.Messages = append(c.Messages, m)
		}
	}
	if a.Response != nil {
		c.Answer, c.Thinking = a.Response.Text, a.Response.Thinking
		if a.Response.CallsTools {
			c.Data = a.Response.Data
		}
	}
	return c
}

// sizeOf is the least that the line of a call takes: that of its texts.
func sizeOf(r *inference.Record) (n int64) {
	a := &r.Asked
	for _, text := range a.Texts {
		n += int64(len(text))
	}
	if q := a.Request; q != nil {
		n += int64(len(q.System) + len(q.Prompt) + len(q.Suffix))
		for _, m := range q.Messages {
			n += int64(len(m.Content) + len(m.Thinking))
		}
	}
	if a.Response != nil {
		n += int64(len(a.Response.Text) + len(a.Response.Thinking))
	}
	return n + int64(len(a.Partial))
}
