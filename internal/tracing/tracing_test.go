package tracing_test

import (
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"ollama-mcp/cache"
	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/route"
	"ollama-mcp/internal/tracing"
	"ollama-mcp/pool"
)

// story is an engine whose calls are traced.
type story struct {
	t      *testing.T
	opts   tracing.Options
	engine inference.Options
	pool   pool.Options
	tracer *tracing.Tracer
	spans  collector
	hosts  *pool.Pool
	made   *inference.Engine
}

// tell runs a test in which time is faked.
func tell(t *testing.T, with func(t *testing.T, s *story)) {
	t.Helper()
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	synctest.Test(t, func(t *testing.T) {
		with(t, &story{t: t, opts: tracing.Options{Transport: "pipe"}, pool: pool.Options{Slots: 1, Queue: 10}})
	})
}

// use makes the engine, with the cache on.
func (s *story) use(hosts ...*backendtest.Host) {
	s.t.Helper()
	s.tracer = tracing.New(s.opts)
	s.tracer.SendTo(&s.spans)
	for _, h := range hosts {
		s.pool.Hosts = append(s.pool.Hosts, h.Open(s.t))
	}
	var err error
	if s.hosts, err = pool.New(s.pool); err != nil {
		s.t.Fatal(err)
	}
	o := s.engine
	o.Hosts, o.Observer, o.Propagate, o.CacheMode, o.Timeout = s.hosts, s.tracer, s.tracer.Propagate, "auto", time.Minute
	o.Cache = cache.Options{Size: 1 << 20, TTL: time.Hour}
	if s.made, err = inference.New(o); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(s.made.Close)
}

// call makes a call of the tool generate. It has a tenant of its own unless there is one.
func (s *story) call(info inference.CallInfo, req inference.Request) error {
	info.Tool = "generate"
	call := s.made.Begin(info)
	req.Call = call
	if req.Model == "" {
		req.Model = "tiny"
	}
	_, err := s.made.Do(s.t.Context(), req)
	call.End(err)
	return err
}

// wants compares the spans so far with a tree, and sees that nothing is left in memory.
func (s *story) wants(tree string) []*tracepb.Span {
	s.t.Helper()
	synctest.Wait()
	spans := s.spans.taken()
	if got, want := strings.TrimSpace(forest(spans)), trimmed(tree); got != want {
		s.t.Errorf("got\n%s\n\nwant\n%s", got, want)
	}
	if n := s.tracer.Open(); n != 0 {
		s.t.Errorf("%d calls and fills are still open", n)
	}
	return spans
}

// trimmed is a tree without the indentation of the test around it.
func trimmed(tree string) string {
	tree = strings.Trim(tree, "\n\t ")
	return strings.ReplaceAll(tree, "\n\t\t\t", "\n")
}

