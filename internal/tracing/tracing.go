// Package tracing makes OpenTelemetry's spans of what the engine tells of calls, and sends them
// to a receiver over OTLP.
//
// It promises that nothing is measured twice and that no call waits for the receiver: spans
// are sent by a goroutine of their own, and those for which there is no room in its queue are
// dropped. What is asked for by the standard variables OTEL_… is left to package sdk/trace, as
// far as it has it. The texts of prompts and answers are in spans if records have them.
package tracing

import (
	"cmp"
	"context"
	"encoding/hex"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/inference"
)

// Options describe a tracer.
type Options struct {
	Version   string
	Transport string       // of the calls: "pipe" or "tcp"
	Texts     bool         // records have the texts of prompts and answers
	TextBytes int64        // that may wait to be sent; 0 means 24 MiB, which is also the most
	Log       *slog.Logger // is told when spans cannot be sent; nil discards
}

// Tracer makes spans. It implements inference.Watcher.
type Tracer struct {
	opts     Options
	receiver *receiver
	samplers samplers
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer

	mu    sync.Mutex       // guards calls and fills; see unlock
	calls map[uint64]call  // that are sampled, or of which hosts are told what their names do not tell
	fills map[uint64]*fill // of calls that are sampled
	open  atomic.Int64     // how many calls and fills there are: mostly none, which costs no lock to know
}

// unlock unlocks mu after calls or fills have changed.
func (t *Tracer) unlock() {
	t.open.Store(int64(len(t.calls) + len(t.fills)))
	t.mu.Unlock()
}

// span is a span, with the context of those below it.
type span struct {
	trace.Span
	ctx context.Context
}

// call is a call that is under way.
type call struct {
	span                   // the zero span if the call is not sampled
	told trace.SpanContext // of which hosts are told then
}

// fill is what there is of an answer that is being made.
type fill struct {
	span
	rung     span // that is tried; the zero span between two
	queued   map[int]span
	attempts map[attempt]span
}

// attempt names an attempt among those that are under way at the same time.
type attempt struct {
	batch int
	hedge bool
}

// Propagation is by W3C Trace Context alone: baggage is the business of nobody here.
var propagator propagation.TraceContext

// New makes a tracer that does what the standard variables of OpenTelemetry ask for, or returns
// nil if they ask for no traces. If they ask for something that is not there, it says so in the
// log and returns nil. It starts nothing.
func New(o Options) *Tracer {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	wanted, problem := isWanted(os.Getenv)
	if !wanted {
		if problem != "" {
			o.Log.Warn("there are no traces: " + problem)
		}
		return nil
	}
	to, err := newReceiver(os.Getenv, o.Log)
	if err != nil {
		o.Log.Warn("there are no traces: " + err.Error())
		return nil
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { o.Log.Warn("OpenTelemetry", "error", err) }))
	about, err := resource.New(context.Background(), resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", "ollama-mcp"), attribute.String("service.version", o.Version)),
		resource.WithFromEnv())
	if err != nil { // what could be read of the variables is in it
		o.Log.Warn("OpenTelemetry", "error", err)
	}
	t := &Tracer{
		opts: o, receiver: to, samplers: newSamplers(os.Getenv), calls: make(map[uint64]call), fills: make(map[uint64]*fill),
	}
	t.provider = sdktrace.NewTracerProvider(sdktrace.WithResource(about), sdktrace.WithIDGenerator(ids{}), sdktrace.WithSampler(t.samplers.below))
	t.tracer = t.provider.Tracer("ollama-mcp", trace.WithInstrumentationVersion(o.Version))
	return t
}

// queue is how many spans may wait to be sent, and how many of them are sent at once, where they have
// texts: each may have maxText bytes three times.
func (o Options) queue() (waiting, atOnce int) {
	const most, least = 512, 8
	waiting = most
	if o.TextBytes > 0 {
		waiting = int(min(max(o.TextBytes/(3*maxText), least), most))
	}
	return waiting, waiting / 8
}

// maxEnd bounds the time that is taken to send what is left.
const maxEnd = 2 * time.Second

