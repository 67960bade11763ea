package server

import (
	"bytes"
	"context"
	"maps"
	"net"
	"slices"
	"time"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/jsonrpc"
	"ollama-mcp/internal/netserve"
)

// Routes are the methods of each path that is served, so that tests of all paths have those
// that are added later.
func (h *HTTP) Routes() map[string][]string {
	all := make(map[string][]string)
	for path, methods := range h.routes {
		all[path] = slices.Collect(maps.Keys(methods))
	}
	return all
}

// Load is what clients make a server hold.
type Load struct {
	Requests, Messages, Answers int64 // in flight, or their bytes
	Conns                       int64
	Streams, Revocable          int
	Asides                      int64 // goroutines that write refusals
}

// Load is what clients make the server hold at the moment.
func (h *HTTP) Load() Load {
	l := &h.server.limits
	now := Load{Requests: l.requests.Taken(), Messages: l.messages.Taken(), Answers: l.answers.Taken(), Conns: h.conns.Taken(), Asides: h.server.asides.Load()}
	h.streams.mu.Lock()
	now.Streams = len(h.streams.byID)
	h.streams.mu.Unlock()
	h.revocable.mu.Lock()
	now.Revocable = len(h.revocable.all)
	h.revocable.mu.Unlock()
	return now
}

// WithListenerAt is the context of a request that came by a listener at an address.
func WithListenerAt(ctx context.Context, at net.Addr) context.Context {
	return context.WithValue(ctx, localListenerKey{}, netserve.IsLocal(at))
}

// PollAnswers answers a message of stdio in the short way for polls, nil if that does not take it,
// and as any other request, nil if it is none.
func (s *Server) PollAnswers(line []byte) (short, usual []byte) {
	message := func() *incoming {
		var e jsonrpc.Envelope
		_, _ = e.Write(line)
		return &incoming{Message: e.Message(bytes.Clone(line)), from: caller.Caller{Admin: true}, transport: overStdio, began: time.Now()}
	}
	m := message()
	if p, ok := s.readPoll(m); ok {
		short = s.answerPoll(nil, m.jobOwner(""), p)
	}
	if m.Kind == jsonrpc.KindRequest {
		r := s.newRequest(context.Background(), newSession(), *message(), func([]byte) {})
		defer r.cancel(nil)
		usual, _ = s.answer(r)
	}
	return short, usual
}
