package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/jobs"
	"ollama-mcp/internal/progress"
	"ollama-mcp/internal/schema"
)

// This file is the one place where tools meet MCP.

// call is one call of a tool.
type call struct {
	*inference.Call
	own   atomic.Pointer[func() jobs.Progress] // set by reports; nil if the engine reports the progress
	tells atomic.Bool                          // progress messages carry the end of the answer so far
}

// reports sets the function that supplies the call's progress, which may be called from any
// goroutine. Tools that make a single request of the engine do not need it: the engine knows how
// far its own requests have come.
func (c *call) reports(progress func() jobs.Progress) { c.own.Store(&progress) }

// message is what clients are told of the progress.
func (c *call) message() string {
	if own := c.own.Load(); own != nil {
		return (*own)().Message
	}
	message := c.Progress().String()
	if c.tells.Load() {
		if end := tail(c.Partial()); end != "" {
			return message + ": " + end
		}
	}
	return message
}

// tail is the end of a text in one line that a host can show.
func tail(text string) string {
	const most = 100 // characters
	begins := max(0, len(text)-most*utf8.UTFMax)
	line := []rune(strings.Join(strings.Fields(strings.ToValidUTF8(text[begins:], "")), " "))
	if len(line) > most {
		line, begins = line[len(line)-most:], 1
	}
	if begins > 0 {
		return "…" + string(line)
	}
	return string(line)
}

// result is what a tool answers; see succeeded for how clients read it.
type result struct {
	data     data              // the answer, if it is an object of ours
	text     string            // the answer otherwise
	object   map[string]any    // the text, if it is an object in the form that the caller asked for
	notes    []string          // what the reader of the answer must know
	ignored  []string          // arguments that were left out; shown in the metadata only
	served   *inference.Served // nil for a tool that uses no model
	logprobs *logprobsOut      // nil unless the caller asked for them
	thinking string            // what the model thought, when the caller asked for it

	whole *mcp.CallToolResult // that another call has made, instead of all of the above; nil for none
}

// data is an object of ours in the structured content of a result.
type data interface{ note(notes []string) }

// noted is embedded by every data.
type noted struct {
	Notes []string `json:"notes,omitempty" jsonschema:"what to know of it"`
}

func (n *noted) note(notes []string) { n.Notes = append(n.Notes, notes...) }

// writesFiles is the behaviour of a tool that can write a file, where files may be written.
func (d Deps) writesFiles(h hints) hints {
	if d.Files.WritesAny() {
		h.readOnly, h.destructive = false, true
	}
	return h
}

// do has the engine answer a request. The text of the answer goes to a file, unless to is nil.
func (d Deps) do(ctx context.Context, req inference.Request, p prepared) (*result, error) {
	resp, err := d.Engine.Do(ctx, req)
	if err != nil {
		return nil, err
	}
	r := &result{text: resp.Text, object: resp.Data, notes: append(p.notes, resp.Notes...), served: &resp.Served, thinking: resp.Thinking}
	if resp.CallsTools {
		r.data, r.object = &toolCallsOut{ToolCalls: resp.Data["tool_calls"], Text: resp.Text}, nil
	}
	if p.to != nil {
		if err := r.moveTo(p.to, resp); err != nil {
			return nil, err
		}
	}
	d.addLogprobs(ctx, r, resp)
	return r, nil
}

// toolCallsOut is an answer of a model that wants functions called.
type toolCallsOut struct {
	ToolCalls any    `json:"tool_calls"`
	Text      string `json:"text,omitempty"` // that the model has written beside them
	noted
}

// define makes a tool from its description and a function with typed arguments.
func define[In any](d Deps, a about, run func(context.Context, In, *call) (*result, error)) mcpserver.ServerTool {
	return d.define(a, reflect.TypeFor[In](), func(ctx context.Context, in any, c *call) (*result, error) {
		return run(ctx, *in.(*In), c)
	})
}

// runner is the function of a tool; in points to the arguments.
type runner func(ctx context.Context, in any, c *call) (*result, error)

