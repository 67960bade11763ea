package tracing

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"strings"

	"go.opentelemetry.io/otel/trace"
)

// ids makes the ids of spans. The trace of a call without a parent has the id that its context
// names, by which people find it from a result or a line of a log.
type ids struct{}

type traceIDKey struct{}

// withTraceID returns a context for the first span of a trace, which gets the id of a call in
// results and logs, if that can be one.
func withTraceID(ctx context.Context, name string) context.Context {
	if id, ok := traceIDOf(name); ok {
		return context.WithValue(ctx, traceIDKey{}, id)
	}
	return ctx
}

// traceIDOf is the id of a trace that a call's name stands for: 32 hexadecimal digits, with
// hyphens or without, or the last 16 of them.
func traceIDOf(name string) (id trace.TraceID, ok bool) {
	name = strings.ReplaceAll(name, "-", "")
	if len(name) == 16 {
		name = strings.Repeat("0", 16) + name
	}
	id, err := trace.TraceIDFromHex(name)
	return id, err == nil
}

// NewIDs implements sdktrace.IDGenerator.
func (g ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	id, ok := ctx.Value(traceIDKey{}).(trace.TraceID)
	for !ok {
		binary.NativeEndian.PutUint64(id[:8], rand.Uint64())
		binary.NativeEndian.PutUint64(id[8:], rand.Uint64())
		ok = id.IsValid()
	}
	return id, g.NewSpanID(ctx, id)
}

// NewSpanID implements sdktrace.IDGenerator.
func (ids) NewSpanID(context.Context, trace.TraceID) (id trace.SpanID) {
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:], rand.Uint64())
	}
	return id
}
