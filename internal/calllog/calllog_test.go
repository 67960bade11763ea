package calllog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/calllog"
	"ollama-mcp/internal/inference"
)

var began = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // when time begins in a bubble

func ms(n int64) *int64 { return &n }

var (
	answered = inference.Record{
		Trace: "4bf9", RequestID: "r-1", Tool: "chat", Caller: "ci", Began: began, Took: 2345678 * time.Microsecond, Cache: inference.CacheMiss,
		Asked: inference.Asked{
			Messages: 2, PromptTokens: 12,
			Request: &inference.Request{Kind: inference.Chat, Messages: []backend.Message{
				{Role: "system", Content: "be brief"}, {Role: "user", Content: "what is this?", Images: []backend.ImageData{[]byte("png")}},
			}},
			Response: &inference.Response{Text: "a fox", Thinking: "it has a tail"},
		},
		Served: inference.Served{
			Requested: "pro", Model: "small", Host: "gpu-1", Source: inference.Local, Rung: 2, Passed: []string{"big (gpu-1: unreachable)"},
			TokensIn: 11, TokensOut: 34, TokensPerSecond: 20.5, Retries: 1, Queue: 250, Load: ms(1200), FirstToken: 300, DoneReason: "stop",
		},
	}
	failed = inference.Record{
		Trace: "6d1b", Tool: "generate", Began: began, Took: 10 * time.Second, Code: "timeout", Err: "tiny: gpu-1 had not begun to answer",
		Asked:  inference.Asked{Messages: 1, PromptTokens: 3, Request: &inference.Request{Prompt: "hello"}, Partial: "good mor"},
		Served: inference.Served{Requested: "tiny"}, Cache: inference.CacheOff,
	}
	refused = inference.Record{Trace: "7e2c", Tool: "generate", Caller: "ci", Began: began, Code: "rate_limited", Err: `over your limit of 4 calls in flight`}
	missing = inference.Record{ // no host has the model
		Trace: "7f3d", Tool: "generate", Began: began, Took: time.Millisecond, Code: "model_not_found", Err: "tiny is not installed", Cache: inference.CacheMiss,
		Asked:  inference.Asked{Messages: 1, PromptTokens: 1},
		Served: inference.Served{Requested: "tiny", Model: "tiny", Source: inference.Local},
	}
	listed = inference.Record{Trace: "8f3d", Tool: "list-models", HTTP: inference.HTTPRequest{Method: "GET", Route: "/v1/models", Scheme: "http"}, Status: 200, Began: began, Took: 12 * time.Millisecond}
	embeds = inference.Record{
		Trace: "9a4e", Tool: "embed", Began: began, Took: time.Millisecond, Cache: inference.CacheHit,
		Asked:  inference.Asked{Messages: 2, PromptTokens: 2, Texts: []string{"one", "two"}},
		Served: inference.Served{Requested: "words", Model: "words", Source: inference.Cached},
	}
)

// running is a log while it is written.
type running struct {
	*calllog.Log
	stderr *bytes.Buffer // what it tells the operator
	stop   func()        // ends it, when all is written
}

// run runs a log in a bubble of synctest.
func run(t *testing.T, o calllog.Options, opens ...func(string) (calllog.Handle, error)) *running {
	t.Helper()
	r := &running{stderr: new(bytes.Buffer)}
	o.Log = slog.New(slog.NewTextHandler(r.stderr, nil))
	r.Log = calllog.New(o)
	r.Gathers(0)
	for _, open := range opens {
		r.Opens(open)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() { r.Run(ctx) })
	r.stop = func() {
		cancel()
		work.Wait()
	}
	t.Cleanup(r.stop)
	return r
}

func contents(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// traces are those of the calls in a file, of which each line must be whole. A notice is
// the number of calls that it says are missing, and an empty line "".
func traces(t *testing.T, name string) (all []string) {
	t.Helper()
	for line := range strings.Lines(contents(t, name)) {
		if line == "\n" {
			all = append(all, "")
			continue
		}
		var l calllog.Line
		if err := json.Unmarshal([]byte(line), &l); err != nil || !strings.HasSuffix(line, "\n") {
			t.Errorf("%s: not a line: %q: %v", name, line, err)
		}
		if l.Dropped != nil {
			l.Trace = fmt.Sprint(l.Dropped.BufferFull, "+", l.Dropped.Disk)
		}
		all = append(all, l.Trace)
	}
	return all
}

func expect(t *testing.T, name string, want ...string) {
	t.Helper()
	if got := traces(t, name); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s has %q, want %q", filepath.Base(name), got, want)
	}
}