// define makes a tool whose arguments are of the type in.
// It refuses arguments that the schema does not allow, and turns every error
// and panic into a result: a Go error never leaves it.
// It is not generic, because each type of arguments would add its code to the program once more.
func (d Deps) define(a about, in reflect.Type, run runner) mcpserver.ServerTool {
	var more []reflect.Type
	if a.slow {
		more = append(more, reflect.TypeFor[waitArgs]())
	}
	arguments, err := schema.For(in, typeSchemas, more...)
	if err != nil {
		panic(fmt.Sprintf("tools: %s: %v", a.name, err)) // our own type is at fault: every test sees it
	}
	handle := func(ctx context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		who := caller.FromContext(ctx)
		if who.Grants != nil {
			who = who.For(a.name)
			ctx = caller.NewContext(ctx, who)
		}
		parent, link := tracesOf(req)
		c := &call{Call: d.Engine.Begin(inference.CallInfo{
			Trace: traceOf(parent, req.Header), Parent: parent, Link: link, RequestID: req.Header.Get("X-Request-Id"), Tool: a.name, Caller: who,
			Began: caller.Arrival(ctx),
		})}
		admitted, err := d.admit(ctx, a)
		if err != nil {
			return d.finish(c, nil, err), nil
		}
		in, wait, ignored, err := decode(in, arguments, req)
		if err != nil {
			admitted()
			return d.finish(c, nil, &fault.Error{Code: fault.InvalidArgument, Message: err.Error()}), nil
		}
		size := len(req.Params.RawArguments)
		req.Params.Arguments, req.Params.RawArguments = nil, nil // they have been read, and are large where texts are
		ctx = context.WithValue(ctx, answersKey{}, req.Params.InputResponses)
		work := func(ctx context.Context) *mcp.CallToolResult {
			defer admitted()
			out, err := protect(ctx, d, c, in, run)
			if err == nil {
				out.ignored = ignored
			}
			return d.finish(c, out, err)
		}
		// Nothing may be reported after the result, so this is stopped before it is returned.
		defer report(ctx, req, c).Stop()
		if !a.slow {
			return cancellable(ctx, c, work), nil
		}
		return d.await(ctx, c, wait, size, work), nil
	}
	return mcpserver.ServerTool{Tool: a.tool(d, arguments), Handler: handle}
}

// cancellable does the work of a call in a context that administrators can end.
func cancellable(ctx context.Context, c *call, work func(context.Context) *mcp.CallToolResult) *mcp.CallToolResult {
	ctx, stop := c.Cancellable(ctx)
	defer stop()
	return work(ctx)
}

// finish ends a call, and makes its result.
func (d Deps) finish(c *call, out *result, err error) *mcp.CallToolResult {
	c.End(err)
	if err != nil {
		return d.failed(c.Tool, err)
	}
	return d.succeeded(out)
}

// failed makes the result of a call of a tool that failed.
func (d Deps) failed(tool string, err error) *mcp.CallToolResult {
	e := fault.Of(err) // a copy: it may be the error of other calls too
	e.Message, e.Hint = d.spell(tool+": "+e.Message), d.spell(e.Hint)
	return failed(e)
}

// protect runs a tool, and makes an error of a panic.
func protect(ctx context.Context, d Deps, c *call, in any, run runner) (out *result, err error) {
	defer func() {
		if p := recover(); p != nil {
			d.Log.Error("panic in a tool", "tool", c.Tool, "trace", c.Trace, "request", c.RequestID, "panic", p, "stack", string(debug.Stack()))
			err = &fault.Error{
				Code: fault.Internal, Message: "internal error " + c.Trace,
				Hint: "the server's log says more under that number",
			}
		}
	}()
	return run(ctx, in, c)
}

// tool is the description as clients see it.
func (a about) tool(d Deps, arguments *schema.Schema) mcp.Tool {
	var err error
	t := mcp.Tool{
		Meta: a.meta(),
		Name: d.spell(a.name), Title: a.title, Description: d.spell(a.text),
		RawInputSchema: json.RawMessage(d.spell(string(input(arguments.Brief())))),
		Annotations: mcp.ToolAnnotation{
			ReadOnlyHint:    &a.hints.readOnly,
			DestructiveHint: &a.hints.destructive,
			IdempotentHint:  &a.hints.idempotent,
			OpenWorldHint:   &a.hints.openWorld,
		},
	}
	full := Description{Name: a.name, Title: a.title, Text: a.text, Arguments: arguments.Document(), Admin: a.admin, Slow: a.slow}
	if a.output != nil {
		if full.Output, err = schema.Derive(a.output, typeSchemas); err != nil {
			panic(fmt.Sprintf("tools: %s: output: %v", a.name, err))
		}
		t.RawOutputSchema = schema.MustMarshal(schema.BriefOutput(full.Output))
	}
	if d.describe != nil {
		d.describe(full)
	}
	return t
}