func TestCallIsOneTree(t *testing.T) {
	tell(t, func(t *testing.T, s *story) {
		host := backendtest.New("gpu-1").Answer("one two").TokenTime(time.Second).LoadTime(3 * time.Second)
		s.use(host)
		const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
		const proxy = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		info := inference.CallInfo{
			Trace: "4bf92f3577b34da6a3ce929d0e0e4736", RequestID: "r-1", Caller: caller.Caller{ID: "ci"},
			Parent: backend.TraceContext{Parent: parent, State: "vendor=1"}, Link: backend.TraceContext{Parent: proxy},
		}
		if err := s.call(info, inference.Request{Prompt: "?"}); err != nil {
			t.Fatal(err)
		}
		spans := s.wants(`
			tools/call generate cache=miss host=gpu-1 -> elsewhere
			  cache lookup cache=miss
			  fill cache=miss
			    rung rung=1
			      queue host=gpu-1
			      text_completion tiny:latest host=gpu-1 attempt=1 [first token] [model loaded]`)
		call, attempt := named(spans, "tools/call generate")[0], named(spans, "text_completion tiny:latest")[0]
		if got := hex.EncodeToString(call.ParentSpanId); got != "00f067aa0ba902b7" || hex.EncodeToString(call.Links[0].SpanId) != "b7ad6b7169203331" {
			t.Errorf("parent %s, links %v", got, call.Links)
		}
		for _, span := range spans {
			if got := hex.EncodeToString(span.TraceId); got != info.Trace {
				t.Errorf("%s is of trace %s", span.Name, got)
			}
		}
		if call.Kind != tracepb.Span_SPAN_KIND_SERVER || attempt.Kind != tracepb.Span_SPAN_KIND_CLIENT {
			t.Errorf("kinds %v and %v", call.Kind, attempt.Kind)
		}
		for of, want := range map[*tracepb.Span]map[string]string{
			call: {
				"mcp.method.name": "tools/call", "gen_ai.tool.name": "generate", "gen_ai.operation.name": "execute_tool", "network.transport": "pipe",
				"ollama_mcp.caller": "ci", "ollama_mcp.request_id": "r-1", "gen_ai.request.model": "tiny", "gen_ai.usage.output_tokens": "2",
			},
			attempt: {
				"gen_ai.operation.name": "text_completion", "gen_ai.provider.name": "ollama", "gen_ai.request.model": "tiny:latest",
				"gen_ai.response.model": "tiny:latest", "gen_ai.usage.output_tokens": "2", "gen_ai.response.finish_reasons": "stop",
			},
		} {
			for key, value := range want {
				if got, _ := attributeOf(of, key); got != value {
					t.Errorf("%s: %s is %q, want %q", of.Name, key, got, value)
				}
			}
		}
		sent := host.Calls()[0].Header
		if got := sent.Get("Traceparent"); got != traceparent(attempt) || sent.Get("Tracestate") != "vendor=1" {
			t.Errorf("the host is sent %q, %q, want %q", got, sent.Get("Tracestate"), traceparent(attempt))
		}
		if took := time.Duration(attempt.EndTimeUnixNano - attempt.StartTimeUnixNano); took != 5*time.Second {
			t.Errorf("the attempt took %v", took)
		}
		if at := time.Duration(attempt.Events[0].TimeUnixNano - attempt.StartTimeUnixNano); at != 4*time.Second {
			t.Errorf("first token after %v", at)
		}
	})
}

func TestCallByAnotherAPIIsNamedByItsRequest(t *testing.T) {
	tell(t, func(t *testing.T, s *story) {
		s.use(backendtest.New("gpu-1").Answer("one").Install(backendtest.Model{Name: "tiny"}))
		info := inference.CallInfo{HTTP: inference.HTTPRequest{Method: "POST", Route: "/v1/completions", Scheme: "https"}}
		for _, row := range []struct {
			model, code, errorType string
			status                 int
		}{
			{"tiny", "", "", 200},
			{"absent", "model_not_found", "", 404}, // the client's fault
			{"absent", "model_not_found", "model_not_found", 500},
		} {
			before := len(s.spans.taken())
			info.Tool = "generate"
			call := s.made.Begin(info)
			_, err := s.made.Do(s.t.Context(), inference.Request{Common: inference.Common{Model: row.model, Call: call}, Prompt: "?"})
			call.Answered(row.status)
			call.End(err)
			synctest.Wait()
			got := named(s.spans.taken()[before:], "POST /v1/completions")
			if len(got) != 1 || got[0].Kind != tracepb.Span_SPAN_KIND_SERVER || (got[0].GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR) != (row.errorType != "") {
				t.Fatalf("%+v: got %v", row, got)
			}
			for key, want := range map[string]string{
				"http.request.method": "POST", "http.route": "/v1/completions", "url.path": "/v1/completions", "url.scheme": "https",
				"http.response.status_code": fmt.Sprint(row.status), "error.type": row.errorType, "ollama_mcp.error.code": row.code,
				"gen_ai.operation.name": "text_completion", "gen_ai.tool.name": "", "mcp.method.name": "", "network.transport": "",
			} {
				if value, _ := attributeOf(got[0], key); value != want {
					t.Errorf("%+v: %s is %q, want %q", row, key, value, want)
				}
			}
		}
	})
}

