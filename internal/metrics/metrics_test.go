package metrics_test

import (
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ollama-mcp/cache"
	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/jobs"
	"ollama-mcp/internal/metrics"
	"ollama-mcp/internal/route"
	"ollama-mcp/internal/semantic"
	"ollama-mcp/pool"
)

var update = flag.Bool("update", false, "write docs/metrics.md")

// status is that of a server that has all there is.
func status() inference.Status {
	similar := &inference.SemanticStats{}
	similar.Hits, similar.Shadow, similar.Refused = 3, 2, map[semantic.Reason]uint64{semantic.Numbers: 4}
	return inference.Status{
		Hosts: pool.Stats{
			Hosts: []pool.HostStats{
				{
					Name: "gpu-1", Well: true, Busy: 3, Slots: 4, Breaker: "closed", Latency: 1500 * time.Millisecond, Installed: 7, Loaded: []string{"tiny:latest"},
					Models: []pool.ModelSlots{{Model: "tiny:latest", Busy: 3, Slots: 4}}, Cloud: &pool.CloudStats{Breaker: "half-open"},
				},
				{Name: "gpu-2", Slots: 4, Breaker: "open", Installed: -1, Ejected: []pool.ModelHealth{{Model: "big:latest", Breaker: "open"}}},
			},
			Queue: pool.QueueStats{
				Waiting: 3, Interactive: 2, Batch: 1, Bytes: 900, Oldest: 2500 * time.Millisecond,
				Callers: map[string]int{"ci": 1, "10.0.0.1": 1, "10.0.0.2": 1}, Models: map[string]int{"tiny:latest": 3},
			},
			Totals:      pool.Totals{Calls: 21, Served: 10, Failed: 2, Cancelled: 1, GaveUp: 1, Refused: 1, Open: 6, Hedged: 5, HedgesWon: 2, InFlight: 3},
			RetriesLeft: 9,
		},
		Cache:    cache.Stats{Hits: 6, Misses: 5, Coalesced: 4, Shared: 7, Entries: 3, Bytes: 2048, Evicted: 2, Expired: 1, TooLarge: 1, CrowdedOut: 8, Saved: 90 * time.Second},
		Shared:   &cache.SharedState{Up: true, Replicas: 3, Hits: 12, Misses: 13, Failures: 14, Unreadable: 15, TooLarge: 16},
		Semantic: similar,
		Ladders:  []inference.LadderStatus{{Model: "pro", State: route.Degraded}},
	}
}

func newMetrics() *metrics.Metrics {
	return metrics.New(metrics.Options{
		Version: "v1", Transport: "tcp", Status: status,
		Keys: func() []metrics.Key {
			return []metrics.Key{{Caller: "ci", Calls: 3, CallsPerDay: 10, Tokens: 40, TokensPerDay: 500, Expires: time.Unix(1800000000, 0)}, {Caller: "unlimited"}}
		},
		Dropped: func() (bufferFull, disk uint64) { return 7, 1 },
		Jobs:    func() jobs.Counts { return jobs.Counts{Underway: 2, Ended: 5, Oldest: time.Minute} },
		Providers: func() map[string]pool.Stats {
			return map[string]pool.Stats{"openai": {Hosts: []pool.HostStats{{Well: true, Busy: 1, Slots: 8, Breaker: "closed"}}, Totals: pool.Totals{Served: 4}}}
		},
		HasModel:  func(name string) bool { return slices.Contains([]string{"tiny:latest", "pro", "pro:latest"}, name) },
		HasCaller: func(id string) bool { return id == "ci" },
	})
}

// scrape returns the page, without the metrics of Prometheus' own library.
func scrape(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
		t.Fatalf("status %d, %q: %.500s", w.Code, w.Header().Get("Content-Type"), w.Body)
	}
	var own strings.Builder
	for line := range strings.Lines(w.Body.String()) {
		if name := strings.TrimLeft(line, "# HELPTY"); !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
			own.WriteString(line)
		}
	}
	return own.String()
}

