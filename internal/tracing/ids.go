package tracing

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"strings"

	"go.opentelemetry.io/otel/trace"
)

// ids makes the ids of spans. The first span of a trace has the id of its context.
type ids struct{}

type traceIDKey struct{}

// newTraceID is the id of a trace that begins with a call whose name cannot be one.
func newTraceID() (id trace.TraceID) {
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:8], rand.Uint64())
		binary.NativeEndian.PutUint64(id[8:], rand.Uint64())
	}
	return id
}

// traceIDOf is the id of a trace that begins with a call, by which people find it: the name of the call
// in results and logs, if that is 32 hexadecimal digits, with hyphens or without, or the last 16 of them.
func traceIDOf(name string) (id trace.TraceID, ok bool) {
	name = strings.ReplaceAll(name, "-", "")
	if len(name) == 16 {
		half, err := trace.SpanIDFromHex(name)
		copy(id[8:], half[:])
		return id, err == nil
	}
	id, err := trace.TraceIDFromHex(name)
	return id, err == nil
}

func newSpanID() (id trace.SpanID) {
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:], rand.Uint64())
	}
	return id
}

// NewIDs implements sdktrace.IDGenerator.
func (ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	return ctx.Value(traceIDKey{}).(trace.TraceID), newSpanID()
}

// NewSpanID implements sdktrace.IDGenerator.
func (ids) NewSpanID(context.Context, trace.TraceID) trace.SpanID { return newSpanID() }