// Start begins to send spans: those that end before are lost. The function that it returns sends
// those that are left, and ends it.
func (t *Tracer) Start() (stop func()) {
	var options []sdktrace.BatchSpanProcessorOption
	if t.opts.Texts {
		waiting, atOnce := t.opts.queue()
		options = append(options, sdktrace.WithMaxQueueSize(waiting), sdktrace.WithMaxExportBatchSize(atOnce))
	}
	t.provider.RegisterSpanProcessor(sdktrace.NewBatchSpanProcessor(otlptrace.NewUnstarted(t.receiver), options...))
	return func() {
		end, cancel := context.WithTimeout(context.Background(), maxEnd)
		defer cancel()
		defer t.receiver.giveUp()    // on a request that goes on
		_ = t.provider.Shutdown(end) // what could not be sent is in the log
	}
}

// Event implements inference.Watcher.
func (t *Tracer) Event(e inference.Event) {
	if e.Call == 0 || t.open.Load() == 0 {
		return
	}
	t.mu.Lock()
	defer t.unlock()
	switch f := t.fills[e.Fill]; e.Kind {
	case inference.LookedUp:
		if call := t.calls[e.Call]; call.Span != nil {
			t.lookedUp(call.span, f, e, time.Now())
		}
	case inference.FillBegan:
		if call := t.calls[e.Call]; call.Span != nil {
			f = &fill{queued: make(map[int]span), attempts: make(map[attempt]span)}
			f.span = t.start(call.ctx, spanFill, time.Now(), attribute.String(attrRequestModel, clean(e.Model)))
			t.fills[e.Fill] = f
		}
	default:
		if f != nil {
			t.ofFill(f, e, time.Now())
		}
	}
}

// start starts a span of our own.
func (t *Tracer) start(parent context.Context, name string, at time.Time, attrs ...attribute.KeyValue) span {
	ctx, s := t.tracer.Start(parent, name, trace.WithTimestamp(at), trace.WithAttributes(attrs...))
	return span{s, ctx}
}

// whole is a span of something that is over.
func (t *Tracer) whole(parent context.Context, name string, took time.Duration, end time.Time, attrs ...attribute.KeyValue) {
	t.start(parent, name, end.Add(-took), attrs...).End(trace.WithTimestamp(end))
}

// Begin implements inference.Watcher. A call that is not sampled has no span, and where there are many
// most are not: nothing is kept of it unless hosts are told more than its name tells.
func (t *Tracer) Begin(info *inference.CallInfo) inference.Wants {
	if info.PartOf != 0 {
		return t.beginPart(info)
	}
	parent, sampler := context.Background(), t.samplers.root
	id, named := traceIDOf(info.Trace)
	if info.Parent.Parent != "" {
		parent, sampler = extract(parent, info.Parent), t.samplers.below
		if given := trace.SpanContextFromContext(parent).TraceID(); given.IsValid() {
			id, named = given, false
		}
	}
	if !id.IsValid() {
		id = newTraceID()
	}
	decided := sampler.ShouldSample(sdktrace.SamplingParameters{ParentContext: parent, TraceID: id})
	isSampled := decided.Decision != sdktrace.Drop
	if !isSampled && named {
		return inference.NoEvents
	}
	t.mu.Lock()
	defer t.unlock()
	if !isSampled {
		t.calls[info.ID] = call{told: trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: newSpanID(), TraceState: decided.Tracestate})}
		return inference.NoEvents
	}
	t.began(info, context.WithValue(parent, traceIDKey{}, id), false)
	return inference.AllEvents
}

// beginPart takes in that a part of a call has begun: it is sampled if the whole is.
func (t *Tracer) beginPart(info *inference.CallInfo) inference.Wants {
	if t.open.Load() == 0 {
		return inference.NoEvents
	}
	t.mu.Lock()
	defer t.unlock()
	whole, ok := t.calls[info.PartOf]
	switch {
	case !ok:
		return inference.NoEvents
	case whole.Span == nil:
		t.calls[info.ID] = whole
		return inference.NoEvents
	}
	t.began(info, whole.ctx, true)
	return inference.AllEvents
}

