package app

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"ollama-mcp/internal/backend/backendtest"
)

// receiveSpans serves a receiver of traces. The function returns when the span of a tool call has
// come, with all spans that have.
func receiveSpans(t *testing.T) (env []string, wait func() []*tracepb.Span) {
	t.Helper()
	come := make(chan *tracepb.Span, 1000)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var got tracepb.TracesData
		body, err := io.ReadAll(req.Body)
		if err = errors.Join(err, proto.Unmarshal(body, &got)); err != nil || req.URL.Path != "/v1/traces" {
			t.Errorf("%s %s: %v", req.Method, req.URL, err)
		}
		for _, of := range got.ResourceSpans {
			for _, scope := range of.ScopeSpans {
				for _, span := range scope.Spans {
					come <- span
				}
			}
		}
	}))
	t.Cleanup(receiver.Close)
	return []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + receiver.URL, "OTEL_BSP_SCHEDULE_DELAY=10"}, func() (all []*tracepb.Span) {
		for span := range come {
			if all = append(all, span); span.Kind == tracepb.Span_SPAN_KIND_SERVER {
				return all
			}
		}
		return all
	}
}

const (
	agentTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	agentSpan  = "00f067aa0ba902b7"
	proxySpan  = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
)

// tracedCall is a message that calls generate, as a part of the span of an agent.
var tracedCall = fmt.Sprintf(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"generate","arguments":{"model":"tiny","prompt":"canary"},"_meta":{"traceparent":"00-%s-%s-01"}}}`+"\n", agentTrace, agentSpan)

func TestTracesAreSentIfTheStandardVariablesAskForThem(t *testing.T) {
	for transport, call := range map[string]func(t *testing.T, host string, env []string){
		"stdio": func(t *testing.T, host string, env []string) {
			if _, errs, status := program(t, initialized+tracedCall, append(env, "OLLAMA_HOST="+host)); status != 0 || errs != "" {
				t.Errorf("status %d, %q", status, errs)
			}
		},
		"HTTP": func(t *testing.T, host string, env []string) {
			s := serveWith(t, t.TempDir(), env, "--host="+host)
			if got := s.postAsProxy("/mcp", tracedCall); !strings.Contains(got, "quick brown fox") {
				t.Errorf("got %s", got)
			}
		},
		"SSE": func(t *testing.T, host string, env []string) {
			s := serveWith(t, t.TempDir(), env, "--host="+host)
			stream, err := s.client.Get("http://" + s.address + "/sse")
			if err != nil {
				t.Fatal(err)
			}
			defer stream.Body.Close()
			lines := bufio.NewScanner(stream.Body)
			next := func(with string) (data string) {
				for lines.Scan() {
					if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok && strings.Contains(data, with) {
						return data
					}
				}
				t.Fatalf("the stream ended before %q", with)
				return ""
			}
			path := "/" + next("message?")
			for message := range strings.Lines(initialized) {
				s.postAsProxy(path, message)
			}
			s.postAsProxy(path, tracedCall)
			next("quick brown fox")
		},
	} {
		t.Run(transport, func(t *testing.T) {
			host := backendtest.New("gpu-1").Answer("quick brown fox")
			env, wait := receiveSpans(t)
			call(t, host.Listen(t), env)
			spans := wait()
			ids, parents := make(map[string]string), make(map[string]string)
			for _, s := range spans {
				ids[string(s.SpanId)] = s.Name
				if got := hex.EncodeToString(s.TraceId); got != agentTrace {
					t.Errorf("%s is of trace %s", s.Name, got)
				}
			}
			for _, s := range spans {
				parents[s.Name] = ids[string(s.ParentSpanId)]
				if s.Kind == tracepb.Span_SPAN_KIND_SERVER {
					parents[s.Name] = hex.EncodeToString(s.ParentSpanId)
					if links := len(s.Links); links != map[string]int{"stdio": 0, "HTTP": 1, "SSE": 1}[transport] {
						t.Errorf("the call has %d links", links)
					}
				}
			}
			want := map[string]string{
				"tools/call generate": agentSpan, "cache lookup": "tools/call generate", "fill": "tools/call generate",
				"rung": "fill", "queue": "rung", "text_completion tiny:latest": "rung",
			}
			for name, parent := range want {
				if parents[name] != parent {
					t.Errorf("%s is below %q, want %q", name, parents[name], parent)
				}
			}
			if len(spans) != len(want) {
				t.Errorf("%d spans: %v", len(spans), parents)
			}
			if all := fmt.Sprint(spans); strings.Contains(all, "canary") || strings.Contains(all, "brown") {
				t.Errorf("texts are in %s", all)
			}
		})
	}
}

// postAsProxy sends a message as part of the span of a proxy, and returns what is answered.
func (s *served) postAsProxy(path, message string) string {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, "http://"+s.address+path, strings.NewReader(message))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("Traceparent", proxySpan)
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		s.t.Errorf("%s: %s, %v: %s", path, resp.Status, err, body)
	}
	return string(body)
}

// The call log has no texts unless they are wanted there too.
func TestTracesHavePromptsAndAnswersOnlyIfWanted(t *testing.T) {
	host := backendtest.New("gpu-1").Answer("quick brown fox")
	env, wait := receiveSpans(t)
	file := t.TempDir() + "/calls.jsonl"
	if _, errs, status := program(t, initialized+tracedCall, append(env, "OLLAMA_HOST="+host.Listen(t)), "--trace-content", "--call-log="+file); status != 0 || errs != "" {
		t.Errorf("status %d, %q", status, errs)
	}
	if all := fmt.Sprint(wait()); !strings.Contains(all, "canary") || !strings.Contains(all, "quick brown fox") {
		t.Errorf("the texts are not in %s", all)
	}
	if log, err := os.ReadFile(file); err != nil || !strings.Contains(string(log), agentTrace) || strings.Contains(string(log), "canary") || strings.Contains(string(log), "brown") {
		t.Errorf("the call log: %s, %v", log, err)
	}
}

// Whatever is wrong with the receiver, the program serves and ends.
func TestReceiverThatIsNotThereKeepsNobodyFromTheTools(t *testing.T) {
	host := backendtest.New("gpu-1").Answer("quick brown fox")
	for endpoint, says := range map[string]string{"http://127.0.0.1:1": "traces cannot be sent", "nowhere": "there are no traces"} {
		out, errs, status := program(t, initialized+tracedCall, []string{"OLLAMA_HOST=" + host.Listen(t), "OTEL_EXPORTER_OTLP_ENDPOINT=" + endpoint, "OTEL_EXPORTER_OTLP_TIMEOUT=1"}, "--log-level=warn")
		if status != 0 || !strings.Contains(out, "quick brown fox") || strings.Count(errs, says) != 1 {
			t.Errorf("%s: status %d, %q, %q", endpoint, status, out, errs)
		}
	}
}