// meta is what hosts are told of a tool beside its description; nil for nothing.
func (a about) meta() *mcp.Meta {
	if !a.asks {
		return nil
	}
	return &mcp.Meta{AdditionalFields: map[string]any{"anthropic/requiresUserInteraction": true}}
}

// input is a schema of arguments as it is listed. Some hosts refuse one without properties.
func input(shown *schema.Document) json.RawMessage {
	if len(shown.Properties) == 0 {
		return json.RawMessage(`{"type":"object","properties":{}}`)
	}
	return schema.MustMarshal(shown)
}

// Names in the metadata of a call and of its progress: a client that shows answers to a person
// while they are written asks for the text as it arrives.
const (
	wantsText = "ollama-mcp/stream"
	hasText   = "ollama-mcp/text"
)

// notifier is the session of a request that can be notified; that of package server is one.
type notifier interface {
	Initialized() bool
	// Notify sends a notification, before the answer to the request.
	Notify(method string, params any)
}

// progressParams are the params of a notification of progress.
type progressParams struct {
	Meta    map[string]any    `json:"_meta,omitempty"`
	Message string            `json:"message"`
	Value   float64           `json:"progress"`
	Token   mcp.ProgressToken `json:"progressToken"`
}

// report sends progress to the client, if it asked for it.
func report(ctx context.Context, req mcp.CallToolRequest, c *call) *progress.Reporter {
	if req.Params.Meta == nil || req.Params.Meta.ProgressToken == nil {
		return progress.Start(nil, nil)
	}
	client, ok := mcpserver.ClientSessionFromContext(ctx).(notifier)
	if !ok || !client.Initialized() {
		return progress.Start(nil, nil)
	}
	streams, sent := req.Params.Meta.AdditionalFields[wantsText] == true, ""
	send := func(value float64, message string) {
		params := progressParams{Token: req.Params.Meta.ProgressToken, Value: value, Message: message}
		if streams {
			if text := c.Partial(); text != sent {
				rest, goesOn := strings.CutPrefix(text, sent)
				params.Meta = map[string]any{hasText: map[string]any{"text": rest, "again": !goesOn}}
				sent = text
			}
		}
		client.Notify("notifications/progress", params)
	}
	if streams {
		return progress.StartOften(send, c.message)
	}
	return progress.Start(send, c.message)
}

// tracesOf returns the span that made a call, and another span that is related to it. The metadata
// of a call says more than its HTTP request, whose span may be that of a proxy.
func tracesOf(req mcp.CallToolRequest) (parent, link inference.TraceContext) {
	link = inference.TraceContext{Parent: req.Header.Get("Traceparent"), State: strings.Join(req.Header.Values("Tracestate"), ",")}
	if req.Params.Meta != nil {
		parent.Parent, _ = req.Params.Meta.AdditionalFields["traceparent"].(string)
		parent.State, _ = req.Params.Meta.AdditionalFields["tracestate"].(string)
	}
	switch {
	case parent.TraceID() != "":
	case link.TraceID() != "":
		return link, inference.TraceContext{}
	default:
		parent = inference.TraceContext{}
	}
	if link.TraceID() == "" {
		link = inference.TraceContext{}
	}
	return parent, link
}

// TraceOf names a request that is no call of a tool, by the span that has made it.
func TraceOf(header http.Header) (trace string, parent inference.TraceContext) {
	parent, _ = tracesOf(mcp.CallToolRequest{Header: header})
	return traceOf(parent, header), parent
}

// traceOf names a call in results and logs: by the trace that its caller says it is part
// of, or by the id that its request has over HTTP, or by a new number.
func traceOf(parent inference.TraceContext, header http.Header) string {
	if id := parent.TraceID(); id != "" {
		return id
	}
	if id := header.Get("X-Request-Id"); id != "" { // which the server has looked at
		return id
	}
	return fmt.Sprintf("%016x", rand.Uint64())
}
