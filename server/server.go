// Package server speaks the Model Context Protocol with clients, over stdio, streamable HTTP
// and SSE.
//
// It promises that every request with an id is answered exactly once, unless its client
// cancelled it; that notifications come before the answer to their request; that a request can
// be cancelled from the moment it is sent; that no message ends the process or takes more
// memory than its limit; that requests end when their client leaves; that no client sees,
// cancels or answers what belongs to another; and that no client is asked for something that
// it has not declared as a capability. Requests in flight are limited over all transports
// together.
//
// ServeStdio serves one client, HTTP many. Package server does not know what tools do. It
// leaves the messages of the protocol to mcp-go, which handles the version since 2026-07-28
// and those before it side by side.
package server

import (
	"cmp"
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
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/nearest"
	"ollama-mcp/internal/netserve"
)

// Options configure a server. Zero fields take the defaults given with them.
type Options struct {
	Name         string // shown to clients; required
	Version      string // shown to clients
	Instructions string // advice to the model that uses the tools; empty sends none

	Tools []mcpserver.ServerTool
	// Direct names those of the Tools that use nothing of mcp-go but the session in the context, and
	// ask their client nothing. Plain calls of them take less time, unless there are Extra options.
	Direct            []string
	Resources         []mcpserver.ServerResource
	ResourceTemplates []mcpserver.ServerResourceTemplate
	Prompts           []mcpserver.ServerPrompt
	Completions       Completions // of arguments of prompts and resources; nil for none

	// MayCall reports whether a caller may call a tool, by its name; the tools that it may not
	// call are not listed for it. Nil means that it may call those that its key allows.
	MayCall func(who caller.Caller, tool string) bool
	// NotOffered says why there is no tool of a name that a client has called, for people to mend; "" if
	// nobody knows. Nil says nothing.
	NotOffered func(tool string) (why string)

	// Tasks make tasks of the protocol of calls that take long.
	Tasks TaskOptions

	// Extra are further options for mcp-go, such as logging and completions. They are applied
	// last.
	Extra []mcpserver.ServerOption

	Log *slog.Logger // nil discards

	// OnRefused is called once for each message and HTTP request that is refused before a
	// tool, a resource or a prompt is reached, or for whose answer there is no memory. The calls come one after another, from a
	// goroutine that no answer waits for. While 1000 refusals wait for a slow observer,
	// further ones are only counted in the log. The context has the values of that of the
	// request or connection, and does not end. Nil disables it.
	OnRefused func(context.Context, Refusal)

	MaxMessage  int64         // bytes; larger messages are refused; 0 means 32 MiB
	MaxHeld     int64         // bytes of all messages being read or handled, at least twice MaxMessage; 0 means 512 MiB, or that if it is more
	MaxAnswers  int64         // bytes of all large answers that clients have not taken yet; 0 means 256 MiB
	MaxInFlight int           // requests in flight, over all connections and transports; 0 means 1000
	Drain       time.Duration // how long requests may go on when the server stops; 0 means 10 s
}

func (o *Options) setDefaults() {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.MaxMessage = cmp.Or(o.MaxMessage, 32<<20)
	o.MaxHeld = cmp.Or(o.MaxHeld, max(512<<20, 2*o.MaxMessage))
	o.MaxAnswers = cmp.Or(o.MaxAnswers, 256<<20)
	o.MaxInFlight = cmp.Or(o.MaxInFlight, 1000)
	o.Drain = cmp.Or(o.Drain, 10*time.Second)
	if o.MayCall == nil {
		o.MayCall = caller.Caller.MayCall
	}
	if o.NotOffered == nil {
		o.NotOffered = func(string) string { return "" }
	}
}

// Completions complete arguments of prompts and of resources.
type Completions interface {
	mcpserver.PromptCompletionProvider
	mcpserver.ResourceCompletionProvider
}

