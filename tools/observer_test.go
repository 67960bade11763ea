package tools_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/moderation"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
	"ollama-mcp/tools"
)

// recorder keeps what an observer is told.
type recorder struct {
	mu      sync.Mutex // guards what follows
	records []inference.Record
	events  []inference.Event
}

func (*recorder) Begin(*inference.CallInfo) (parts bool) { return true }

func (r *recorder) Event(e inference.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) Done(rec inference.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, rec)
}

// count is the number of records.
func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.records)
}

// last is the record of the last call of a caller, as one line of what there is in it.
func (r *recorder) last(who string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var rec inference.Record
	for _, one := range r.records {
		if one.Caller == who {
			rec = one
		}
	}
	s := rec.Served
	line := fmt.Sprintf("%s of %q", rec.Tool, rec.Caller)
	add := func(name string, value any) {
		if text := fmt.Sprint(value); text != "" && text != "0" && text != "false" && text != "[]" {
			line += fmt.Sprintf(" %s=%s", name, text)
		}
	}
	add("code", rec.Code)
	add("cache", rec.Cache)
	add("requested", s.Requested)
	add("model", s.Model)
	add("host", s.Host)
	add("source", s.Source)
	add("rung", s.Rung)
	add("passed", len(s.Passed))
	add("retries", s.Retries)
	add("hedged", s.Hedged)
	add("in", s.TokensIn)
	add("out", s.TokensOut)
	add("first", s.FirstToken)
	if s.Load != nil {
		add("load", *s.Load)
	}
	if s.Retries == 0 { // the pauses between attempts are random
		add("queue", s.Queue)
		add("lost", s.Lost)
		add("total", s.Total)
		add("took", rec.Took.Milliseconds())
	}
	return line
}

// pro makes the tools use a host with the models big and small, and a cloud with gpt.
func (c *client) pro() (host *backendtest.Host) {
	c.t.Helper()
	try := map[string][]string{"pro:latest": {"big:latest", "openai/gpt"}}
	ladders, err := route.NewLadders(try, nil, map[string]bool{"openai": true})
	if err != nil {
		c.t.Fatal(err)
	}
	cloud := backendtest.New("openai").Answer("from a cloud").Install(backendtest.Model{Name: "gpt"}).FirstTokenTime(time.Second)
	settings := c.settings()
	settings.Ladders, settings.Providers = ladders, map[string]inference.Lender{"openai": c.pool(pool.Options{}, cloud)}
	host = backendtest.New("gpu-1").Answer("one two three").TokenTime(100*time.Millisecond).
		Install(backendtest.Model{Name: "big", Context: 256}, backendtest.Model{Name: "words", Dimensions: 8}, backendtest.Model{Name: "judge"})
	c.useAll(pool.Options{Slots: 1, Queue: 1}, host)
	return host
}

// settings are those that the tools go by, to be changed before the first call.
func (c *client) settings() *inference.Settings {
	if c.opts.Settings == nil {
		settings := new(inference.Settings)
		c.opts.Settings = func() *inference.Settings { return settings }
	}
	return c.opts.Settings()
}

// always has all calls of a host end in the same fault.
func always(fault backendtest.Fault) func(backendtest.Call) backendtest.Fault {
	return func(backendtest.Call) backendtest.Fault { return fault }
}

