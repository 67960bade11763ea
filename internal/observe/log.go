// Package observe tells people and machines what calls do, from what the engine reports of
// them. One file per observer.
package observe

import (
	"context"
	"log/slog"
	"time"

	"ollama-mcp/internal/inference"
)

// Log writes a line for each call when it is over. It implements inference.Observer.
type Log struct {
	Logger *slog.Logger
	// FailuresOnly leaves out calls that succeeded.
	FailuresOnly bool
}

// Done implements inference.Observer.
func (l Log) Done(r inference.Record) {
	if r.Code == "" && l.FailuresOnly || !l.Logger.Enabled(context.Background(), slog.LevelInfo) {
		return
	}
	attrs := make([]slog.Attr, 0, 16)
	text := func(name, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(name, value))
		}
	}
	text("tool", r.Tool)
	text("api", r.HTTP.String()) // "" for MCP
	text("caller", r.Caller)     // "" on stdio
	text("trace", r.Trace)
	text("request", r.RequestID)
	if s := r.Served; s.Requested != "" {
		text("requested", s.Requested)
		if s.Model != s.Requested {
			text("model", s.Model)
		}
		text("host", s.Host)
		if r.WasAnswered() {
			text("source", string(s.Source))
		}
		text("cache", string(r.Cache))
		if len(s.Passed) > 0 {
			attrs = append(attrs, slog.Any("passed", s.Passed))
		}
		if s.Retries > 0 {
			attrs = append(attrs, slog.Int("retries", s.Retries))
		}
		attrs = append(attrs, slog.Int64("queue_ms", s.Queue))
		if s.Lost > 0 {
			attrs = append(attrs, slog.Int64("lost_ms", s.Lost))
		}
		attrs = append(attrs, slog.Int("tokens", s.TokensOut))
	}
	attrs = append(attrs, slog.Int64("took_ms", r.Took.Round(time.Millisecond).Milliseconds()))
	message := "call served"
	if r.Code != "" {
		message = "call failed"
		text("code", string(r.Code))
		text("error", r.Err)
	}
	l.Logger.LogAttrs(context.Background(), slog.LevelInfo, message, attrs...)
}
