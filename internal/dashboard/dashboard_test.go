package dashboard_test

import (
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/dashboard"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// told is what a viewer was sent.
type told struct {
	at   time.Time
	data map[string]any // nil for what only says that the server lives
	raw  string
}

// viewer keeps what the page sends.
type viewer struct {
	http.ResponseWriter
	mu   sync.Mutex // guards what follows
	told []told
	code int
}

func (v *viewer) Header() http.Header  { return http.Header{} }
func (v *viewer) WriteHeader(code int) { v.code = code }
func (v *viewer) Flush()               {}
func (v *viewer) Write(text []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	one := told{at: time.Now(), raw: string(text)}
	if _, data, ok := strings.Cut(one.raw, "data: "); ok && !strings.HasPrefix(one.raw, "event: ") {
		if err := json.Unmarshal([]byte(data), &one.data); err != nil {
			return 0, err
		}
	}
	v.told = append(v.told, one)
	return len(text), nil
}

func (v *viewer) last(t *testing.T) map[string]any {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := len(v.told) - 1; i >= 0; i-- {
		if v.told[i].data != nil {
			return v.told[i].data
		}
	}
	t.Fatal("nothing was sent")
	return nil
}

// look has somebody look at a page until leave is called.
func look(t *testing.T, p *dashboard.Page, may func() bool) (v *viewer, leave func()) {
	t.Helper()
	return lookAs(t, "", p, may)
}

// lookAs is look for a caller.
func lookAs(t *testing.T, who string, p *dashboard.Page, may func() bool) (v *viewer, leave func()) {
	t.Helper()
	v = new(viewer)
	ctx, cancel := context.WithCancel(caller.NewContext(t.Context(), caller.Caller{ID: who}))
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Stream(v, httptest.NewRequestWithContext(ctx, "GET", "/dashboard/events", nil), may)
	}()
	return v, func() { cancel(); <-done }
}

func always() bool { return true }

func TestFiveViewersCostOneSnapshotASecondAndNobodyNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var read atomic.Int64
		p := dashboard.New(dashboard.Options{Status: func() inference.Status { read.Add(1); return inference.Status{} }})
		time.Sleep(time.Minute)
		if n := read.Load(); n != 0 {
			t.Errorf("nobody looks, and the state was read %d times", n)
		}
		var leave []func()
		for range 5 {
			_, done := look(t, p, always)
			leave = append(leave, done)
			time.Sleep(130 * time.Millisecond) // they do not come at once
		}
		synctest.Wait()
		before := read.Load()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if n := read.Load() - before; n < 18 || n > 20 {
			t.Errorf("five viewers had the state read %d times in 20 s", n)
		}
		for _, done := range leave {
			done()
		}
		before = read.Load()
		time.Sleep(time.Minute)
		if n := read.Load() - before; n != 0 {
			t.Errorf("all have left, and the state was read %d times", n)
		}
	})
}

func TestViewerIsToldAtMostOnceASecondAndOnlyOfChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := dashboard.New(dashboard.Options{})
		v, leave := look(t, p, always)
		synctest.Wait()
		for i := range 500 {
			p.Done(inference.Record{Call: uint64(i + 1), Tool: "generate"})
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Minute) // nothing happens
		leave()
		events, signs := 0, 0
		for i, one := range v.told {
			if i > 0 && one.at.Sub(v.told[i-1].at) < time.Second {
				t.Errorf("events at %v and %v", v.told[i-1].at, one.at)
			}
			if one.data != nil {
				events++
			} else {
				signs++
			}
		}
		if events < 5 || events > 8 || signs < 3 || signs > 4 {
			t.Errorf("%d events and %d signs of life, want one for each of 5 s with calls, and a sign every 15 s", events, signs)
		}
	})
}

// calls are the calls that a viewer was told of.
func (v *viewer) calls() (all []map[string]any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, one := range v.told {
		if one.data["full"] == true {
			all = nil
		}
		list, _ := one.data["calls"].([]any)
		for _, c := range list {
			all = append(all, c.(map[string]any))
		}
	}
	return all
}

func TestEachViewerIsToldOfEachCallOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := dashboard.New(dashboard.Options{})
		one, leaveOne := look(t, p, always)
		n := uint64(0)
		for range 3 {
			for range 7 {
				n++
				p.Done(inference.Record{Call: n})
			}
			time.Sleep(1700 * time.Millisecond)
		}
		late, leaveLate := look(t, p, always)
		synctest.Wait()
		leaveOne()
		leaveLate()
		for name, v := range map[string]*viewer{"one": one, "late": late} {
			calls := v.calls()
			if len(calls) != 21 {
				t.Fatalf("%s: told of %d calls, want 21", name, len(calls))
			}
			for i, c := range calls {
				if c["n"] != float64(i+1) {
					t.Errorf("%s: call %d is %v", name, i+1, c["n"])
				}
			}
		}
	})
}

func TestCachedAnswerIsNotSaidToHaveBeenGenerated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := dashboard.New(dashboard.Options{})
		for i, source := range []inference.Source{inference.Local, inference.Cached, inference.CachedSimilar} {
			p.Done(inference.Record{Call: uint64(i + 1), Served: inference.Served{Requested: "tiny", Source: source, TokensOut: 10, TokensPerSecond: 41}})
		}
		v, leave := look(t, p, always)
		synctest.Wait()
		leave()
		for i, want := range []any{41.0, nil, nil} {
			if c := v.calls()[i]; c["rate"] != want {
				t.Errorf("%v has a rate of %v, want %v", c["source"], c["rate"], want)
			}
		}
	})
}

// Whatever callers and hosts are called, and however many calls there are.
func TestMemoryOfAMillionCallsAndNamesIsBounded(t *testing.T) {
	long := strings.Repeat("\"<script>\n\x00\xff", 500)
	p := dashboard.New(dashboard.Options{Content: true})
	used := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	fill := func(from, to int) {
		for i := from; i < to; i++ {
			name := fmt.Sprint(i, long)
			p.Event(inference.Event{Kind: inference.LadderChanged, Model: name, Reason: name})
			p.HostChanged(pool.Change{Host: name, Model: name, Why: name})
			p.HostChanged(pool.Change{Host: name})
			p.Done(inference.Record{
				Call: uint64(i + 1<<40), Tool: name, Caller: name, Err: name, Trace: name,
				Served:  inference.Served{Requested: name, Model: name, Host: name, Passed: []string{name, name}},
				Asked:   inference.Asked{Request: &inference.Request{Prompt: name}, Response: &inference.Response{Text: name}},
				History: &inference.History{Attempts: []inference.Attempt{{Host: name, Model: name, Err: name}}},
			})
		}
	}
	fill(0, 6_000)
	before := used()
	fill(6_000, 8_000)
	if grown := used() - before; grown > 1<<20 {
		t.Errorf("another 2,000 calls took %d KiB", grown>>10)
	}
	if before > 64<<20 {
		t.Errorf("the page has %d MiB", before>>20)
	}
	runtime.KeepAlive(p)
}

func TestTextsAreValidJSONAndCannotBeTakenForMarkupOrEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const evil = "</script><img src=x onerror=alert(1)>\n\ndata: {\"x\":1}\r\n\r\nevent: end\xff\u2028"
		p := dashboard.New(dashboard.Options{Status: func() inference.Status {
			return inference.Status{
				Hosts:   pool.Stats{Hosts: []pool.HostStats{{Name: evil, Why: evil, Checked: []pool.Loaded{{Model: evil}}}}, Queue: pool.QueueStats{Callers: map[string]int{evil: 1}}},
				Ladders: []inference.LadderStatus{{Model: evil, Reason: evil}},
			}
		}})
		p.Done(inference.Record{Call: 1, Caller: evil, Tool: evil, Err: evil, Served: inference.Served{Requested: evil}})
		p.HostChanged(pool.Change{Host: evil})
		v, leave := look(t, p, always)
		synctest.Wait()
		leave()
		if len(v.told) != 1 {
			t.Fatalf("%d writes, want 1 event", len(v.told))
		}
		raw := v.told[0].raw
		if strings.Count(raw, "\n\n") != 1 || strings.Count(raw, "\r") != 0 || strings.ContainsAny(raw, "<>") || strings.Contains(raw, "\nevent") {
			t.Errorf("got %q", raw)
		}
		call := v.calls()[0]
		if want := strings.ToValidUTF8(evil, "\uFFFD"); call["caller"] != want {
			t.Errorf("the caller is %q, want %q", call["caller"], want)
		}
	})
}

