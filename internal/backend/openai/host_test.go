package openai_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/backend/openai"
)

func open(t testing.TB, o openai.Options) *openai.Host {
	t.Helper()
	h, err := openai.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

func TestHostConformsOverSockets(t *testing.T) {
	backendtest.Conform(t, backendtest.OpenAI, func(t *testing.T, host *backendtest.Host) backend.Backend {
		return open(t, openai.Options{Name: "a", URL: host.Listen(t) + "/v1"})
	})
}

func TestHostConformsInABubble(t *testing.T) {
	backendtest.ConformInBubble(t, backendtest.OpenAI, func(t *testing.T, host *backendtest.Host) backend.Backend {
		t.Cleanup(host.Close)
		return open(t, openai.Options{Name: "a", URL: "http://a/v1", DialContext: host.Dial})
	})
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	for _, c := range []struct {
		o    openai.Options
		want string
	}{
		{openai.Options{}, "URL: does not read https://HOST/PATH"},
		{openai.Options{URL: "api.openai.com/v1"}, "URL: does not read https://HOST/PATH"},
		{openai.Options{URL: "ftp://a/v1"}, "URL: does not read https://HOST/PATH"},
		{openai.Options{URL: "https:///v1"}, "URL: does not read https://HOST/PATH"},
		{openai.Options{URL: "https://user:secret@a/v1"}, "URL: is no place for a user and password"},
		{openai.Options{URL: "https://user:secret@a b/v1"}, "URL: does not read https://HOST/PATH"},
		{openai.Options{URL: "https://a/v1?key=secret"}, "URL: has a query or a fragment"},
		{openai.Options{URL: "http://gpu.example.com/v1", Key: "k"}, "URL: a key is sent over http to local addresses only; use https"},
		{openai.Options{URL: "http://a/v1", Conns: -1}, "negative Conns, DialTimeout or MaxLine"},
		{openai.Options{URL: "http://a/v1", CAFile: "no such file"}, "CA file: open no such file"},
	} {
		if _, err := openai.New(c.o); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %q", c.o, err, c.want)
		}
	}
	for _, o := range []openai.Options{
		{URL: "http://gpu.example.com/v1"}, // prompts are as public as their owner wants
		{URL: "http://10.0.0.5:8000/v1", Key: "k"},
		{URL: "http://localhost:1234/v1", Key: "k"},
		{URL: "https://api.openai.com/v1/", Key: "k"},
	} {
		open(t, o)
	}
}

func TestKeyIsSentWithEveryRequest(t *testing.T) {
	for key, want := range map[string]string{"k3y": "Bearer k3y", "": ""} {
		fake := backendtest.New("a")
		sent := make(chan string, 2)
		fake.Break(func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
			sent <- r.Header.Get("Authorization")
			serve(w, r)
		})
		host := open(t, openai.Options{URL: fake.Listen(t) + "/v1/", Key: key})
		if _, err := ask(t, host); err != nil {
			t.Error(err)
		}
		if _, err := host.Models(t.Context()); err != nil {
			t.Error(err)
		}
		for range 2 {
			if got := <-sent; got != want {
				t.Errorf("key %q: sent %q, want %q", key, got, want)
			}
		}
	}
}

// dialed is a connection to fake, whatever the address, without TLS.
func dialed(fake *backendtest.Host) openai.Options {
	return openai.Options{URL: "http://api.openai.com/v1", DialContext: fake.Dial}
}

func TestProviderIsToldOfTracesOnlyIfItsOptionsSaySo(t *testing.T) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	ctx := backend.WithTrace(t.Context(), backend.TraceContext{Parent: parent, State: "vendor=1"})
	for _, may := range []bool{false, true} {
		host := backendtest.New("a").Answer("one")
		h := open(t, openai.Options{URL: host.Listen(t) + "/v1", Trace: may})
		if _, err := h.Chat(ctx, &backend.ChatRequest{Model: "tiny", Messages: []backend.Message{{Role: "user", Content: "?"}}}, nil); err != nil {
			t.Fatal(err)
		}
		sent := host.Calls()[0].Header
		if got := sent.Get("Traceparent") == parent && sent.Get("Tracestate") == "vendor=1"; got != may || !may && (sent.Get("Traceparent") != "" || sent.Get("Tracestate") != "") {
			t.Errorf("may %v: it is sent %v", may, sent)
		}
	}
}

