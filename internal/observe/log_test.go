package observe_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/observe"
)

var (
	served = inference.Record{
		Trace: "4bf9", RequestID: "r-1", Tool: "generate", Caller: "ci", Took: 2345678 * time.Microsecond, Cache: inference.CacheMiss,
		Served: inference.Served{
			Requested: "pro", Model: "small", Host: "gpu-1", Source: inference.Local, Rung: 2, Passed: []string{"big (gpu-1: unreachable)"},
			TokensIn: 12, TokensOut: 34, Retries: 1, Queue: 250, Lost: 40,
		},
	}
	plain = inference.Record{
		Trace: "5c0a", Tool: "chat", Took: time.Second, Cache: inference.CacheHit,
		Served: inference.Served{Requested: "tiny", Model: "tiny", Host: "gpu-1", Source: inference.Cached, TokensOut: 3},
	}
	failed = inference.Record{
		Trace: "6d1b", Tool: "generate", Caller: "ci", Took: 10 * time.Second, Code: "timeout", Err: "tiny: gpu-1 had not begun to answer",
		Served: inference.Served{Requested: "tiny", Model: "tiny", Host: "gpu-1", Source: inference.Local},
	}
	refused = inference.Record{Trace: "7e2c", Tool: "generate", Caller: "ci", Code: "rate_limited", Err: `"ci" has 4 calls in flight`}
	fronted = inference.Record{Trace: "9a4e", Tool: "list-models", HTTP: inference.HTTPRequest{Method: "GET", Route: "/v1/models", Scheme: "http"}, Status: 200, Took: time.Millisecond}
	listed  = inference.Record{Trace: "8f3d", Tool: "list-models", Took: 12 * time.Millisecond}
)

// lines are what a log writes of some records, without times.
func lines(level slog.Level, failuresOnly bool, records ...inference.Record) []string {
	var written bytes.Buffer
	log := observe.Log{FailuresOnly: failuresOnly, Logger: slog.New(slog.NewTextHandler(&written, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))}
	for _, r := range records {
		log.Done(r)
	}
	return strings.Split(strings.TrimSuffix(written.String(), "\n"), "\n")
}

func TestLogHasOneLineForEachCall(t *testing.T) {
	want := []string{
		`level=INFO msg="call served" tool=generate caller=ci trace=4bf9 request=r-1 requested=pro model=small host=gpu-1 source=local cache=miss passed="[big (gpu-1: unreachable)]" retries=1 queue_ms=250 lost_ms=40 tokens=34 took_ms=2346`,
		`level=INFO msg="call served" tool=chat trace=5c0a requested=tiny host=gpu-1 source=cache cache=hit queue_ms=0 tokens=3 took_ms=1000`,
		`level=INFO msg="call failed" tool=generate caller=ci trace=6d1b requested=tiny host=gpu-1 source=local queue_ms=0 tokens=0 took_ms=10000 code=timeout error="tiny: gpu-1 had not begun to answer"`,
		`level=INFO msg="call failed" tool=generate caller=ci trace=7e2c took_ms=0 code=rate_limited error="\"ci\" has 4 calls in flight"`,
		`level=INFO msg="call served" tool=list-models trace=8f3d took_ms=12`,
		`level=INFO msg="call served" tool=list-models api="GET /v1/models" trace=9a4e took_ms=1`,
	}
	got := lines(slog.LevelInfo, false, served, plain, failed, refused, listed, fronted)
	compare(t, got, want)
	compare(t, lines(slog.LevelInfo, true, served, plain, failed, refused, listed), want[2:4])
}

func compare(t *testing.T, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("line %d is missing:\nwant %s", i, want[i])
		case i >= len(want):
			t.Errorf("line %d is too many:\n got %s", i, got[i])
		case got[i] != want[i]:
			t.Errorf("line %d:\n got %s\nwant %s", i, got[i], want[i])
		}
	}
}

func TestLogIsSilentBelowItsLevel(t *testing.T) {
	if got := lines(slog.LevelWarn, false, served, failed); len(got) != 1 || got[0] != "" {
		t.Errorf("at level warn: %q", got)
	}
}

// A line is written on the way of each call.
func TestLogOfSuccessesCostsNothingWhereOnlyFailuresAreWanted(t *testing.T) {
	log := observe.Log{FailuresOnly: true, Logger: slog.New(slog.NewTextHandler(new(bytes.Buffer), nil))}
	if n := testing.AllocsPerRun(1000, func() { log.Done(served) }); n != 0 {
		t.Errorf("%v allocations for a call of which nothing is written", n)
	}
}
