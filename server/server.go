// Package server speaks the Model Context Protocol with clients.
//
// It promises that every request with an id is answered exactly once, unless its
// client cancelled it; that progress comes before the answer that it belongs to;
// that cancelling works from the moment a request is sent; that no message can end
// the process, or take more memory than it may; that a client's requests end
// when the client is gone; that no client gets, cancels or replies to what is another's;
// and that none is asked for what it has not declared that it can do.
// ServeStdio serves one client, and HTTP many. What the tools do is left to them, and the protocol's
// messages to mcp-go, which decides for each request between the protocol since
// 2026-07-28 and that before it.
package server

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/netserve"
)

// Options describe a server. Zero fields take the defaults given with them.
type Options struct {
	Name         string // as clients see it; required
	Version      string // as clients see it
	Instructions string // advice to the model that uses the tools; empty sends none

	Tools             []mcpserver.ServerTool
	Resources         []mcpserver.ServerResource
	ResourceTemplates []mcpserver.ServerResourceTemplate
	Prompts           []mcpserver.ServerPrompt

	// Extra is what else mcp-go is to do, and to say that it does, such as logging
	// and completions. It is applied last.
	Extra []mcpserver.ServerOption

	Log *slog.Logger // nil discards

	// OnRefused is called once for each message and HTTP request that is refused before a
	// tool, a resource or a prompt is reached; nil means that nobody wants to know. The
	// calls come one after another, from a goroutine that no answer waits for. If it is so
	// slow that 1000 refusals wait for it, further ones are only counted, in the log. The
	// context has the values of that of the request, or of the connection, and no end.
	OnRefused func(context.Context, Refusal)

	MaxMessage  int64         // bytes of the largest message taken; 0 means 32 MiB
	MaxHeld     int64         // bytes of all messages that are being read or handled; 0 means 512 MiB, or MaxMessage if that is more
	MaxInFlight int           // requests in flight, over all connections and transports; 0 means 1000
	Drain       time.Duration // what requests may take to end when the server stops; 0 means 10 s
}

// Server offers tools and resources to clients. Use New to make one; it may serve
// several connections at once.
type Server struct {
	mcp   *mcpserver.MCPServer
	opts  Options
	tools []string // names, sorted
	room  room     // for messages

	requests requestLimit
	refusals refusals
	asides   atomic.Int64 // goroutines of all connections that write what needs no handling

	buffers  netserve.Buffers     // for answers
	mirrored map[string]*mcp.Tool // those with arguments that headers mirror
}

// New checks the options. It refuses tools, resources and prompts that could not be
// served, naming them.
func New(opts Options) (*Server, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.MaxMessage == 0 {
		opts.MaxMessage = 32 << 20
	}
	if opts.MaxHeld == 0 {
		opts.MaxHeld = max(512<<20, opts.MaxMessage)
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
		mcpserver.WithToolHandlerMiddleware(declaring),
		mcpserver.WithToolHandlerMiddleware(handing),
	}
	with = append(with, opts.Extra...)
	s := &Server{mcp: mcpserver.NewMCPServer(opts.Name, opts.Version, with...), opts: opts, mirrored: make(map[string]*mcp.Tool)}
	s.room.max = opts.MaxHeld
	s.requests.max = opts.MaxInFlight
	s.mcp.AddTools(opts.Tools...)
	// Adding tells clients that there are some, even where none are added.
	if len(opts.Resources) > 0 {
		s.mcp.AddResources(opts.Resources...)
	}
	if len(opts.ResourceTemplates) > 0 {
		s.mcp.AddResourceTemplates(opts.ResourceTemplates...)
	}
	if len(opts.Prompts) > 0 {
		s.mcp.AddPrompts(opts.Prompts...)
	}
	for _, tool := range opts.Tools {
		s.tools = append(s.tools, tool.Tool.Name)
		if len(mcp.ExtractParamHeaderBindings(&tool.Tool)) > 0 {
			s.mirrored[tool.Tool.Name] = &tool.Tool
		}
	}
	slices.Sort(s.tools)
	return s, nil
}