func TestPageIsPackedForScrapersThatTakeIt(t *testing.T) {
	m := newMetrics()
	for accepted, packed := range map[string]bool{
		"": false, "gzip": true, "deflate, GZIP;q=0.5": true, "gzip;q=0": false, "gzip; q=0.000, br": false, "identity": false,
	} {
		w, req := httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil)
		req.Header.Set("Accept-Encoding", accepted)
		req.Header.Set("Accept", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.2") // what Prometheus asks for
		m.Handler().ServeHTTP(w, req)
		body := io.Reader(w.Body)
		if (w.Header().Get("Content-Encoding") == "gzip") != packed {
			t.Errorf("%q: %v", accepted, w.Header())
		} else if packed {
			unpacked, err := gzip.NewReader(body)
			if err != nil {
				t.Fatal(err)
			}
			body = unpacked
		}
		page, err := io.ReadAll(body)
		if err != nil || !strings.Contains(string(page), "\nollama_mcp_host_up{host=\"gpu-1\"} 1\n") || w.Header().Get("Content-Type") != "text/plain; version=0.0.4; charset=utf-8" {
			t.Errorf("%q: %v, %v: %.200s", accepted, err, w.Header(), page)
		}
	}
}

// expect compares parts of a page with whole lines.
func expect(t *testing.T, page string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains("\n"+page, "\n"+line+"\n") {
			name, _, _ := strings.Cut(line, "{")
			name, _, _ = strings.Cut(name, " ")
			t.Errorf("no line %s; there are\n%s", line, strings.Join(regexp.MustCompile(`(?m)^`+name+`\b.*$`).FindAllString(page, -1), "\n"))
		}
	}
}

func ms(n int64) *int64 { return &n }

// answered is a call that a model of ours has answered.
func answered() inference.Record {
	return inference.Record{
		Tool: "generate", Caller: "ci", Took: 3 * time.Second, Cache: inference.CacheMiss,
		Served: inference.Served{
			Requested: "tiny", Model: "tiny", Host: "gpu-1", Source: inference.Local,
			TokensIn: 12, TokensOut: 34, TokensPerSecond: 20, Queue: 250, FirstToken: 500, Load: ms(1200),
		},
	}
}

// everything that can happen.
func everything(m *metrics.Metrics) {
	m.Done(answered())
	hit := answered()
	hit.Took, hit.Cache, hit.Served.Source = 10*time.Millisecond, inference.CacheHit, inference.Cached
	m.Done(hit)
	m.Done(inference.Record{
		Tool: "chat", Took: 20 * time.Second,
		Served: inference.Served{Requested: "pro", Model: "openai/gpt", Host: "openai", Source: inference.Cloud, Rung: 3, TokensIn: 100, TokensOut: 200},
	})
	m.Done(inference.Record{Tool: "generate", Caller: "10.0.0.1", Took: time.Second, Code: "model_not_found", Served: inference.Served{Requested: "tinny"}})
	m.Done(inference.Record{Tool: "list-models", Took: time.Millisecond})
	vectors := inference.HTTPRequest{Method: "POST", Route: "/v1/embeddings", Scheme: "http"}
	m.Done(inference.Record{Tool: "embed", HTTP: vectors, Status: 200, Took: time.Second})
	m.Done(inference.Record{Tool: "embed", HTTP: vectors, Status: 404, Took: time.Second, Code: "model_not_found"})
	m.Done(inference.Record{Tool: "embed", HTTP: vectors, Status: 503, Took: time.Second, Code: "no_host"})
	m.Done(inference.Record{Tool: "chat", HTTP: inference.HTTPRequest{Method: "POST", Route: "/api/chat", Scheme: "https"}, Status: 200, Took: time.Second, Code: "upstream"}) // a stream that broke off
	m.Event(inference.Event{Kind: inference.Granted, Wait: 300 * time.Millisecond})
	m.Event(inference.Event{Kind: inference.Retried, Err: fmt.Errorf("gpu-1: %w", &backend.Error{Class: backend.Crashed})})
	m.Event(inference.Event{Kind: inference.Retried, Err: errors.New("of no class")})
	m.Event(inference.Event{Kind: inference.LadderChanged, Model: "pro:latest", To: route.Degraded})
	m.Refused("unauthorized")
}

