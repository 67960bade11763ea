package tools

import (
	"fmt"
	"time"

	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/route"
)

// leftOut is why a rung was not asked.
type leftOut struct {
	code      fault.Code // of the call, if no other rung answers
	why, hint string
}

func (l *leftOut) Error() string { return l.why }

// Fault says what its caller could do to have the rung asked.
func (l *leftOut) Fault() *fault.Error {
	return &fault.Error{Code: l.code, Message: l.why, Hint: l.hint, Retryable: l.code == fault.NoHost || l.code == fault.Timeout}
}

var (
	errLocalOnly = &leftOut{
		code: fault.Forbidden, why: "not asked, since nothing of this call may leave for a cloud: local_only",
		hint: "use a model of this server's own hosts; list-models names them",
	}
	errNoCloud = &leftOut{
		code: fault.Forbidden, why: "not asked, since nothing may leave for a cloud: --no-cloud",
		hint: "use a model of this server's own hosts; list-models names them",
	}
	errGone      = &leftOut{code: fault.NoHost, why: "the provider is there no more"}
	errLeftAlone = &leftOut{code: fault.NoHost, why: "left alone for a while, since it has failed"}
)

// leaveOut says why a rung is not to be asked; nil if it is.
func (d Deps) leaveOut(rung route.Rung, q question) error {
	switch {
	case rung.Cloud && (q.args.LocalOnly || q.who.LocalOnly):
		return errLocalOnly
	case rung.Cloud && d.NoCloud:
		return errNoCloud
	case rung.Provider != "" && q.args.Host != "":
		return &leftOut{
			code: fault.InvalidArgument, why: fmt.Sprintf("only the host %s is wanted", q.args.Host),
			hint: "leave host out: a provider is none",
		}
	case d.lender(rung) == nil:
		return errGone
	}
	return nil
}

// tooShort says that a rung which stands in for another has never been so quick as it
// would have to be; nil if it may be asked.
func tooShort(until time.Time, least time.Duration) error {
	if until.IsZero() || time.Until(until) >= least {
		return nil
	}
	return &leftOut{code: fault.Timeout, why: fmt.Sprintf("never answered in less than %v", least.Round(time.Millisecond)), hint: "allow more with timeout_seconds"}
}
