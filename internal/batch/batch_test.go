package batch_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ollama-mcp/internal/batch"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/inference"
)

// engine answers each prompt after a second with "re: " and the prompt, unless a test has it
// do something else.
type engine struct {
	answer func(ctx context.Context, prompt string) (*inference.Response, error)

	mu       sync.Mutex // guards what follows
	slots    int        // 0 means 1
	digests  string     // of the model
	prompts  []string   // that were asked
	inFlight int
	most     int // in flight at once
}

func (e *engine) Begin(inference.CallInfo) *inference.Call { return new(inference.Call) }

func (e *engine) Keyer(context.Context, inference.Request) (key func(inference.Request) (string, error), digests string, err error) {
	return func(r inference.Request) (string, error) {
		return fmt.Sprintf("%x", fmt.Sprint(r.Model, r.System, r.Prompt, len(r.Images))), nil
	}, e.digests, nil
}

func (e *engine) Slots(string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return max(e.slots, 1)
}

func (e *engine) Do(ctx context.Context, r inference.Request) (*inference.Response, error) {
	e.mu.Lock()
	e.prompts = append(e.prompts, r.Prompt)
	e.inFlight++
	e.most = max(e.most, e.inFlight)
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		e.inFlight--
		e.mu.Unlock()
	}()
	if e.answer != nil {
		return e.answer(ctx, r.Prompt)
	}
	return afterASecond(ctx, r.Prompt)
}

// asked are the prompts since the last time.
func (e *engine) asked() (prompts []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	prompts, e.prompts = e.prompts, nil
	return prompts
}

func afterASecond(ctx context.Context, prompt string) (*inference.Response, error) {
	select {
	case <-time.After(time.Second):
		return &inference.Response{Text: "re: " + prompt}, nil
	case <-ctx.Done():
		return nil, fault.Of(ctx.Err())
	}
}

// values are inputs, each the JSON of a value.
func values(of ...any) (all batch.Values) {
	for _, v := range of {
		raw, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		all = append(all, raw)
	}
	return all
}

func numbers(n int) (all batch.Values) {
	for i := range n {
		all = append(all, json.RawMessage(fmt.Sprintf(`"n%d"`, i)))
	}
	return all
}

func spec(e *engine, j *batch.Journals, in batch.Inputs) batch.Spec {
	return batch.Spec{Engine: e, Journals: j, Template: batch.ParseTemplate("say {{input}}"), Inputs: in}
}

// outputs are what the inputs have ended in: the answer, or the code of the error.
func outputs(b *batch.Batch) (all []string) {
	for i := range b.Len() {
		item := b.Item(i)
		if item.Err != nil {
			all = append(all, string(item.Err.Code))
			continue
		}
		all = append(all, item.Text+string(item.Data))
	}
	return all
}

// does runs a batch and returns what it has come to.
func does(t *testing.T, ctx context.Context, s batch.Spec) ([]string, batch.Summary) {
	t.Helper()
	b, err := batch.New(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	b.Run(ctx)
	sum := b.Summary()
	if sum.Answered+sum.Failed+sum.Unasked != sum.Inputs {
		t.Errorf("the parts of %+v do not add up", sum)
	}
	return outputs(b), sum
}

func memory() *batch.Journals { return batch.NewJournals(batch.JournalOptions{}) }

func TestEveryInputIsAnsweredInItsOrderAndEqualOnesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{slots: 2}
		s := spec(e, memory(), values("a", map[string]any{"x": "b", "n": 7, "o": nil}, "a", 1.5, map[string]any{"input": "own"}))
		s.Template = batch.ParseTemplate("{{ input }}!")
		got, sum := does(t, t.Context(), s)
		if want := []string{"re: a!", `re: {"n":7,"o":null,"x":"b"}!`, "re: a!", "re: 1.5!", "re: own!"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if n := len(e.asked()); n != 4 || sum.Duplicates != 1 || sum.Answered != 5 {
			t.Errorf("%d were asked, %+v", n, sum)
		}
		s.Inputs, s.Template = values(map[string]any{"x": "b", "n": 7, "o": nil}), batch.ParseTemplate("{{x}}{{n}}{{o}}{{x}} {input} }}")
		if got, _ := does(t, t.Context(), s); got[0] != "re: b7b {input} }}" {
			t.Errorf("got %q", got)
		}
	})
}

