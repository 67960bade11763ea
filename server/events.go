package server

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"ollama-mcp/internal/netserve"
)

const (
	// keepAlive is the longest silence on a stream: less than the minute after which proxies
	// give up.
	keepAlive = 15 * time.Second

	// writeTimeout limits how long a client may take to read the next piece.
	writeTimeout = 30 * time.Second

	// pieceSize is how much is written at a time, in bytes.
	pieceSize = 64 << 10
)

// events is a response that becomes a stream of events when there is one to send,
// or when it has been silent for long.
type events struct {
	w     http.ResponseWriter
	flow  *http.ResponseController
	conn  *netserve.GatheringConn // of the response; nil if it cannot gather
	plain bool                    // the client takes no stream

	// turn guards what follows. It is not a mutex, since writing may block
	// until writeTimeout.
	turn   chan struct{}
	lost   func(error)
	silent *time.Timer // since the last write
	begun  bool        // is a stream
	ended  bool
}

// newEvents makes a response, which plain keeps from becoming a stream. Call start before the
// first message, and answer, nothing or end at the end.
func newEvents(w http.ResponseWriter, plain bool) *events {
	return &events{w: w, flow: http.NewResponseController(w), plain: plain, turn: make(chan struct{}, 1)}
}

// start begins to watch for silence. lost is told of a write that fails.
func (e *events) start(lost func(error)) {
	defer e.take()()
	noDeadline(e.flow)
	e.lost = lost
	e.silent = time.AfterFunc(keepAlive, func() { e.put([]byte(": still here\n\n")) })
}

func (e *events) take() (leave func()) {
	e.turn <- struct{}{}
	return func() { <-e.turn }
}

// message sends a message as an event.
func (e *events) message(m []byte) { e.put(event("message", m)) }

func event(name string, data []byte) []byte {
	const around = len("event: \ndata: \n\n")
	text := make([]byte, 0, around+len(name)+len(data))
	text = append(append(text, "event: "...), name...)
	text = append(append(text, "\ndata: "...), data...)
	return append(text, "\n\n"...)
}

func (e *events) put(text []byte) {
	defer e.take()()
	if !e.plain && !e.ended {
		e.write(text)
	}
}

// write sends text of the stream, and begins it if need be. The caller has taken a turn.
func (e *events) write(text []byte) {
	if !e.begun {
		e.begun = true
		h := e.w.Header()
		h.Set("Content-Type", "text/event-stream")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Accel-Buffering", "no") // nginx would hold the events back
		e.w.WriteHeader(http.StatusOK)
	}
	e.silent.Reset(keepAlive)
	err := e.send(text)
	if err == nil {
		err = e.flow.Flush()
	}
	if err != nil {
		e.ended = true
		e.silent.Stop()
		e.lost(err)
	}
}

// send writes in pieces, so that a client that reads, however slowly, is not
// taken for one that does not.
func (e *events) send(text []byte) error {
	for piece := range slices.Chunk(text, pieceSize) {
		extend(e.flow)
		if _, err := e.w.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

// extend gives the client writeTimeout, from now, to read. What cannot have a
// deadline goes without, as do writers made for tests.
func extend(flow *http.ResponseController) {
	_ = flow.SetWriteDeadline(time.Now().Add(writeTimeout))
}

// noDeadline lets time pass in which there is nothing to read for the client: over
// HTTP/2 a deadline ends the stream, whether something is being written or not.
func noDeadline(flow *http.ResponseController) {
	_ = flow.SetWriteDeadline(time.Time{})
}

// answer ends the response with a message: as an event of the stream, or else as
// JSON with that status.
func (e *events) answer(status int, message []byte) {
	defer e.take()()
	switch {
	case e.ended:
	case e.begun:
		e.write(event("message", message))
	default:
		e.json(status, message)
	}
	e.close()
}

// json sends a message that is all of the response. A failed write means that the client is gone.
func (e *events) json(status int, message []byte) {
	if len(message) > pieceSize {
		beginJSON(e.w, status, len(message))
		_ = e.send(message)
		return
	}
	e.conn.Gather(func() {
		beginJSON(e.w, status, len(message))
		_ = e.send(message)
		_ = e.flow.Flush()
	})
}

// nothing ends the response to a request that is not answered.
func (e *events) nothing() {
	defer e.take()()
	if !e.ended && !e.begun {
		extend(e.flow)
		e.w.WriteHeader(http.StatusAccepted)
	}
	e.close()
}

// end ends the stream. Nothing is written afterwards.
func (e *events) end() {
	defer e.take()()
	e.close()
}

func (e *events) close() {
	e.ended = true
	e.silent.Stop()
}

// beginJSON writes the head of a response with a JSON body of that size. The client has writeTimeout
// to read it, whatever deadline there was before.
func beginJSON(w http.ResponseWriter, status, size int) {
	extend(http.NewResponseController(w))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(size))
	w.WriteHeader(status)
}

// The TypeScript SDKs forget a call as soon as they see its answer, and handle notifications
// only then if both came in one read. So an answer that follows a notification must arrive in
// a read of its own. No pause guarantees that, since a busy client may be late by any time.

// recentlySent is how long after a message was written the client may still not have read it.
const recentlySent = time.Second

// readAtOnce is the most that Node.js reads from a socket at once.
const readAtOnce = 64 << 10

// padding are comments of a stream of events, too many to be read together with what
// comes before and after them.
var padding = append(bytes.Repeat([]byte(": "+strings.Repeat(" ", 1021)+"\n"), readAtOnce>>10), '\n')
