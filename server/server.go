// Package server speaks the Model Context Protocol with clients.
//
// It promises that every request with an id is answered exactly once, unless its
// client cancelled it; that progress comes before the answer that it belongs to;
// that cancelling works from the moment a request is sent; that no message can end
// the process, or take more memory than it may; that a client's requests end
// when the client is gone; and that no client gets or cancels what is another's.
// ServeStdio serves one client, and HTTP many. What the tools do is left to them, and the protocol's
// messages to mcp-go, which decides for each request between the protocol since
// 2026-07-28 and that before it.
package server

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"
)

// Options describe a server. Zero fields take the defaults given with them.
type Options struct {
	Name         string // as clients see it; required
	Version      string // as clients see it
	Instructions string // advice to the model that uses the tools; empty sends none

	Tools             []mcpserver.ServerTool
	ResourceTemplates []mcpserver.ServerResourceTemplate

	Log *slog.Logger // nil discards

	MaxMessage  int64         // bytes of the largest message taken; 0 means 32 MiB
	MaxInFlight int           // requests of one connection at once, and of all together to /mcp; 0 means 1000
	Drain       time.Duration // what requests may take to end when the server stops; 0 means 10 s
}

// Server offers tools and resources to clients. Use New to make one; it may serve
// several connections at once.
type Server struct {
	mcp   *mcpserver.MCPServer
	opts  Options
	tools []string // names, sorted

	mirrored map[string]*mcp.Tool // those with arguments that headers mirror
}

// New checks the options. It refuses tools and templates that could not be
// served, naming them.
func New(opts Options) (*Server, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.MaxMessage == 0 {
		opts.MaxMessage = 32 << 20
	}
	if opts.MaxInFlight == 0 {
		opts.MaxInFlight = 1000
	}
	if opts.Drain == 0 {
		opts.Drain = 10 * time.Second
	}
	if err := opts.check(); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	with := []mcpserver.ServerOption{
		mcpserver.WithToolCapabilities(false),
		mcpserver.WithInstructions(opts.Instructions),
	}
	if len(opts.ResourceTemplates) > 0 {
		with = append(with, mcpserver.WithResourceCapabilities(false, false))
	}
	s := &Server{mcp: mcpserver.NewMCPServer(opts.Name, opts.Version, with...), opts: opts, mirrored: make(map[string]*mcp.Tool)}
	s.mcp.AddTools(opts.Tools...)
	s.mcp.AddResourceTemplates(opts.ResourceTemplates...)
	for _, tool := range opts.Tools {
		s.tools = append(s.tools, tool.Tool.Name)
		if len(mcp.ExtractParamHeaderBindings(&tool.Tool)) > 0 {
			s.mirrored[tool.Tool.Name] = &tool.Tool
		}
	}
	slices.Sort(s.tools)
	return s, nil
}

func (o *Options) check() error {
	switch {
	case o.Name == "":
		return errors.New("option Name is missing")
	case o.MaxMessage < 0:
		return fmt.Errorf("option MaxMessage is %d, less than 0", o.MaxMessage)
	case o.MaxInFlight < 0:
		return fmt.Errorf("option MaxInFlight is %d, less than 0", o.MaxInFlight)
	case o.Drain < 0:
		return fmt.Errorf("option Drain is %v, less than 0", o.Drain)
	}
	if err := checkTools(o.Tools); err != nil {
		return err
	}
	return checkTemplates(o.ResourceTemplates)
}

func checkTools(tools []mcpserver.ServerTool) error {
	seen := make(map[string]bool)
	for i, tool := range tools {
		name := tool.Tool.Name
		switch {
		case name == "":
			return fmt.Errorf("tool %d has no name", i)
		case seen[name]:
			return fmt.Errorf("there are two tools called %q", name)
		case tool.Handler == nil:
			return fmt.Errorf("tool %q has no handler", name)
		}
		if err := mcp.ValidateParamHeaderAnnotations(&tool.Tool); err != nil {
			return fmt.Errorf("tool %q: %w", name, err)
		}
		seen[name] = true
	}
	return nil
}

func checkTemplates(templates []mcpserver.ServerResourceTemplate) error {
	seen := make(map[string]bool)
	for i, template := range templates {
		if template.Template.URITemplate == nil {
			return fmt.Errorf("resource template %d has no URI template", i)
		}
		uri := template.Template.URITemplate.Raw()
		switch {
		case seen[uri]:
			return fmt.Errorf("there are two resource templates for %q", uri)
		case template.Handler == nil:
			return fmt.Errorf("resource template %q has no handler", uri)
		}
		seen[uri] = true
	}
	return nil
}

// answer has a request handled and returns the answer as a line without its end,
// and the code of the error that it is, or 0. All notifications have been sent then.
// A panic is told to the log; the client is told only where to look for it.
func (s *Server) answer(r *request) (line []byte, code int) {
	defer r.endNotes()
	defer func() {
		if p := recover(); p != nil {
			reference := rand.Text()[:8]
			s.opts.Log.Error("panic while handling a request", "reference", reference,
				"method", r.method, "panic", p, "stack", string(debug.Stack()))
			code = mcp.INTERNAL_ERROR
			line = encode(rpcError(r.id, code, "internal error, in the server's log as "+reference, nil))
		}
	}()
	answer := s.settle(r, s.mcp.HandleMessage(s.mcp.WithContext(r.ctx, r), r.line))
	if e, failed := answer.(mcp.JSONRPCError); failed {
		code = e.Error.Code
	}
	line, err := json.Marshal(answer)
	if err != nil {
		s.opts.Log.Error("answer cannot be written as JSON", "method", r.method, "error", err)
		code = mcp.INTERNAL_ERROR
		line = encode(rpcError(r.id, code, "internal error: the answer cannot be written as JSON", nil))
	}
	return line, code
}

// settle gives an answer the id that its request had, to the digit, and better
// words to errors whose cause only shows here.
func (s *Server) settle(r *request, answer mcp.JSONRPCMessage) mcp.JSONRPCMessage {
	switch a := answer.(type) {
	case mcp.JSONRPCResponse:
		a.ID = mcp.NewRequestId(r.id)
		if result, ok := a.Result.(*mcp.CallToolResult); ok {
			a.Result = wireResult(result)
		}
		return a
	case mcp.JSONRPCError:
		a.ID = mcp.NewRequestId(r.id)
		switch {
		case a.Error.Code == mcp.PARSE_ERROR:
			return malformed(r.id, r.line)
		case strings.HasPrefix(a.Error.Message, "unparsable "): // and then Go's words
			a.Error.Message = "the request cannot be read: a value in it is of the wrong type, or out of range"
		case a.Error.Code == mcp.INVALID_PARAMS && r.method == "tools/call":
			s.nameTools(&a.Error, r.line)
		}
		return a
	}
	// To mcp-go it was not a request: it had a result too, say.
	return malformed(r.id, r.line)
}

// nameTools tells a caller who asked for a tool that does not exist which ones do.
func (s *Server) nameTools(e *mcp.JSONRPCErrorDetails, line []byte) {
	var call struct{ Params struct{ Name string } }
	if json.Unmarshal(line, &call) != nil || slices.Contains(s.tools, call.Params.Name) {
		return
	}
	e.Message = fmt.Sprintf("there is no tool %.64q; there are: %s", call.Params.Name, strings.Join(s.tools, ", "))
}
