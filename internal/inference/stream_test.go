package inference_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/moderation"
	"ollama-mcp/pool"
)

// received is what a caller was given of a stream.
type received struct {
	pieces         []inference.Piece
	at             []time.Duration // of the pieces, from the call
	text, thinking string
	resp           *inference.Response
	err            *fault.Error
}

// stream makes a request for a stream. change may change it; nil leaves it as it is.
func (c *client) stream(prompt string, change func(*inference.Request)) (r received) {
	c.t.Helper()
	began := time.Now()
	req := inference.Request{Common: inference.Common{Model: "tiny"}, Kind: inference.Chat, Messages: []backend.Message{{Role: "user", Content: prompt}}, Thoughts: true}
	req.Stream = func(p inference.Piece) error {
		r.pieces, r.at = append(r.pieces, p), append(r.at, time.Since(began))
		if p.Again {
			r.text, r.thinking = "", ""
		}
		r.text, r.thinking = r.text+p.Text, r.thinking+p.Thinking
		return nil
	}
	if change != nil {
		change(&req)
	}
	var err error
	if r.resp, err = c.engine.Do(c.t.Context(), req); err != nil {
		r.err = fault.Of(err)
	}
	return r
}

func TestPiecesOfAStreamComeWhenTheHostSendsThem(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1").Answer("one two three").FirstTokenTime(5 * time.Second).TokenTime(time.Second))
		r := c.stream("?", nil)
		if got := fmt.Sprint(r.at); r.err != nil || r.text != "one two three" || got != "[5s 6s 7s]" && got != "[6s 7s 8s]" {
			t.Errorf("got %q at %v, %v", r.text, r.at, r.err)
		}
		if p := r.pieces[0]; p.Text != "one " || p.Served.Host != "gpu-1" || p.Served.Source != inference.Local || p.Served.Trace != r.resp.Served.Trace {
			t.Errorf("the first piece is %+v", p)
		}
		if r.resp.Text != r.text || r.resp.Metrics.Tokens != 3 {
			t.Errorf("the response is %+v", r.resp)
		}
	})
}

func TestFailureBeforeTheFirstPieceIsNotSeen(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		bad := backendtest.New("bad").Break(backendtest.Busy)
		good := backendtest.New("good").Answer("one two")
		c.useAll(pool.Options{Slots: 1}, bad, good)
		for range 3 {
			if r := c.stream("?", nil); r.err != nil || r.text != "one two" || r.pieces[0].Served.Host != "good" {
				t.Errorf("got %+v", r)
			}
		}
	})
}

func TestFailureBehindTheFirstPieceEndsTheStreamUnlessItMayBeginAgain(t *testing.T) {
	for _, restart := range []bool{false, true} {
		story(t, func(t *testing.T, c *client) {
			bad := backendtest.New("bad").Answer("one two three four").TokenTime(time.Second).FailWhen(func(backendtest.Call) backendtest.Fault { return backendtest.Cut(2) })
			good := backendtest.New("good").Answer("eins zwei drei").TokenTime(10 * time.Second)
			c.useAll(pool.Options{Slots: 1}, bad, good)
			var broken received
			for range 4 { // the pool may ask the good host first
				if broken = c.stream("?", func(r *inference.Request) { r.Restart = restart }); len(broken.pieces) > 0 && broken.pieces[0].Served.Host == "bad" {
					break
				}
			}
			if len(broken.pieces) == 0 || broken.pieces[0].Served.Host != "bad" {
				t.Fatalf("the bad host was never asked: %+v", broken)
			}
			last := broken.pieces[len(broken.pieces)-1]
			switch {
			case !restart && (broken.err == nil || broken.text != "one two " || !strings.Contains(broken.err.Message, "broke off")):
				t.Errorf("got %q, %v", broken.text, broken.err)
			case restart && (broken.err != nil || !last.Again || last.Text != "eins zwei drei" || last.Served.Host != "good"):
				t.Errorf("got %+v, %v", broken.pieces, broken.err)
			}
		})
	}
}

func TestWhatHasArrivedBeforeAFailureIsSentThoughItsCallerReadsSlowly(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("bad").Answer("one two three four").TokenTime(time.Second).FailWhen(func(backendtest.Call) backendtest.Fault { return backendtest.Cut(3) }))
		r := c.stream("?", func(r *inference.Request) {
			read := r.Stream
			r.Stream = func(p inference.Piece) error { time.Sleep(10 * time.Second); return read(p) }
		})
		if r.err == nil || r.text != "one two three " {
			t.Errorf("got %q, %v, want all that came before the failure", r.text, r.err)
		}
	})
}

