package backendtest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
)

// say asks for an answer; options are names and values in turn.
func say(ctx context.Context, b backend.Backend, model, prompt string, options ...any) (*backend.Answer, error) {
	req := &backend.GenerateRequest{Model: model, Prompt: prompt, Options: map[string]any{}}
	for i := 0; i < len(options); i += 2 {
		req.Options[options[i].(string)] = options[i+1]
	}
	return b.Generate(ctx, req, nil)
}

// finished are the times at which n calls, begun together, are answered.
func finished(t *testing.T, n int, call func(i int) error) []time.Duration {
	t.Helper()
	began := time.Now()
	times := make([]time.Duration, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			if err := call(i); err != nil {
				t.Error(err)
			}
			times[i] = time.Since(began)
		})
		synctest.Wait() // so that they arrive in order
	}
	all.Wait()
	return times
}

func TestCallsBeyondTheSlotsWaitInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := backendtest.New("a").Slots(2).TokenTime(time.Second)
		b := host.Open(t)
		got := finished(t, 5, func(int) error { _, err := say(t.Context(), b, "tiny", "word"); return err })
		want := []time.Duration{time.Second, time.Second, 2 * time.Second, 2 * time.Second, 3 * time.Second}
		if !slices.Equal(got, want) {
			t.Errorf("answered after %v, want %v", got, want)
		}
		if s := host.Stats(); s.MaxInFlight != 5 || s.Finished != 5 || s.Held != 5*time.Second {
			t.Errorf("%+v", s)
		}
	})
}

func TestMoreSlotsLetWaitingCallsIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := backendtest.New("a").Slots(1).TokenTime(time.Minute)
		b := host.Open(t)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() { say(t.Context(), b, "tiny", "word") })
		}
		synctest.Wait()
		if s := host.Stats(); s.InFlight != 4 || s.Working != 1 {
			t.Errorf("with one slot: %+v", s)
		}
		host.Slots(0)
		synctest.Wait()
		if s := host.Stats(); s.InFlight != 4 || s.Working != 4 {
			t.Errorf("with any number: %+v", s)
		}
		all.Wait()
	})
}

func TestCallThatLeavesGivesUpItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := backendtest.New("a").Slots(1).TokenTime(time.Minute)
		b := host.Open(t)
		got := finished(t, 3, func(i int) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			if i == 1 {
				ctx, cancel = context.WithTimeout(t.Context(), 10*time.Second)
			}
			defer cancel()
			if _, err := say(ctx, b, "tiny", "word"); err != nil && i != 1 {
				return err
			}
			return nil
		})
		if want := []time.Duration{time.Minute, 10 * time.Second, 2 * time.Minute}; !slices.Equal(got, want) {
			t.Errorf("ended after %v, want %v", got, want)
		}
		if s := host.Stats(); s.Left != 1 || s.Finished != 2 || s.InFlight != 0 || s.Working != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestModelIsLoadedWhenItHasTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := backendtest.New("a").LoadTime(30 * time.Second).Install(backendtest.Model{Name: "slow", LoadTime: time.Minute})
		b := host.Open(t)
		for _, step := range []struct {
			why    string
			before func()
			model  string
			numCtx int
			want   time.Duration
		}{
			{"first call", nil, "tiny", 4096, 30 * time.Second},
			{"second call", nil, "tiny", 4096, 0},
			{"same context, not stated", nil, "tiny", 0, 0},
			{"other context", nil, "tiny", 2048, 30 * time.Second},
			{"slower model", nil, "slow", 0, time.Minute},
			{"both fit", nil, "tiny", 2048, 0},
			{"after keep-alive", func() { time.Sleep(6 * time.Minute) }, "tiny", 2048, 30 * time.Second},
			{"after unload", func() { host.Unload("tiny") }, "tiny", 2048, 30 * time.Second},
			{"only one fits", func() { host.MaxLoaded(1) }, "slow", 0, time.Minute},
			{"the other one again", nil, "tiny", 2048, 30 * time.Second},
		} {
			if step.before != nil {
				step.before()
			}
			var options []any
			if step.numCtx > 0 {
				options = []any{"num_ctx", step.numCtx}
			}
			got, err := say(t.Context(), b, step.model, "word", options...)
			if err != nil || got.Load != step.want || got.Total != step.want {
				t.Errorf("%s: got %+v, %v; want a load of %v", step.why, got, err, step.want)
			}
		}
		if n := host.Stats().Loads; n != 7 {
			t.Errorf("%d loads, want 7", n)
		}
	})
}

func TestModelInUseIsNotUnloadedForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := backendtest.New("a").LoadTime(time.Second).TokenTime(10 * time.Second).MaxLoaded(1).Install(backendtest.Model{Name: "other"})
		b := host.Open(t)
		models := []string{"tiny", "other"}
		got := finished(t, 2, func(i int) error { _, err := say(t.Context(), b, models[i], "word"); return err })
		if want := []time.Duration{11 * time.Second, 22 * time.Second}; !slices.Equal(got, want) {
			t.Errorf("answered after %v, want %v", got, want)
		}
	})
}

func TestUnansweredLoadIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := backendtest.New("a").LoadTime(time.Minute)
		b := host.Open(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := say(ctx, b, "tiny", "word"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if got, err := say(t.Context(), b, "tiny", "word"); err != nil || got.Load != time.Minute {
			t.Errorf("the next call: got %+v, %v", got, err)
		}
	})
}