func TestViewerWhoMayNotLookAnyMoreIsSentNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var revoked atomic.Bool
		p := dashboard.New(dashboard.Options{})
		v, leave := look(t, p, func() bool { return !revoked.Load() })
		time.Sleep(500 * time.Millisecond)
		revoked.Store(true)
		p.Done(inference.Record{Call: 1, Tool: "secret"})
		time.Sleep(time.Minute)
		leave()
		if n := len(v.told); n != 2 || !strings.HasPrefix(v.told[1].raw, "event: end") {
			t.Errorf("sent %d times, at last %q", n, v.told[n-1].raw)
		}
	})
}

func TestViewersAreBoundedInNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := dashboard.New(dashboard.Options{})
		var leave []func()
		for range dashboard.MaxViewers {
			_, done := look(t, p, always)
			leave = append(leave, done)
		}
		synctest.Wait()
		v, done := look(t, p, always)
		done()
		if v.code != http.StatusServiceUnavailable {
			t.Errorf("one more: status %d", v.code)
		}
		leave[0]()
		v, done = look(t, p, always)
		synctest.Wait()
		done()
		if v.code != 0 || len(v.told) != 1 {
			t.Errorf("after one has left: status %d, %d events", v.code, len(v.told))
		}
		for _, done := range leave[1:] {
			done()
		}
	})
}

func TestViewerWhoOpensThePageAgainAndAgainLeavesRoomForTheHonestOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := dashboard.New(dashboard.Options{})
		var leave []func()
		open := func(who string) (code int) {
			t.Helper()
			v, done := lookAs(t, who, p, always)
			leave = append(leave, done)
			synctest.Wait()
			return v.code
		}
		refused := 0
		for range 2 * dashboard.MaxViewers {
			if open("hostile") == http.StatusServiceUnavailable {
				refused++
			}
		}
		if refused != dashboard.MaxViewers+dashboard.MaxViewers/2 {
			t.Errorf("%d views of the hostile administrator were refused", refused)
		}
		for range 5 {
			if code := open("honest"); code != 0 {
				t.Errorf("the honest one got %d", code)
			}
		}
		for _, done := range leave {
			done()
		}
		if code := open("hostile"); code != 0 {
			t.Errorf("after all have left, the other got %d", code)
		}
		leave[len(leave)-1]()
	})
}

// story is an engine whose calls a page shows.
type story struct {
	*dashboard.Page
	engine *inference.Engine
}

func tell(t *testing.T, texts bool, settings inference.Settings, hosts ...*backendtest.Host) story {
	t.Helper()
	var engine *inference.Engine
	page := dashboard.New(dashboard.Options{
		Status:  func() inference.Status { return engine.Status(caller.Caller{Admin: true}) },
		Calls:   func(most int) ([]inference.LiveCall, int) { return engine.Calls(most) },
		Cancel:  func(n uint64) bool { return engine.Cancel(n) },
		Content: texts,
	})
	p, err := pool.New(pool.Options{Slots: 1, OnChange: page.HostChanged})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hosts {
		if _, err := p.Add(h.Open(t), pool.Slots{Given: 1}); err != nil {
			t.Fatal(err)
		}
	}
	engine, err = inference.New(inference.Options{
		Hosts: p, Observer: page, Live: true, Texts: texts, Settings: func() *inference.Settings { return &settings },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(engine.Close)
	return story{page, engine}
}

// ask makes a call that can be cancelled, as tools do.
func (s story) ask(ctx context.Context, who, model, prompt string) error {
	call := s.engine.Begin(inference.CallInfo{Tool: "generate", Caller: caller.Caller{ID: who}})
	ctx, stop := call.Cancellable(ctx)
	defer stop()
	_, err := s.engine.Do(ctx, inference.Request{Common: inference.Common{Model: model, Call: call, Caller: caller.Caller{ID: who}}, Prompt: prompt})
	call.End(err)
	return err
}

func (s story) now(t *testing.T) *viewer {
	t.Helper()
	v, leave := look(t, s.Page, always)
	synctest.Wait()
	leave()
	return v
}

func list(v any, path ...string) []map[string]any {
	for _, name := range path {
		v = v.(map[string]any)[name]
	}
	var out []map[string]any
	all, _ := v.([]any)
	for _, one := range all {
		out = append(out, one.(map[string]any))
	}
	return out
}

func TestPageSaysWhyACallIsWhereItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := backendtest.New("gpu-1").Answer("one two three").FirstTokenTime(10 * time.Second).TokenTime(time.Second)
		s := tell(t, false, inference.Settings{}, host)
		if err := s.ask(t.Context(), "alice", "tiny", "loads it"); err != nil {
			t.Fatal(err)
		}
		for i, who := range []string{"alice", "bob", "bob", "carol"} {
			go func() { _ = s.ask(t.Context(), who, "tiny", fmt.Sprint("question ", i)) }()
			synctest.Wait()
		}
		calls := list(s.now(t).last(t), "state", "live")
		if len(calls) != 4 {
			t.Fatalf("%d calls, want 4: %v", len(calls), calls)
		}
		first, last := calls[0], calls[2]
		if first["host"] != "gpu-1" || !strings.Contains(first["why"].(string), "only host with a free slot for it; it has the model in memory") || first["cancel"] != true {
			t.Errorf("the first: %v", first)
		}
		if last["phase"] != "waiting" || last["place"] != 3.0 || last["why"] != "after 1 of bob, 1 of carol: callers take turns by how much time of hosts each has used" {
			t.Errorf("the second of bob: %v", last)
		}
		queue := s.now(t).last(t)["state"].(map[string]any)["queue"].(map[string]any)
		if queue["waiting"] != 3.0 || fmt.Sprint(queue["callers"]) != "[map[n:2 name:bob] map[n:1 name:carol]]" {
			t.Errorf("the queue: %v", queue)
		}
		time.Sleep(12500 * time.Millisecond)
		if c := list(s.now(t).last(t), "state", "live")[0]; c["phase"] != "answering" || c["tokens"] != 2.0 {
			t.Errorf("later: %v", c)
		}
		time.Sleep(time.Minute)
	})
}

