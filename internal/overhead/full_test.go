//go:build !race

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/loadtest"
)

// small is a load of a moment.
var small = load{slots: 4, service: 2 * time.Millisecond, callers: 20, calls: 200, singlePart: 5, otherPart: 5, rounds: 2}

func TestContestAnswersEveryCall(t *testing.T) {
	host := slotted(small.slots, small.service)
	var table strings.Builder
	report, err := contest{small, host.Listen(t), model}.measure(t.Context(), &table, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		name  string
		calls int
	}{
		{"one connection", 40},
		{"default client", 200},
		{"pool", 200},
		{"pool, three times the slots", 40},
		{"pool, learned slots", 40},
	} {
		got := report.Rows[i]
		if got.Contestant != want.name || got.Answered != want.calls || got.Failed != 0 || got.Callers != 20 {
			t.Errorf("got %+v, want %d answers for 20 callers of %s", got, want.calls, want.name)
		}
		if got.Opened == nil {
			t.Errorf("the connections of %s are not counted", got.Contestant)
		}
	}
	if got := host.Stats(); got.Calls != 5+40+200+200+40+40 {
		t.Errorf("the host was asked %d times, want once more for each of five than was counted", got.Calls)
	}
	if want := "one connection made 40 calls, not 200"; !strings.Contains(table.String(), want) {
		t.Errorf("no %q in:\n%s", want, &table)
	}
}

func TestShareOfTheSlotsIsPrinted(t *testing.T) {
	var table strings.Builder
	if err := measureSlots(t.Context(), small, &table, nil); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"4 slots, 2ms for each call", "The pool makes ", " of the 2000.0 requests a second",
		"ms that calls really held them", " of what the default client makes",
	} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in:\n%s", want, &table)
		}
	}
}

func TestContestThatIsStoppedSaysSo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var table strings.Builder
	if err := measureSlots(ctx, small, &table, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if strings.Contains(table.String(), "The pool makes") {
		t.Errorf("a run that was stopped ends with a share:\n%s", &table)
	}
}

func TestPretendHostRefusesWhatItsQueueCannotHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := slotted(1, time.Millisecond)
		defer host.Close()
		client := http.Client{Transport: &http.Transport{DialContext: host.Dial}}
		defer client.CloseIdleConnections()
		ask := func() (status int) {
			resp, err := client.Post("http://host/api/generate", "", strings.NewReader(`{"model":"bench","prompt":"Why?"}`))
			if err != nil {
				t.Error(err)
				return 0
			}
			defer func() { _ = resp.Body.Close() }()
			return resp.StatusCode
		}
		var held sync.WaitGroup
		for range 1 + ollamaQueue {
			held.Go(func() {
				if got := ask(); got != http.StatusOK {
					t.Errorf("got HTTP %d within the queue, want 200", got)
				}
			})
		}
		synctest.Wait()
		if got := ask(); got != http.StatusServiceUnavailable {
			t.Errorf("got HTTP %d beyond the queue, want 503", got)
		}
		held.Wait()
	})
}

func TestRealOllamaIsAskedForItsModel(t *testing.T) {
	host := backendtest.New("real").Remove(backendtest.Tiny).Install(backendtest.Model{Name: "says"})
	var table strings.Builder
	address := strings.TrimPrefix(host.Listen(t), "http://") // as in OLLAMA_HOST
	if err := measureOllama(t.Context(), small, against(controlBinary), plan{ollama: address, model: "says"}, &table); err != nil {
		t.Fatal(err)
	}
	if got, want := host.Stats().Calls, 7+40+200+200+40+40+200+200; got != want {
		t.Errorf("the host was asked %d times, want %d:\n%s", got, want, &table)
	}
	for _, want := range []string{"generate with says", "\nserver: control ", "\nserver: ours ", "medians of 2 rounds:\npool ", "\nserver: control             1.000\n"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in:\n%s", want, &table)
		}
	}
}

func TestQuestionWithoutAnAnswerFails(t *testing.T) {
	for what, result := range map[string]string{
		"an error":     `{"isError":true,"content":[{"type":"text","text":"no host available"}]}`,
		"an empty one": `{"content":[{"type":"text","text":""}]}`,
		"none":         `{"content":[]}`,
	} {
		synctest.Test(t, func(t *testing.T) {
			requests, out := io.Pipe()
			in, answers := io.Pipe()
			c := newClient(out)
			go c.listen(in)
			go func() {
				_, _ = bufio.NewReader(requests).ReadString('\n')
				_, _ = fmt.Fprintf(answers, `{"id":1,"result":%s}`+"\n", result)
				_ = answers.Close()
			}()
			_, err := c.ask(t.Context(), loadtest.Request{Model: "says", Prompt: "Why?"})
			if err == nil || !strings.Contains(err.Error(), "no answer") {
				t.Errorf("%s: got %v, want an error that says so", what, err)
			}
		})
	}
}
