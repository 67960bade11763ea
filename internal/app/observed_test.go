package app

import (
	"io"
	"testing"

	"ollama-mcp/internal/config"
	"ollama-mcp/internal/inference"
)

// built is the program with these flags, before it has begun anything.
func built(t *testing.T, flags ...string) *service {
	t.Helper()
	var c config.Config
	if err := config.Parse(config.Flags(&c), &c, flags, func(string) string { return "" }); err != nil {
		t.Fatal(err)
	}
	s, err := newService(c, nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.engine.Close)
	return s
}

// Metrics, traces, the call log and the page are not even made where they are off, and nobody
// watches calls. The tests of inference, observe and usage say what a call allocates then.
func TestWhatIsOffIsNotToldOfCalls(t *testing.T) {
	s := built(t)
	observer := s.observers()
	if _, ok := observer.(inference.Watcher); ok || s.propagate() != nil || s.metrics != nil || s.tracer != nil || s.callLog != nil || s.dashboard != nil {
		t.Errorf("a program without options has %T, metrics %v, a tracer %v, a call log %v, a page %v", observer, s.metrics != nil, s.tracer != nil, s.callLog != nil, s.dashboard != nil)
	}
}

// What the test above finds off is on with its option.
func TestWhatIsOnIsToldOfCalls(t *testing.T) {
	for option, isOn := range map[string]func(*service) bool{
		"--metrics-address=127.0.0.1:0": func(s *service) bool { return s.metrics != nil },
		"--dashboard=127.0.0.1:0":       func(s *service) bool { return s.dashboard != nil },
	} {
		s := built(t, option)
		if _, ok := s.observers().(inference.Watcher); !ok || !isOn(s) {
			t.Errorf("%s: %T", option, s.observers())
		}
	}
	if s := built(t, "--call-log="+t.TempDir()+"/calls.jsonl"); s.callLog == nil {
		t.Error("there is no call log")
	}
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	if s := built(t); s.tracer == nil || s.propagate() == nil {
		t.Error("there is no tracer")
	}
}