// began starts the span of a call.
func (t *Tracer) began(info *inference.CallInfo, parent context.Context, isPart bool) {
	method, tool := inference.Method(info.Tool)
	name, kind := tool, asPart
	if !isPart {
		switch name, kind = method, asServer; {
		case info.HTTP.Route != "":
			name = info.HTTP.String()
		case tool != "":
			name += " " + tool
		}
	}
	ctx, s := t.tracer.Start(parent, clean(name), trace.WithTimestamp(info.Began), kind)
	t.calls[info.ID] = call{span: span{s, ctx}}
	if link := trace.SpanContextFromContext(extract(context.Background(), info.Link)); link.IsValid() {
		s.AddLink(trace.Link{SpanContext: link})
	}
	attrs := map[string]string{attrCaller: info.Caller.ID, attrRequestID: info.RequestID}
	if info.HTTP.Route != "" {
		attrs[attrHTTPMethod], attrs[attrRoute], attrs[attrPath], attrs[attrScheme] = info.HTTP.Method, info.HTTP.Route, info.HTTP.Route, info.HTTP.Scheme
		attrs[attrOperation] = operations[tool]
	} else {
		if tool != "" {
			attrs[attrTool], attrs[attrOperation] = tool, "execute_tool"
		}
		if !isPart {
			attrs[attrMethod], attrs[attrTransport] = method, t.opts.Transport
		}
	}
	if want, ok := traceIDOf(info.Trace); !ok || want != s.SpanContext().TraceID() {
		attrs[attrTrace] = info.Trace
	}
	for key, value := range attrs {
		if value != "" {
			s.SetAttributes(attribute.String(key, clean(value)))
		}
	}
}

// The kinds of spans that calls have.
var (
	asServer = trace.WithSpanKind(trace.SpanKindServer)
	asPart   = trace.WithSpanKind(trace.SpanKindInternal)
)

// lookedUp makes the span of a look-up in the cache, and links a call to the fill that it has
// joined.
func (t *Tracer) lookedUp(call span, joined *fill, e inference.Event, now time.Time) {
	t.whole(call.ctx, spanLookUp, e.Wait, now, attribute.String(attrCache, string(e.Cache)))
	if joined != nil {
		call.AddLink(trace.Link{SpanContext: joined.SpanContext()})
	}
}

// ofFill takes in what happens in a fill.
func (t *Tracer) ofFill(f *fill, e inference.Event, now time.Time) {
	switch at := (attempt{e.Batch, e.Hedge}); e.Kind {
	case inference.Compared:
		t.whole(f.ctx, spanCompare, e.Wait, now, attribute.String(attrCache, string(e.Cache)))
	case inference.RungBegan:
		f.rung = t.start(f.ctx, spanRung, now, rungAttributes(e)...)
	case inference.Queued:
		f.queued[e.Batch] = t.start(f.below(), spanQueue, now, attribute.String(attrRequestModel, clean(e.Model)))
		f.queued[e.Batch].AddEvent(eventQueued, trace.WithTimestamp(now), trace.WithAttributes(
			attribute.Int(attrPlace, e.Place), attribute.Float64(attrExpected, e.Wait.Seconds())))
	case inference.Granted:
		t.granted(f, at, e, now)
	case inference.FirstToken:
		if a, ok := f.attempts[at]; ok {
			a.AddEvent(eventFirst, trace.WithTimestamp(now), trace.WithAttributes(attribute.Float64(attrFirstToken, e.Wait.Seconds())))
		}
	case inference.AttemptEnded:
		if a, ok := f.attempts[at]; ok {
			delete(f.attempts, at)
			endAttempt(a, e, now)
		}
	case inference.Retried:
		f.parent().AddEvent(eventRetry, trace.WithTimestamp(now), trace.WithAttributes(
			attribute.String(attrHost, clean(e.Host)), attribute.Float64(attrWait, e.Wait.Seconds()), attribute.String(attrErrorType, string(fault.Of(e.Err).Code))))
	case inference.RungEnded:
		t.endRung(f, e, now)
	case inference.FillEnded:
		f.endParts(e.Err, now)
		if e.Cache != "" {
			f.SetAttributes(attribute.String(attrCache, string(e.Cache)))
		}
		endSpan(f.span, e.Err, now)
		delete(t.fills, e.Fill)
	}
}