// observed are calls of which the last one must leave the record want.
var observed = map[string]struct {
	calls func(t *testing.T, c *client)
	n     int // calls in all; 0 means 1
	want  string
}{
	"an answer": {want: `generate of "ci" cache=miss requested=tiny model=tiny host=gpu-1 source=local rung=1 in=1 out=3 first=2100 load=2000 total=2300 took=2300`, calls: func(_ *testing.T, c *client) {
		c.pro().LoadTime(2 * time.Second)
		c.do("generate", `{"model":"tiny","prompt":"?"}`)
	}},
	"a prompt": {want: `prompts/get of "ci"`, calls: func(t *testing.T, c *client) {
		c.pro()
		var req mcp.GetPromptRequest
		req.Params.Arguments = map[string]string{"task": "say hi"}
		if _, err := tools.Prompts(c.deps)[0].Handler(c.context(), req); err != nil {
			t.Error(err)
		}
	}},
	"a prompt without what it needs": {want: `prompts/get of "ci" code=invalid_argument`, calls: func(_ *testing.T, c *client) {
		c.pro()
		_, _ = tools.Prompts(c.deps)[0].Handler(c.context(), mcp.GetPromptRequest{})
	}},
	"a document that is not there": {want: `resources/read of "ci" code=not_found`, calls: func(_ *testing.T, c *client) {
		c.pro()
		_, _, _ = c.readURI("ollama://embeddings/guess")
	}},
	"a chat": {want: `chat of "ci" cache=miss requested=tiny model=tiny host=gpu-1 source=local rung=1 in=1 out=3 first=100 total=300 took=300`, calls: func(_ *testing.T, c *client) {
		c.pro()
		c.do("chat", `{"model":"tiny","messages":[{"role":"user","content":"?"}]}`)
	}},
	"a cache hit": {n: 2, want: `generate of "ci" cache=hit requested=tiny model=tiny host=gpu-1 source=cache rung=1 in=1 out=3`, calls: func(_ *testing.T, c *client) {
		c.pro()
		c.do("generate", `{"model":"tiny","prompt":"?"}`)
		c.do("generate", `{"model":"tiny","prompt":"?"}`)
	}},
	"a refresh": {n: 2, want: `generate of "ci" cache=refresh requested=tiny model=tiny host=gpu-1 source=local rung=1 in=1 out=3 first=100 total=300 took=300`, calls: func(_ *testing.T, c *client) {
		c.pro()
		c.do("generate", `{"model":"tiny","prompt":"?"}`)
		c.do("generate", `{"model":"tiny","prompt":"?","cache":"refresh"}`)
	}},
	"the cache off": {want: `generate of "ci" cache=off requested=tiny model=tiny host=gpu-1 source=local rung=1 in=1 out=3 first=100 total=300 took=300`, calls: func(_ *testing.T, c *client) {
		c.pro()
		c.do("generate", `{"model":"tiny","prompt":"?","cache":"off"}`)
	}},
	"coalesced": {n: 2, want: `generate of "ci" cache=coalesced requested=tiny model=tiny host=gpu-1 source=coalesced rung=1 in=1 out=3 first=2100 total=1300 took=1300`, calls: func(_ *testing.T, c *client) {
		c.pro().FirstTokenTime(2 * time.Second)
		go c.other().do("generate", `{"model":"tiny","prompt":"?"}`)
		time.Sleep(time.Second)
		c.do("generate", `{"model":"tiny","prompt":"?"}`)
	}},
	"coalesced, and its time is over": {n: 2, want: `generate of "ci" cache=coalesced requested=tiny model=tiny host=gpu-1 source=coalesced rung=1 out=2 first=2100 total=1250 took=1250`, calls: func(_ *testing.T, c *client) {
		c.pro().FirstTokenTime(2 * time.Second)
		go c.other().do("generate", `{"model":"tiny","prompt":"?"}`)
		time.Sleep(time.Second)
		c.do("generate", `{"model":"tiny","prompt":"?","timeout_seconds":1.25}`)
	}},
	"a semantic hit": {n: 2, want: `generate of "ci" cache=semantic requested=tiny model=tiny host=gpu-1 source=cache-semantic rung=1 in=17 out=3 total=100 took=100`, calls: func(_ *testing.T, c *client) {
		c.opts.Semantic = &inference.SemanticOptions{Model: "words", Threshold: 0.8}
		c.pro()
		c.do("generate", `{"model":"tiny","prompt":"Please explain what a docker container is and what it is good for"}`)
		c.do("generate", `{"model":"tiny","prompt":"explain what a docker container is and what it is good for"}`)
	}},
	"the next rung": {want: `generate of "ci" cache=miss requested=pro model=openai/gpt host=openai source=cloud rung=2 passed=1 in=1 out=3 first=1000 total=1000 took=1000`, calls: func(_ *testing.T, c *client) {
		c.pro().Remove("big")
		c.do("generate", `{"model":"pro","prompt":"?"}`)
	}},
	"a wait": {n: 2, want: `generate of "ci" cache=miss requested=tiny model=tiny host=gpu-1 source=local rung=1 in=1 out=3 first=100 queue=300 total=600 took=600`, calls: func(_ *testing.T, c *client) {
		c.pro()
		go c.other().do("generate", `{"model":"tiny","prompt":"first"}`)
		synctest.Wait()
		c.do("generate", `{"model":"tiny","prompt":"?"}`)
	}},
	"a retry": {want: `generate of "ci" cache=miss requested=tiny model=tiny host=gpu-1 source=local rung=1 retries=1 in=1 out=3 first=100`, calls: func(_ *testing.T, c *client) {
		c.pro().Fail(1, backendtest.Reset)
		c.do("generate", `{"model":"tiny","prompt":"?"}`)
	}},
	"a hedge": {n: 3, want: `generate of "ci" cache=miss requested=tiny model=tiny host=gpu-2 source=local rung=1 hedged=true in=1 out=1 first=1000 lost=2000 total=3000 took=3000`, calls: func(_ *testing.T, c *client) {
		c.opts.HedgeAfter = 2 * time.Second
		hung, well := backendtest.New("gpu-1").Answer("one"), backendtest.New("gpu-2").Answer("two").FirstTokenTime(time.Second)
		c.useAll(pool.Options{}, hung, well)
		for _, host := range []string{"gpu-1", "gpu-2"} { // so that the model is in memory
			c.do("generate", `{"model":"tiny","prompt":"?","host":"`+host+`"}`)
		}
		hung.FailWhen(always(backendtest.Hang))
		c.do("generate", `{"model":"tiny","prompt":"?"}`)
	}},
	"vectors": {want: `embed of "ci" cache=miss requested=words model=words host=gpu-1 source=local in=2 total=200 took=200`, calls: func(_ *testing.T, c *client) {
		c.pro()
		c.do("embed", `{"model":"words","input":["one","two"]}`)
	}},
	"cached vectors": {n: 2, want: `embed of "ci" cache=hit requested=words model=words source=cache`, calls: func(_ *testing.T, c *client) {
		c.pro()
		c.do("embed", `{"model":"words","input":["one","two"]}`)
		c.do("embed", `{"model":"words","input":["two","one"]}`)
	}},
	"too few cached vectors": {n: 2, want: `embed of "ci" cache=miss requested=words model=words host=gpu-1 source=local in=2 total=100 took=100`, calls: func(_ *testing.T, c *client) {
		c.pro()
		c.do("embed", `{"model":"words","input":["one","two"]}`)
		c.do("embed", `{"model":"words","input":["two","three"]}`)
	}},
	"list-models": {want: `list-models of "ci"`, calls: func(_ *testing.T, c *client) {
		c.pro()
		c.do("list-models", `{}`)
	}},
	"status": {want: `status of "ci"`, calls: func(_ *testing.T, c *client) {
		c.pro()
		c.do("status", `{}`)
	}},
	"clear-cache": {want: `clear-cache of "ci"`, calls: func(_ *testing.T, c *client) {
		c.who.Admin = true
		c.pro()
		c.do("clear-cache", `{}`)
	}},
	"invalid_argument": {want: `generate of "ci" code=invalid_argument`, calls: func(_ *testing.T, c *client) {
		c.pro()
		c.do("generate", `{"model":"tiny"}`)
	}},
	"invalid_argument, found later": {want: `generate of "ci" code=invalid_argument`, calls: func(_ *testing.T, c *client) {
		c.pro()
		c.do("generate", `{"model":"tiny ","prompt":"?"}`)
	}},
	"forbidden tool": {want: `generate of "ci" code=forbidden`, calls: func(_ *testing.T, c *client) {
		c.who.Tools = []string{"chat"}
		c.pro()
		c.do("generate", `{"model":"tiny","prompt":"?"}`)
	}},
	"forbidden model": {want: `embed of "ci" code=forbidden requested=tiny`, calls: func(_ *testing.T, c *client) {
		c.who.Models = []string{"big"}
		c.pro()
		c.do("embed", `{"model":"tiny","input":"?"}`)
	}},
	"forbidden cloud": {want: `generate of "ci" code=forbidden cache=miss requested=openai/gpt`, calls: func(_ *testing.T, c *client) {
		c.pro()
		c.do("generate", `{"model":"openai/gpt","prompt":"?","local_only":true}`)
	}},
	"rate_limited": {n: 2, want: `generate of "ci" code=rate_limited`, calls: func(_ *testing.T, c *client) {
		c.who.Limits.PerSecond = 0.1
		c.pro()
		c.do("status", `{}`)
		c.do("generate", `{"model":"tiny","prompt":"?"}`)
	}},
	"model_not_found": {want: `generate of "ci" code=model_not_found cache=miss requested=absent model=absent host=gpu-1 source=local`, calls: func(_ *testing.T, c *client) {
		c.pro()
		c.do("generate", `{"model":"absent","prompt":"?"}`)
	}},
	"no_host": {want: `generate of "ci" code=no_host cache=miss requested=tiny model=tiny host=gpu-1 source=local retries=3`, calls: func(_ *testing.T, c *client) {
		c.pro().Down()
		c.do("generate", `{"model":"tiny","prompt":"?"}`)
	}},
	"overloaded": {n: 3, want: `generate of "ci" code=overloaded cache=miss requested=tiny model=tiny source=local`, calls: func(_ *testing.T, c *client) {
		c.pro().FirstTokenTime(time.Second)
		for n := range 2 {
			go c.other().do("generate", fmt.Sprintf(`{"model":"tiny","prompt":"%d"}`, n))
			synctest.Wait()
		}
		c.do("generate", `{"model":"tiny","prompt":"?"}`)
	}},
	"queue_timeout": {n: 2, want: `generate of "ci" code=queue_timeout cache=miss requested=tiny total=2000 took=2000`, calls: func(_ *testing.T, c *client) {
		c.pro().FirstTokenTime(10 * time.Second)
		go c.other().do("generate", `{"model":"tiny","prompt":"first"}`)
		synctest.Wait()
		c.do("generate", `{"model":"tiny","prompt":"?","timeout_seconds":2}`)
	}},
	"timeout": {want: `generate of "ci" code=timeout cache=miss requested=tiny model=tiny host=gpu-1 source=local rung=1 total=2000 took=2000`, calls: func(_ *testing.T, c *client) {
		c.pro().FirstTokenTime(10 * time.Second)
		c.do("generate", `{"model":"tiny","prompt":"?","timeout_seconds":2}`)
	}},
	"a timeout with a part of the answer": {want: `generate of "ci" cache=miss requested=tiny model=tiny host=gpu-1 source=local rung=1 out=2 first=100 total=250 took=250`, calls: func(_ *testing.T, c *client) {
		c.pro()
		c.do("generate", `{"model":"tiny","prompt":"?","timeout_seconds":0.25}`)
	}},
	"a timeout with a part of JSON": {want: `generate of "ci" code=timeout cache=miss requested=tiny model=tiny host=gpu-1 source=local rung=1 out=2 first=100 total=250 took=250`, calls: func(_ *testing.T, c *client) {
		c.pro()
		c.do("generate", `{"model":"tiny","prompt":"?","timeout_seconds":0.25,"format":"json"}`)
	}},
	"a timeout of vectors": {want: `embed of "ci" code=timeout cache=miss requested=words model=words host=gpu-1 source=local total=50 took=50`, calls: func(_ *testing.T, c *client) {
		c.pro()
		c.do("embed", `{"model":"words","input":["one","two"],"timeout_seconds":0.05}`)
	}},
	"cancelled": {want: `generate of "ci" code=cancelled cache=miss requested=tiny model=tiny host=gpu-1 source=local rung=1 out=2 first=100 total=250 took=250`, calls: func(_ *testing.T, c *client) {
		c.pro()
		ctx, cancel := context.WithCancel(c.context())
		time.AfterFunc(250*time.Millisecond, cancel)
		c.call(ctx, "generate", `{"model":"tiny","prompt":"?"}`)
	}},
	"context_too_long": {want: `generate of "ci" code=context_too_long cache=miss requested=big model=big host=gpu-1 source=local`, calls: func(_ *testing.T, c *client) {
		c.pro()
		c.do("generate", `{"model":"big","prompt":"`+strings.Repeat("word ", 1000)+`"}`)
	}},
	"upstream": {want: `generate of "ci" code=upstream cache=miss requested=tiny model=tiny host=gpu-1 source=local retries=3 out=2 first=100`, calls: func(_ *testing.T, c *client) {
		c.pro().FailWhen(always(backendtest.Cut(2)))
		c.do("generate", `{"model":"tiny","prompt":"?"}`)
	}},
	"an answer that misses the format": {want: `generate of "ci" code=upstream cache=miss requested=tiny model=tiny host=gpu-1 source=local rung=1 in=40 out=3 first=100 total=600 took=600`, calls: func(_ *testing.T, c *client) {
		c.pro()
		c.do("generate", `{"model":"tiny","prompt":"?","format":"json"}`)
	}},
	"unauthorized": {want: `generate of "ci" code=unauthorized cache=miss requested=tiny model=tiny host=gpu-1 source=local`, calls: func(_ *testing.T, c *client) {
		c.pro().FailWhen(always(backendtest.Refuse(401, "who are you?")))
		c.do("generate", `{"model":"tiny","prompt":"?"}`)
	}},
	"no rung": {want: `generate of "ci" code=model_not_found cache=miss requested=pro passed=2`, calls: func(_ *testing.T, c *client) {
		c.pro().Remove("big")
		c.do("generate", `{"model":"pro","prompt":"?","local_only":true}`)
	}},
	"withheld by a rule": {want: `generate of "ci" code=refused cache=miss requested=tiny model=tiny host=gpu-1 source=local rung=1 in=1 out=3 first=100 total=300 took=300`, calls: func(t *testing.T, c *client) {
		c.filtering(t, nil, moderation.Rule{Name: "two", Pattern: "two", Refuse: true})
		c.pro()
		c.do("generate", `{"model":"tiny","prompt":"?"}`)
	}},
	"withheld by the guard": {want: `generate of "ci" code=refused cache=miss requested=tiny model=tiny host=gpu-1 source=local rung=1 in=1 out=3 first=100 total=300 took=400`, calls: func(t *testing.T, c *client) {
		c.filtering(t, &moderation.Guard{Model: "judge", Prompt: "?"})
		c.pro().AnswerWith(func(call backendtest.Call) backendtest.Reply {
			if call.Model == "judge:latest" {
				return backendtest.Reply{Text: `{"pass":false}`}
			}
			return backendtest.Reply{Text: "one two three"}
		})
		c.do("generate", `{"model":"tiny","prompt":"?"}`)
	}},
	"a panic": {want: `generate of "ci" code=internal requested=tiny`, calls: func(_ *testing.T, c *client) {
		c.useHosts((*pool.Pool)(nil))
		c.do("generate", `{"model":"tiny","prompt":"?"}`)
	}},
}