func TestMistakesInAnyInputAreFoundBeforeAnythingIsAsked(t *testing.T) {
	for name, tc := range map[string]struct {
		template string
		inputs   batch.Inputs
		want     string
	}{
		"no inputs":       {"{{input}}", values(), "there are no inputs"},
		"one too many":    {"{{input}}", numbers(batch.MaxInputs + 1), "at most 10000"},
		"no placeholder":  {"say", values("a"), "has no {{input}}"},
		"null":            {"{{input}}", values("a", nil), "inputs[1] is null"},
		"field of a text": {"{{name}}", values("a"), `inputs[0] has no field "name"`},
		"unknown field":   {"{{nam}}", values(map[string]any{"name": 1}, map[string]any{"name": 2}), "did you mean {{name}}?"},
		"missing field":   {"{{name}}", values(map[string]any{"name": 1}, map[string]any{"other": 2}), `inputs[1] has no field "name" for {{name}}`},
		"empty field":     {"{{}}", values("a"), "its fields are: input"},
		"large":           {"{{input}}", values("a", strings.Repeat("x", 50<<20)), "inputs[1] has 52428802 bytes"},
		"many places":     {strings.Repeat("{{input}}", batch.MaxFields+1), values("a"), "more than 1000 places"},
		"large prompt":    {strings.Repeat("{{input}}", 30), values(strings.Repeat("x", 1<<20)), "the prompt for inputs[0] has"},
	} {
		t.Run(name, func(t *testing.T) {
			e := new(engine)
			s := spec(e, memory(), tc.inputs)
			s.Template = batch.ParseTemplate(tc.template)
			_, err := batch.New(t.Context(), s)
			known, ok := errors.AsType[*fault.Error](err)
			if !ok || known.Code != fault.InvalidArgument || !strings.Contains(known.Error(), tc.want) || len(known.Error()) > 1000 {
				t.Errorf("got %v, want %s", err, tc.want)
			}
			if n := len(e.asked()); n > 0 {
				t.Errorf("%d were asked", n)
			}
		})
	}
}

// A template may name a long input often.
func TestPromptThatWouldBeTooLargeIsNotMade(t *testing.T) {
	in, many := batch.Input{Name: "inputs[0]", Text: strings.Repeat("x", 1<<20)}, batch.ParseTemplate(strings.Repeat("{{input}}", 200))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := many.Render(in)
	runtime.ReadMemStats(&after)
	if made := after.TotalAlloc - before.TotalAlloc; err == nil || !strings.Contains(err.Error(), "has 209715200 bytes") || made > 10<<20 {
		t.Errorf("%d bytes were allocated, and the error is %v", made, err)
	}
}

func TestInputsWaitForMemoryAndGiveItBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const room = 20
		_, dirs := allowed(t, map[string]string{"a.txt": "alpha\nbeta\ngamma\ndelta\n"})
		lines, err := dirs.Lines(t.Context(), "lines", []string{"*.txt"}, 10, 100)
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		taken, most := int64(room), int64(0) // others have all of it
		time.AfterFunc(5*time.Second, func() {
			mu.Lock()
			defer mu.Unlock()
			taken -= room
		})
		s := spec(&engine{slots: 4}, memory(), batch.Lines{Lines: lines})
		s.Hold = func() (func(int64) error, func()) {
			var mine int64
			take := func(bytes int64) error {
				mu.Lock()
				defer mu.Unlock()
				if taken+bytes > room {
					return coded(fault.Overloaded, 0)
				}
				taken, mine, most = taken+bytes, mine+bytes, max(most, taken+bytes)
				return nil
			}
			return take, func() {
				mu.Lock()
				defer mu.Unlock()
				taken -= mine
			}
		}
		got, sum := does(t, t.Context(), s)
		if sum.Answered != 4 || got[3] != "re: say delta" || taken != 0 || most < 14 {
			t.Errorf("got %q, %+v; %d bytes are taken, and %d were at most", got, sum, taken, most)
		}
	})
}

