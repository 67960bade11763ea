package server

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"
)

// maxQuestions is how many questions of a request may be open at once.
const maxQuestions = 16

// RequestElicitation asks the user of a client before 2026-07-28, and waits for the
// answer as long as the request and ctx last. Whether the content is what was asked
// for is left to the tool.
//
// It fails with a mcp.MissingRequiredClientCapabilityError if the client has not
// declared that it can be asked; so do RequestSampling and ListRoots.
func (r *request) RequestElicitation(ctx context.Context, q mcp.ElicitationRequest) (*mcp.ElicitationResult, error) {
	reply, err := r.ask(ctx, mcp.NewElicitationInputRequest(q.Params))
	return reply.Elicitation, err
}

// RequestSampling is as RequestElicitation, for the client's model.
func (r *request) RequestSampling(ctx context.Context, q mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
	reply, err := r.ask(ctx, mcp.NewSamplingInputRequest(q.CreateMessageParams))
	return reply.Sampling, err
}

// ListRoots is as RequestElicitation, for the folders that the client works in.
func (r *request) ListRoots(ctx context.Context, _ mcp.ListRootsRequest) (*mcp.ListRootsResult, error) {
	reply, err := r.ask(ctx, mcp.NewRootsInputRequest())
	return reply.Roots, err
}

// What mcp-go looks for in the session of a request to ask its client.
var (
	_ mcpserver.SessionWithElicitation = (*request)(nil)
	_ mcpserver.SessionWithSampling    = (*request)(nil)
	_ mcpserver.SessionWithRoots       = (*request)(nil)
)

// ask sends the client a question, by the way that the answer to the request will
// take, and waits for the reply.
func (r *request) ask(ctx context.Context, q mcp.InputRequest) (mcp.InputResponse, error) {
	reply, err := r.tryAsk(ctx, q)
	if err != nil {
		return mcp.InputResponse{}, fmt.Errorf("%s: %w", q.Method, err)
	}
	return reply, nil
}

func (r *request) tryAsk(ctx context.Context, q mcp.InputRequest) (mcp.InputResponse, error) {
	var none mcp.InputResponse
	if err := r.mayAsk(q); err != nil {
		return none, err
	}
	id := rand.Text() // nobody can reply to what they have not been asked
	message, err := question(id, q)
	if err != nil {
		return none, fmt.Errorf("the question cannot be written as JSON: %w", err)
	}
	if err := r.beginAsking(); err != nil {
		return none, err
	}
	defer r.endAsking()
	end, err := r.questions.add(id, q.Method)
	if err != nil {
		return none, err
	}
	defer r.questions.remove(id)
	r.sendBeforeAnswer(message)
	return r.await(ctx, id, end)
}

// await waits for the end of a question, and withdraws it if that does not come in time.
func (r *request) await(ctx context.Context, id string, end <-chan outcome) (mcp.InputResponse, error) {
	var late error
	select {
	case o := <-end:
		return o.reply, o.err
	case <-ctx.Done():
		late = context.Cause(ctx)
	case <-r.ctx.Done(): // which ctx need not know of
		late = context.Cause(r.ctx)
	}
	if !errors.Is(late, ErrClientGone) {
		r.sendBeforeAnswer(withdrawal(id))
	}
	return mcp.InputResponse{}, late
}

// mayAsk tells why the client cannot be asked this, if it cannot.
func (r *request) mayAsk(q mcp.InputRequest) error {
	if p, _ := readParams(r.brief); isModern(p.version) {
		return mcpserver.ErrServerInitiatedRequestUnsupported
	}
	if r.onlyAnswer {
		return errors.New("the client takes no stream of events, by which it could be asked")
	}
	return checkDeclared(r.GetClientCapabilities(), q)
}

func (r *request) beginAsking() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.done:
		return errors.New("the request has been handled")
	case r.asking == maxQuestions:
		return fmt.Errorf("%d questions are open, as many as there may be", maxQuestions)
	}
	r.asking++
	return nil
}

func (r *request) endAsking() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asking--
}

// sendBeforeAnswer sends a message, unless the request has been handled: nothing may
// follow the answer, which waits for the forwarder.
func (r *request) sendBeforeAnswer(message []byte) {
	r.mu.Lock()
	if r.done {
		r.mu.Unlock()
		return
	}
	r.forwarder.Add(1)
	r.mu.Unlock()
	defer r.forwarder.Done()
	r.send(message)
}

// question is a request to the client.
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

// withdrawal tells the client that a question need not be answered any more, so that
// it can take it off its user's screen.
func withdrawal(id string) []byte {
	message, _ := json.Marshal(mcp.JSONRPCNotification{ // cannot fail: it is text
		JSONRPC: mcp.JSONRPC_VERSION,
		Notification: mcp.Notification{
			Method: cancelled,
			Params: mcp.NotificationParams{AdditionalFields: map[string]any{"requestId": id}},
		},
	})
	return message
}
