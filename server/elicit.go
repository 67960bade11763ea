package server

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/jsonrpc"
)

// maxClientRequests limits the requests to the client that one request may have open at once.
const maxClientRequests = 16

// RequestElicitation asks the user of a client that speaks a protocol before 2026-07-28, and
// waits for the answer until the request or ctx ends. The tool checks the content of the
// answer.
//
// It fails with a mcp.MissingRequiredClientCapabilityError if the client has not declared the
// capability; so do RequestSampling and ListRoots.
func (r *request) RequestElicitation(ctx context.Context, q mcp.ElicitationRequest) (*mcp.ElicitationResult, error) {
	reply, err := r.askClient(ctx, mcp.NewElicitationInputRequest(q.Params))
	return reply.Elicitation, err
}

// RequestSampling asks the model of the client, like RequestElicitation.
func (r *request) RequestSampling(ctx context.Context, q mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
	reply, err := r.askClient(ctx, mcp.NewSamplingInputRequest(q.CreateMessageParams))
	return reply.Sampling, err
}

// ListRoots asks for the folders that the client works in, like RequestElicitation.
func (r *request) ListRoots(ctx context.Context, _ mcp.ListRootsRequest) (*mcp.ListRootsResult, error) {
	reply, err := r.askClient(ctx, mcp.NewRootsInputRequest())
	return reply.Roots, err
}

// The interfaces by which mcp-go finds out that a session can ask its client.
var (
	_ mcpserver.SessionWithElicitation = (*request)(nil)
	_ mcpserver.SessionWithSampling    = (*request)(nil)
	_ mcpserver.SessionWithRoots       = (*request)(nil)
)

// askClient sends a request to the client, over the connection that the answer to its own
// request will take, and waits for the reply.
func (r *request) askClient(ctx context.Context, q mcp.InputRequest) (mcp.InputResponse, error) {
	reply, err := r.sendRequest(ctx, q)
	if err != nil {
		return mcp.InputResponse{}, fmt.Errorf("%s: %w", q.Method, err)
	}
	return reply, nil
}

func (r *request) sendRequest(ctx context.Context, q mcp.InputRequest) (mcp.InputResponse, error) {
	var none mcp.InputResponse
	if err := r.canRequest(q); err != nil {
		return none, err
	}
	id := rand.Text() // other clients cannot guess it
	message, err := question(id, q)
	if err != nil {
		return none, fmt.Errorf("the question cannot be written as JSON: %w", err)
	}
	if err := r.beginClientRequest(); err != nil {
		return none, err
	}
	defer r.endClientRequest()
	end, err := r.questions.add(id, q.Method)
	if err != nil {
		return none, err
	}
	defer r.questions.remove(id)
	r.sendBeforeAnswer(message)
	return r.await(ctx, id, end)
}

// await waits for the reply to a request, and cancels the request if it does not come in time.
func (r *request) await(ctx context.Context, id string, end <-chan clientReply) (mcp.InputResponse, error) {
	var late error
	select {
	case o := <-end:
		return o.reply, o.err
	case <-ctx.Done():
		late = context.Cause(ctx)
	case <-r.ctx.Done(): // ctx need not descend from it
		late = context.Cause(r.ctx)
	}
	if !errors.Is(late, ErrClientGone) {
		r.sendBeforeAnswer(cancellation(id))
	}
	return mcp.InputResponse{}, late
}

// canRequest returns an error if this request cannot be sent to the client.
func (r *request) canRequest(q mcp.InputRequest) error {
	if p, _ := readParams(r.brief); isModern(p.version) {
		return mcpserver.ErrServerInitiatedRequestUnsupported
	}
	if r.onlyAnswer {
		return errors.New("the client takes no stream of events, by which it could be asked")
	}
	return checkCapability(r.GetClientCapabilities(), q)
}

func (r *request) beginClientRequest() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.done:
		return errors.New("the request has been handled")
	case r.asking == maxClientRequests:
		return fmt.Errorf("%d questions are open, as many as there may be", maxClientRequests)
	}
	r.asking++
	return nil
}

func (r *request) endClientRequest() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asking--
}

