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

// newTraceID is the id of a trace that begins with a call, by which people find it: the name of the
// call in results and logs, if that can be one.
func newTraceID(name string) trace.TraceID {
	id, ok := traceIDOf(name)
	for !ok {
		binary.NativeEndian.PutUint64(id[:8], rand.Uint64())
		binary.NativeEndian.PutUint64(id[8:], rand.Uint64())
		ok = id.IsValid()
	}
	return id
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