func TestRootHasTheTraceThatResultsAndLogsName(t *testing.T) {
	tell(t, func(t *testing.T, s *story) {
		s.use(backendtest.New("gpu-1").Answer("one"))
		for name, want := range map[string]string{
			"00f067aa0ba902b7":                     "000000000000000000f067aa0ba902b7",
			"4bf92f3577b34da6a3ce929d0e0e4736":     "4bf92f3577b34da6a3ce929d0e0e4736",
			"4bf92f35-77b3-4da6-a3ce-929d0e0e4736": "4bf92f3577b34da6a3ce929d0e0e4736",
			"0000000000000000":                     "",
			"r-1":                                  "",
		} {
			before := len(s.spans.taken())
			if err := s.call(inference.CallInfo{Trace: name}, inference.Request{Prompt: name}); err != nil {
				t.Fatal(err)
			}
			call := named(s.spans.taken()[before:], "tools/call generate")[0]
			shown, differs := attributeOf(call, "ollama_mcp.trace_id")
			switch got := hex.EncodeToString(call.TraceId); {
			case len(call.ParentSpanId) != 0:
				t.Errorf("%s: it has a parent", name)
			case want != "" && (got != want || differs):
				t.Errorf("%s: trace %s, want %s; %q", name, got, want, shown)
			case want == "" && shown != name:
				t.Errorf("%s: the span says %q", name, shown)
			}
		}
	})
}

func TestWaitForASlotIsASpan(t *testing.T) {
	tell(t, func(t *testing.T, s *story) {
		s.use(backendtest.New("gpu-1").Answer("one").TokenTime(time.Second))
		var all sync.WaitGroup
		for i := range 2 {
			all.Go(func() { _ = s.call(inference.CallInfo{}, inference.Request{Prompt: fmt.Sprint(i)}) })
			synctest.Wait()
		}
		all.Wait()
		spans := s.wants(`
			tools/call generate cache=miss host=gpu-1
			  cache lookup cache=miss
			  fill cache=miss
			    rung rung=1
			      queue host=gpu-1
			      text_completion tiny:latest host=gpu-1 attempt=1 [first token]
			tools/call generate cache=miss host=gpu-1
			  cache lookup cache=miss
			  fill cache=miss
			    rung rung=1
			      queue host=gpu-1 [queued]
			      text_completion tiny:latest host=gpu-1 attempt=1 [first token]`)
		for _, q := range named(spans, "queue") {
			if took, want := time.Duration(q.EndTimeUnixNano-q.StartTimeUnixNano), time.Duration(len(q.Events))*time.Second; took != want {
				t.Errorf("the wait is %v long, want %v", took, want)
			}
		}
	})
}

// A call that times out in the queue leaves no span open.
func TestWaitThatEndsWithoutASlotIsASpanThatFailed(t *testing.T) {
	tell(t, func(t *testing.T, s *story) {
		s.use(backendtest.New("gpu-1").Answer("one").TokenTime(10 * time.Second))
		var all sync.WaitGroup
		all.Go(func() { _ = s.call(inference.CallInfo{}, inference.Request{Prompt: "first"}) })
		synctest.Wait()
		if err := s.call(inference.CallInfo{}, inference.Request{Prompt: "second", Common: inference.Common{Timeout: time.Second}}); err == nil {
			t.Error("the second call got an answer")
		}
		all.Wait()
		s.wants(`
			tools/call generate cache=miss host=gpu-1
			  cache lookup cache=miss
			  fill cache=miss
			    rung rung=1
			      queue host=gpu-1
			      text_completion tiny:latest host=gpu-1 attempt=1 [first token]
			tools/call generate cache=miss type=tool_error
			  cache lookup cache=miss
			  fill cache=miss type=queue_timeout
			    rung rung=1 type=queue_timeout
			      queue type=queue_timeout [queued]`)
	})
}

func TestRetriesAreAttemptsOfOneRung(t *testing.T) {
	tell(t, func(t *testing.T, s *story) {
		s.use(backendtest.New("gpu-1").Answer("one").Fail(1, backendtest.Busy))
		if err := s.call(inference.CallInfo{}, inference.Request{Prompt: "?"}); err != nil {
			t.Fatal(err)
		}
		s.wants(`
			tools/call generate cache=miss host=gpu-1
			  cache lookup cache=miss
			  fill cache=miss
			    rung rung=1 [retry]
			      queue host=gpu-1
			      text_completion tiny:latest host=gpu-1 attempt=1 type=overloaded
			      queue host=gpu-1
			      text_completion tiny:latest host=gpu-1 attempt=2 [first token]`)
	})
}