func TestCallByAnotherAPIIsShownWithItWhileItIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := tell(t, false, inference.Settings{})
		chat := s.engine.Begin(inference.CallInfo{Tool: "chat", HTTP: inference.HTTPRequest{Method: "POST", Route: "/v1/chat/completions", Scheme: "http"}})
		tool := s.engine.Begin(inference.CallInfo{Tool: "chat"})
		_, stopChat := chat.Cancellable(t.Context())
		_, stopTool := tool.Cancellable(t.Context())
		calls := list(s.now(t).last(t), "state", "live")
		if len(calls) != 2 || calls[0]["api"] != "POST /v1/chat/completions" || calls[1]["api"] != nil {
			t.Errorf("under way: %v", calls)
		}
		stopChat()
		stopTool()
		chat.End(nil)
		tool.End(nil)
	})
}

func TestFloodOfCallsLeavesThePageAndTheHonestCallerAsTheyWere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := tell(t, true, inference.Settings{}, backendtest.New("gpu-1").Answer("one two three"))
		long := strings.Repeat("<script>", 10_000)
		for n := range 20 {
			for range 50 { // far more than are remembered in the end
				_ = s.ask(t.Context(), "hostile", "none-"+long, long)
			}
			if err := s.ask(t.Context(), "honest", "tiny", fmt.Sprint("question ", n)); err != nil {
				t.Errorf("honest call %d: %v", n, err)
			}
			v := s.now(t)
			calls := v.calls()
			if len(calls) == 0 || len(calls) > 300 {
				t.Fatalf("%d calls are remembered", len(calls))
			}
			if last := calls[len(calls)-1]; last["caller"] != "honest" || last["err"] != nil {
				t.Errorf("the last call is %v, want the honest one", last)
			}
			if size := len(v.told[0].raw); size > 300*20_000 {
				t.Errorf("a viewer is sent %d bytes", size)
			}
		}
	})
}

