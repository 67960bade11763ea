package tools

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/progress"
	"ollama-mcp/internal/schema"
)

// This file is the one place where tools meet MCP.

// about is what clients are told of a tool. They pay for its words on every
// request: few words.
type about struct {
	name   string // kebab-case, at most 32 characters
	title  string // for people
	text   string // for models
	hints  hints
	output reflect.Type // of the structured content; nil for tools that answer in text
}

// hints describe a tool's behaviour. All four are always stated, since clients
// assume the worst of what is left out.
type hints struct{ readOnly, destructive, idempotent, openWorld bool }

// call is one call of a tool.
type call struct{ *inference.Call }

// result is what a tool answers.
type result struct {
	text     string   // first content block, and nothing else in it
	notes    []string // second block: what the model that reads the answer must know
	data     any      // structured content; also the text, where that is empty
	link     *mcp.ResourceLink
	served   *inference.Served // nil for a tool that uses no model
	thinking string            // what the model thought, when the caller asked for it
}

// usesModel is the behaviour of the tools that have a model write text: they change
// nothing, and no two answers need be alike.
var usesModel = hints{readOnly: true}

// answer makes a result of what the engine returns.
func answer(resp *inference.Response, err error) (*result, error) {
	if err != nil {
		return nil, err
	}
	r := &result{text: resp.Text, notes: resp.Notes, served: &resp.Served, thinking: resp.Thinking}
	if resp.Data != nil {
		r.data = resp.Data
	}
	return r, nil
}

// define makes a tool from its description and a function with typed arguments.
// It refuses arguments that the schema does not allow, and turns every error
// and panic into a result: a Go error never leaves it.
func define[In any](d Deps, a about, run func(context.Context, In, *call) (*result, error)) mcpserver.ServerTool {
	arguments, err := schema.For(reflect.TypeFor[In](), typeSchemas)
	if err != nil {
		panic(fmt.Sprintf("tools: %s: %v", a.name, err)) // our own type is at fault: every test sees it
	}
	handle := func(ctx context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		c := &call{d.Engine.Begin(inference.CallInfo{
			Trace: traceOf(req), RequestID: req.Header.Get("X-Request-Id"), Tool: a.name, Caller: caller.FromContext(ctx),
		})}
		out, err := serve(ctx, d, c, arguments, req, run)
		c.End(err)
		if err != nil {
			e := fault.Of(err) // a copy: it may be the error of other calls too
			e.Message = a.name + ": " + e.Message
			return failed(e), nil
		}
		return succeeded(out), nil
	}
	return mcpserver.ServerTool{Tool: a.tool(arguments), Handler: handle}
}

// serve runs a tool for one call: it admits the call, checks its arguments, and tells the
// client of the progress. A panic becomes an error.
func serve[In any](
	ctx context.Context, d Deps, c *call, arguments *schema.Schema, req mcp.CallToolRequest,
	run func(context.Context, In, *call) (*result, error),
) (out *result, err error) {
	defer func() {
		if p := recover(); p != nil {
			d.Log.Error("panic in a tool", "tool", c.Tool, "trace", c.Trace, "request", c.RequestID, "panic", p, "stack", string(debug.Stack()))
			err = &fault.Error{
				Code: fault.Internal, Message: "internal error " + c.Trace,
				Hint: "the server's log says more under that number",
			}
		}
	}()
	end, err := d.admit(ctx, c.Tool)
	if err != nil {
		return nil, err
	}
	defer end()
	in, err := decode[In](arguments, req)
	if err != nil {
		return nil, &fault.Error{Code: fault.InvalidArgument, Message: err.Error()}
	}
	// Nothing may be reported after the result, so this is stopped before it is returned.
	defer progress.Start(reporter(ctx, req), func() string { return c.Progress().String() }).Stop()
	return run(ctx, in, c)
}