func TestHedgeIsAnAttemptBesideTheOther(t *testing.T) {
	tell(t, func(t *testing.T, s *story) {
		s.engine.HedgeAfter = 2 * time.Second
		slow := backendtest.New("gpu-1").Answer("late").FirstTokenTime(time.Minute)
		quick := backendtest.New("gpu-2").Answer("quick").TokenTime(time.Second)
		s.use(slow, quick)
		s.know("gpu-1", "gpu-2")
		if err := s.call(inference.CallInfo{}, inference.Request{Prompt: "?"}); err != nil {
			t.Fatal(err)
		}
		spans := s.wants(`
			tools/call generate cache=miss host=gpu-2
			  cache lookup cache=miss
			  fill cache=miss
			    rung rung=1
			      queue host=gpu-1
			      text_completion tiny:latest host=gpu-1 attempt=1 type=cancelled
			      text_completion tiny:latest host=gpu-2 attempt=1 hedge=true [first token]`)
		for _, at := range []struct {
			host *backendtest.Host
			name string
		}{{slow, "gpu-1"}, {quick, "gpu-2"}} {
			for _, a := range named(spans, "text_completion tiny:latest") {
				if host, _ := attributeOf(a, "ollama_mcp.host"); host == at.name && at.host.Calls()[0].Header.Get("Traceparent") != traceparent(a) {
					t.Errorf("%s is sent the span of another attempt", host)
				}
			}
		}
	})
}

// know has the pool believe that hosts have the model in memory.
func (s *story) know(hosts ...string) {
	for _, name := range hosts {
		s.hosts.Know(name, pool.Facts{Up: true, Installed: []string{"tiny:latest"}, Loaded: []pool.Loaded{{Model: "tiny:latest"}}})
	}
}

func TestCallsThatShareAFillAreLinkedToIt(t *testing.T) {
	tell(t, func(t *testing.T, s *story) {
		s.use(backendtest.New("gpu-1").Answer("one two three").TokenTime(time.Second))
		ask := func(trace string, timeout time.Duration) {
			_ = s.call(inference.CallInfo{Trace: trace}, inference.Request{Prompt: "?", Common: inference.Common{Timeout: timeout}})
		}
		var all sync.WaitGroup
		all.Go(func() { ask("first", 1500*time.Millisecond) }) // leaves before there is an answer
		synctest.Wait()
		for _, trace := range []string{"second", "third"} {
			all.Go(func() { ask(trace, 0) })
		}
		all.Wait()
		synctest.Wait()
		ask("last", 0)
		s.wants(`
			tools/call generate cache=coalesced host=gpu-1 -> fill
			  cache lookup cache=coalesced
			tools/call generate cache=coalesced host=gpu-1 -> fill
			  cache lookup cache=coalesced
			tools/call generate cache=miss host=gpu-1
			  cache lookup cache=miss
			  fill cache=miss
			    rung rung=1
			      queue host=gpu-1
			      text_completion tiny:latest host=gpu-1 attempt=1 [first token]
			tools/call generate cache=hit host=gpu-1
			  cache lookup cache=hit`)
	})
}

func TestEachRungIsASpan(t *testing.T) {
	tell(t, func(t *testing.T, s *story) {
		ladders, err := route.NewLadders(map[string][]string{"pro:latest": {"big:latest", "openai/gpt", "small:latest"}}, nil, map[string]bool{"openai": true})
		if err != nil {
			t.Fatal(err)
		}
		elsewhere, err := pool.New(pool.Options{})
		if err != nil {
			t.Fatal(err)
		}
		s.engine.Settings = func() *inference.Settings {
			return &inference.Settings{Ladders: ladders, Providers: map[string]inference.Lender{"openai": elsewhere}}
		}
		host := backendtest.New("gpu-1").Answer("local").Install(backendtest.Model{Name: "small", Context: 4096})
		s.use(host)
		if err := s.call(inference.CallInfo{}, inference.Request{Common: inference.Common{Model: "pro", LocalOnly: true}, Prompt: "?"}); err != nil {
			t.Fatal(err)
		}
		s.wants(`
			tools/call generate cache=miss host=gpu-1
			  cache lookup cache=miss
			  fill cache=miss
			    rung rung=1 type=model_not_found
			      queue host=gpu-1
			      text_completion big:latest host=gpu-1 attempt=1 type=model_not_found
			    rung rung=2 skipped=true type=forbidden
			    rung rung=3
			      queue host=gpu-1
			      text_completion small:latest host=gpu-1 attempt=1 [first token]`)
	})
}

