package tracing_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/tracing"
)

// station is a receiver of spans, which answers as answer says.
type station struct {
	answer func(*http.Request) (status int, err error)

	sent atomic.Int64 // spans in all requests

	mu       sync.Mutex // guards what follows
	requests []*http.Request
	names    []string // of the spans that have come
	about    string   // the resource that they are of
}

func (s *station) take(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	if req.Header.Get("Content-Encoding") == "gzip" {
		unpacked, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		if body, err = io.ReadAll(unpacked); err != nil {
			return nil, err
		}
	}
	var got tracepb.TracesData
	if err := proto.Unmarshal(body, &got); err != nil {
		return nil, err
	}
	for _, of := range got.ResourceSpans {
		s.sent.Add(int64(len(of.ScopeSpans[0].Spans)))
	}
	s.mu.Lock()
	s.requests = append(s.requests, req)
	s.mu.Unlock()
	status, err := s.answer(req)
	if err != nil {
		return nil, err
	}
	if status == http.StatusOK {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, of := range got.ResourceSpans {
			s.about = of.Resource.String()
			for _, span := range of.ScopeSpans[0].Spans {
				s.names = append(s.names, span.Name)
			}
		}
	}
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Header: http.Header{}, Body: http.NoBody}, nil
}

func (s *station) counts() (requests, spans int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests), len(s.names)
}

// calls makes calls that do nothing.
func calls(t *tracing.Tracer, n int) {
	for i := range n {
		id := uint64(i + 1)
		t.Begin(&inference.CallInfo{ID: id, Tool: "list-models", Began: time.Now()})
		t.Done(inference.Record{Call: id, Tool: "list-models", Began: time.Now()})
	}
}

// running runs a tracer that sends to a station, until stop is called.
func running(t *testing.T, s *station, log io.Writer) (tracer *tracing.Tracer, stop func()) {
	t.Helper()
	tracer = tracing.New(tracing.Options{Version: "v1.2.3", Log: slog.New(slog.NewTextHandler(log, nil))})
	if tracer == nil {
		t.Fatal("no tracer")
	}
	tracer.Via(s.take)
	return tracer, tracer.Start()
}

func TestSpansAreSentAsTheVariablesSay(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "https://user:sesame@otel.example.com/base/")
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=open%20sesame, team = a")
	t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
	t.Setenv("OTEL_SERVICE_NAME", "models")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
	synctest.Test(t, func(t *testing.T) {
		s := &station{answer: func(*http.Request) (int, error) { return http.StatusOK, nil }}
		tracer, stop := running(t, s, io.Discard)
		calls(tracer, 3)
		stop() // which sends what is left
		if len(s.names) != 3 || len(s.requests) != 1 {
			t.Fatalf("%d spans in %d requests", len(s.names), len(s.requests))
		}
		req := s.requests[0]
		if req.URL.Redacted() != "https://user:xxxxx@otel.example.com/base/v1/traces" || req.Method != http.MethodPost {
			t.Errorf("sent by %s to %s", req.Method, req.URL.Redacted())
		}
		if req.Header.Get("Api-Key") != "open sesame" || req.Header.Get("Team") != "a" || req.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("headers %v", req.Header)
		}
		for _, want := range []string{"models", "v1.2.3", "deployment.environment.name"} {
			if !strings.Contains(s.about, want) {
				t.Errorf("the resource has no %q: %s", want, s.about)
			}
		}
	})
}