func TestThoughtsThatBreakOffBeginAgain(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		reply := func(backendtest.Call) backendtest.Reply {
			return backendtest.Reply{Thinking: "let me see", Text: "the answer"}
		}
		bad := backendtest.New("bad").AnswerWith(reply).TokenTime(time.Second).FailWhen(func(backendtest.Call) backendtest.Fault { return backendtest.Cut(2) })
		c.useAll(pool.Options{Slots: 1}, bad, backendtest.New("good").AnswerWith(reply).TokenTime(time.Second))
		for range 3 {
			if r := c.stream("?", nil); r.err != nil || r.text != "the answer" || !strings.HasSuffix(r.thinking, "let me see") {
				t.Errorf("got %q, thinking %q, %v", r.text, r.thinking, r.err)
			}
		}
	})
}

func TestCallsThatShareAnAnswerEachGetItsStreamFromTheBeginning(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Answer("one two three four five").TokenTime(time.Second))
		var all sync.WaitGroup
		results := make([]received, 4)
		for i := range results {
			all.Go(func() {
				time.Sleep(time.Duration(i) * 1500 * time.Millisecond)
				results[i] = c.stream("?", func(r *inference.Request) {
					if i == 1 { // one that reads slowly
						read := r.Stream
						r.Stream = func(p inference.Piece) error { time.Sleep(time.Minute); return read(p) }
					}
				})
			})
		}
		all.Wait()
		for i, r := range results {
			if r.err != nil || r.text != "one two three four five" || i > 0 && r.pieces[0].Served.Source != inference.Coalesced {
				t.Errorf("call %d got %q, %v in %+v", i, r.text, r.err, r.pieces)
			}
			if i != 1 && r.at[len(r.at)-1] > 5*time.Second {
				t.Errorf("call %d had to wait for the slow one: %v", i, r.at)
			}
		}
		if n := len(host.Calls()); n != 1 {
			t.Errorf("the host was asked %d times", n)
		}
		if s := host.Stats(); s.Held > 6*time.Second {
			t.Errorf("the slow one has held the slot for %v", s.Held)
		}
		if r := c.stream("?", nil); r.text != "one two three four five" || len(r.pieces) != 1 || r.pieces[0].Served.Source != inference.Cached {
			t.Errorf("of a cached answer: got %+v", r.pieces)
		}
	})
}

func TestStreamIsHeldBackWhereTheWholeAnswerIsChecked(t *testing.T) {
	for _, row := range []struct {
		rule moderation.Rule
		code fault.Code
	}{
		{moderation.Rule{Name: "secret", Pattern: `\btwo\b`}, ""},
		{moderation.Rule{Name: "secret", Pattern: "t[wo]+"}, ""},
		{moderation.Rule{Name: "secret", Pattern: "two", Refuse: true}, fault.Refused},
	} {
		story(t, func(t *testing.T, c *client) {
			c.filtering(nil, row.rule)
			c.use(backendtest.New("gpu-1").Answer("one two three").TokenTime(time.Second))
			r := c.stream("?", nil)
			switch {
			case row.code != "" && (r.err == nil || r.err.Code != row.code || len(r.pieces) > 0):
				t.Errorf("%+v: got %+v, %v", row.rule, r.pieces, r.err)
			case row.code == "" && (r.err != nil || len(r.pieces) != 1 || r.text != "one [removed] three"):
				t.Errorf("%+v: got %+v, %v", row.rule, r.pieces, r.err)
			}
		})
	}
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1").Answer(`{"a": 1}`).TokenTime(time.Second))
		if r := c.stream("?", func(r *inference.Request) { r.Format = []byte(`{"type":"object"}`) }); r.err != nil || len(r.pieces) != 1 || r.text != `{"a": 1}` {
			t.Errorf("with a format: got %+v", r.pieces)
		}
	})
}

func TestStreamIsMaskedWhileItComesIfMatchesAreBounded(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.filtering(nil, moderation.Rule{Name: "secret", Pattern: "(?i)two three"})
		c.use(backendtest.New("gpu-1").AnswerWith(func(backendtest.Call) backendtest.Reply {
			return backendtest.Reply{Thinking: "is it TWO THREE or not", Text: "zero one two three four five six seven two"}
		}).TokenTime(time.Second))
		for range 2 { // from the host, and perhaps from the cache
			r := c.stream("?", nil)
			if r.err != nil || r.text != "zero one [removed] four five six seven two" || r.thinking != "is it [removed] or not" {
				t.Errorf("got %q, thinking %q, %v", r.text, r.thinking, r.err)
			}
			if got := strings.Join(r.resp.Served.Filtered, " "); got != "secret" {
				t.Errorf("the result names the rules %q", got)
			}
			if r.resp.Served.Source == inference.Local && (len(r.pieces) < 5 || r.at[0] > 5*time.Second) {
				t.Errorf("the pieces came at %v: %+v", r.at, r.pieces)
			}
		}
	})
}

