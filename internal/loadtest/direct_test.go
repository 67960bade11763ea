package loadtest_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/loadtest"
)

// direct are the contestants without a pool, each with a host of its own.
func direct(t *testing.T, host *backendtest.Host, key string) (one, many loadtest.Contestant) {
	t.Helper()
	contestants, end := loadtest.Direct(loadtest.Target{URL: host.Listen(t), APIKey: key})
	t.Cleanup(end)
	return contestants[0], contestants[1]
}

// inMemory are the same contestants, connected without a network, for tests that count
// connections. These run in a synctest bubble, since net/http closes a connection instead
// of keeping it when its own goroutines have to wait 50 ms for a processor.
func inMemory(t *testing.T, host *backendtest.Host) (one, many loadtest.Contestant, end func()) {
	t.Helper()
	contestants, end := loadtest.DirectOver(host.Dial, loadtest.Target{URL: "http://host"})
	t.Cleanup(host.Close)
	t.Cleanup(end)
	return contestants[0], contestants[1], end
}

func TestNoConnectionIsLeftOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := backendtest.New("a")
		one, many, end := inMemory(t, host)
		measure(t, loadtest.Options{Contestants: []loadtest.Contestant{one, many}, Callers: []int{4}, Calls: 20})
		end()
		synctest.Wait()
		if open := host.Stats().Open; open != 0 {
			t.Errorf("%d connections are still open", open)
		}
	})
}

func request(kind loadtest.Kind) loadtest.Request {
	return loadtest.Request{Kind: kind, Model: "tiny", Prompt: "one two three four", Tokens: 3, Began: time.Now()}
}

// together makes n calls at once, all of which must be answered.
func together(t *testing.T, c loadtest.Contestant, n int) {
	t.Helper()
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if _, err := c.Do(t.Context(), request(loadtest.Generate)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestOneConnectionIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := backendtest.New("a")
		one, _, _ := inMemory(t, host)
		together(t, one, 8)
		if got := host.Stats(); got.Opened != 1 || got.MaxInFlight != 1 || one.Opened() != 1 {
			t.Errorf("got %+v and %d connections counted, want one, with one call at a time", got, one.Opened())
		}
	})
}

func TestDefaultClientOpensAsManyConnectionsAsThereAreCallsAndKeepsTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := backendtest.New("a")
		host.AnswerWith(func(backendtest.Call) backendtest.Reply { // not before all are there
			if err := host.Wait(t.Context(), func(s backendtest.Stats) bool { return s.InFlight == 8 || s.Finished > 0 }); err != nil {
				t.Error(err)
			}
			return backendtest.Reply{Text: "here"}
		})
		_, many, _ := inMemory(t, host)
		together(t, many, 8)
		synctest.Wait()
		if got := host.Stats(); got.Opened != 8 || got.Open != 2 || many.Opened() != 8 {
			t.Errorf("got %+v and %d connections counted, want eight, of which two are kept", got, many.Opened())
		}
	})
}

func TestConnectionsOfTheCallThatIsNotCountedAreNotEither(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, _, _ := inMemory(t, backendtest.New("a"))
		report := measure(t, loadtest.Options{Contestants: []loadtest.Contestant{one}, Callers: []int{4}, Calls: 20})
		if got := report.Rows[0].Opened; got == nil || *got != 0 {
			t.Errorf("got %v more connections, want 0", got)
		}
	})
}

func TestEveryContestantSendsTheSameRequest(t *testing.T) {
	host := backendtest.New("a")
	one, many := direct(t, host, "")
	pooled := host.Open(t)
	for name, do := range map[string]func(context.Context, loadtest.Request) (loadtest.Result, error){
		"one connection": one.Do,
		"default client": many.Do,
		"backend": func(ctx context.Context, q loadtest.Request) (loadtest.Result, error) {
			return q.On(ctx, pooled, map[string]any{"num_ctx": 2048})
		},
	} {
		got, err := do(t.Context(), request(loadtest.Generate))
		if err != nil || got.Tokens != 3 || got.FirstToken <= 0 {
			t.Errorf("%s, generate: got %+v (%v), want 3 tokens and when the first came", name, got, err)
		}
		if got, err = do(t.Context(), request(loadtest.Embed)); err != nil || got.Tokens != 5 || got.FirstToken != 0 {
			t.Errorf("%s, embed: got %+v (%v), want 5 tokens read and none written", name, got, err)
		}
	}
	for _, call := range host.Calls() {
		if call.Prompt != "one two three four" {
			t.Errorf("%s: the host got the prompt %q", call.Path, call.Prompt)
		}
		if !strings.Contains(string(call.Body), `"truncate":false`) {
			t.Errorf("%s: a prompt that is too long would be cut, and measured", call.Path)
		}
	}
	if got := host.Calls()[len(host.Calls())-1]; got.Model != backendtest.Tiny {
		t.Errorf("the host was called for the model %q", got.Model)
	}
}

func TestFirstTokenIsTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := backendtest.New("a").Answer("1 2 3").TokenTime(time.Second)
		q := request(loadtest.Generate)
		q.Began = time.Now().Add(-time.Minute) // by a caller who had to wait
		got, err := q.On(t.Context(), host.Open(t), nil)
		if want := time.Minute + time.Second; err != nil || got.FirstToken != want {
			t.Errorf("the first token came after %v (%v), want %v", got.FirstToken, err, want)
		}
	})
}

func TestRunnerOptionsAreSentAlongAndKept(t *testing.T) {
	host := backendtest.New("a")
	runner := map[string]any{"num_ctx": 2048}
	for _, kind := range []loadtest.Kind{loadtest.Generate, loadtest.Embed} {
		if _, err := request(kind).On(t.Context(), host.Open(t), runner); err != nil {
			t.Fatal(err)
		}
	}
	for _, call := range host.Calls() {
		if got := call.Options["num_ctx"]; got != 2048.0 {
			t.Errorf("%s: got num_ctx %v, want 2048", call.Path, got)
		}
	}
	if len(runner) != 1 {
		t.Errorf("the lease's options became %v", runner)
	}
}

func TestDirectFailuresHaveAClassAndNoAddress(t *testing.T) {
	for name, c := range map[string]struct {
		fault backendtest.Fault
		want  backend.Class
		words string
	}{
		"busy":        {backendtest.Busy, backend.Overload, "maximum pending requests exceeded"},
		"missing":     {backendtest.Refuse(http.StatusNotFound, "model 'tiny' not found"), backend.ModelMissing, "not found"},
		"no key":      {backendtest.Refuse(http.StatusUnauthorized, "unauthorized"), backend.Unauthorized, "unauthorized"},
		"bad":         {backendtest.Refuse(http.StatusBadRequest, "bad option"), backend.Request, "bad option"},
		"proxy":       {backendtest.Respond(http.StatusBadGateway, "text/html", "<html>"), backend.Server, "502"},
		"reset":       {backendtest.Reset, backend.Transport, ""},
		"cut":         {backendtest.Cut(1), backend.Server, "cut"},
		"undone":      {backendtest.Undone(1), backend.Server, "cut"},
		"error later": {backendtest.ErrorAfter(1, "internal error"), backend.Server, "internal error"},
		"garbage":     {backendtest.Garbage, backend.Server, "cut"},
		"empty":       {backendtest.Empty, backend.Server, "cut"},
	} {
		host := backendtest.New("a").FailWhen(func(backendtest.Call) backendtest.Fault { return c.fault })
		_, many := direct(t, host, "")
		_, err := many.Do(t.Context(), request(loadtest.Generate))
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.words) || strings.Contains(err.Error(), "http://") {
			t.Errorf("%s: got %v, want %q with %q and without an address", name, err, c.want, c.words)
		}
	}
}

func TestAddressThatCannotBeReadIsNotShown(t *testing.T) {
	contestants, end := loadtest.Direct(loadtest.Target{URL: "http://user:secret@[::1"})
	defer end()
	_, err := contestants[0].Do(t.Context(), request(loadtest.Generate))
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, want an error without the password", err)
	}
}

func TestHostsTakeTurnsAndGetTheirKeys(t *testing.T) {
	a, b := backendtest.New("a"), backendtest.New("b")
	contestants, end := loadtest.Direct(
		loadtest.Target{URL: a.Listen(t), APIKey: "key-a"}, loadtest.Target{URL: b.Listen(t) + "/"})
	defer end()
	for range 4 {
		if _, err := contestants[1].Do(t.Context(), request(loadtest.Generate)); err != nil {
			t.Fatal(err)
		}
	}
	for host, key := range map[*backendtest.Host]string{a: "Bearer key-a", b: ""} {
		calls := host.Calls()
		if len(calls) != 2 || calls[0].Header.Get("Authorization") != key {
			t.Errorf("%s: got %d calls with %q, want 2 with %q", host.Name(), len(calls), calls[0].Header.Get("Authorization"), key)
		}
	}
}