// Server offers tools and resources to clients. Use New to make one; it may serve
// several connections at once.
type Server struct {
	mcp    *mcpserver.MCPServer
	opts   Options
	tools  []string // names, sorted
	about  []byte   // the metadata of every result, as JSON
	limits limits

	refusals refusals
	asides   atomic.Int64 // goroutines of all connections that write what needs no handling

	direct   map[string]mcpserver.ToolHandlerFunc // of Options.Direct, with all that is wrapped around them
	buffers  netserve.Buffers                     // for answers
	mirrored map[string]*mcp.Tool                 // tools with arguments that headers repeat
}

// New makes a server. It refuses invalid options, and tools, resources and prompts that could
// not be served, naming them.
func New(opts Options) (*Server, error) {
	opts.setDefaults()
	if err := opts.check(); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	with := []mcpserver.ServerOption{
		mcpserver.WithToolCapabilities(false),
		mcpserver.WithInstructions(opts.Instructions),
		mcpserver.WithToolHandlerMiddleware(checkCapabilities),
		mcpserver.WithToolHandlerMiddleware(passArguments),
		mcpserver.WithResourceHandlerMiddleware(explainResources),
		mcpserver.WithPromptHandlerMiddleware(explainPrompts),
	}
	s := &Server{opts: opts, limits: newLimits(opts), mirrored: make(map[string]*mcp.Tool)}
	var err error
	if s.about, err = json.Marshal(s.meta()); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	if opts.Tasks.Jobs != nil {
		with = append(with, mcpserver.WithToolHandlerMiddleware(s.asTask)) // the innermost
	}
	if opts.Completions != nil {
		with = append(with, mcpserver.WithCompletions(),
			mcpserver.WithPromptCompletionProvider(opts.Completions), mcpserver.WithResourceCompletionProvider(opts.Completions))
	}
	with = append(with, opts.Extra...)
	s.mcp = mcpserver.NewMCPServer(opts.Name, opts.Version, with...)
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
	s.openDirect()
	return s, nil
}