// line is the line of a call.
func line(t *testing.T, r inference.Record) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "one.jsonl")
	log := calllog.New(calllog.Options{File: name})
	log.Done(r)
	ended, end := context.WithCancel(t.Context())
	end()
	log.Run(ended)
	return contents(t, name)
}

func numbered(n int) inference.Record {
	return inference.Record{Trace: fmt.Sprint("t", n), Tool: "generate", Began: time.Now()}
}

func TestEachCallHasOneLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, content := range []bool{false, true} {
			name := filepath.Join(t.TempDir(), "calls.jsonl")
			log := run(t, calllog.Options{File: name})
			for _, r := range []inference.Record{answered, failed, refused, missing, listed, embeds} {
				if !content {
					r.Asked.Request, r.Asked.Texts, r.Asked.Response, r.Asked.Partial = nil, nil, nil, ""
				}
				log.Done(r)
			}
			log.stop()
			texts := map[string]string{}
			if content {
				texts = map[string]string{
					"4bf9": `,"content":{"messages":[{"role":"system","content":"be brief"},{"role":"user","content":"what is this?"}],"images":1,"answer":"a fox","thinking":"it has a tail"}`,
					"6d1b": `,"content":{"prompt":"hello","answer":"good mor"}`,
					"9a4e": `,"content":{"texts":["one","two"]}`,
				}
			}
			const at = `{"timestamp":"2000-01-01T00:00:00Z","trace_id":`
			want := at + `"4bf9","request_id":"r-1","tool":"chat","caller":"ci","request":{"model":"pro","messages_count":2,"prompt_tokens_estimate":12},` +
				`"response":{"input_tokens":11,"output_tokens":34,"source":"local","model":"small","host":"gpu-1","done_reason":"stop"},` +
				`"performance":{"latency_ms":2345,"queue_ms":250,"load_ms":1200,"first_token_ms":300,"tokens_per_second":20.5,"retries":1},` +
				`"fallback":["big (gpu-1: unreachable)"],"cache":"miss"` + texts["4bf9"] + "}\n" +
				at + `"6d1b","tool":"generate","caller":"local","request":{"model":"tiny","messages_count":1,"prompt_tokens_estimate":3},` +
				`"performance":{"latency_ms":10000,"queue_ms":0,"load_ms":0,"first_token_ms":0,"tokens_per_second":0},"fallback":[],"cache":"off",` +
				`"error":{"code":"timeout","message":"tiny: gpu-1 had not begun to answer"}` + texts["6d1b"] + "}\n" +
				at + `"7e2c","tool":"generate","caller":"ci","performance":{"latency_ms":0,"queue_ms":0,"load_ms":0,"first_token_ms":0,"tokens_per_second":0},"fallback":[],` +
				`"error":{"code":"rate_limited","message":"over your limit of 4 calls in flight"}}` + "\n" +
				at + `"7f3d","tool":"generate","caller":"local","request":{"model":"tiny","messages_count":1,"prompt_tokens_estimate":1},` +
				`"performance":{"latency_ms":1,"queue_ms":0,"load_ms":0,"first_token_ms":0,"tokens_per_second":0},"fallback":[],"cache":"miss",` +
				`"error":{"code":"model_not_found","message":"tiny is not installed"}}` + "\n" +
				at + `"8f3d","tool":"list-models","api":"GET /v1/models","caller":"local","performance":{"latency_ms":12,"queue_ms":0,"load_ms":0,"first_token_ms":0,"tokens_per_second":0},"fallback":[]}` + "\n" +
				at + `"9a4e","tool":"embed","caller":"local","request":{"model":"words","messages_count":2,"prompt_tokens_estimate":2},` +
				`"response":{"input_tokens":0,"output_tokens":0,"source":"cache","model":"words"},` +
				`"performance":{"latency_ms":1,"queue_ms":0,"load_ms":0,"first_token_ms":0,"tokens_per_second":0},"fallback":[],"cache":"hit"` + texts["9a4e"] + "}\n"
			if got := contents(t, name); got != want {
				t.Errorf("content %v: got\n%s\nwant\n%s", content, got, want)
			}
		}
	})
}

func TestFileIsForItsOwnerOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		name := filepath.Join(t.TempDir(), "calls.jsonl")
		log := run(t, calllog.Options{File: name})
		log.Done(answered)
		log.stop()
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
	})
}

// broken is a file that fails as a test wants.
type broken struct {
	calllog.Handle
	write func(lines []byte) (int, error)
}

func (b broken) Write(lines []byte) (int, error) { return b.write(lines) }

func TestCallsNeverWaitForADiskThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		name, wakes := filepath.Join(t.TempDir(), "calls.jsonl"), make(chan struct{})
		one, room := int64(len(line(t, numbered(1000)))), int64(1000)
		log := run(t, calllog.Options{File: name, Waiting: room * one}, func(name string) (calllog.Handle, error) {
			file, err := calllog.OpenFile(name)
			return broken{file, func(lines []byte) (int, error) {
				<-wakes
				return file.Write(lines)
			}}, err
		})
		log.Done(numbered(1000))
		synctest.Wait() // the goroutine hangs with this one
		for n := range 3000 {
			log.Done(numbered(1001 + n)) // would hang for ever
		}
		if d := log.Dropped(); d.BufferFull != 2001 || d.Disk != 0 {
			t.Errorf("dropped %+v, want all but the 999 for which there is room beside that one", d)
		}
		close(wakes)
		synctest.Wait()
		log.Done(numbered(9999)) // for which there is room again
		log.stop()
		if got := traces(t, name); len(got) != 1002 || got[1] != "2001+0" || got[1000] != "t1999" || got[1001] != "t9999" {
			t.Errorf("%d lines: %.100q", len(got), got)
		}
	})
}

// A write takes system calls, which a call should not pay for by itself.
func TestLinesAreGatheredBeforeTheyAreWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		name := filepath.Join(t.TempDir(), "calls.jsonl")
		var writes atomic.Int64
		log := calllog.New(calllog.Options{File: name})
		log.Opens(func(name string) (calllog.Handle, error) {
			file, err := calllog.OpenFile(name)
			return broken{file, func(lines []byte) (int, error) {
				writes.Add(1)
				return file.Write(lines)
			}}, err
		})
		ctx, cancel := context.WithCancel(t.Context())
		var work sync.WaitGroup
		work.Go(func() { log.Run(ctx) })
		for n := range 100 {
			log.Done(numbered(n))
			synctest.Wait()
		}
		if n := writes.Load(); n != 0 {
			t.Errorf("%d writes at once", n)
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if got := traces(t, name); writes.Load() != 1 || len(got) != 100 {
			t.Errorf("%d lines in %d writes", len(got), writes.Load())
		}
		for n := range 5000 { // in no time
			log.Done(numbered(n))
			synctest.Wait()
		}
		if d := log.Dropped(); d != (calllog.Dropped{}) {
			t.Errorf("dropped %+v", d)
		}
		cancel()
		work.Wait()
		if got := traces(t, name); len(got) != 5100 {
			t.Errorf("%d lines", len(got))
		}
	})
}

func TestLinesThatWaitAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wakes := make(chan struct{})
		name := filepath.Join(t.TempDir(), "calls.jsonl")
		log := run(t, calllog.Options{File: name, Waiting: 8 << 20}, func(name string) (calllog.Handle, error) {
			<-wakes
			return calllog.OpenFile(name)
		})
		log.Done(numbered(0))
		synctest.Wait()
		large := failed
		large.Asked.Request = &inference.Request{Prompt: strings.Repeat("x", 3<<20)}
		for range 5 {
			log.Done(large)
		}
		log.Done(refused) // takes little room
		if d := log.Dropped(); d.BufferFull != 3 {
			t.Errorf("dropped %+v, want the 3 that exceed 8 MiB", d)
		}
		close(wakes)
		log.stop()
		log.Done(large)
		if d := log.Dropped(); d.BufferFull != 3 {
			t.Error("lines that were written still count")
		}
	})
}

