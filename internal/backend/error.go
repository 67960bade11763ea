package backend

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Class says who is to blame for a failure. Each is an error, so that
// errors.Is(err, backend.Overload) tells the class of any wrapped *Error.
type Class string

// The classes of failures that were observed of Ollama and of proxies in front of it.
const (
	// Transport: the host could not be reached, or closed the connection before it answered.
	Transport Class = "unreachable"
	// Overload: the host is up and refuses requests for a while.
	Overload Class = "overloaded"
	// Server: the host failed, or its answer was cut off or invalid.
	Server Class = "failed"
	// Crashed: the process that runs the model died during the request. Other requests
	// for this model that the host was working on may never be answered.
	Crashed Class = "the model crashed"
	// NoRoom: the host's memory cannot hold the model with the options of the request.
	NoRoom Class = "not enough memory for the model"
	// Unloadable: the host cannot load the model, whatever the request: its file is broken,
	// or needs another version of the server.
	Unloadable Class = "the model cannot be loaded"
	// BadOutput: what the model made of the request cannot be used, such as a tool call
	// that cannot be parsed or a vector with NaN. The host is well.
	BadOutput Class = "the model's output is unusable"
	// ModelMissing: the host does not have the model.
	ModelMissing Class = "model not found"
	// TooLong: the prompt does not fit the model's context.
	TooLong Class = "context too long"
	// TooLarge: the answer takes more memory than answers are allowed. It says nothing
	// about the host, and another would send as much.
	TooLarge Class = "answer too large"
	// Unauthorized: the host requires a key, or refused ours.
	Unauthorized Class = "unauthorized"
	// NoCredit: the account at the provider has no credit left, or has reached the limit of
	// what it may spend. Waiting does not help: somebody has to pay.
	NoCredit Class = "out of credit"
	// Forbidden: the host would pass the request on to a cloud, or has done so, though the
	// request may not leave. It says nothing about the host, and another may run the model
	// itself.
	Forbidden Class = "forbidden"
	// Request: the request is invalid, and would be refused by any host.
	Request Class = "bad request"
	// Unsupported: the host's version does not support what the request asks for. That of
	// another host may.
	Unsupported Class = "not supported"
	// Caller: the caller cancelled the request, or its deadline passed. It says nothing
	// about the host.
	Caller Class = "given up by the caller"
)

// Error makes a class usable with errors.Is.
func (c Class) Error() string { return string(c) }

// Error is a request that failed on one host.
type Error struct {
	Host       string        // name of the host
	Class      Class         // never empty
	Status     int           // HTTP status of a refusal; 0 if there was none
	Message    string        // the host's message, or ours if it sent none
	RetryAfter time.Duration // for which the host is to be left alone, as it asked; 0 for none
	Prompt     int           // tokens of a prompt that was refused for its length; 0 if not told
	Context    int           // tokens of the context that it did not fit; 0 if not told
	Cloud      bool          // the host had passed the request on to Ollama's cloud
	Err        error         // the cause, if there is one; never shown if it may name a URL
}

// Error is one line that begins with the host's name.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Host != "" {
		b.WriteString(e.Host + ": ")
	}
	b.WriteString(e.Class.Error())
	if e.Message != "" && e.Message != e.Class.Error() {
		b.WriteString(": " + e.Message)
	}
	if e.Status != 0 {
		fmt.Fprintf(&b, " (HTTP %d)", e.Status)
	}
	return b.String()
}

// Unwrap makes errors.Is and errors.As see both the class and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Class}
	}
	return []error{e.Class, e.Err}
}

// ErrOtherAPI is the cause of an error that says that an answer is in the form of another API than
// that of the request.
var ErrOtherAPI = errors.New("an answer of another API")

// IsMisdirected reports whether a server has not the path or the method of a request, has sent it
// elsewhere, or has another API: the address of the host is wrong, or a proxy in front of it is.
func IsMisdirected(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Class != Server {
		return false
	}
	if errors.Is(e.Err, ErrOtherAPI) {
		return true
	}
	switch e.Status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return true
	}
	return e.Status >= 300 && e.Status < 400
}

// ClassOf is the class of the first *Error that err wraps, or "" if there is none.
func ClassOf(err error) Class {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Class
	}
	return ""
}