// tool is the description as clients see it.
func (a about) tool(arguments *schema.Schema) mcp.Tool {
	t := mcp.Tool{
		Name: a.name, Title: a.title, Description: a.text,
		RawInputSchema: mustMarshal(arguments),
		Annotations: mcp.ToolAnnotation{
			Title:           a.title,
			ReadOnlyHint:    &a.hints.readOnly,
			DestructiveHint: &a.hints.destructive,
			IdempotentHint:  &a.hints.idempotent,
			OpenWorldHint:   &a.hints.openWorld,
		},
	}
	if a.output != nil {
		out, err := schema.Derive(a.output, typeSchemas)
		if err != nil {
			panic(fmt.Sprintf("tools: %s: output: %v", a.name, err))
		}
		// A failed call has an Error for structured content, and some clients
		// hold that against the schema too: so it must not insist.
		out.Required, out.AdditionalProperties = nil, nil
		t.RawOutputSchema = mustMarshal(out)
	}
	return t
}

// decode checks the arguments of a request and reads them.
func decode[In any](s *schema.Schema, req mcp.CallToolRequest) (in In, err error) {
	value := req.Params.Arguments
	if value == nil {
		value = map[string]any{}
	}
	arguments, ok := value.(map[string]any)
	if !ok {
		return in, errors.New("the arguments must be an object")
	}
	if err := s.Check(arguments); err != nil {
		return in, err
	}
	raw := req.Params.RawArguments
	if raw == nil { // the caller is in this process and never was JSON
		raw = mustMarshal(value)
	}
	err = json.Unmarshal(raw, &in)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok { // deeper than our schemas go
		return in, fmt.Errorf("argument %q cannot be a %s", wrong.Field, wrong.Value)
	}
	return in, err
}

// reporter sends progress to the client, if it asked for it.
func reporter(ctx context.Context, req mcp.CallToolRequest) progress.Send {
	srv := mcpserver.ServerFromContext(ctx)
	if srv == nil || req.Params.Meta == nil || req.Params.Meta.ProgressToken == nil {
		return nil
	}
	return func(value float64, message string) {
		// A client that does not read its notifications misses this one.
		_ = srv.SendNotificationToClient(ctx, "notifications/progress", map[string]any{
			"progressToken": req.Params.Meta.ProgressToken,
			"progress":      value,
			"message":       message,
		})
	}
}

func succeeded(r *result) *mcp.CallToolResult {
	res := &mcp.CallToolResult{StructuredContent: r.data}
	if r.text == "" && r.data != nil {
		r.text = string(mustMarshal(r.data))
	}
	res.Content = append(res.Content, mcp.NewTextContent(r.text))
	if len(r.notes) > 0 {
		res.Content = append(res.Content, mcp.NewTextContent("Note: "+strings.Join(r.notes, " ")))
	}
	if r.link != nil {
		res.Content = append(res.Content, *r.link)
	}
	res.Meta = meta(r.served, r.thinking)
	return res
}

// meta is what a result says about its answer; nil for nothing.
func meta(s *inference.Served, thinking string) *mcp.Meta {
	fields := map[string]any{}
	if s != nil {
		fields["ollama-mcp/served"] = s
	}
	if thinking != "" {
		fields["ollama-mcp/thinking"] = thinking
	}
	if len(fields) == 0 {
		return nil
	}
	return &mcp.Meta{AdditionalFields: fields}
}

func failed(e *fault.Error) *mcp.CallToolResult {
	res := &mcp.CallToolResult{
		IsError:           true,
		Content:           []mcp.Content{mcp.NewTextContent(e.Error())},
		StructuredContent: e,
		Result:            mcp.Result{Meta: meta(nil, e.Thinking)},
	}
	if e.Partial != "" {
		res.Content = append(res.Content, mcp.NewTextContent(e.Partial))
	}
	return res
}

// mustMarshal is for values of ours, which are JSON by construction.
func mustMarshal(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}
