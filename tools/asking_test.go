package tools

import (
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
)

func TestProgressTellsOfTheTryThatIsFurtherOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := backendtest.New("gpu-1").Open(t), backendtest.New("gpu-2").Open(t)
		a := newAsking()
		var said []string
		says := func() { said = append(said, a.progress.Message()) }
		nothing := func() {}

		first := a.begins(work{host: one}, outcome{}, "loading m on gpu-1", false)
		time.Sleep(2 * time.Second)
		says()
		second := a.begins(work{host: two}, outcome{}, "reading the prompt on gpu-2", true)
		time.Sleep(time.Second)
		says()
		late, quick := first.answering(nothing), second.answering(nothing)
		late(backend.Piece{Text: "a"})
		says()
		for range 3 {
			quick(backend.Piece{Text: "b"})
			time.Sleep(time.Second)
		}
		says()
		if come, w := a.partial(); come.answer.Text != "bbb" || w.host != two {
			t.Errorf("come is %+v of %v", come.answer, w.host)
		}
		second.failed(t.Context(), errors.New("gone"))
		says()
		if come, w := a.partial(); come.answer.Text != "a" || w.host != one {
			t.Errorf("after gpu-2 has failed: come is %+v of %v", come.answer, w.host)
		}
		first.failed(t.Context(), errors.New("gone"))
		says()
		if _, w := a.partial(); w.host != nil {
			t.Errorf("both have failed, and %v is said to work", w.host)
		}

		want := []string{
			"loading m on gpu-1 (2 s)",
			"asking gpu-2 too, since gpu-1 is late (1 s)",
			"1 tokens",
			"3 tokens, 1/s",
			"1 tokens, 0/s",
			"looking for another host",
		}
		if !reflect.DeepEqual(said, want) {
			t.Errorf("got  %q\nwant %q", said, want)
		}
	})
}