// other makes calls on behalf of another caller.
func (c *client) other() *client { return c.as(caller.Caller{ID: "other"}) }

// do calls a tool, whatever comes of it.
func (c *client) do(tool, args string) { c.call(c.context(), tool, args) }

func (c *client) filtering(t *testing.T, guard *moderation.Guard, rules ...moderation.Rule) {
	t.Helper()
	f, err := moderation.NewFilter(rules, guard)
	if err != nil {
		t.Fatal(err)
	}
	c.settings().Filter = f
}

func TestEveryCallLeavesOneRecord(t *testing.T) {
	for name, tc := range observed {
		t.Run(name, func(t *testing.T) {
			cacheStory(t, func(t *testing.T, c *client) {
				told := new(recorder)
				c.opts.Observer = told
				c.who.ID = "ci"
				tc.calls(t, c)
				if got := told.last("ci"); got != tc.want {
					t.Errorf("\n got %s\nwant %s", got, tc.want)
				}
				time.Sleep(time.Minute)
				if n := told.count(); n != max(tc.n, 1) {
					t.Errorf("%d records, want %d", n, max(tc.n, 1))
				}
			})
		})
	}
}

func TestRecordNamesTheTraceAndTheHTTPRequest(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		told := new(recorder)
		c.opts.Observer = told
		c.use(backendtest.New("gpu-1"))
		for args, code := range map[string]string{`{"model":"tiny","prompt":"?"}`: "", `{"model":"tiny"}`: "invalid_argument"} {
			var req mcp.CallToolRequest
			if err := json.Unmarshal([]byte(`{"params":{"name":"generate","arguments":`+args+`}}`), &req); err != nil {
				t.Fatal(err)
			}
			const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
			req.Header = http.Header{"X-Request-Id": {"r-1"}, "Traceparent": {"00-" + trace + "-00f067aa0ba902b7-01"}}
			began := time.Now()
			if _, err := c.tools["generate"](caller.NewContext(t.Context(), caller.Caller{ID: "ci", Tenant: fmt.Sprint(args)}), req); err != nil {
				t.Fatal(err)
			}
			r := told.records[len(told.records)-1]
			if r.Trace != trace || r.RequestID != "r-1" || !r.Began.Equal(began) || string(r.Code) != code || (r.Err == "") != (code == "") {
				t.Errorf("got %+v", r)
			}
		}
	})
}