func TestPageShowsTheAttemptsOfACallAndWhyTheyFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ladders, err := route.NewLadders(map[string][]string{"pro:latest": {"big:latest", "tiny:latest"}}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		ill := backendtest.New("ill").Install(backendtest.Model{Name: "big"}).Down()
		well := backendtest.New("well").Answer("one two").FirstTokenTime(time.Second).Install(backendtest.Model{Name: "tiny"})
		s := tell(t, false, inference.Settings{Ladders: ladders}, ill, well)
		s.Page.HostChanged(pool.Change{Host: "ill", Why: "connection refused"})
		if err := s.ask(t.Context(), "alice", "pro", "secret"); err != nil {
			t.Fatal(err)
		}
		v := s.now(t)
		calls := v.calls()
		if len(calls) != 1 {
			t.Fatalf("got %v", calls)
		}
		c := calls[0]
		if c["rung"] != 2.0 || len(c["passed"].([]any)) != 1 || c["host"] != "well" || c["prompt"] != nil {
			t.Errorf("got %v", c)
		}
		attempts := list(c["attempts"])
		if len(attempts) < 2 {
			t.Fatalf("attempts: %v", attempts)
		}
		for i, a := range attempts {
			failed := a["err"] != nil
			if isLast := i == len(attempts)-1; failed == isLast || isLast && a["host"] != "well" || a["why"] == nil {
				t.Errorf("attempt %d: %v", i, a)
			}
		}
		if last := attempts[len(attempts)-1]; last["first"].(float64)-last["at"].(float64) < 1000 {
			t.Errorf("the first token came at once: %v", last)
		}
		if all := list(v.last(t)["changes"]); len(all) != 1 || all[0]["name"] != "ill" || all[0]["why"] != "connection refused" {
			t.Errorf("changes: %v", all)
		}
	})
}

func TestPromptsAndAnswersAreShownOnlyIfWanted(t *testing.T) {
	for _, wanted := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			host := backendtest.New("gpu-1").Answer("forty thieves").FirstTokenTime(time.Second).TokenTime(time.Second)
			s := tell(t, wanted, inference.Settings{}, host)
			go func() { _ = s.ask(t.Context(), "alice", "tiny", "open sesame") }()
			time.Sleep(2500 * time.Millisecond)
			during := s.now(t)
			time.Sleep(time.Minute)
			after := s.now(t)
			text := during.told[0].raw + after.told[0].raw
			if strings.Contains(text, "sesame") != wanted || strings.Contains(text, "thieves") != wanted || strings.Contains(during.told[0].raw, "forty") != wanted {
				t.Errorf("wanted %v: %s", wanted, text)
			}
		})
	}
}

// whileSet is a time that was read while the clock was set wrong by so many whole seconds, which
// its monotonic reading does not show.
func whileSet(t time.Time, wrong time.Duration) time.Time {
	const nanoseconds = 30 // bits below the seconds of the wall clock, in package time
	*(*uint64)(unsafe.Pointer(&t)) += uint64(wrong/time.Second) << nanoseconds
	return t
}

// It runs by the real clock, since times in a bubble have no monotonic reading. What takes it minutes
// is not the program.
func TestAgesStayRightWhenTheClockIsSet(t *testing.T) {
	for _, wrong := range []time.Duration{0, time.Hour, -time.Hour, 20 * 365 * 24 * time.Hour} {
		past, future := whileSet(time.Now().Add(-time.Minute), wrong), whileSet(time.Now().Add(time.Minute), wrong)
		p := dashboard.New(dashboard.Options{
			Status: func() inference.Status {
				return inference.Status{Hosts: pool.Stats{Hosts: []pool.HostStats{{
					Name: "a", Until: future, Checked: []pool.Loaded{{Model: "m", Expires: time.Now().Round(0).Add(time.Minute)}},
				}}}, Ladders: []inference.LadderStatus{{Model: "pro", Since: past}}}
			},
			Calls: func(int) ([]inference.LiveCall, int) {
				return []inference.LiveCall{{CallInfo: inference.CallInfo{ID: 1, Began: past}}}, 0
			},
		})
		p.Done(inference.Record{Call: 2, Began: past})
		shown := func(p *dashboard.Page) *viewer {
			ctx, leave := context.WithCancel(t.Context())
			leave()
			v := new(viewer)
			p.Stream(v, httptest.NewRequestWithContext(ctx, "GET", "/dashboard/events", nil), always) // one event
			return v
		}
		s := tell(t, false, inference.Settings{}, backendtest.New("a"))
		asked := s.engine.Begin(inference.CallInfo{Began: past})
		if _, err := s.engine.Do(t.Context(), inference.Request{Common: inference.Common{Model: "tiny", Call: asked}, Prompt: "?"}); err != nil {
			t.Fatal(err)
		}
		asked.End(nil)
		v := shown(p)
		e := v.last(t)
		now, state := e["now"].(float64), e["state"].(map[string]any)
		host, ladder, live, call := list(state, "hosts")[0], list(state, "ladders")[0], list(state, "live")[0], v.calls()[0]
		for what, got := range map[string]float64{
			"a call under way":     now - live["began"].(float64),
			"a ladder":             now - ladder["since"].(float64),
			"the next trial":       host["until"].(float64) - now,
			"a model in memory":    list(host, "loaded")[0]["expires"].(float64) - now,
			"an attempt of a call": list(shown(s.Page).calls()[0]["attempts"])[0]["at"].(float64),
		} {
			const minute, slow = 60_000, 20 * 60_000
			if got < minute-slow || got > minute+slow {
				t.Errorf("set by %v: %s: %v ms, want a minute", wrong, what, got)
			}
		}
		if call["began"] != float64(past.UnixMilli()) {
			t.Errorf("set by %v: the call began at %v, and the log says %v", wrong, call["began"], past.UnixMilli())
		}
	}
}