func TestNumbersAreThoseOfTheCalls(t *testing.T) {
	m := newMetrics()
	everything(m)
	page := scrape(t, m)
	const tiny = `gen_ai_operation_name="text_completion",gen_ai_provider_name="ollama",gen_ai_request_model="tiny:latest",gen_ai_response_model="tiny:latest"`
	const gpt = `gen_ai_operation_name="chat",gen_ai_provider_name="openai",gen_ai_request_model="pro:latest",gen_ai_response_model="openai/gpt"`
	expect(t, page,
		`mcp_server_operation_duration_seconds_count{error_type="",gen_ai_tool_name="generate",mcp_method_name="tools/call",network_transport="tcp"} 2`,
		`mcp_server_operation_duration_seconds_count{error_type="tool_error",gen_ai_tool_name="generate",mcp_method_name="tools/call",network_transport="tcp"} 1`,
		`mcp_server_operation_duration_seconds_count{error_type="",gen_ai_tool_name="list-models",mcp_method_name="tools/call",network_transport="tcp"} 1`,
		`http_server_request_duration_seconds_count{error_type="",http_request_method="POST",http_response_status_code="200",http_route="/v1/embeddings",url_scheme="http"} 1`,
		`http_server_request_duration_seconds_count{error_type="",http_request_method="POST",http_response_status_code="404",http_route="/v1/embeddings",url_scheme="http"} 1`,
		`http_server_request_duration_seconds_count{error_type="no_host",http_request_method="POST",http_response_status_code="503",http_route="/v1/embeddings",url_scheme="http"} 1`,
		`http_server_request_duration_seconds_count{error_type="upstream",http_request_method="POST",http_response_status_code="200",http_route="/api/chat",url_scheme="https"} 1`,
		// The cached answer counts nowhere but in the usage.
		`gen_ai_server_request_duration_seconds_sum{error_type="",`+tiny+`} 3`,
		`gen_ai_server_request_duration_seconds_count{error_type="",`+tiny+`} 1`,
		`gen_ai_server_time_to_first_token_seconds_sum{`+tiny+`} 0.75`,
		`gen_ai_server_time_per_output_token_seconds_sum{`+tiny+`} 0.05`,
		`gen_ai_client_inference_usage_input_tokens_total{`+tiny+`} 12`,
		`gen_ai_client_inference_usage_output_tokens_total{`+tiny+`} 34`,
		`gen_ai_client_inference_usage_input_tokens_total{`+gpt+`} 100`,
		`ollama_mcp_model_load_seconds_sum{model="tiny:latest"} 1.2`,
		`ollama_mcp_ladder_answers_total{model="pro:latest",rung="3"} 1`,
		`ollama_mcp_errors_total{code="model_not_found",tool="generate"} 1`,
		`ollama_mcp_queue_wait_seconds_sum 0.3`,
		`ollama_mcp_retries_total{reason="model_crashed"} 1`,
		`ollama_mcp_retries_total{reason="other"} 1`,
		`ollama_mcp_ladder_changes_total{model="pro:latest",state="degraded"} 1`,
		`ollama_mcp_refused_messages_total{reason="unauthorized"} 1`,
		`ollama_mcp_usage_tokens_total{caller="ci",direction="out",model="tiny:latest",source="local"} 34`,
		`ollama_mcp_usage_tokens_total{caller="ci",direction="out",model="tiny:latest",source="cache"} 34`,
		`ollama_mcp_usage_tokens_total{caller="local",direction="in",model="openai/gpt",source="cloud"} 100`,
		`ollama_mcp_usage_calls_total{caller="other",model="other",source="none"} 1`,
	)
}

func TestCallsByTheGatewayAreNoOperationsOfMCP(t *testing.T) {
	m := newMetrics()
	m.Done(inference.Record{Tool: "chat", HTTP: inference.HTTPRequest{Method: "POST", Route: "/api/chat", Scheme: "http"}, Status: 200})
	if page := scrape(t, m); strings.Contains(page, "mcp_server_operation_duration_seconds_count{") {
		t.Errorf("it is counted as one:\n%s", page)
	}
}