func TestDiskThatFailsIsSaidOnceAndUsedAgainWhenItIsBack(t *testing.T) {
	for what, story := range map[string]struct {
		fails func(t *testing.T, dir string) (mend func(), open func(string) (calllog.Handle, error))
	}{
		"the directory is missing": {func(t *testing.T, dir string) (func(), func(string) (calllog.Handle, error)) {
			if err := os.Remove(dir); err != nil {
				t.Fatal(err)
			}
			return func() { _ = os.Mkdir(dir, 0o700) }, calllog.OpenFile
		}},
		"a directory is in its place": {func(t *testing.T, dir string) (func(), func(string) (calllog.Handle, error)) {
			if err := os.Mkdir(filepath.Join(dir, "calls.jsonl"), 0o700); err != nil {
				t.Fatal(err)
			}
			return func() { _ = os.Remove(filepath.Join(dir, "calls.jsonl")) }, calllog.OpenFile
		}},
		"read-only": {func(*testing.T, string) (func(), func(string) (calllog.Handle, error)) {
			readOnly := true
			return func() { readOnly = false }, func(name string) (calllog.Handle, error) {
				if readOnly {
					return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EROFS}
				}
				return calllog.OpenFile(name)
			}
		}},
		"full": {func(*testing.T, string) (func(), func(string) (calllog.Handle, error)) {
			full := true
			return func() { full = false }, func(name string) (calllog.Handle, error) {
				file, err := calllog.OpenFile(name)
				return broken{file, func(lines []byte) (int, error) {
					if full {
						n, _ := file.Write(lines[:min(len(lines), 10)]) // a part of a line
						return n, syscall.ENOSPC
					}
					return file.Write(lines)
				}}, err
			}
		}},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "disk")
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Fatal(err)
				}
				name := filepath.Join(dir, "calls.jsonl")
				mend, open := story.fails(t, dir)
				log := run(t, calllog.Options{File: name}, open)
				for n := range 8 {
					log.Done(numbered(n))
					synctest.Wait()
					time.Sleep(4 * time.Second)
				}
				if said := log.stderr.String(); strings.Count(said, "\n") != 1 || !strings.Contains(said, "level=WARN") {
					t.Errorf("while it fails the log says\n%s", said)
				}
				if d := log.Dropped(); d.Disk != 8 {
					t.Errorf("dropped %+v, want 8", d)
				}
				mend()
				time.Sleep(5 * time.Second)
				log.Done(numbered(8))
				log.Done(numbered(9))
				log.stop()
				if said := log.stderr.String(); strings.Count(said, "\n") != 2 || !strings.Contains(said, "written again") || !strings.Contains(said, "dropped=8") {
					t.Errorf("after it, the log says\n%s", said)
				}
				report := calllog.NewReport(0, time.Time{})
				if err := report.Read(strings.NewReader(contents(t, name))); err != nil || report.Calls != 2 || report.Dropped != 8 {
					t.Errorf("%v, %d calls and %d dropped, in\n%s", err, report.Calls, report.Dropped, contents(t, name))
				}
			})
		})
	}
}

func TestFileThatIsRotatedFromOutsideIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		name := filepath.Join(dir, "calls.jsonl")
		log := run(t, calllog.Options{File: name})
		next := 0
		do := func() {
			log.Done(numbered(next))
			synctest.Wait()
			next++
		}
		do()
		if err := os.Rename(name, name+".1"); err != nil {
			t.Fatal(err)
		}
		do()
		expect(t, name+".1", "t0")
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		do()
		expect(t, name, "t2")
		if err := os.WriteFile(filepath.Join(dir, "new"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "new"), name); err != nil { // another file in its place
			t.Fatal(err)
		}
		do()
		expect(t, name, "t3")
		if err := os.Truncate(name, 0); err != nil { // as copytruncate does
			t.Fatal(err)
		}
		do()
		expect(t, name, "t4")
		if log.stderr.Len() > 0 {
			t.Errorf("it says %s", log.stderr)
		}
	})
}

// rotated are the names of the files in a folder, with the lines of each.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".lock") {
			all[entry.Name()] = strings.Join(traces(t, filepath.Join(dir, entry.Name())), " ")
		}
	}
	return all
}

func TestFileIsRotatedBySizeAndAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		name := filepath.Join(dir, "calls.jsonl")
		for _, other := range []string{"calls-mine.jsonl", "calls-19990101T000000.000Z.jsonl.gz"} { // which are none of ours
			if err := os.WriteFile(filepath.Join(dir, other), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		o := calllog.Options{File: name, MaxSize: 600, MaxAge: time.Hour, Keep: 2}
		log := run(t, o)
		do := func(n int, after time.Duration) {
			time.Sleep(after)
			log.Done(numbered(n))
			synctest.Wait()
		}
		do(0, 0) // a line has about 200 bytes
		do(1, time.Second)
		do(2, time.Second)
		do(3, time.Second)
		do(4, time.Second)
		log.stop()
		log = run(t, o) // the age is that of the first line, whoever has written it
		do(5, 59*time.Minute)
		do(6, time.Minute)
		do(7, 2*time.Hour)
		want := map[string]string{
			"calls-mine.jsonl": "", "calls-19990101T000000.000Z.jsonl.gz": "", "calls.jsonl": "t7",
			"calls-20000101T010004.000Z.jsonl": "t3 t4 t5", "calls-20000101T030004.000Z.jsonl": "t6",
		}
		if got := files(t, dir); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	})
}

func TestClockThatJumpsRotatesNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		name := filepath.Join(dir, "calls.jsonl")
		// Its first line was written when the clock was years ahead.
		if err := os.WriteFile(name, []byte(`{"timestamp":"2099-01-01T00:00:00Z","trace_id":"old","tool":"chat"}`+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		log := run(t, calllog.Options{File: name, MaxAge: time.Hour})
		for n := range 3 {
			log.Done(numbered(n))
			synctest.Wait()
			time.Sleep(31 * time.Minute)
		}
		log.stop()
		if got := files(t, dir); len(got) != 2 || got["calls.jsonl"] != "t2" {
			t.Errorf("got %v", got)
		}
	})
}

func TestLineThatWasCutOffSpoilsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		name := filepath.Join(t.TempDir(), "calls.jsonl")
		if err := os.WriteFile(name, []byte(`{"timestamp":"1999-01-01T00:00:00Z","trace_id":"cut`), 0o600); err != nil {
			t.Fatal(err)
		}
		log := run(t, calllog.Options{File: name})
		log.Done(answered)
		log.stop()
		report := calllog.NewReport(1, time.Time{})
		if err := report.Read(strings.NewReader(contents(t, name))); err != nil || report.Calls != 1 || report.Unreadable != 1 {
			t.Errorf("%v, %+v", err, report)
		}
	})
}

// An MCP host starts a server for each of its windows, all with the same options.
func TestServersThatShareAFileLoseNoLineWhenItIsRotated(t *testing.T) {
	dir := t.TempDir()
	o := calllog.Options{File: filepath.Join(dir, "calls.jsonl"), MaxSize: 5000}
	var servers sync.WaitGroup
	for who := range 4 {
		servers.Go(func() {
			log := calllog.New(o)
			ctx, stop := context.WithCancel(t.Context())
			var work sync.WaitGroup
			work.Go(func() { log.Run(ctx) })
			for n := range 200 {
				log.Done(inference.Record{Trace: fmt.Sprint(who, "-", n), Tool: "generate", Began: time.Now()})
			}
			stop()
			work.Wait()
			if d := log.Dropped(); d != (calllog.Dropped{}) {
				t.Errorf("dropped %+v", d)
			}
		})
	}
	servers.Wait()
	seen := make(map[string]int)
	for _, lines := range files(t, dir) {
		for _, trace := range strings.Fields(lines) {
			seen[trace]++
		}
	}
	if len(seen) != 800 {
		t.Errorf("%d of 800 lines are there", len(seen))
	}
}

func TestNoFileButARegularOneIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := run(t, calllog.Options{File: "/dev/stdout"}) // which is the protocol's
		log.Done(answered)
		log.stop()
		if said := log.stderr.String(); !strings.Contains(said, "not a regular file") {
			t.Errorf("it says %s", said)
		}
	})
}