// TestMatchOfARuleNeverLeavesWithAnErrorThatEndsAStream breaks answers off within and behind a
// match, and has them begin anew.
func TestMatchOfARuleNeverLeavesWithAnErrorThatEndsAStream(t *testing.T) {
	for at := range 7 {
		for _, restart := range []bool{false, true} {
			story(t, func(t *testing.T, c *client) {
				c.filtering(nil, moderation.Rule{Name: "secret", Pattern: "two three"})
				host := backendtest.New("gpu-1").Answer("zero one two three four five six").TokenTime(time.Second)
				host.Fail(1, backendtest.Cut(at))
				c.use(host)
				r := c.stream("?", func(r *inference.Request) { r.Restart = restart })
				all := r.text
				if r.err != nil {
					all += r.err.Message + r.err.Hint + r.err.Partial
				} else if r.text != "zero one [removed] four five six" {
					t.Errorf("cut at %d: got %q", at, r.text)
				}
				for _, p := range r.pieces {
					all += p.Text
				}
				if strings.Contains(all, "two") || strings.Contains(all, "three") || restart && r.err != nil {
					t.Errorf("cut at %d: got %+v, %v", at, r.pieces, r.err)
				}
			})
		}
	}
}

func TestCallerWhoTakesNoMorePiecesEndsTheWork(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Answer("one two three four").TokenTime(5 * time.Second))
		began := time.Now()
		r := c.stream("?", func(r *inference.Request) { r.Stream = func(inference.Piece) error { return errors.New("gone") } })
		if r.err == nil || r.err.Code != fault.Cancelled || time.Since(began) > 10*time.Second {
			t.Errorf("after %v: got %v", time.Since(began), r.err)
		}
		synctest.Wait()
		if s := host.Stats(); s.InFlight != 0 || s.Left != 1 {
			t.Errorf("the host goes on: %+v", s)
		}
	})
}

func TestAnswerThatIsStreamedIsNotReplacedByThatOfAHedge(t *testing.T) {
	storyWith(t, &client{cacheOff: true}, func(t *testing.T, c *client) {
		c.opts.HedgeAfter = time.Second
		slow := backendtest.New("slow").Answer("one two three four five six").FirstTokenTime(5 * time.Second).TokenTime(2 * time.Second)
		quick := backendtest.New("quick").Answer("eins zwei drei vier").FirstTokenTime(8 * time.Second)
		c.useHosts(&pair{Pool: c.pool(pool.Options{}, slow, quick), hosts: [2]*pool.Pool{c.pool(pool.Options{}, slow), c.pool(pool.Options{}, quick)}})
		r := c.stream("?", nil)
		if r.err != nil || r.text != "one two three four five six" || r.resp.Served.Host != "slow" {
			t.Errorf("got %q from %s, %v", r.text, r.pieces[0].Served.Host, r.err)
		}
	})
}

// TestStreamSaysWhatTheWholeAnswerSays streams answers with markup and characters that nobody
// sees, which come in words, as they are and masked.
func TestStreamSaysWhatTheWholeAnswerSays(t *testing.T) {
	for _, rules := range [][]moderation.Rule{nil, {{Name: "rule", Pattern: "an answer|hm so|think"}}} {
		filter, err := moderation.NewFilter(rules, nil)
		if err != nil {
			t.Fatal(err)
		}
		storyWith(t, &client{cacheOff: true}, func(t *testing.T, c *client) {
			var text string
			c.set(&inference.Settings{Filter: filter})
			c.use(backendtest.New("gpu-1").AnswerWith(func(backendtest.Call) backendtest.Reply { return backendtest.Reply{Text: text} }).TokenTime(time.Millisecond))
			for _, text = range []string{
				"<think>hm so</think>an answer", " <think> hm so </think> an answer", "<think> hm so", "< b > an answer", "[THINK] ◁/think▷ so [/THINK] an answer",
				"◁think▷ a ◁/think▷ <think> b </think> é", "so it is \u202e <think> of that", "so </think>\nan answer", "analysis of it all", "<|start_response|> an answer <|end_response|>",
				"\n an answer", "<thi nking", "<|channel|>analysis<|message|>so <|end|><|start|>assistant<|channel|>final<|message|>an answer", "   ",
			} {
				streamed := c.stream("?", nil)
				whole, err := c.engine.Do(t.Context(), inference.Request{Common: inference.Common{Model: "tiny"}, Kind: inference.Chat, Messages: []backend.Message{{Role: "user", Content: "?"}}, Thoughts: true})
				if (err != nil) != (streamed.err != nil) {
					t.Fatalf("%q: the stream got %v, the whole %v", text, streamed.err, err)
				}
				// An answer that began as plain text goes on as plain text, whatever comes.
				if err == nil && streamed.text != whole.Text && streamed.text != filter.Review().Text(text) {
					t.Errorf("%q: the stream says %q, the whole %q", text, streamed.text, whole.Text)
				}
				if rules != nil && (strings.Contains(streamed.text, "an answer") || strings.Contains(streamed.thinking, "hm so")) {
					t.Errorf("%q: the stream says %q, thinking %q", text, streamed.text, streamed.thinking)
				}
			}
		})
	}
}