func TestOnlyOpenAIGetsTheNewNameOfTheLimit(t *testing.T) {
	fake := backendtest.New("a")
	t.Cleanup(fake.Close)
	host := open(t, dialed(fake))
	req := backend.GenerateRequest{Model: backendtest.Tiny, Prompt: "p", Options: map[string]any{"num_predict": 5}}
	for _, raw := range []bool{false, true} { // text is completed by old models only
		req.Raw = raw
		if _, err := host.Generate(t.Context(), &req, nil); err != nil {
			t.Fatal(err)
		}
		body := string(fake.Calls()[len(fake.Calls())-1].Body)
		if got := strings.Contains(body, `"max_completion_tokens":5`); got == raw || strings.Contains(body, `"max_tokens":5`) != raw {
			t.Errorf("raw %v: sent %s", raw, body)
		}
	}
}

func TestVectorsThatAreNotOnePerInputAreAnError(t *testing.T) {
	fake := backendtest.New("a")
	host := open(t, openai.Options{URL: fake.Listen(t) + "/v1"})
	req := backend.EmbedRequest{Model: backendtest.Tiny, Input: []any{"a", "b"}}
	badTexts := []string{"one empty", "one null"} // of which other texts may be embedded
	for name, data := range map[string]string{
		"one":         `[{"index":0,"embedding":[1]}]`,
		"the same":    `[{"index":0,"embedding":[1]},{"index":1,"embedding":[2]},{"index":1,"embedding":[3]}]`,
		"one too far": `[{"index":0,"embedding":[1]},{"index":2,"embedding":[2]}]`,
		"one twice":   `[{"index":1,"embedding":[1]},{"index":1,"embedding":[2]},{"index":0,"embedding":[3]}]`,
		"one empty":   `[{"index":0,"embedding":[1]},{"index":1,"embedding":[]}]`,
		"one null":    `[{"index":0,"embedding":[1]},{"index":1,"embedding":[null]}]`,
		"one longer":  `[{"index":0,"embedding":[1]},{"index":1,"embedding":[1,2]}]`,
	} {
		fake.Fail(1, backendtest.Respond(200, "application/json", `{"data":`+data+`}`))
		want := backend.Server
		if slices.Contains(badTexts, name) {
			want = backend.BadOutput
		}
		if _, err := host.Embed(t.Context(), &req); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want class %q", name, err, want)
		}
	}
	fake.Fail(1, backendtest.Respond(200, "application/json", `{"data":[{"index":1,"embedding":"AAAAQA=="},{"index":0,"embedding":"AACAPw=="}]}`))
	if got, err := host.Embed(t.Context(), &req); err != nil || fmt.Sprint(got.Embeddings) != "[[1] [2]]" {
		t.Errorf("base64: got %v, %v", got, err)
	}
	fake.Fail(1, backendtest.Respond(200, "application/json", `{"error":{"message":"boom"}}`))
	if _, err := host.Embed(t.Context(), &req); !errors.Is(err, backend.Server) || !strings.Contains(err.Error(), "boom") {
		t.Errorf("an error as an answer: got %v", err)
	}
	fake.Fail(1, backendtest.Respond(200, "application/json", `{"object":7,"model":null,"usage":"none","data":[{"object":[],"index":"1","embedding":[2]},{"index":0.0,"embedding":[1]}]}`))
	got, err := host.Embed(t.Context(), &req)
	if err != nil || got.Embeddings[0][0] != 1 || got.Embeddings[1][0] != 2 {
		t.Errorf("in any order: got %+v, %v", got, err)
	}
}