// question encodes a request to the client.
func question(id string, q mcp.InputRequest) ([]byte, error) {
	message := mcp.JSONRPCRequest{
		JSONRPC: mcp.JSONRPC_VERSION, ID: mcp.NewRequestId(id), Request: mcp.Request{Method: string(q.Method)},
	}
	switch {
	case q.Elicitation != nil:
		message.Params = q.Elicitation
	case q.Sampling != nil:
		message.Params = q.Sampling
	}
	return json.Marshal(message)
}

// cancellation encodes a notification that a request no longer needs a reply, so that the
// client can close a dialog.
func cancellation(id string) []byte {
	message, _ := json.Marshal(mcp.JSONRPCNotification{ // cannot fail: it is text
		JSONRPC: mcp.JSONRPC_VERSION,
		Notification: mcp.Notification{
			Method: cancelled,
			Params: mcp.NotificationParams{AdditionalFields: map[string]any{"requestId": id}},
		},
	})
	return message
}

// Reasons why a request to the client gets no reply.
var (
	errNoMoreReplies = errors.New("the client sends no more messages, so it cannot reply")
	errReplyTooLong  = errors.New("the client's reply is longer than this server takes")
	errBadReply      = errors.New("the client's reply is not what the protocol has for it")
)

// questions holds the requests to a client that await its reply. The zero value holds none.
type questions struct {
	// clientRequestsMu guards the fields below. It is never held while waiting.
	clientRequestsMu sync.Mutex
	open             map[string]clientRequest // by id
	ended            bool                     // the client can send no more replies
}

// clientRequest is a request to the client that awaits its reply.
type clientRequest struct {
	method mcp.MCPMethod
	end    chan<- clientReply // buffered, so that sending never blocks
}

// clientReply is the reply to a request to the client, or the reason why there is none.
type clientReply struct {
	reply mcp.InputResponse
	err   error
}

// add adds a request. Its caller must remove it.
func (q *questions) add(id string, method mcp.MCPMethod) (<-chan clientReply, error) {
	q.clientRequestsMu.Lock()
	defer q.clientRequestsMu.Unlock()
	if q.ended {
		return nil, errNoMoreReplies
	}
	if q.open == nil {
		q.open = make(map[string]clientRequest)
	}
	end := make(chan clientReply, 1)
	q.open[id] = clientRequest{method, end}
	return end, nil
}

func (q *questions) remove(id string) (one clientRequest, ok bool) {
	q.clientRequestsMu.Lock()
	defer q.clientRequestsMu.Unlock()
	one, ok = q.open[id]
	delete(q.open, id)
	return one, ok
}

// take delivers a reply to the request with its id, and reports whether there was one: the
// request may have been cancelled, or never sent.
func (q *questions) take(m incoming) bool {
	id, _ := jsonrpc.Text(m.ID)
	one, ok := q.remove(id)
	if ok {
		reply, err := readReply(m.Line, one.method)
		one.end <- clientReply{reply, err}
	}
	return ok
}

// fail ends the request with an id with an error, and reports whether there was one.
func (q *questions) fail(id json.RawMessage, err error) bool {
	name, _ := jsonrpc.Text(id)
	one, ok := q.remove(name)
	if ok {
		one.end <- clientReply{err: err}
	}
	return ok
}

// endAll fails all requests, including future ones, because the client sends no more messages.
func (q *questions) endAll() {
	q.clientRequestsMu.Lock()
	defer q.clientRequestsMu.Unlock()
	q.ended = true
	for id, one := range q.open {
		delete(q.open, id)
		one.end <- clientReply{err: errNoMoreReplies}
	}
}

// readReply decodes the reply to a request with a method. It does not trust the contents.
func readReply(line []byte, method mcp.MCPMethod) (reply mcp.InputResponse, err error) {
	var m struct {
		Result json.RawMessage
		Error  *struct {
			Code    int
			Message string
		}
	}
	switch err := json.Unmarshal(line, &m); {
	case err != nil:
		return reply, errBadReply
	case m.Error != nil:
		return reply, fmt.Errorf("the client replied with error %d: %.200q", m.Error.Code, m.Error.Message)
	case len(m.Result) == 0:
		return reply, errBadReply
	}
	if method == mcp.MethodElicitationCreate {
		jsonrpc.EmptyObject(lookUp(m.Result, "content"))
	}
	_ = reply.UnmarshalJSON(m.Result) // keeps the bytes, which DecodeFor decodes
	if reply.DecodeFor(method) != nil || !isProper(reply) {
		return mcp.InputResponse{}, errBadReply
	}
	return reply, nil
}