func TestNoMoreIsInFlightThanTheHostsCanBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{slots: 3}
		began := time.Now()
		b, err := batch.New(t.Context(), spec(e, memory(), numbers(200)))
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		go func() {
			time.Sleep(10*time.Second + time.Millisecond)
			if at := b.Progress(); at.Done != 80 || at.Of != 200 || at.Expected.Round(time.Second) != 15*time.Second || !strings.HasPrefix(at.Message, "80 of 200 done, about 15s left") {
				t.Errorf("after 10 s: %+v", at)
			}
			e.mu.Lock()
			defer e.mu.Unlock()
			if e.most != 8 {
				t.Errorf("%d were in flight with 3 slots, want 8", e.most)
			}
			e.slots = 9
		}()
		b.Run(t.Context())
		if e.most != 20 {
			t.Errorf("%d were in flight with 9 slots, want 20", e.most)
		}
		if took := time.Since(began); took != 17*time.Second { // 11 of 8, 6 of 20
			t.Errorf("it took %v, want 17s", took)
		}
	})
}

// fails has an engine fail the first times with some errors, one after the other.
func fails(errs ...error) func(context.Context, string) (*inference.Response, error) {
	var mu sync.Mutex
	return func(ctx context.Context, prompt string) (*inference.Response, error) {
		mu.Lock()
		if len(errs) > 0 {
			err := errs[0]
			errs = errs[1:]
			mu.Unlock()
			return nil, err
		}
		mu.Unlock()
		return afterASecond(ctx, prompt)
	}
}

func coded(code fault.Code, after time.Duration) error {
	return &fault.Error{Code: code, Message: string(code), Retryable: true, RetryAfter: after}
}

func TestInputsThatFindNoRoomAreHeldBackAndNotRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		errs []error
		took time.Duration
	}{
		"queue full":         {[]error{coded(fault.Overloaded, 0), coded(fault.Overloaded, 0), coded(fault.QueueTimeout, 0)}, 9 * time.Second},
		"rate limited":       {[]error{coded(fault.RateLimited, 7*time.Second)}, 11 * time.Second},
		"host gone":          {[]error{coded(fault.NoHost, 0), coded(fault.NoHost, 0), coded(fault.NoHost, 0)}, 6 * time.Second},
		"host gone for long": {[]error{coded(fault.NoHost, time.Minute), coded(fault.NoHost, time.Minute)}, 65 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &engine{answer: fails(tc.errs...)}
				began := time.Now()
				got, sum := does(t, t.Context(), spec(e, memory(), numbers(12)))
				if sum.Answered != 12 || got[0] != "re: say n0" || got[11] != "re: say n11" {
					t.Errorf("got %q, %+v", got, sum)
				}
				if took := time.Since(began); took > tc.took || took < 3*time.Second {
					t.Errorf("it took %v, want at most %v", took, tc.took)
				}
			})
		})
	}
}

func TestFullQueueLowersWhatIsInFlightForATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{slots: 4}
		var refused int
		e.answer = func(ctx context.Context, prompt string) (*inference.Response, error) {
			e.mu.Lock()
			full := e.inFlight > 3
			if full {
				refused++
			}
			e.mu.Unlock()
			if full {
				return nil, coded(fault.Overloaded, time.Second)
			}
			return afterASecond(ctx, prompt)
		}
		began := time.Now()
		_, sum := does(t, t.Context(), spec(e, memory(), numbers(300)))
		if sum.Answered != 300 {
			t.Errorf("got %+v", sum)
		}
		if took := time.Since(began); took > 110*time.Second || refused > 100 {
			t.Errorf("it took %v with %d refusals, want the 100 s that three at a time take, with few", took, refused)
		}
	})
}

func TestCallersLimitsHoldABatchBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := spec(&engine{slots: 10}, memory(), numbers(20))
		next, ended := time.Now(), 0
		s.Admit = func(int) (func(), time.Duration) {
			if wait := time.Until(next); wait > 0 {
				return nil, wait
			}
			next = time.Now().Add(2 * time.Second)
			return func() { ended++ }, 0
		}
		began := time.Now()
		if _, sum := does(t, t.Context(), s); sum.Answered != 20 || ended != 20 {
			t.Errorf("got %+v, and %d ends", sum, ended)
		}
		if took := time.Since(began); took != 39*time.Second {
			t.Errorf("it took %v, want 39s", took)
		}
	})
}