func rungAttributes(e inference.Event) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.Int(attrRung, e.Rung), attribute.String(attrRequestModel, clean(e.Model)), attribute.String(attrProvider, providerOf(e)),
	}
}

// providerOf is what the conventions call the maker of an answer.
func providerOf(e inference.Event) string { return clean(cmp.Or(e.Provider, "ollama")) }

// parent is the span that requests to the pool are part of.
func (f *fill) parent() span {
	if f.rung.Span != nil {
		return f.rung
	}
	return f.span
}

func (f *fill) below() context.Context { return f.parent().ctx }

// granted ends the wait for a slot, and starts the span of the attempt that has it.
func (t *Tracer) granted(f *fill, at attempt, e inference.Event, now time.Time) {
	switch waited, ok := f.queued[e.Batch]; {
	case e.Hedge:
	case ok:
		delete(f.queued, e.Batch)
		waited.SetAttributes(attribute.String(attrHost, clean(e.Host)))
		waited.End(trace.WithTimestamp(now))
	default:
		t.whole(f.below(), spanQueue, e.Wait, now, attribute.String(attrRequestModel, clean(e.Model)), attribute.String(attrHost, clean(e.Host)))
	}
	operation := operations[e.API]
	attrs := []attribute.KeyValue{
		attribute.String(attrOperation, operation), attribute.String(attrProvider, providerOf(e)), attribute.String(attrRequestModel, clean(e.Model)),
		attribute.String(attrHost, clean(e.Host)), attribute.Int(attrAttempt, e.Attempt),
	}
	if e.Hedge {
		attrs = append(attrs, attribute.Bool(attrHedge, true))
	}
	if e.Batch > 0 {
		attrs = append(attrs, attribute.Int(attrBatch, e.Batch))
	}
	ctx, s := t.tracer.Start(f.below(), clean(operation+" "+e.Model), trace.WithTimestamp(now), trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attrs...))
	f.attempts[at] = span{s, ctx}
}

// endAttempt ends the span of an attempt.
func endAttempt(a span, e inference.Event, now time.Time) {
	if e.Load > 0 {
		began := now
		if s, ok := a.Span.(sdktrace.ReadOnlySpan); ok {
			began = s.StartTime()
		}
		at := began.Add(e.Load)
		if at.After(now) { // a host whose clock runs faster
			at = now
		}
		a.AddEvent(eventLoaded, trace.WithTimestamp(at), trace.WithAttributes(attribute.Float64(attrLoad, e.Load.Seconds())))
	}
	if e.TokensIn > 0 {
		a.SetAttributes(attribute.Int(attrInputTokens, e.TokensIn))
	}
	if e.Tokens > 0 {
		a.SetAttributes(attribute.Int(attrOutputTokens, e.Tokens))
	}
	if e.DoneReason != "" {
		a.SetAttributes(attribute.StringSlice(attrFinish, []string{clean(e.DoneReason)}))
	}
	if e.Err == nil {
		a.SetAttributes(attribute.String(attrResponseModel, clean(e.Model)))
	}
	endSpan(a, e.Err, now)
}

// endRung ends the span of a rung, or makes that of one that was skipped.
func (t *Tracer) endRung(f *fill, e inference.Event, now time.Time) {
	if f.rung.Span == nil {
		f.rung = t.start(f.ctx, spanRung, now, append(rungAttributes(e), attribute.Bool(attrSkipped, true))...)
	}
	f.endParts(e.Err, now)
	endSpan(f.rung, e.Err, now)
	f.rung = span{}
}

// endParts ends what is under way in a rung that is over.
func (f *fill) endParts(err error, now time.Time) {
	for batch, s := range f.queued {
		endSpan(s, err, now)
		delete(f.queued, batch)
	}
	for at, s := range f.attempts {
		endSpan(s, err, now)
		delete(f.attempts, at)
	}
}

