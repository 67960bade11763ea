package server

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/mark3labs/mcp-go/mcp"
)

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
