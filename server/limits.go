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

// check is as begin, but does not count the request: it saves the work that begin takes.
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

// room is the bytes that messages may take, of all connections together, from when
// they are read until they have been handled.
type room struct {
	max   int64
	taken atomic.Int64
}

// take takes n bytes, if there are so many left; give gives them back.
func (r *room) take(n int64) bool {
	if r.taken.Add(n) > r.max {
		r.give(n)
		return false
	}
	return true
}

func (r *room) give(n int64) { r.taken.Add(-n) }

// errNoRoom is for a message that has to wait until others have been handled.
var errNoRoom = errors.New("no room for the message")

// refusal is for a message that does not fit in with all the others.
func (r *room) refusal(id []byte) mcp.JSONRPCError {
	return rpcError(id, codeOverloaded, fmt.Sprintf("messages of more than %s are in flight; try again when some have been answered",
		mebibytes(r.max)), retry("overloaded", true))
}

// metered takes room for what is read through it.
type metered struct {
	in   io.Reader
	room *room
	held int64 // bytes taken, for the caller to give back
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.in.Read(p)
	if !m.room.take(int64(n)) {
		return 0, errNoRoom
	}
	m.held += int64(n)
	return n, err
}