func TestErrorsOfInputsAreCodedInTheirPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{answer: func(ctx context.Context, prompt string) (*inference.Response, error) {
			if strings.HasSuffix(prompt, "1") {
				return nil, coded(fault.Upstream, 0)
			}
			return afterASecond(ctx, prompt)
		}}
		j := memory()
		got, sum := does(t, t.Context(), spec(e, j, values("n0", "n1", "n2", "n1")))
		if want := []string{"re: say n0", "upstream", "re: say n2", "upstream"}; !slices.Equal(got, want) || sum.Failed != 2 || sum.Answered != 2 {
			t.Errorf("got %q, %+v", got, sum)
		}
		e.asked()
		e.answer = nil
		got, sum = does(t, t.Context(), spec(e, j, values("n0", "n1", "n2", "n1")))
		if asked := e.asked(); len(asked) != 1 || sum.Reused != 2 || sum.Answered != 4 || got[3] != "re: say n1" {
			t.Errorf("the second time %q was asked, %+v", asked, sum)
		}
	})
}

func TestBatchWhoseInputsAllFailAlikeEndsEarly(t *testing.T) {
	for code, want := range map[fault.Code]int{fault.ModelNotFound: 1, fault.Unauthorized: 1, fault.Upstream: 8, fault.InvalidArgument: 8} {
		t.Run(string(code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &engine{answer: func(context.Context, string) (*inference.Response, error) {
					return nil, &fault.Error{Code: code, Message: "no"}
				}}
				got, sum := does(t, t.Context(), spec(e, memory(), numbers(1000)))
				if n := len(e.asked()); n > want+3 { // those in flight beside it
					t.Errorf("%d were asked, want about %d", n, want)
				}
				if sum.Stopped == nil || sum.Stopped.Code != code || got[999] != string(code) || sum.Answered != 0 || sum.Unasked < 900 {
					t.Errorf("got %+v, the last %q", sum, got[999])
				}
			})
		})
	}
}

func TestHostsThatStayAwayEndTheBatchAndNothingIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := new(engine)
		began := time.Now()
		e.answer = func(ctx context.Context, prompt string) (*inference.Response, error) {
			if time.Since(began) > 10*time.Second {
				return nil, coded(fault.NoHost, 0)
			}
			return afterASecond(ctx, prompt)
		}
		j := memory()
		_, sum := does(t, t.Context(), spec(e, j, numbers(100)))
		if took := time.Since(began); took < 5*time.Minute || took > 6*time.Minute || sum.Stopped == nil || sum.Stopped.Code != fault.NoHost || sum.Answered < 40 {
			t.Errorf("after %v: %+v", took, sum)
		}
		e.asked()
		e.answer = nil
		_, again := does(t, t.Context(), spec(e, j, numbers(100)))
		if n := len(e.asked()); n != 100-sum.Answered || again.Answered != 100 {
			t.Errorf("then %d were asked, %+v", n, again)
		}
	})
}

func TestWhatIsDoneStaysDoneWhenTheCallEnds(t *testing.T) {
	for name, end := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"timeout": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 5500*time.Millisecond)
		},
		"cancelled": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(5500*time.Millisecond, cancel)
			return ctx, cancel
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, j := new(engine), memory()
				ctx, cancel := end(t.Context())
				defer cancel()
				got, sum := does(t, ctx, spec(e, j, numbers(50)))
				if sum.Answered != 20 || sum.Unasked != 30 || sum.Stopped == nil || got[49] != name {
					t.Errorf("got %+v, the last %s", sum, got[49])
				}
				e.asked()
				got, sum = does(t, t.Context(), spec(e, j, numbers(50)))
				if n := len(e.asked()); n != 30 || sum.Reused != 20 || sum.Answered != 50 || got[49] != "re: say n49" {
					t.Errorf("then %d were asked: %+v", n, sum)
				}
				s := spec(e, j, numbers(50))
				s.Afresh = true
				if _, sum = does(t, t.Context(), s); len(e.asked()) != 50 || sum.Reused != 0 {
					t.Errorf("afresh: %+v", sum)
				}
				s = spec(e, j, numbers(50))
				s.Request.System = "other"
				if _, sum = does(t, t.Context(), s); len(e.asked()) != 50 || sum.Reused != 0 {
					t.Errorf("with another parameter: %+v", sum)
				}
			})
		})
	}
}