func TestBatchesOfTextsAreAttemptsOfTheirOwn(t *testing.T) {
	tell(t, func(t *testing.T, s *story) {
		s.pool.Slots = 2
		host := backendtest.New("gpu-1").TokenTime(time.Millisecond)
		s.use(host)
		texts := make([]string, 80)
		for i := range texts {
			texts[i] = fmt.Sprint("text ", i)
		}
		for range 2 {
			call := s.made.Begin(inference.CallInfo{Tool: "embed"})
			_, err := s.made.Embed(t.Context(), inference.EmbedRequest{Common: inference.Common{Model: "tiny", Call: call}, Input: texts})
			if call.End(err); err != nil {
				t.Fatal(err)
			}
		}
		spans := s.wants(`
			tools/call embed cache=miss host=gpu-1
			  cache lookup cache=miss
			  fill cache=miss
			    rung rung=1
			      embeddings tiny:latest host=gpu-1 attempt=1 batch=1
			      queue host=gpu-1
			      embeddings tiny:latest host=gpu-1 attempt=1 batch=2
			      embeddings tiny:latest host=gpu-1 attempt=1 batch=3
			      queue host=gpu-1
			      queue host=gpu-1
			tools/call embed cache=hit
			  cache lookup cache=hit`)
		sent := make(map[string]bool)
		for _, c := range host.Calls() {
			sent[c.Header.Get("Traceparent")] = true
		}
		for _, a := range named(spans, "embeddings tiny:latest") {
			if !sent[traceparent(a)] {
				t.Error("no request has told of an attempt")
			}
		}
	})
}

func TestPartsOfACallAreBelowIt(t *testing.T) {
	tell(t, func(t *testing.T, s *story) {
		s.use(backendtest.New("gpu-1").Answer("one"))
		whole := s.made.Begin(inference.CallInfo{Tool: "map"})
		if err := s.call(inference.CallInfo{PartOf: whole.ID}, inference.Request{Prompt: "?"}); err != nil {
			t.Fatal(err)
		}
		whole.End(nil)
		s.wants(`
			tools/call map
			  generate cache=miss host=gpu-1
			    cache lookup cache=miss
			    fill cache=miss
			      rung rung=1
			        queue host=gpu-1
			        text_completion tiny:latest host=gpu-1 attempt=1 [first token]`)
	})
}

// A host is told of the caller's trace all the same, so that it can decide as the caller has.
func TestCallThatIsNotSampledHasNoSpans(t *testing.T) {
	tell(t, func(t *testing.T, s *story) {
		host := backendtest.New("gpu-1").Answer("one")
		s.use(host)
		const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
		if err := s.call(inference.CallInfo{Parent: backend.TraceContext{Parent: parent}}, inference.Request{Prompt: "?"}); err != nil {
			t.Fatal(err)
		}
		s.wants("")
		sent := host.Calls()[0].Header.Get("Traceparent")
		if !strings.HasPrefix(sent, "00-4bf92f3577b34da6a3ce929d0e0e4736-") || !strings.HasSuffix(sent, "-00") {
			t.Errorf("the host is sent %q", sent)
		}
	})
}

func TestTextsAreInSpansOnlyIfWanted(t *testing.T) {
	for _, wanted := range []bool{false, true} {
		tell(t, func(t *testing.T, s *story) {
			s.opts.Texts, s.engine.Texts = wanted, true
			s.use(backendtest.New("gpu-1").Answer("quick brown fox").Install(backendtest.Model{Name: "tiny", Context: 1 << 20}))
			if err := s.call(inference.CallInfo{}, inference.Request{Prompt: "canary", System: strings.Repeat("s", 100_000)}); err != nil {
				t.Fatal(err)
			}
			all := fmt.Sprint(s.spans.taken())
			if strings.Contains(all, "canary") != wanted || strings.Contains(all, "brown") != wanted {
				t.Errorf("wanted %v: %.1000s", wanted, all)
			}
			if len(all) > 40_000 {
				t.Errorf("%d bytes of spans", len(all))
			}
		})
	}
}