func TestTracesAreOffUnlessTheVariablesAskForThem(t *testing.T) {
	type vars map[string]string
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"
	for _, tc := range []struct {
		env  vars
		on   bool
		says string
	}{
		{env: vars{}},
		{env: vars{"OTEL_SERVICE_NAME": "models", "OTEL_TRACES_SAMPLER": "always_on"}},
		{env: vars{endpoint: "http://localhost:4318"}, on: true},
		{env: vars{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://localhost:4318/x"}, on: true},
		{env: vars{"OTEL_TRACES_EXPORTER": "otlp"}, on: true},
		{env: vars{"OTEL_TRACES_EXPORTER": "none", endpoint: "http://localhost:4318"}},
		{env: vars{"OTEL_SDK_DISABLED": "True", endpoint: "http://localhost:4318"}},
		{env: vars{"OTEL_TRACES_EXPORTER": "zipkin"}, says: "must be otlp or none"},
		{env: vars{endpoint: "http://localhost:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, says: "must be http/protobuf"},
		{env: vars{endpoint: "localhost:4318"}, says: "must be a URL"},
		{env: vars{endpoint: "://user:sesame@"}, says: "must be a URL"},
		{env: vars{endpoint: "http://a", "OTEL_EXPORTER_OTLP_HEADERS": "sesame"}, says: "key=value"},
		{env: vars{endpoint: "http://a", "OTEL_EXPORTER_OTLP_HEADERS": "a=%zzsesame"}, says: "key=value"},
		{env: vars{endpoint: "http://a", "OTEL_EXPORTER_OTLP_TIMEOUT": "soon"}, says: "number of milliseconds"},
		{env: vars{endpoint: "http://a", "OTEL_EXPORTER_OTLP_COMPRESSION": "zip"}, says: "gzip or none"},
		{env: vars{endpoint: "https://a", "OTEL_EXPORTER_OTLP_CERTIFICATE": "/missing"}, says: "OTEL_EXPORTER_OTLP_CERTIFICATE"},
		{env: vars{endpoint: "https://a", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": "/missing"}, says: "CLIENT_CERTIFICATE"},
	} {
		t.Run("", func(t *testing.T) {
			for name, value := range tc.env {
				t.Setenv(name, value)
			}
			var log bytes.Buffer
			tracer := tracing.New(tracing.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
			if (tracer != nil) != tc.on || (log.Len() > 0) != (tc.says != "") || !strings.Contains(log.String(), tc.says) || strings.Contains(log.String(), "sesame") {
				t.Errorf("%v: on %v; it says %q", tc.env, tracer != nil, log.String())
			}
		})
	}
}

// Whatever the receiver does, calls take no time for it, what waits is bounded, and the log
// has one line.
func TestReceiverInTroubleCostsNoCall(t *testing.T) {
	const many = 3_000 // spans are more than the queue and a batch hold
	for name, answer := range map[string]func(*http.Request) (int, error){
		"down":     func(*http.Request) (int, error) { return 0, errors.New("connection refused") },
		"refusing": func(*http.Request) (int, error) { return http.StatusForbidden, nil },
		"busy":     func(*http.Request) (int, error) { return http.StatusServiceUnavailable, nil },
		"moved":    func(*http.Request) (int, error) { return http.StatusMovedPermanently, nil },
		"slow": func(req *http.Request) (int, error) {
			<-req.Context().Done()
			return 0, req.Context().Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				s := &station{answer: answer}
				tracer, stop := running(t, s, &log)
				began := time.Now()
				calls(tracer, many)
				if took := time.Since(began); took != 0 {
					t.Errorf("the calls took %v", took)
				}
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "traces cannot be sent") {
					t.Errorf("the log has %d lines: %s", n, log.String())
				}
				if sent := s.sent.Load(); name == "slow" && sent > 2048+512 { // the queue, and a batch on its way
					t.Errorf("%d spans have waited", sent)
				}
				began = time.Now()
				calls(tracer, many)
				if stop(); time.Since(began) > 3*time.Second {
					t.Errorf("it took %v to end", time.Since(began))
				}
			})
		})
	}
}

func TestSpansAreSentAgainWhenTheReceiverIsBack(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var isUp atomic.Bool
		s := &station{answer: func(*http.Request) (int, error) {
			if !isUp.Load() {
				return 0, errors.New("connection refused")
			}
			return http.StatusOK, nil
		}}
		tracer, stop := running(t, s, &log)
		defer stop()
		calls(tracer, 10)
		time.Sleep(time.Minute)
		synctest.Wait()
		isUp.Store(true)
		calls(tracer, 5)
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, spans := s.counts(); spans != 5 || !strings.Contains(log.String(), "traces are sent again") || !strings.Contains(log.String(), "lost=10") {
			t.Errorf("%d spans have come; the log has %s", spans, log.String())
		}
	})
}

// A receiver that is busy for a moment loses nothing.
func TestRequestIsRetriedIfTheReceiverAsksForIt(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	synctest.Test(t, func(t *testing.T) {
		n := 0
		s := &station{answer: func(*http.Request) (int, error) {
			if n++; n < 3 {
				return http.StatusTooManyRequests, nil
			}
			return http.StatusOK, nil
		}}
		var log bytes.Buffer
		tracer, stop := running(t, s, &log)
		defer stop()
		calls(tracer, 10)
		time.Sleep(time.Minute)
		synctest.Wait()
		if requests, spans := s.counts(); requests != 3 || spans != 10 || log.Len() > 0 {
			t.Errorf("%d spans in %d requests; the log has %s", spans, requests, log.String())
		}
	})
}