func TestHostileNamesStayInTheirField(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		name := filepath.Join(t.TempDir(), "calls.jsonl")
		log := run(t, calllog.Options{File: name})
		hostile := "<script>\"\n{}\x1b[31m\u2028\xff"
		r := answered
		r.Trace, r.Caller, r.Err, r.Code, r.Served.Model = hostile, hostile, hostile, "upstream", hostile
		r.Asked.Response = &inference.Response{CallsTools: true, Data: map[string]any{"tool_calls": errors.New}} // is no JSON
		log.Done(r)
		log.stop()
		if lines := strings.Count(contents(t, name), "\n"); lines != 1 {
			t.Errorf("%d lines", lines)
		}
		report := calllog.NewReport(1, time.Time{})
		_ = report.Read(strings.NewReader(contents(t, name)))
		report.Finish()
		var shown bytes.Buffer
		report.Print(&shown)
		if report.Calls != 1 || strings.ContainsAny(shown.String(), "\x1b\u2028") {
			t.Errorf("%+v\n%q", report, shown.String())
		}
	})
}

func TestLineTakesNoMemory(t *testing.T) {
	log := calllog.New(calllog.Options{Waiting: 1})
	r := answered
	r.Asked = r.Asked.WithoutTexts()
	if n := testing.AllocsPerRun(1000, func() { log.Done(r) }); n > 0 {
		t.Errorf("%v allocations for a call", n)
	}
}

// A line says the same as one that is made by the tags of Line.
func FuzzLine(f *testing.F) {
	f.Add("4bf9", "pro", "gpu-1: \"unreachable\"", int64(250), 20.5, uint8(0))
	f.Add("<script>\"\n{}\x1b[31m\u2028\xff", "\\", strings.Repeat("long ", 2000), int64(-1), 1e300, uint8(255))
	f.Fuzz(func(t *testing.T, name, other, long string, number int64, rate float64, has uint8) {
		if math.IsNaN(rate) || math.IsInf(rate, 0) {
			return // no rate is
		}
		l := calllog.Line{Time: began.Add(time.Duration(uint32(number)) * time.Millisecond), Trace: name, RequestID: other, Tool: name, API: other, Caller: long, Cache: other}
		set := func(bit uint8, what func()) {
			if has&(1<<bit) != 0 {
				what()
			}
		}
		set(0, func() { l.Request = &calllog.Request{Model: name, Messages: int(number), PromptTokens: 1} })
		set(1, func() {
			l.Response = &calllog.Response{InputTokens: 1, OutputTokens: int(number), Source: other, Model: name, Host: long, DoneReason: other}
		})
		set(2, func() {
			l.Performance = &calllog.Performance{Latency: number, Queue: 1, Lost: number, Load: 2, FirstToken: number, TokensPerSecond: rate, Retries: int(number)}
		})
		set(3, func() { l.Fallback = []string{} })
		set(4, func() { l.Fallback = append(l.Fallback, name, long) })
		set(5, func() { l.Error = &calllog.Error{Code: name, Message: other} })
		set(6, func() { l.Content = &calllog.Content{Prompt: long, Texts: []string{name}, Answer: other} })
		set(7, func() { l.Dropped = &calllog.Dropped{BufferFull: uint64(number)} })
		byTags, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		line := calllog.Encoded(l)
		var got, want any
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		if err := json.Unmarshal(byTags, &want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) || bytes.IndexByte(line, '\n') != len(line)-1 {
			t.Errorf("\n got %s\nwant %s", line, byTags)
		}
	})
}

// What a line costs as it is written, and would cost by the tags of Line.
func BenchmarkLine(b *testing.B) {
	log := calllog.New(calllog.Options{Waiting: 1})
	r := answered
	r.Asked = r.Asked.WithoutTexts()
	var line calllog.Line
	b.Run("as written", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			log.Done(r)
		}
	})
	if err := json.Unmarshal(log.Last(), &line); err != nil {
		b.Fatal(err)
	}
	b.Run("by encoding/json", func(b *testing.B) {
		b.ReportAllocs()
		to := json.NewEncoder(io.Discard)
		for b.Loop() {
			if err := to.Encode(&line); err != nil {
				b.Fatal(err)
			}
		}
	})
}
