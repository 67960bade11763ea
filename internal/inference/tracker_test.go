package inference

import (
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/route"
)

func TestProgressFollowsTheAttemptThatHasComeFarthest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := backendtest.New("gpu-1").Open(t), backendtest.New("gpu-2").Open(t)
		tr := new(tracker)
		var said []string
		says := func() { said = append(said, tr.progress().String()) }

		says()
		first := &attempt{host: one}
		tr.begins(first, Progress{State: Loading, Model: "m", Host: "gpu-1"}, false)
		time.Sleep(2 * time.Second)
		says()
		second := &attempt{host: two}
		tr.begins(second, Progress{State: Reading, Host: "gpu-2"}, true)
		time.Sleep(time.Second)
		says()
		first.add(backend.Piece{Text: "a", TextSoFar: "a"})
		says()
		for _, so := range []string{"b", "bb", "bbb"} {
			second.add(backend.Piece{Text: "b", TextSoFar: so})
			time.Sleep(time.Second)
		}
		says()
		if come, a := tr.partial(); come.answer.Text != "bbb" || a != second {
			t.Errorf("what has arrived is %+v of %v", come.answer, a.host)
		}
		second.failed(false, errors.New("gone"))
		says()
		if come, a := tr.partial(); come.answer.Text != "a" || a != first {
			t.Errorf("after gpu-2 has failed: what has arrived is %+v of %v", come.answer, a.host)
		}
		first.failed(false, errors.New("gone"))
		says()
		if _, a := tr.partial(); a != nil {
			t.Errorf("both have failed, and %v is said to work", a.host)
		}

		want := []string{
			"starting",
			"loading m on gpu-1 (2 s)",
			"asking gpu-2 too, since gpu-1 is late (1 s)",
			"1 token",
			"3 tokens, 1/s",
			"1 token, 0/s",
			"looking for another host",
		}
		if !reflect.DeepEqual(said, want) {
			t.Errorf("got  %q\nwant %q", said, want)
		}
	})
}

func TestProgressFollowsARequestFromTheQueueToItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, place := new(tracker), 3
		says := func(want string) {
			t.Helper()
			if got := tr.progress().String(); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		standing := func() route.Standing {
			return route.Standing{Place: place, Of: 7, Expect: time.Duration(place) * 4 * time.Second}
		}
		tr.queued(standing(), standing)
		says("queued, 3rd of 7, about 12 s")
		place = 1
		says("queued, 1st of 7, about 4 s")
		place = 0
		says("next in the queue")
		a := &attempt{host: backendtest.New("gpu-1").Open(t)}
		tr.begins(a, Progress{State: Loading, Model: "m", Host: "gpu-1"}, false)
		time.Sleep(2 * time.Second)
		says("loading m on gpu-1 (2 s)")
		for range 60 {
			a.add(backend.Piece{Thinking: "hm"})
			time.Sleep(25 * time.Millisecond)
		}
		says("60 tokens, 39/s, thinking")
		a.add(backend.Piece{Text: "yes"})
		time.Sleep(2 * time.Second)
		says("61 tokens, 17/s")
		a.asksAgain()
		time.Sleep(time.Second)
		says("asking again on gpu-1 (1 s)")
	})
}

func TestSecondAnswerReplacesTheFirstOnceItBegins(t *testing.T) {
	tr := new(tracker)
	a := &attempt{host: backendtest.New("gpu-1").Open(t)}
	tr.begins(a, Progress{State: Reading}, false)
	arrived := func() string {
		got, _ := tr.partial()
		return got.answer.Text
	}
	a.add(backend.Piece{Text: "first", TextSoFar: "first"})
	a.asksAgain()
	if got := arrived(); got != "first" {
		t.Errorf("before the second answer begins: got %q", got)
	}
	a.add(backend.Piece{Text: "sec", TextSoFar: "sec"})
	a.add(backend.Piece{Text: "ond", TextSoFar: "second"})
	if got := arrived(); got != "second" {
		t.Errorf("got %q", got)
	}
}

func TestFailureOfAHostIsReportedAndWhenTheNextAttemptBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := new(tracker)
		tr.retrying(route.Retry{Host: "gpu-1", In: 3 * time.Second})
		for _, c := range []struct {
			later time.Duration
			want  string
		}{
			{0, "gpu-1 failed; trying again in 3 s"},
			{2500 * time.Millisecond, "gpu-1 failed; trying again in 1 s"},
			{500 * time.Millisecond, "gpu-1 failed; trying again"},
		} {
			time.Sleep(c.later)
			if got := tr.progress().String(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		}
	})
}

func TestModelCountsAsLoadedForFiveMinutesAfterAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l loads
		if l.isWarm("gpu-1", "m:latest") {
			t.Error("at first: it is taken to be loaded")
		}
		l.answered("gpu-1", "m:latest")
		if !l.isWarm("gpu-1", "m:latest") {
			t.Error("after an answer: it is not taken to be loaded")
		}
		time.Sleep(warmFor)
		if l.isWarm("gpu-1", "m:latest") {
			t.Error("when it is likely to have been unloaded: it is taken to be loaded")
		}
	})
}
