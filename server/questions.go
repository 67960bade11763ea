package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/internal/jsonrpc"
)

// Why there is no reply to a question.
var (
	errNoMoreReplies = errors.New("the client sends no more messages, so it cannot reply")
	errReplyTooLong  = errors.New("the client's reply is longer than this server takes")
	errBadReply      = errors.New("the client's reply is not what the protocol has for it")
)

// questions are those that a client has been asked and has not replied to. The zero
// value is none.
type questions struct {
	// questionsMu guards what follows; nothing blocks under it.
	questionsMu sync.Mutex
	open        map[string]openQuestion // by id
	ended       bool                    // no reply can come any more
}

type openQuestion struct {
	method mcp.MCPMethod
	end    chan<- outcome // has room for the one that is sent, by who removes the question
}

// outcome is how a question ended.
type outcome struct {
	reply mcp.InputResponse
	err   error
}

// add opens a question. Who adds it is to remove it.
func (q *questions) add(id string, method mcp.MCPMethod) (<-chan outcome, error) {
	q.questionsMu.Lock()
	defer q.questionsMu.Unlock()
	if q.ended {
		return nil, errNoMoreReplies
	}
	if q.open == nil {
		q.open = make(map[string]openQuestion)
	}
	end := make(chan outcome, 1)
	q.open[id] = openQuestion{method, end}
	return end, nil
}

func (q *questions) remove(id string) (one openQuestion, ok bool) {
	q.questionsMu.Lock()
	defer q.questionsMu.Unlock()
	one, ok = q.open[id]
	delete(q.open, id)
	return one, ok
}

// take gives a reply to who waits for it, and reports whether somebody does: the
// question may have been withdrawn, or never asked.
func (q *questions) take(m incoming) bool {
	id, _ := jsonrpc.Text(m.ID)
	one, ok := q.remove(id)
	if ok {
		reply, err := readReply(m.Line, one.method)
		one.end <- outcome{reply, err}
	}
	return ok
}

// fail ends a question by the id that its reply has, and reports whether it was open.
func (q *questions) fail(id json.RawMessage, err error) bool {
	name, _ := jsonrpc.Text(id)
	one, ok := q.remove(name)
	if ok {
		one.end <- outcome{err: err}
	}
	return ok
}

// endAll ends all questions, also those to come: the client sends no more.
func (q *questions) endAll() {
	q.questionsMu.Lock()
	defer q.questionsMu.Unlock()
	q.ended = true
	for id, one := range q.open {
		delete(q.open, id)
		one.end <- outcome{err: errNoMoreReplies}
	}
}

// readReply reads the reply to a question of that method. Anything may stand in it.
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
	_ = reply.UnmarshalJSON(m.Result) // keeps it, for DecodeFor to look at
	if reply.DecodeFor(method) != nil || !isProper(reply) {
		return mcp.InputResponse{}, errBadReply
	}
	return reply, nil
}

// isProper reports whether a reply has what a tool may rely on. It gives what a
// model said its type.
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