func TestStateIsThatOfTheStatus(t *testing.T) {
	page := scrape(t, newMetrics())
	expect(t, page,
		`ollama_mcp_requests_total{outcome="served"} 10`,
		`ollama_mcp_requests_total{outcome="gave_up"} 1`,
		`ollama_mcp_running 3`,
		`ollama_mcp_saturation 1.5`, // 3 run and 3 wait, for the 4 slots of the host that is well
		`ollama_mcp_queue_depth{priority="batch"} 1`,
		`ollama_mcp_oldest_wait_seconds 2.5`,
		`ollama_mcp_caller_waiting{caller="ci"} 1`,
		`ollama_mcp_caller_waiting{caller="other"} 2`,
		`ollama_mcp_model_waiting{model="tiny:latest"} 3`,
		`ollama_mcp_host_up{host="gpu-1"} 1`,
		`ollama_mcp_host_up{host="gpu-2"} 0`,
		`ollama_mcp_host_slots{host="gpu-1",state="busy"} 3`,
		`ollama_mcp_host_slots{host="gpu-1",state="free"} 1`,
		`ollama_mcp_host_models{host="gpu-1",state="installed"} 7`,
		`ollama_mcp_breaker_state{host="gpu-2",state="open"} 1`,
		`ollama_mcp_breaker_state{host="gpu-2",state="closed"} 0`,
		`ollama_mcp_breaker_state{host="gpu-1 (cloud)",state="half-open"} 1`,
		`ollama_mcp_models_ejected{host="gpu-2"} 1`,
		`ollama_mcp_hedges_total{outcome="lost"} 3`,
		`ollama_mcp_cache_lookups_total{result="coalesced"} 4`,
		`ollama_mcp_cache_lookups_total{result="shared"} 7`,
		`ollama_mcp_cache_removed_total{reason="crowded_out"} 8`,
		`ollama_mcp_redis_up 1`,
		`ollama_mcp_redis_replicas 3`,
		`ollama_mcp_redis_lookups_total{result="hit"} 12`,
		`ollama_mcp_redis_failures_total{reason="unreadable"} 15`,
		`ollama_mcp_cache_saved_seconds_total 90`,
		`ollama_mcp_cache_semantic_lookups_total{result="numbers"} 4`,
		`ollama_mcp_ladder_state{model="pro:latest",state="degraded"} 1`,
		`ollama_mcp_provider_up{provider="openai"} 1`,
		`ollama_mcp_provider_requests_total{outcome="served",provider="openai"} 4`,
		`ollama_mcp_provider_slots{provider="openai",state="free"} 7`,
		`ollama_mcp_call_log_dropped_total{reason="buffer_full"} 7`,
		`ollama_mcp_key_budget_used{caller="ci",unit="tokens"} 40`,
		`ollama_mcp_key_budget_limit{caller="ci",unit="calls"} 10`,
		`ollama_mcp_key_expires_timestamp_seconds{caller="ci"} 1.8e+09`,
	)
	if strings.Contains(page, `host_models{host="gpu-2",state="installed"}`) {
		t.Error("a host that has listed nothing yet is said to have models")
	}
}