func TestAnswerThatIsFinishedDoesNotWaitForItsCountForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := backendtest.New("a").FailWhen(func(backendtest.Call) backendtest.Fault {
			return func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
				backendtest.Respond(200, "text/event-stream", `data: {"choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}]}`+"\n\n")(w, r, serve)
				http.NewResponseController(w).Flush()
				backendtest.Hang(w, r, serve)
			}
		})
		t.Cleanup(fake.Close)
		host := open(t, dialed(fake))
		began := time.Now()
		got, err := ask(t, host)
		if err != nil || got.Text != "hi" || got.Tokens != 1 || time.Since(began) > 11*time.Second {
			t.Errorf("after %v: got %+v, %v", time.Since(began), got, err)
		}
	})
}

// timed serves events with pauses between them.
func timed(pause time.Duration, events ...string) *backendtest.Host {
	return backendtest.New("a").FailWhen(func(backendtest.Call) backendtest.Fault {
		return func(w http.ResponseWriter, r *http.Request, _ http.HandlerFunc) {
			w.Header().Set("Content-Type", "text/event-stream")
			for _, e := range events {
				_, _ = io.WriteString(w, "data: "+e+"\n\n")
				_ = http.NewResponseController(w).Flush()
				select {
				case <-time.After(pause):
				case <-r.Context().Done():
					return
				}
			}
		}
	})
}

func TestWhatComesLateStillCounts(t *testing.T) {
	const part = `{"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}`
	const count = `{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":9}}`
	for name, c := range map[string]struct {
		events []string
		pause  time.Duration
		text   string
		tokens int
	}{
		"a reason with each part":       {[]string{part, part, part, part, part, "[DONE]"}, 700 * time.Millisecond, "xxxxx", 5},
		"such parts with longer pauses": {[]string{part, part, part, "[DONE]"}, 5 * time.Second, "xxx", 3},
		"the count":                     {[]string{part, count, "[DONE]"}, 4 * time.Second, "x", 12},
		"the count, and no end mark":    {[]string{part, count}, 4 * time.Second, "x", 12},
	} {
		synctest.Test(t, func(t *testing.T) {
			fake := timed(c.pause, c.events...)
			t.Cleanup(fake.Close)
			got, err := ask(t, open(t, dialed(fake)))
			if err != nil || got.Text != c.text || got.PromptTokens+got.Tokens != c.tokens || got.DoneReason != "stop" {
				t.Errorf("%s: got %+v, %v", name, got, err)
			}
		})
	}
}

func TestFinishedAnswerIsNotLostWhenItsCallerLeavesBeforeTheCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := timed(time.Hour, `{"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}`)
		t.Cleanup(fake.Close)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		got, err := open(t, dialed(fake)).Generate(ctx, &backend.GenerateRequest{Model: "m", Prompt: "?"}, nil)
		if err != nil || got.Text != "x" || got.DoneReason != "stop" {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

func TestModelsAreListedInEveryForm(t *testing.T) {
	for _, body := range []string{
		`{"object":"list","data":[{"id":"a","created":1.7e9,"owned_by":7},{"id":"b","created":"today"}],"first_id":null}`,
		`[{"id":"a","created":1700000000},{"id":"b","pricing":{}}]`,
		`{"data":[{"id":"a","created":1700000000,"object":[]},{"id":"b","created":null}],"object":1}`,
	} {
		fake := backendtest.New("a").Break(backendtest.Respond(200, "application/json", body))
		got, err := open(t, openai.Options{URL: fake.Listen(t) + "/v1"}).Models(t.Context())
		if err != nil || len(got) != 2 || got[0].Name != "a" || got[0].ModifiedAt.Unix() != 1_700_000_000 || got[1].Name != "b" {
			t.Errorf("%s: got %+v, %v", body, got, err)
		}
	}
}