func TestAnswerEndsAtNumPredict(t *testing.T) {
	b := backendtest.New("a").Answer("one two three").Open(t)
	got, err := say(t.Context(), b, "tiny", "go", "num_predict", 2)
	if err != nil || got.Text != "one two " || got.Tokens != 2 || got.DoneReason != "length" {
		t.Errorf("got %+v, %v", got, err)
	}
}

// slowWriter takes a millisecond for each piece, as a timer may that is late.
type slowWriter struct{ http.ResponseWriter }

func (w slowWriter) Flush() {
	time.Sleep(time.Millisecond)
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

func TestLatePiecesDoNotMakeTheAnswerLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := backendtest.New("a").TokenTime(5 * time.Millisecond).FirstTokenTime(20 * time.Millisecond)
		host.FailWhen(func(backendtest.Call) backendtest.Fault {
			return func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) { serve(slowWriter{w}, r) }
		})
		began := time.Now()
		_, err := say(t.Context(), host.Open(t), "tiny", "1 2 3 4 5 6 7 8 9 10")
		// The pieces take 20 + 10 × 5 ms; the last of them and the end are a millisecond late each.
		if took := time.Since(began); err != nil || took > 72*time.Millisecond {
			t.Errorf("answered after %v, %v", took, err)
		}
	})
}

func TestPromptAboveTheContextIsCutUnlessTruncateIsOff(t *testing.T) {
	b := backendtest.New("a").Answer("yes").Open(t)
	req := &backend.GenerateRequest{Model: "tiny", Prompt: string(make([]byte, 1000)), Options: map[string]any{"num_ctx": 100}}
	if got, err := b.Generate(t.Context(), req, nil); err != nil || got.PromptTokens != 100 {
		t.Errorf("got %+v, %v; want 100 tokens", got, err)
	}
	req.Truncate = new(false)
	if got, err := b.Generate(t.Context(), req, nil); !errors.Is(err, backend.TooLong) {
		t.Errorf("truncate off: got %+v, %v", got, err)
	}
	in := &backend.EmbedRequest{Model: "tiny", Input: []string{"short", req.Prompt}, Options: req.Options, Truncate: req.Truncate}
	if got, err := b.Embed(t.Context(), in); !errors.Is(err, backend.TooLong) {
		t.Errorf("embed: got %+v, %v", got, err)
	}
}

func TestFaultsSpoilWhatTheyWereOrderedFor(t *testing.T) {
	host := backendtest.New("a")
	b := host.Open(t)
	classes := func(prompts ...string) (got []backend.Class) {
		for _, p := range prompts {
			_, err := say(t.Context(), b, "tiny", p)
			got = append(got, backend.ClassOf(err))
		}
		_, err := b.Version(t.Context())
		return append(got, backend.ClassOf(err))
	}
	want := func(when string, got []backend.Class, want ...backend.Class) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", when, got, want)
		}
	}
	host.Fail(2, backendtest.Busy)
	want("fail 2", classes("x", "x", "x"), backend.Overload, backend.Overload, "", "")
	host.FailWhen(func(c backendtest.Call) backendtest.Fault {
		if c.Prompt == "bad" {
			return backendtest.Garbage
		}
		return nil
	})
	want("fail when", classes("good", "bad"), "", backend.Server, "")
	host.Break(backendtest.Busy)
	want("break", classes("x"), backend.Overload, backend.Overload)
	host.Mend()
	want("mend", classes("bad"), "", "")
	host.Down()
	want("down", classes("x"), backend.Transport, backend.Transport)
}

func TestTextsThatShareWordsAreNear(t *testing.T) {
	b := backendtest.New("a").Open(t)
	got, err := b.Embed(t.Context(), &backend.EmbedRequest{Model: "tiny", Input: []string{"what is a red fox", "What is the red fox", "docker container image", "  "}})
	if err != nil {
		t.Fatal(err)
	}
	dot := func(i, j int) (sum float32) {
		for k := range got.Embeddings[i] {
			sum += got.Embeddings[i][k] * got.Embeddings[j][k]
		}
		return sum
	}
	if self := dot(0, 0); self < 0.999 || self > 1.001 {
		t.Errorf("length %v, want 1", self)
	}
	if near, far := dot(0, 1), dot(0, 2); near < 0.5 || far > 0.4 {
		t.Errorf("texts alike are %v alike, others %v", near, far)
	}
}

func TestOldCallsAreForgotten(t *testing.T) {
	host := backendtest.New("a")
	b := host.Open(t)
	const calls = 1100
	for i := range calls {
		if _, err := say(t.Context(), b, "tiny", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	got := host.Calls()
	if n := len(got); n < 500 || n > 1000 || got[n-1].Prompt != fmt.Sprint(calls-1) || host.Stats().Calls != calls {
		t.Errorf("%d calls are remembered of %d", n, host.Stats().Calls)
	}
}

func TestHostServesWithoutATest(t *testing.T) {
	host := backendtest.New("a")
	url, err := host.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(body) != "Ollama is running" {
		t.Errorf("got %q", body)
	}
	host.Close()
	if _, err := client.Get(url); err == nil {
		t.Error("it serves after Close")
	}
	if _, err := host.Dial(t.Context(), "", ""); err == nil {
		t.Error("it can be dialled after Close")
	}
}