// OTLP takes UTF-8 alone: a byte that is none would cost all spans that are sent with it.
func TestNamesOfAnyKindCanBeSent(t *testing.T) {
	tell(t, func(t *testing.T, s *story) {
		s.use(backendtest.New("gpu-1").Answer("one"))
		for _, name := range []string{"<script>alert(1)</script>", "a\"b", "a\nb", "a\xffb", strings.Repeat("é", 10_000)} {
			info := inference.CallInfo{Trace: name, RequestID: name, Caller: caller.Caller{ID: name}}
			_ = s.call(info, inference.Request{Common: inference.Common{Model: name}, Prompt: "?"})
		}
		spans := s.spans.taken()
		if n := len(named(spans, "tools/call generate")); n != 5 {
			t.Errorf("%d calls have a span", n)
		}
		for _, span := range spans {
			if _, err := proto.Marshal(span); err != nil || proto.Size(span) > 10_000 {
				t.Errorf("%s: %d bytes, %v", span.Name, proto.Size(span), err)
			}
		}
	})
}

func TestSamplerIsThatOfTheStandardVariables(t *testing.T) {
	for sampler, want := range map[string][2]int{ // calls of 100 that have a span; of 100 whose parent is sampled
		"": {100, 100}, "always_on": {100, 100}, "Always_Off": {0, 0}, "traceidratio 0.5": {50, 50}, "traceidratio": {100, 100},
		"parentbased_always_on": {100, 100}, "parentbased_always_off": {0, 100}, " parentbased_traceidratio 0.5 ": {50, 100},
		"parentbased_traceidratio 2": {100, 100}, "sometimes": {100, 100},
	} {
		t.Run(sampler, func(t *testing.T) {
			name, arg, _ := strings.Cut(strings.TrimSpace(sampler), " ")
			t.Setenv("OTEL_TRACES_SAMPLER", name)
			t.Setenv("OTEL_TRACES_SAMPLER_ARG", arg)
			tell(t, func(t *testing.T, s *story) {
				s.use()
				for group, parent := range []string{"", "00-%s-00f067aa0ba902b7-01"} {
					before, wanted := len(s.spans.taken()), 0
					for i := range 100 {
						trace := fmt.Sprintf("4bf92f3577b34da6%02x00000000000000", i*256/100)
						info := inference.CallInfo{ID: uint64(1 + i), Trace: trace, Tool: "list-models"}
						if parent != "" {
							info.Parent.Parent = fmt.Sprintf(parent, trace)
						}
						if s.tracer.Begin(&info) == inference.AllEvents {
							wanted++
						}
						s.tracer.Done(inference.Record{Call: info.ID})
					}
					if n := len(s.spans.taken()) - before; n != want[group] || wanted != n {
						t.Errorf("parent %q: %d spans, and the events of %d calls are wanted; want %d", parent, n, wanted, want[group])
					}
				}
			})
		})
	}
}

// With 1 % of the calls sampled, 99 % of them are such.
func TestCallThatIsNotSampledCostsWhatItsHostIsTold(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	t.Setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
	t.Setenv("OTEL_TRACES_SAMPLER_ARG", "0")
	tracer := tracing.New(tracing.Options{Transport: "pipe"})
	info := inference.CallInfo{ID: 1, Trace: "4bf92f3577b34da6a3ce929d0e0e4736", Tool: "generate", Began: time.Now()}
	if n := testing.AllocsPerRun(1000, func() {
		tracer.Begin(&info)
		tracer.Event(inference.Event{Kind: inference.Granted, Call: 1, Fill: 1}) // of which metrics want to be told
		tracer.Done(inference.Record{Call: 1})
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
	if n := testing.AllocsPerRun(1000, func() {
		tracer.Begin(&info)
		_ = tracer.Propagate(t.Context(), inference.Event{Call: 1, Fill: 1, Trace: info.Trace})
	}); n > 3 { // the context, its value, and the text
		t.Errorf("%v allocations with what the host is told", n)
	}
}

// A call that is not sampled costs what its host is told.
func BenchmarkCallThatIsNotSampled(b *testing.B) {
	b.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	b.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	tracer := tracing.New(tracing.Options{Transport: "pipe"})
	b.ReportAllocs()
	id := uint64(0)
	for b.Loop() {
		id++
		tracer.Begin(&inference.CallInfo{ID: id, Trace: "00f067aa0ba902b7", Tool: "generate", Began: time.Now()})
		tracer.Event(inference.Event{Kind: inference.Granted, Call: id, Fill: id}) // of which metrics want to be told
		_ = tracer.Propagate(b.Context(), inference.Event{Call: id, Fill: id, Trace: "00f067aa0ba902b7"})
		tracer.Done(inference.Record{Call: id})
	}
}