// Records go to logs, which are read by others than the callers.
func TestRecordsAndEventsHoldNoPromptsOrAnswers(t *testing.T) {
	const question, reply = "open sesame", "forty thieves"
	const format = `"format":{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}`
	for name, args := range map[string]string{
		"an answer":         `"prompt":"` + question + `"`,
		"a part of one":     `"prompt":"` + question + `","timeout_seconds":1.5`,
		"a cut one":         `"prompt":"` + question + `","options":{"num_predict":1}`,
		"one that misfits":  `"prompt":"` + question + `",` + format,
		"an argument":       `"prompt":["` + question + `"]`,
		"one that is wrong": `"prompt":"` + question + `","format":{"type":"` + question + `s"}`,
		"a missing model":   `"prompt":"` + question + `","host":"gpu-2"`,
	} {
		story(t, func(t *testing.T, c *client) {
			told := new(recorder)
			c.opts.Observer = told
			c.use(backendtest.New("gpu-1").Answer(`{"n":"` + reply + `"}`).TokenTime(time.Second))
			c.do("generate", `{"model":"tiny",`+args+`}`)
			synctest.Wait()
			if all := fmt.Sprintf("%+v %+v", told.records, told.events); len(told.records) != 1 || strings.Contains(all, "sesame") || strings.Contains(all, "thieves") {
				t.Errorf("%s: %s", name, all)
			}
		})
	}
}
