package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/mark3labs/mcp-go/mcp"
)

// requestLimit limits the requests in flight over all connections and transports. A
// caller may have as many as there are free places left: one caller alone gets half of
// all places, n callers get a share of 1/(n+1) each, and there is always a place for one
// who comes. The client of stdio, whose ID is "", has the server to itself.
type requestLimit struct {
	max int

	// mu guards what follows; nothing blocks under it.
	mu       sync.Mutex
	inFlight int
	byCaller map[string]int // by the caller's ID; those with none in flight are absent
}

// overLimit says how many requests are in flight, and whose, when that is too many.
type overLimit struct {
	inFlight  int
	ofCaller  bool // and not of all callers together
	requestID []byte
}

// begin counts a request, or says why it may not begin. A ping always may: it asks
// whether the server is alive. end must be called if begin returns nil.
func (l *requestLimit) begin(m incoming) *overLimit {
	if m.Method == string(mcp.MethodPing) {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if over := l.exceeded(m); over != nil {
		return over
	}
	if l.byCaller == nil {
		l.byCaller = make(map[string]int)
	}
	l.inFlight++
	l.byCaller[m.from.ID]++
	return nil
}

// check is like begin, but does not count the request: it avoids decoding a message that begin
// would refuse.
func (l *requestLimit) check(m incoming) *overLimit {
	if m.Method == string(mcp.MethodPing) {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.exceeded(m)
}

// exceeded needs mu to be held.
func (l *requestLimit) exceeded(m incoming) *overLimit {
	id := m.from.ID
	switch free := l.max - l.inFlight; {
	case free <= 0:
		return &overLimit{l.inFlight, false, m.ID}
	case id != "" && l.byCaller[id] >= free:
		return &overLimit{l.byCaller[id], true, m.ID}
	}
	return nil
}

func (l *requestLimit) end(m incoming) {
	if m.Method == string(mcp.MethodPing) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	id := m.from.ID
	l.inFlight--
	if l.byCaller[id]--; l.byCaller[id] == 0 {
		delete(l.byCaller, id)
	}
}

// reason is that of the refusal.
func (o *overLimit) reason() Reason {
	if o.ofCaller {
		return ReasonCallerLimit
	}
	return ReasonInFlight
}

// status is the HTTP status for the refusal.
func (o *overLimit) status() int {
	if o.ofCaller {
		return http.StatusTooManyRequests
	}
	return http.StatusServiceUnavailable
}

// refusal is the answer to the request.
func (o *overLimit) refusal() mcp.JSONRPCError {
	if o.ofCaller {
		return rpcError(o.requestID, codeOverloaded,
			fmt.Sprintf("you have %d requests in flight, as many as you may have at the moment; try again when one has been answered", o.inFlight),
			retry("rate_limited", true))
	}
	return rpcError(o.requestID, codeOverloaded, fmt.Sprintf("%d requests are in flight; try again when one has been answered", o.inFlight),
		retry("overloaded", true))
}

// messageMemory limits the bytes of all messages together, from when they are read until they
// have been handled.
type messageMemory struct {
	max   int64
	taken atomic.Int64
}

// take reserves n bytes if that many are left; give releases them.
func (r *messageMemory) take(n int64) bool {
	if r.taken.Add(n) > r.max {
		r.give(n)
		return false
	}
	return true
}

func (r *messageMemory) give(n int64) { r.taken.Add(-n) }

// errMemoryFull means that other messages must be handled before this one can be read.
var errMemoryFull = errors.New("memory for messages is full")

// refusal is the answer to a message for which there is no memory.
func (r *messageMemory) refusal(id []byte) mcp.JSONRPCError {
	return rpcError(id, codeOverloaded, fmt.Sprintf("messages of more than %s are in flight; try again when some have been answered",
		mebibytes(r.max)), retry("overloaded", true))
}

// metered reserves memory for the bytes that are read through it.
type metered struct {
	in     io.Reader
	memory *messageMemory
	held   int64 // bytes reserved, for the caller to release
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.in.Read(p)
	if !m.memory.take(int64(n)) {
		return 0, errMemoryFull
	}
	m.held += int64(n)
	return n, err
}