// endSpan ends a span, with an error if there is one.
func endSpan(s span, err error, at time.Time) {
	if err != nil {
		e := fault.Of(err)
		s.SetAttributes(attribute.String(attrErrorType, string(e.Code)))
		s.SetStatus(codes.Error, clean(cmp.Or(e.ForLogs, e.Message)))
	}
	s.End(trace.WithTimestamp(at))
}

// Done implements inference.Observer.
func (t *Tracer) Done(r inference.Record) {
	if t.open.Load() == 0 {
		return
	}
	t.mu.Lock()
	call := t.calls[r.Call]
	delete(t.calls, r.Call)
	t.unlock()
	if call.Span == nil { // or the zero call
		return
	}
	call.SetAttributes(recordAttributes(&r)...)
	if t.opts.Texts {
		call.SetAttributes(textAttributes(&r.Asked)...)
	}
	if r.Status != 0 {
		call.SetAttributes(attribute.Int(attrStatus, r.Status))
	}
	if r.Code != "" {
		call.SetAttributes(attribute.String(attrCode, string(r.Code)))
	}
	if errorType := r.ErrorType(); errorType != "" {
		call.SetAttributes(attribute.String(attrErrorType, errorType))
		call.SetStatus(codes.Error, clean(r.Err))
	}
	call.End(trace.WithTimestamp(r.Began.Add(r.Took)))
}

// recordAttributes are those of a call that asks a model.
func recordAttributes(r *inference.Record) (attrs []attribute.KeyValue) {
	s := &r.Served
	if s.Requested == "" {
		return nil
	}
	attrs = append(attrs, attribute.String(attrRequestModel, clean(s.Requested)))
	texts := map[string]string{attrCache: string(r.Cache)}
	if r.WasAnswered() {
		texts[attrResponseModel], texts[attrHost], texts[attrSource] = s.Model, s.Host, string(s.Source)
	}
	for key, value := range texts {
		if value != "" {
			attrs = append(attrs, attribute.String(key, clean(value)))
		}
	}
	if s.TokensIn > 0 {
		attrs = append(attrs, attribute.Int(attrInputTokens, s.TokensIn))
	}
	if s.TokensOut > 0 {
		attrs = append(attrs, attribute.Int(attrOutputTokens, s.TokensOut))
	}
	return attrs
}

// Propagate is inference.Options.Propagate: hosts are told of the span of the attempt, or of one
// that could be if the call were sampled.
func (t *Tracer) Propagate(ctx context.Context, e inference.Event) context.Context {
	var asking call
	var isKept bool
	var f *fill
	if t.open.Load() > 0 {
		t.mu.Lock()
		asking, isKept = t.calls[e.Call]
		if f = t.fills[e.Fill]; f != nil {
			asking.span = f.attempts[attempt{e.Batch, e.Hedge}]
		}
		t.mu.Unlock()
	}
	switch {
	case asking.Span != nil:
		return backend.WithTrace(ctx, traceContext(asking.SpanContext()))
	case f != nil: // an attempt that has no span
		return ctx
	case isKept:
		return backend.WithTrace(ctx, traceContext(asking.told))
	}
	id, ok := traceIDOf(e.Trace)
	if !ok { // nothing is left of the call, which is over
		return ctx
	}
	return backend.WithTrace(ctx, traceContext(trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: newSpanID()})))
}

// traceContext names a span in version 00 of W3C Trace Context. The propagator of the SDK would
// take a map for it, for every attempt.
func traceContext(of trace.SpanContext) backend.TraceContext {
	id, spanID := of.TraceID(), of.SpanID()
	text := make([]byte, 0, len("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"))
	text = append(hex.AppendEncode(append(text, "00-"...), id[:]), '-')
	text = append(hex.AppendEncode(text, spanID[:]), '-')
	text = hex.AppendEncode(text, []byte{byte(of.TraceFlags() & trace.FlagsSampled)})
	return backend.TraceContext{Parent: string(text), State: of.TraceState().String()}
}

// extract returns a context whose spans are below a span of another program, if there is one.
func extract(ctx context.Context, from backend.TraceContext) context.Context {
	if from.Parent == "" {
		return ctx
	}
	return propagator.Extract(ctx, propagation.MapCarrier{"traceparent": from.Parent, "tracestate": from.State})
}