// answer handles a request. It returns the answer as a line without its end, and the error
// that the answer is, with code 0 if it is none. All notifications have been sent then. The
// line may be in the buffer of the request, and is valid until that is released. A panic is
// logged; the client is only given a reference to the log.
func (s *Server) answer(r *request) (line []byte, failed mcp.JSONRPCErrorDetails) {
	defer r.endMessages()
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
	s.respell(r)
	if r.Doubtful {
		e := malformed(r.incoming)
		return encode(e), e.Error
	}
	ctx := r.ctx
	if r.transport != overSSE { // whose connections offer fewer
		ctx = mcpserver.WithSupportedProtocolVersions(ctx, revisions)
	}
	answer, ok := s.answerTask(r)
	if !ok {
		ctx = s.mcp.WithContext(ctx, r)
		if answer, ok = s.callDirectly(ctx, r); !ok {
			answer = s.mcp.HandleMessage(ctx, r.brief)
		}
		answer = s.finishAnswer(r, answer)
	}
	if errors.Is(context.Cause(r.ctx), caller.ErrRevoked) {
		r.withheld = ReasonUnauthorized
		answer = rpcError(r.ID, mcp.INVALID_REQUEST, textRevoked, retry("unauthorized", false))
	}
	if e, ok := answer.(mcp.JSONRPCError); ok {
		failed = e.Error
	}
	if over := r.hold(sizeOf(answer)); over != nil {
		return encode(over.answer), over.answer.Error
	}
	line, err := r.encode(answer)
	if over := r.hold(len(line)); over != nil {
		return encode(over.answer), over.answer.Error
	}
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

// finishAnswer gives an answer the id of its request, byte for byte, removes tools that the
// caller may not use, and explains errors better where their cause is only known here.
func (s *Server) finishAnswer(r *request, answer mcp.JSONRPCMessage) mcp.JSONRPCMessage {
	switch a := answer.(type) {
	case mcp.JSONRPCResponse:
		a.ID = mcp.NewRequestId(r.ID)
		if r.task != nil {
			a.Result = s.describe(r.task.Info(), "task")
		}
		switch result := a.Result.(type) {
		case mcp.ListToolsResult:
			who := caller.FromContext(r.ctx)
			result.Tools = slices.DeleteFunc(result.Tools, func(t mcp.Tool) bool { return !s.opts.MayCall(who, t.Name) })
			if r.TakesTasks() {
				result.Tools = slices.DeleteFunc(result.Tools, func(t mcp.Tool) bool { return slices.Contains(s.opts.Tasks.Replaced, t.Name) })
			}
			a.Result = result
		case mcp.DiscoverResult:
			if r.offersTasks {
				result.Capabilities.Extensions = map[string]any{tasksExtension: struct{}{}}
			}
			if r.TakesTasks() && s.opts.Tasks.Instructions != "" {
				result.Instructions = s.opts.Tasks.Instructions
			}
			a.Result = result
		case mcp.InitializeResult:
			if result.ProtocolVersion == withBatches {
				result.ProtocolVersion = beforeBatches
				r.SetProtocolVersion(beforeBatches)
			}
			a.Result = result
		}
		return a
	case mcp.JSONRPCError:
		a.ID = mcp.NewRequestId(r.ID)
		switch {
		case a.Error.Code == mcp.INTERNAL_ERROR && errors.Is(context.Cause(r.ctx), errStopping):
			return stopping(r.ID)
		case a.Error.Code == mcp.INTERNAL_ERROR && r.missingCapability != "":
			explainCapability(&a.Error, r.missingCapability)
		case a.Error.Code == mcp.PARSE_ERROR:
			return malformed(r.incoming)
		case strings.HasPrefix(a.Error.Message, textUnparsable):
			a.Error.Message = "the request cannot be read: a value in it is of the wrong type, or out of range"
		case a.Error.Code == mcp.INVALID_PARAMS && r.Method == "tools/call":
			s.explainUnknownTool(&a.Error, r)
		case r.failure != nil:
			return rpcError(r.ID, codeOf(r.failure), r.failure.Error(), r.failure)
		case r.Method == "resources/read" && strings.Contains(a.Error.Message, mcpserver.ErrResourceNotFound.Error()):
			explainUnknownResource(&a.Error, r.Line)
		}
		return a
	}
	// To mcp-go it was not a request: it had a result too, say.
	return malformed(r.incoming)
}

// codeOf is the error code of JSON-RPC for an error that explains itself.
func codeOf(e *fault.Error) int {
	if e.Code == fault.InvalidArgument {
		return mcp.INVALID_PARAMS
	}
	return codeOverloaded
}

// explainUnknownTool says which tool may have been meant, or what keeps it from being offered, and lists
// the tools that the caller may use.
func (s *Server) explainUnknownTool(e *mcp.JSONRPCErrorDetails, r *request) {
	var call struct{ Params struct{ Name string } }
	if json.Unmarshal(r.brief, &call) != nil || slices.Contains(s.tools, call.Params.Name) {
		return
	}
	r.unknown = true
	who := caller.FromContext(r.ctx)
	names := slices.DeleteFunc(slices.Clone(s.tools), func(name string) bool { return !s.opts.MayCall(who, name) })
	e.Message = fmt.Sprintf("there is no tool %.64q", call.Params.Name)
	known := strings.Join(names, ", ")
	if why := s.opts.NotOffered(call.Params.Name); why != "" {
		e.Message += ", since " + why
	}
	if near := nearest.Names(call.Params.Name, names, 1); near != nil {
		e.Message += fmt.Sprintf("; did you mean %s? There are: %s", near[0], known)
		return
	}
	e.Message += "; there are: " + known
}

// explainUnknownResource sets the error code that the protocol version has for an unknown
// resource, and names the resource as the protocol asks.
func explainUnknownResource(e *mcp.JSONRPCErrorDetails, line []byte) {
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