// answer has a request handled and returns the answer as a line without its end, and the
// error that it is; its code is 0 if it is none. All notifications have been sent then.
// The line is in the buffer of the request, if that has one, and may be read until it
// is given back. A panic is told to the log; the client is told only where to look for it.
func (s *Server) answer(r *request) (line []byte, failed mcp.JSONRPCErrorDetails) {
	defer r.endNotes()
	defer func() {
		if p := recover(); p != nil {
			reference := rand.Text()[:8]
			s.opts.Log.Error("panic while handling a request", "reference", reference,
				"method", r.Method, "panic", p, "stack", string(debug.Stack()))
			e := rpcError(r.ID, mcp.INTERNAL_ERROR, "internal error, in the server's log as "+reference, nil)
			line, failed = encode(e), e.Error
		}
	}()
	r.split()
	answer := s.settle(r, s.mcp.HandleMessage(s.mcp.WithContext(r.ctx, r), r.brief))
	if e, ok := answer.(mcp.JSONRPCError); ok {
		failed = e.Error
	}
	line, err := r.encode(answer)
	if err != nil {
		s.opts.Log.Error("answer cannot be written as JSON", "method", r.Method, "error", err)
		e := rpcError(r.ID, mcp.INTERNAL_ERROR, "internal error: the answer cannot be written as JSON", nil)
		line, failed = encode(e), e.Error
	}
	return line, failed
}

// The errors of mcp-go that have no code or type of their own are known by how their
// texts begin. TestTextsOfTheLibraryAreThoseThatWeKnow holds the library to them.
const (
	textUnparsable = "unparsable "        // params of the wrong type; what follows is Go's own error
	textNoHandler  = "handler not found " // for a resource
)

// settle gives an answer the id that its request had, to the digit, and better
// words to errors whose cause only shows here.
func (s *Server) settle(r *request, answer mcp.JSONRPCMessage) mcp.JSONRPCMessage {
	switch a := answer.(type) {
	case mcp.JSONRPCResponse:
		a.ID = mcp.NewRequestId(r.ID)
		if result, ok := a.Result.(mcp.ListToolsResult); ok {
			may := caller.FromContext(r.ctx).MayCall
			result.Tools = slices.DeleteFunc(result.Tools, func(t mcp.Tool) bool { return !may(t.Name) })
			a.Result = result
		}
		return a
	case mcp.JSONRPCError:
		a.ID = mcp.NewRequestId(r.ID)
		switch {
		case a.Error.Code == mcp.INTERNAL_ERROR && errors.Is(context.Cause(r.ctx), errStopping):
			return stopping(r.ID)
		case a.Error.Code == mcp.INTERNAL_ERROR && r.lacks != "":
			nameCapability(&a.Error, r.lacks)
		case a.Error.Code == mcp.PARSE_ERROR:
			return malformed(r.incoming)
		case strings.HasPrefix(a.Error.Message, textUnparsable):
			a.Error.Message = "the request cannot be read: a value in it is of the wrong type, or out of range"
		case a.Error.Code == mcp.INVALID_PARAMS && r.Method == "tools/call":
			s.nameTools(&a.Error, r)
		case r.Method == "resources/read" && strings.Contains(a.Error.Message, mcpserver.ErrResourceNotFound.Error()):
			nameResource(&a.Error, r.Line)
		}
		return a
	}
	// To mcp-go it was not a request: it had a result too, say.
	return malformed(r.incoming)
}

// nameTools tells a caller who asked for a tool that does not exist which ones do,
// of those that the caller may call.
func (s *Server) nameTools(e *mcp.JSONRPCErrorDetails, r *request) {
	var call struct{ Params struct{ Name string } }
	if json.Unmarshal(r.brief, &call) != nil || slices.Contains(s.tools, call.Params.Name) {
		return
	}
	r.unknown = true
	may := caller.FromContext(r.ctx).MayCall
	names := slices.DeleteFunc(slices.Clone(s.tools), func(name string) bool { return !may(name) })
	e.Message = fmt.Sprintf("there is no tool %.64q; there are: %s", call.Params.Name, strings.Join(names, ", "))
}

// nameResource gives the error for a resource that does not exist the code that the
// protocol has for it, be it mcp-go or a template's handler that did not find it,
// and names the resource as the protocol asks.
func nameResource(e *mcp.JSONRPCErrorDetails, line []byte) {
	p, _ := readParams(line)
	var read struct {
		URI string `json:"uri"`
	}
	_ = json.Unmarshal(p.raw, &read) // it went through before
	e.Code, e.Data = mcp.RESOURCE_NOT_FOUND, read
	if isModern(p.version) {
		e.Code = mcp.INVALID_PARAMS
	}
	if strings.HasPrefix(e.Message, textNoHandler) {
		e.Message = fmt.Sprintf("there is no resource %.200q", read.URI)
	}
}