// isProper reports whether a reply has the fields that tools rely on. It also decodes sampled
// content into its type.
func isProper(reply mcp.InputResponse) bool {
	switch {
	case reply.Elicitation != nil:
		switch reply.Elicitation.Action {
		case mcp.ElicitationResponseActionAccept, mcp.ElicitationResponseActionDecline, mcp.ElicitationResponseActionCancel:
			return true
		}
	case reply.Sampling != nil:
		content, err := mcp.ParseSamplingContent(reply.Sampling.Content)
		reply.Sampling.Content = content
		switch content.(type) {
		case mcp.Content, []mcp.Content:
			return err == nil
		}
	case reply.Roots != nil:
		return reply.Roots.Roots != nil
	}
	return false
}

// checkCapability checks that a client has declared the capability that a request to it needs.
// A nested capability is named with a dot, as in "elicitation.url".
func checkCapability(client mcp.ClientCapabilities, q mcp.InputRequest) error {
	missing := func(name string) error { return mcp.MissingRequiredClientCapabilityError{Capability: name} }
	switch q.Method {
	case mcp.MethodElicitationCreate:
		can := client.Elicitation
		byURL := q.Elicitation != nil && q.Elicitation.Mode == mcp.ElicitationModeURL
		switch {
		case can == nil:
			return missing("elicitation")
		case byURL && can.URL == nil:
			return missing("elicitation.url")
		case !byURL && can.Form == nil && can.URL != nil: // naming neither means forms
			return missing("elicitation.form")
		}
	case mcp.MethodSamplingCreateMessage:
		can := client.Sampling
		withTools := q.Sampling != nil && (q.Sampling.Tools != nil || q.Sampling.ToolChoice != nil)
		switch {
		case can == nil:
			return missing("sampling")
		case withTools && can.Tools == nil:
			return missing("sampling.tools")
		}
	case mcp.MethodListRoots:
		if client.Roots == nil {
			return missing("roots")
		}
	}
	return nil
}

// checkCapabilities wraps every tool handler. It refuses to ask a client for something that it
// has not declared, and remembers which capability is missing: mcp-go would make an internal
// error of it.
func checkCapabilities(handle mcpserver.ToolHandlerFunc) mcpserver.ToolHandlerFunc {
	return func(ctx context.Context, call mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		result, err := handle(ctx, call)
		r, ok := mcpserver.ClientSessionFromContext(ctx).(*request)
		if !ok {
			return result, err
		}
		if err == nil && result.NeedsInput() {
			err = checkAllCapabilities(r.declared(ctx), result.InputRequests)
		}
		if missing, ok := errors.AsType[mcp.MissingRequiredClientCapabilityError](err); ok {
			r.missingCapability = missing.Capability
		}
		return result, err
	}
}

// checkAllCapabilities checks in a fixed order, so that it always returns the same error.
func checkAllCapabilities(client mcp.ClientCapabilities, questions mcp.InputRequests) error {
	for _, name := range slices.Sorted(maps.Keys(questions)) {
		if err := checkCapability(client, questions[name]); err != nil {
			return err
		}
	}
	return nil
}

// declared returns the capabilities of the client: since 2026-07-28 they come with each
// request, before that once per session.
func (r *request) declared(ctx context.Context) mcp.ClientCapabilities {
	if info := mcpserver.RequestProtocolInfoFromContext(ctx); info != nil && info.ClientCapabilities != nil {
		return *info.ClientCapabilities
	}
	return r.GetClientCapabilities()
}

// explainCapability makes an error name the missing capability, in the shape in which it would
// have been declared.
func explainCapability(e *mcp.JSONRPCErrorDetails, name string) {
	outer, inner, nested := strings.Cut(name, ".")
	shape := map[string]any{}
	if nested {
		shape[inner] = struct{}{}
	}
	e.Code = mcp.MISSING_REQUIRED_CLIENT_CAPABILITY
	e.Data = map[string]any{"requiredCapabilities": map[string]any{outer: shape}}
}
