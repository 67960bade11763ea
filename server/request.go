package server

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/jobs"
	"ollama-mcp/internal/jsonrpc"
	"ollama-mcp/internal/share"
)

// Causes with which the context of a request ends (context.Cause).
var (
	// ErrClientGone means that the client has left, so that no answer can be read.
	ErrClientGone = errors.New("the client is gone")

	errCancelled = errors.New("cancelled by the client")
	errStopping  = errors.New("the server is stopping")
)

// notificationBuffer is how many notifications of a request may wait to be written. Further
// ones are dropped by mcp-go rather than block the tool.
const notificationBuffer = 100

// incoming is a message from a client.
type incoming struct {
	jsonrpc.Message
	from   caller.Caller
	header http.Header // those by which tools may log it; nil but for HTTP
	began  time.Time   // when it began to arrive
	held   *share.Part // of the memory for messages, given back when the message has been dealt with; nil for none

	transport, remote string // as in Refusal

	// What follows is set by split.

	brief     []byte          // the message, with null for what split has taken out
	arguments json.RawMessage // of a tool; nil where brief has them, or there are none
	values    any             // the arguments, as encoding/json reads them
	token     json.RawMessage // by which the client knows reports of progress; nil if it wants none
}

// cancelled is the method of the notification that ends a request.
const cancelled = "notifications/cancelled"

// request is a request in flight. To mcp-go it is a session of its own, with the client of its
// connection, so that its notifications stay together and can all be written before its
// answer.
type request struct {
	*session
	incoming
	ctx    context.Context
	cancel context.CancelCauseFunc

	send              func(message []byte) // sends a notification, or a request to the client
	onlyAnswer        bool                 // the client accepts no stream, and send does nothing
	reached           bool                 // its tool
	unknown           bool                 // there is no such tool
	direct            bool                 // its tool is called without mcp-go, and so once
	missingCapability string               // that the tool needs and the client has not declared; "" if none

	offersTasks bool      // the server has the protocol's tasks
	task        *jobs.Job // that the call has become; nil if none

	buffer   *[]byte      // to write the answer in; nil for a new one
	sending  *share.Part  // of the memory for answers, given back when the request ends
	withheld Reason       // why the client does not get the answer that there is; "" if it does
	failure  *fault.Error // why a resource could not be read, if its handler explains it

	log     *slog.Logger
	earlier sync.WaitGroup // messages for which the answer waits: those being sent, and the forwarder's

	// mu guards what follows; nothing blocks under it.
	mu       sync.Mutex
	notes    chan mcp.JSONRPCNotification // made when first wanted
	ended    chan struct{}                // made with notes; closed when the request has been handled
	done     bool
	lastSent time.Time // when a message was last sent before the answer; zero if none was

	asking int // requests to the client that are open
}

// newRequest makes a request that ends with ctx, and whose context has its caller. Its cancel
// function must be called.
func (s *Server) newRequest(ctx context.Context, client *session, m incoming, send func([]byte)) *request {
	r := &request{session: client, incoming: m, send: send, log: s.opts.Log, offersTasks: s.opts.Tasks.Jobs != nil, sending: s.limits.answers.Part(m.from.ID)}
	r.ctx, r.cancel = context.WithCancelCause(caller.WithArrival(caller.NewContext(ctx, m.from), m.began))
	return r
}

// Notify sends a notification, whose params are written as JSON, unless the client has cancelled
// the request or it has been handled. It returns when the notification has been written.
func (r *request) Notify(method string, params any) {
	if message := r.notification(method, params); message != nil {
		r.sendBeforeAnswer(message)
	}
}

// NotificationChannel returns the channel to which mcp-go sends notifications, or nil once the
// request has been handled. Our own tools use Notify, which needs no goroutine.
func (r *request) NotificationChannel() chan<- mcp.JSONRPCNotification {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		return nil
	}
	if r.notes == nil {
		r.notes, r.ended = make(chan mcp.JSONRPCNotification, notificationBuffer), make(chan struct{})
		r.earlier.Go(r.forward)
	}
	return r.notes
}

// forward sends what comes through the channel until the request has been handled.
func (r *request) forward() {
	for {
		select {
		case note := <-r.notes:
			r.forwardOne(note)
		case <-r.ended:
			for range len(r.notes) {
				r.forwardOne(<-r.notes)
			}
			return
		}
	}
}

func (r *request) forwardOne(note mcp.JSONRPCNotification) {
	if message := r.notification(note.Method, paramsOf(note)); message != nil {
		r.sendNow(message)
	}
}

// notification encodes a notification; nil if the client has cancelled the request and wants none.
func (r *request) notification(method string, params any) []byte {
	if errors.Is(context.Cause(r.ctx), errCancelled) {
		return nil
	}
	message, err := encodeNotification(method, params)
	if err != nil {
		r.log.Error("notification cannot be written as JSON", "method", method, "error", err)
		return nil
	}
	return message
}

// sendBeforeAnswer sends a message, for which the answer waits, unless the request has been
// handled: no message may follow the answer to a request.
func (r *request) sendBeforeAnswer(message []byte) {
	r.mu.Lock()
	if r.done {
		r.mu.Unlock()
		return
	}
	r.earlier.Add(1)
	r.mu.Unlock()
	defer r.earlier.Done()
	r.sendNow(message)
}

func (r *request) sendNow(message []byte) {
	r.send(message)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastSent = time.Now()
}

// endMessages returns when all messages before the answer have been sent. Later ones are not sent.
func (r *request) endMessages() {
	r.mu.Lock()
	r.done = true
	if r.ended != nil {
		close(r.ended)
	}
	r.mu.Unlock()
	r.earlier.Wait()
}
