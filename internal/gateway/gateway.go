// Package gateway answers programs that speak the HTTP API of Ollama, or that of OpenAI.
//
// It promises that a program which sets its base address to this server is answered as Ollama
// would answer it, by the same engine that answers tools: with the same keys, permissions, limits,
// caches, ladders and filters. What is more to say of an answer stands in headers. Nothing is
// passed on that is not understood here, so no other path or member of a request reaches a host.
// Who calls, over which connection, is left to package server.
package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/manage"
)

// Options are what a gateway needs. All are required but Quiet.
type Options struct {
	Engine *inference.Engine
	Manage *manage.Manager
	// Admit begins a call of the tool that does what an endpoint does, for the caller in the
	// context. end must be called when the call is over.
	Admit func(ctx context.Context, tool string) (end func(), err error)
	// Trace names a call by the headers of its request, and the span that has made it.
	Trace func(http.Header) (trace string, parent inference.TraceContext)
	Log   *slog.Logger
	Quiet bool // answers do not say what served them
}

// Gateway answers the requests of both APIs. Use New to make one.
type Gateway struct{ opts Options }

// New makes a gateway.
func New(o Options) *Gateway { return &Gateway{o} }

// Endpoint is a path of an API, which may end with a variable in braces.
type Endpoint struct {
	Method, Path string
	// Serve answers a request, whose caller is in its context and whose body has been read. It
	// is nil for a path that only says that a server is there.
	Serve func(w http.ResponseWriter, req *http.Request, body []byte)
	// Fail writes an error in the form of the API.
	Fail func(w http.ResponseWriter, status int, code, text string)
}

// Endpoints are all paths that there are.
func (g *Gateway) Endpoints() []Endpoint {
	ollama := func(method, path, tool string, do action) Endpoint {
		return Endpoint{method, path, g.serve(path, failOllama, tool, do), failOllama}
	}
	openAI := func(method, path, tool string, do action) Endpoint {
		return Endpoint{method, path, g.serve(path, failOpenAI, tool, do), failOpenAI}
	}
	return []Endpoint{
		{Method: http.MethodHead, Path: "/"}, // by which Ollama's command finds out whether there is a server
		ollama(http.MethodHead, "/api/tags", "list-models", listModels),
		ollama(http.MethodHead, "/api/version", "", version),
		ollama(http.MethodPost, "/api/generate", "generate", generate),
		ollama(http.MethodPost, "/api/chat", "chat", chat),
		ollama(http.MethodPost, "/api/embed", "embed", embed),
		ollama(http.MethodPost, "/api/embeddings", "embed", embedOne),
		ollama(http.MethodGet, "/api/tags", "list-models", listModels),
		ollama(http.MethodPost, "/api/show", "show-model", showModel),
		ollama(http.MethodGet, "/api/ps", "list-running", listRunning),
		ollama(http.MethodGet, "/api/version", "", version),
		ollama(http.MethodPost, "/api/pull", "pull-model", pull),
		ollama(http.MethodPost, "/api/copy", "copy-model", copyModel),
		ollama(http.MethodDelete, "/api/delete", "delete-model", deleteModel),
		ollama(http.MethodPost, "/api/create", "create-model", create),
		openAI(http.MethodPost, "/v1/chat/completions", "chat", chatCompletion),
		openAI(http.MethodPost, "/v1/completions", "generate", completion),
		openAI(http.MethodPost, "/v1/embeddings", "embed", embeddings),
		openAI(http.MethodGet, "/v1/models", "list-models", listOpenAI),
		openAI(http.MethodGet, "/v1/models/{model}", "list-models", oneOpenAI),
	}
}

// action does what a request asks for. finish writes the answer, or the end of it, when the call
// has been recorded.
type action = func(*exchange) (finish func(), err error)

// exchange is a request and its response.
type exchange struct {
	*Gateway
	w     http.ResponseWriter
	req   *http.Request
	ctx   context.Context // of the request, with the caller
	body  []byte
	who   caller.Caller // as it may act here
	call  *inference.Call
	asked string                                                     // the model that the request names; "" before that is known
	write func(w http.ResponseWriter, status int, code, text string) // writes an error

	stream *stream // that has begun; nil before
}

// serve returns what answers the requests of a path. tool is the tool that does the same; "" for
// what needs no permission.
func (g *Gateway) serve(path string, fail func(http.ResponseWriter, int, string, string), tool string, do action) func(http.ResponseWriter, *http.Request, []byte) {
	return func(w http.ResponseWriter, req *http.Request, body []byte) {
		who := caller.FromContext(req.Context()).For(tool)
		x := &exchange{Gateway: g, w: w, req: req, ctx: caller.NewContext(req.Context(), who), body: body, who: who, write: fail}
		trace, parent := g.opts.Trace(req.Header)
		info := inference.CallInfo{
			Trace: trace, Parent: parent, RequestID: req.Header.Get("X-Request-Id"), Tool: tool, Caller: who,
			HTTP:  inference.HTTPRequest{Method: req.Method, Route: path, Scheme: "http"},
			Began: caller.Arrival(req.Context()),
		}
		if req.TLS != nil {
			info.HTTP.Scheme = "https"
		}
		x.call = &inference.Call{CallInfo: info} // of which nobody is told
		if tool != "" {
			x.call = g.opts.Engine.Begin(info)
		}
		var stop func()
		x.ctx, stop = x.call.Cancellable(x.ctx)
		defer stop()
		finish, err := x.run(tool, do)
		told := err // to the client
		if x.isRevoked() {
			told = errRevoked
		}
		x.call.Answered(x.status(told))
		x.call.End(err)
		if told != nil {
			x.fail(told)
			return
		}
		finish()
	}
}

// status is that of the response, which a stream has begun with.
func (x *exchange) status(err error) int {
	if x.stream != nil {
		return http.StatusOK
	}
	return statusOf(err)
}

// run does what the request asks for if the caller may, and makes an error of a panic.
func (x *exchange) run(tool string, do action) (finish func(), err error) {
	defer x.recovered(&err)
	if tool != "" {
		end, err := x.opts.Admit(x.ctx, tool)
		if err != nil {
			return nil, err
		}
		defer end()
	}
	return do(x)
}

// recovered makes an error of a panic. It is deferred by each goroutine of a request.
func (x *exchange) recovered(err *error) {
	if p := recover(); p != nil {
		x.opts.Log.Error("panic in the gateway", "path", x.req.URL.Path, "trace", x.call.Trace, "panic", p, "stack", string(debug.Stack()))
		*err = &fault.Error{
			Code: fault.Internal, Message: fmt.Sprintf("internal error %s: the server's log says more under that number", x.call.Trace),
		}
	}
}
