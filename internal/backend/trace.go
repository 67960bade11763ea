package backend

import (
	"context"
	"strings"
)

// TraceContext names a span in the words of W3C Trace Context. The zero value names none.
type TraceContext struct{ Parent, State string } // the headers traceparent and tracestate

// TraceID is the trace-id of the span as W3C Trace Context (section 3.2.2) has it, of this
// version or one to come; "" if there is none.
func (t TraceContext) TraceID() string {
	parent := t.Parent
	const length = len("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	if len(parent) < length || parent[2] != '-' || parent[35] != '-' {
		return ""
	}
	id := parent[3:35]
	if strings.Trim(id, "0123456789abcdef") != "" || strings.Trim(id, "0") == "" {
		return ""
	}
	return id
}

type traceKey struct{}

// WithTrace returns a context whose requests are part of a span. Backends tell that to hosts of
// ours, and to others only if their options say so.
func WithTrace(ctx context.Context, t TraceContext) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceOf returns the span that requests with a context are part of; the zero value for none.
func TraceOf(ctx context.Context) TraceContext {
	t, _ := ctx.Value(traceKey{}).(TraceContext)
	return t
}