// The page of the documentation has all metrics that are served, and no others.
func TestEveryMetricIsInTheDocumentation(t *testing.T) {
	m := newMetrics()
	everything(m)
	var served []string
	for _, found := range regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`).FindAllStringSubmatch(scrape(t, m), -1) {
		served = append(served, found[1]+" "+found[2])
	}
	var documented []string
	for _, found := range regexp.MustCompile("(?m)^\\| `(\\S+)` \\| (counter|gauge|histogram) \\|.*\\| \\S.* \\|$").FindAllStringSubmatch(metrics.Page(), -1) {
		documented = append(documented, found[1]+" "+found[2])
	}
	slices.Sort(served)
	slices.Sort(documented)
	if !slices.Equal(served, documented) {
		t.Errorf("served are\n%q\nand documented\n%q", served, documented)
	}
	const file = "../../docs/metrics.md"
	if *update {
		if err := os.WriteFile(file, []byte(metrics.Page()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if now, err := os.ReadFile(file); err != nil || string(now) != metrics.Page() {
		t.Errorf("%s is out of date (%v): run make docs", file, err)
	}
}

func TestNamesOfCallersDoNotBecomeSeries(t *testing.T) {
	m := newMetrics()
	for i := range 20_000 {
		r := answered()
		r.Code, r.Caller = "model_not_found", fmt.Sprintf("caller-%d", i)
		r.Served = inference.Served{Requested: fmt.Sprintf("model-%d", i), Model: fmt.Sprintf("model-%d", i)}
		m.Done(r)
		m.Event(inference.Event{Kind: inference.LadderChanged, Model: r.Served.Model, To: route.Normal})
	}
	page := scrape(t, m)
	if n := strings.Count(page, "\n"); n > 300 {
		t.Errorf("%d lines", n)
	}
	expect(t, page, `ollama_mcp_usage_calls_total{caller="other",model="other",source="none"} 20000`)
}

// Over HTTP without a key, the user of this machine has the name of a client too, of which there may be any number.
func TestUserOfThisMachineIsCountedAsLocal(t *testing.T) {
	m := newMetrics()
	for _, id := range []string{"", "local", "local curl/8.1", "local claude-code 2.1", "localhost"} {
		r := answered()
		r.Caller = id
		m.Done(r)
	}
	expect(t, scrape(t, m), `ollama_mcp_usage_calls_total{caller="local",model="tiny:latest",source="local"} 4`,
		`ollama_mcp_usage_calls_total{caller="other",model="tiny:latest",source="local"} 1`)
}

// A provider may answer for whatever model it is asked for.
func TestModelsThatAnswerAreNamedUpToABound(t *testing.T) {
	m := newMetrics()
	for i := range 20_000 { // and with each of ten rungs, which are more labels than are remembered
		r := answered()
		r.Served.Host, r.Served.Model, r.Served.Rung = "openai", fmt.Sprintf("openai/model-%d", i/10), 1+i%10
		m.Done(r)
	}
	page := scrape(t, m)
	if n := strings.Count(page, "\nollama_mcp_usage_calls_total{"); n != 500 { // with tiny, which was asked for, and other
		t.Errorf("%d series of usage, want 500", n)
	}
	expect(t, page, `ollama_mcp_usage_calls_total{caller="ci",model="other",source="local"} 15010`,
		`ollama_mcp_usage_calls_total{caller="ci",model="openai/model-7",source="local"} 10`)
}

func TestHostileNamesAreEscaped(t *testing.T) {
	hostile := []string{`<script>alert("1")</script>`, "new\nline", `back\slash`, "no\xffutf8", strings.Repeat("long", 100), `a"} 1`}
	m := metrics.New(metrics.Options{Status: func() (s inference.Status) {
		for _, name := range append(hostile, "noutf8", "new\nline") { // some of which become the same
			s.Hosts.Hosts = append(s.Hosts.Hosts, pool.HostStats{Name: name, Well: true, Slots: 1, Breaker: "closed"})
		}
		return s
	}})
	for _, name := range hostile {
		r := answered()
		r.Tool, r.Caller, r.Served.Requested, r.Served.Model, r.Served.Host = "generate", name, name, name, name
		m.Done(r)
	}
	page := scrape(t, m)
	well := regexp.MustCompile(`^(#.*|[a-z0-9_]+(\{([a-z_]+="([^"\\\n]|\\["\\n])*",?)*\})? [-+0-9.e]+)$`)
	for line := range strings.Lines(page) {
		if !well.MatchString(strings.TrimSuffix(strings.ReplaceAll(line, `le="+Inf"`, `le="1"`), "\n")) || len(line) > 1000 {
			t.Errorf("a line that Prometheus would not take: %q", line)
		}
	}
	expect(t, page, `ollama_mcp_host_up{host="new\nline"} 2`, `ollama_mcp_host_up{host="noutf8"} 2`, `ollama_mcp_host_up{host="<script>alert(\"1\")</script>"} 1`)
}

func TestDozensOfScrapesGoOnBesideCalls(t *testing.T) {
	m := newMetrics()
	var all sync.WaitGroup
	for range 36 {
		all.Go(func() { scrape(t, m) })
		all.Go(func() { everything(m) })
	}
	all.Wait()
	expect(t, scrape(t, m), `ollama_mcp_refused_messages_total{reason="unauthorized"} 36`)
}

func BenchmarkCall(b *testing.B) {
	m, r := newMetrics(), answered()
	b.ReportAllocs()
	for b.Loop() {
		m.Event(inference.Event{Kind: inference.Granted})
		m.Done(r)
	}
}
