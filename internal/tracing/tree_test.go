package tracing_test

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

// collector keeps spans as a receiver gets them. It implements otlptrace.Client.
type collector struct {
	mu    sync.Mutex // guards what follows
	spans []*tracepb.Span
}

func (*collector) Start(context.Context) error { return nil }
func (*collector) Stop(context.Context) error  { return nil }

func (c *collector) UploadTraces(_ context.Context, all []*tracepb.ResourceSpans) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range all {
		for _, scope := range of.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
	return nil
}

// taken returns the spans that have come.
func (c *collector) taken() []*tracepb.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

// shown are the attributes that trees of spans show.
var shown = []string{
	"ollama_mcp.cache", "ollama_mcp.rung", "ollama_mcp.host", "ollama_mcp.attempt", "ollama_mcp.hedge", "ollama_mcp.batch", "ollama_mcp.skipped", "error.type",
}

// forest shows spans by their parents, a line for each: its name, attributes, events and links.
// Those whose parents are not among them are roots.
func forest(spans []*tracepb.Span) string {
	byID, below := make(map[string]*tracepb.Span), make(map[string][]*tracepb.Span)
	for _, s := range spans {
		byID[string(s.SpanId)] = s
	}
	for _, s := range spans {
		parent := string(s.ParentSpanId)
		if byID[parent] == nil {
			parent = ""
		}
		below[parent] = append(below[parent], s)
	}
	var b strings.Builder
	var show func(parent, indent string)
	show = func(parent, indent string) {
		slices.SortFunc(below[parent], func(x, y *tracepb.Span) int {
			return cmp.Or(cmp.Compare(x.StartTimeUnixNano, y.StartTimeUnixNano), cmp.Compare(line(x, byID), line(y, byID)))
		})
		for _, s := range below[parent] {
			fmt.Fprintf(&b, "%s%s\n", indent, line(s, byID))
			show(string(s.SpanId), indent+"  ")
		}
	}
	show("", "")
	return b.String()
}

// line shows a span.
func line(s *tracepb.Span, byID map[string]*tracepb.Span) string {
	text := s.Name
	for _, key := range shown {
		if value, ok := attributeOf(s, key); ok {
			text += fmt.Sprintf(" %s=%s", key[strings.LastIndex(key, ".")+1:], value)
		}
	}
	for _, e := range s.Events {
		text += fmt.Sprintf(" [%s]", e.Name)
	}
	for _, l := range s.Links {
		to := "elsewhere"
		if linked := byID[string(l.SpanId)]; linked != nil && string(linked.TraceId) == string(l.TraceId) {
			to = linked.Name
		}
		text += fmt.Sprintf(" -> %s", to)
	}
	return text
}

// attributeOf is an attribute of a span as text.
func attributeOf(s *tracepb.Span, key string) (string, bool) {
	for _, a := range s.Attributes {
		if a.Key != key {
			continue
		}
		switch v := a.Value.Value.(type) {
		case *commonpb.AnyValue_StringValue:
			return v.StringValue, true
		case *commonpb.AnyValue_IntValue:
			return fmt.Sprint(v.IntValue), true
		case *commonpb.AnyValue_BoolValue:
			return fmt.Sprint(v.BoolValue), true
		case *commonpb.AnyValue_ArrayValue:
			return v.ArrayValue.Values[0].GetStringValue(), true
		}
	}
	return "", false
}

// named returns the spans of a name.
func named(spans []*tracepb.Span, name string) (all []*tracepb.Span) {
	for _, s := range spans {
		if s.Name == name {
			all = append(all, s)
		}
	}
	return all
}

// traceparent is how a span is told to others.
func traceparent(s *tracepb.Span) string {
	return fmt.Sprintf("00-%s-%s-01", hex.EncodeToString(s.TraceId), hex.EncodeToString(s.SpanId))
}
