package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/share"
)

// limits are what all connections and transports share. Package share keeps some of each for
// every caller.
type limits struct {
	requests *share.Limit // in flight, but for pings
	messages *share.Limit // bytes, from when they are read until they have been handled
	answers  *share.Limit // bytes, from when they are encoded until the client has taken them
}

func newLimits(o Options) limits {
	return limits{share.New(int64(o.MaxInFlight)), share.New(o.MaxHeld), share.New(o.MaxAnswers)}
}

// overLimit is the refusal of what would exceed a limit.
type overLimit struct {
	reason Reason
	status int // of HTTP
	answer mcp.JSONRPCError
}

// refuse makes the refusal for an error of package share; nil if there is none. The texts say
// what is used up: by all callers, given the maximum, or by this caller, given its part.
func refuse(id []byte, err error, reason Reason, ofAll, ofCaller func(n int64) string) *overLimit {
	over, ok := errors.AsType[*share.Over](err)
	switch {
	case !ok:
		return nil
	case over.OfCaller:
		return &overLimit{ReasonCallerLimit, http.StatusTooManyRequests, rpcError(id, codeOverloaded, ofCaller(over.Taken), retry("rate_limited", true))}
	}
	return &overLimit{reason, http.StatusServiceUnavailable, rpcError(id, codeOverloaded, ofAll(over.Max), retry("overloaded", true))}
}

// begin counts a request, or says why it may not begin. A ping always may: it asks whether the
// server is alive. end must be called if begin returns nil.
func (l *limits) begin(m incoming) *overLimit { return l.request(m, l.requests.Take) }

// check is like begin, but does not count the request: it avoids decoding a message that begin
// would refuse.
func (l *limits) check(m incoming) *overLimit { return l.request(m, l.requests.Check) }

func (l *limits) request(m incoming, take func(string, int64) error) *overLimit {
	if m.Method == string(mcp.MethodPing) {
		return nil
	}
	return refuse(m.ID, take(m.from.ID, 1), ReasonInFlight,
		func(n int64) string {
			return fmt.Sprintf("the server has as many requests in flight as it takes (%d); try again when one has been answered", n)
		},
		func(n int64) string {
			return fmt.Sprintf("you have as many requests in flight as you may have at the moment (%d); try again when one has been answered", n)
		})
}

func (l *limits) end(m incoming) {
	if m.Method != string(mcp.MethodPing) {
		l.requests.Give(m.from.ID, 1)
	}
}

// overMessages refuses a message for which there is no memory.
func overMessages(id []byte, err error) *overLimit {
	return refuse(id, err, ReasonNoMemory,
		func(n int64) string {
			return fmt.Sprintf("messages of more than %s are in flight; try again when some have been answered", mebibytes(n))
		},
		func(n int64) string {
			return fmt.Sprintf("your messages in flight take %s, as much as they may at the moment; try again when some have been answered", mebibytes(n))
		})
}

const (
	// bytesPerValue is how much memory a value of a message is counted with, beside its text. A small
	// object of JSON may take a hundred times its size once it is decoded.
	bytesPerValue = 64
	// fewValues is up to how many values are not counted: requests in flight bound them well enough.
	fewValues = 100
)

// decode takes memory for the values of a message before they are decoded, or refuses it.
func (l *limits) decode(m incoming, memory *share.Part) *overLimit {
	more := int64(max(0, m.Values-fewValues)) * bytesPerValue
	if more == 0 {
		return nil
	}
	if memory.Taken()+more > l.messages.Most(m.from.ID) {
		return &overLimit{ReasonTooLarge, http.StatusRequestEntityTooLarge, tooManyValues(m.ID, m.Values)}
	}
	return overMessages(m.ID, memory.Take(more))
}

// smallAnswer is the size in bytes up to which answers are not counted: requests in flight
// bound them well enough.
const smallAnswer = 64 << 10

// hold takes memory for the answer to a request, of so many bytes in all, until the request
// ends, which it does when the client has taken the answer. It refuses the answer if there is
// none.
func (r *request) hold(size int) *overLimit {
	more := int64(size) - r.sending.Taken()
	if size <= smallAnswer || more <= 0 {
		return nil
	}
	over := refuse(r.ID, r.sending.Take(more), ReasonAnswers,
		func(n int64) string {
			return fmt.Sprintf("answers of more than %s wait to be read by their clients; try again when some have been read", mebibytes(n))
		},
		func(n int64) string {
			return fmt.Sprintf("your answers that wait to be read take %s, as much as they may at the moment; read them, and try again", mebibytes(n))
		})
	if over != nil {
		r.withheld = over.reason
	}
	return over
}

// explainResources wraps every resource handler. It keeps an error that explains itself, for
// the answer, where mcp-go has only its text.
func explainResources(handle mcpserver.ResourceHandlerFunc) mcpserver.ResourceHandlerFunc {
	return func(ctx context.Context, read mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
		contents, err := handle(ctx, read)
		keepFailure(ctx, err)
		return contents, err
	}
}

// explainPrompts does for prompts what explainResources does for resources.
func explainPrompts(handle mcpserver.PromptHandlerFunc) mcpserver.PromptHandlerFunc {
	return func(ctx context.Context, get mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		prompt, err := handle(ctx, get)
		keepFailure(ctx, err)
		return prompt, err
	}
}

func keepFailure(ctx context.Context, err error) {
	if explained, ok := errors.AsType[fault.Explainer](err); ok {
		if r, ok := mcpserver.ClientSessionFromContext(ctx).(*request); ok {
			r.failure = explained.Fault()
		}
	}
}

// message is the body of a request as it arrives. It takes memory for what is read, and gives
// the client bodyTimeout for each bodyPiece, so that a body that comes too slowly, or of which
// the last byte is withheld, ends soon, and a large one may take as long as it needs.
type message struct {
	ctx    context.Context // of the request
	in     io.Reader
	memory *share.Part
	extend func(deadline time.Time)
	piece  int64 // bytes since the deadline was extended
}

// bodyPiece is how many bytes of a body must arrive within bodyTimeout, unless it ends before.
const bodyPiece = 512 << 10

func (m *message) Read(p []byte) (int, error) {
	n, err := m.in.Read(p)
	if why := context.Cause(m.ctx); errors.Is(why, caller.ErrRevoked) {
		return 0, why
	}
	if full := m.memory.Take(int64(n)); full != nil {
		return 0, full
	}
	if m.piece += int64(n); m.piece >= bodyPiece {
		m.piece = 0
		m.extend(time.Now().Add(bodyTimeout))
	}
	return n, err
}