func TestCancelledCallEndsAndItsCallerIsToldWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := backendtest.New("gpu-1").Answer("one two three").FirstTokenTime(time.Hour)
		s := tell(t, false, inference.Settings{}, host)
		ended := make(chan error, 1)
		go func() { ended <- s.ask(t.Context(), "alice", "tiny", "?") }()
		synctest.Wait()
		number := list(s.now(t).last(t), "state", "live")[0]["n"].(float64)
		for body, want := range map[string]int{`{}`: 400, `{"n":"x"}`: 400, `{"n":999}`: 404, fmt.Sprintf(`{"n":%v}`, number): 204} {
			w := httptest.NewRecorder()
			s.Cancel(w, httptest.NewRequest("POST", "/dashboard/cancel", strings.NewReader(body)))
			if w.Code != want {
				t.Errorf("%s: status %d, want %d", body, w.Code, want)
			}
		}
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "an administrator of the server has cancelled it") {
			t.Errorf("got %v", err)
		}
		synctest.Wait()
		time.Sleep(time.Second)
		if v := s.now(t); len(list(v.last(t), "state", "live")) != 0 || v.calls()[0]["code"] != "cancelled" {
			t.Errorf("got %v", v.last(t))
		}
	})
}

// What the engine says of calls has words on the page: sources of answers that no model made, what
// the cache did, and what is being done.
func TestPageHasWordsForAllThatTheEngineSaysOfCalls(t *testing.T) {
	w := httptest.NewRecorder()
	dashboard.Files()[dashboard.PathScript].ServeHTTP(w, httptest.NewRequest("GET", dashboard.PathScript, nil))
	for table, kind := range map[string]string{"CACHED": "Source", "CACHE": "CacheVerdict", "PHASE": "State"} {
		_, words, _ := strings.Cut(w.Body.String(), "const "+table+" = {")
		words, _, _ = strings.Cut(words, "};")
		values := constants(t, kind)
		for _, value := range values {
			isOfModel := value == string(inference.Local) || value == string(inference.Cloud)
			if value != "" && !isOfModel && !regexp.MustCompile(`(^|[\s{,'])`+regexp.QuoteMeta(value)+`'?: '`).MatchString(words) {
				t.Errorf("%s of the page has no words for the %s %q", table, kind, value)
			}
		}
		if len(values) < 6 {
			t.Errorf("only %d constants of the type %s were found", len(values), kind)
		}
	}
}

// constants are the values of all constants of a type of package inference.
func constants(t *testing.T, kind string) (values []string) {
	t.Helper()
	files, err := filepath.Glob("../inference/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok && fmt.Sprint(spec.Type) == kind && len(spec.Values) == 1 {
				if text, ok := spec.Values[0].(*ast.BasicLit); ok {
					value, err := strconv.Unquote(text.Value)
					if err != nil {
						t.Fatal(err)
					}
					values = append(values, value)
				}
			}
			return true
		})
	}
	return values
}

func TestPageIsSmallAndRefersToNothingElsewhere(t *testing.T) {
	size := 0
	for path, file := range dashboard.Files() {
		w := httptest.NewRecorder()
		file.ServeHTTP(w, httptest.NewRequest("GET", "/"+path, nil))
		text := w.Body.String()
		size += len(text)
		for _, bad := range []string{"https://", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " style=", " onclick="} {
			if strings.Contains(text, bad) {
				t.Errorf("%s has %s", path, bad)
			}
		}
	}
	if size > 100_000 {
		t.Errorf("the page has %d bytes", size)
	}
}