func TestAnswerThatWasCutByTheTimeLimitIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, j := new(engine), memory()
		e.answer = func(_ context.Context, prompt string) (*inference.Response, error) {
			return &inference.Response{Text: "so far", Served: inference.Served{DoneReason: "timeout"}, Notes: []string{"cut"}}, nil
		}
		b, err := batch.New(t.Context(), spec(e, j, numbers(1)))
		if err != nil {
			t.Fatal(err)
		}
		b.Run(t.Context())
		if item := b.Item(0); item.Err == nil || item.Err.Code != fault.Timeout || item.Err.Partial != "so far" {
			t.Errorf("got %+v", item)
		}
		b.Close()
		e.answer = nil
		if got, _ := does(t, t.Context(), spec(e, j, numbers(1))); got[0] != "re: say n0" {
			t.Errorf("got %q", got)
		}
	})
}

// A batch that is interrupted at any time, and fails in any way, has all answers after enough
// calls, and no question is asked again once it was answered.
func TestEveryQuestionIsAnsweredOnceWhateverHappens(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		inputs := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g", "h"}), 1, 12).Draw(rt, "inputs")
		errs := rapid.SliceOfN(rapid.SampledFrom([]fault.Code{
			fault.Overloaded, fault.RateLimited, fault.QueueTimeout, fault.NoHost, fault.Upstream, fault.Timeout, fault.InvalidArgument, "",
		}), 0, 30).Draw(rt, "errors")
		patience := rapid.SliceOfN(rapid.IntRange(1, 20), 0, 5).Draw(rt, "seconds until each call is cancelled")
		synctest.Test(t, func(t *testing.T) {
			answered := make(map[string]int)
			e := &engine{slots: rapid.IntRange(1, 4).Draw(rt, "slots")}
			var mu sync.Mutex
			e.answer = func(ctx context.Context, prompt string) (*inference.Response, error) {
				mu.Lock()
				var code fault.Code
				if len(errs) > 0 {
					code, errs = errs[0], errs[1:]
				}
				mu.Unlock()
				if code != "" {
					return nil, coded(code, 0)
				}
				resp, err := afterASecond(ctx, prompt)
				if err == nil {
					mu.Lock()
					answered[prompt]++
					mu.Unlock()
				}
				return resp, err
			}
			var in []any
			for _, text := range inputs {
				in = append(in, text)
			}
			j := memory()
			for call := 0; ; call++ {
				ctx, cancel := t.Context(), func() {}
				if call < len(patience) {
					ctx, cancel = context.WithTimeout(ctx, time.Duration(patience[call])*time.Second-time.Millisecond)
				}
				got, sum := does(t, ctx, spec(e, j, values(in...)))
				cancel()
				for i, output := range got {
					if answer := "re: say " + inputs[i]; output != answer && strings.HasPrefix(output, "re:") {
						t.Fatalf("input %d has the answer %q, want %q", i, output, answer)
					}
				}
				if sum.Answered == len(inputs) {
					break
				}
				if call > 50 {
					t.Fatalf("after %d calls: %+v", call, sum)
				}
			}
			for prompt, n := range answered {
				if n != 1 {
					t.Errorf("%q was answered %d times", prompt, n)
				}
			}
		})
	})
}

func FuzzTemplate(f *testing.F) {
	f.Add("say {{input}}{{ input }}", "x")
	f.Add("{{{input}}} {{\n}}", "{{input}}")
	f.Fuzz(func(t *testing.T, text, input string) {
		got, err := batch.ParseTemplate(text).Render(batch.Input{Name: "inputs[0]", Text: input})
		if err != nil {
			if known, ok := errors.AsType[*fault.Error](err); !ok || known.Code != fault.InvalidArgument {
				t.Errorf("got %v", err)
			}
			return
		}
		// What is in an input is never taken for a place of the template.
		if n := strings.Count(text, "{{input}}"); n > 0 && len(input) > 0 && strings.Count(text, "{{") == n {
			if want := strings.ReplaceAll(text, "{{input}}", input); got != want {
				t.Errorf("%q with %q is %q, want %q", text, input, got, want)
			}
		}
	})
}
