package openai_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/backend/ollama"
	"ollama-mcp/internal/backend/openai"
	"ollama-mcp/internal/backend/remote"
	"ollama-mcp/internal/caller"
)

// mebibyte is a word of 1 MiB.
var mebibyte = strings.Repeat("x", 1<<20-1) + " "

func generate(ctx context.Context, b backend.Backend) error {
	_, err := b.Generate(ctx, &backend.GenerateRequest{Model: backendtest.Tiny, Prompt: "hello"}, nil)
	return err
}

// begun is a host that sends a word of 1 MiB and goes on when the channel is closed.
func begun(name string, goOn <-chan struct{}) *backendtest.Host {
	return backendtest.New(name).Answer(mebibyte + "end").FailWhen(func(backendtest.Call) backendtest.Fault {
		return func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
			serve(&pausing{ResponseWriter: w, flushes: 2, wait: goOn, end: r.Context().Done()}, r)
		}
	})
}

// pausing is a writer that waits after some flushes, each of which ends a piece.
type pausing struct {
	http.ResponseWriter
	flushes   int
	wait, end <-chan struct{}
}

func (p *pausing) Flush() {
	_ = http.NewResponseController(p.ResponseWriter).Flush()
	if p.flushes--; p.flushes == 0 {
		select {
		case <-p.wait:
		case <-p.end:
		}
	}
}

func TestAnswersToOneCallerLeaveRoomForThoseToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := remote.NewMemory(16<<20, 0) // an answer of 1 MiB takes up to 5
		goOn := make(chan struct{})
		host := begun("host", goOn)
		t.Cleanup(host.Close)
		b := open(t, openai.Options{Name: "host", URL: "http://host/v1", DialContext: host.Dial, Memory: memory})
		of := func(id string) context.Context { return caller.NewContext(t.Context(), caller.Caller{ID: id}) }

		first := make(chan error, 2)
		go func() { first <- generate(of("hostile"), b) }()
		synctest.Wait()
		err := generate(of("hostile"), b)
		if !errors.Is(err, backend.TooLarge) || !strings.Contains(err.Error(), "the answers to this caller that are arriving take") {
			t.Errorf("the second answer of a caller got %v", err)
		}
		go func() { first <- generate(of("honest"), b) }()
		synctest.Wait()
		close(goOn)
		for range 2 {
			if err := <-first; err != nil {
				t.Errorf("one answer of each caller: %v", err)
			}
		}
		if held := memory.Held(); held != 0 {
			t.Errorf("%d bytes are held in the end", held)
		}
	})
}

func TestAnswersOfAllHostsTogetherAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const each = 5 << 20 // what an answer of 1 MiB takes, with the buffers for its line and its event
		memory := remote.NewMemory(2*each, 0)
		goOn := make(chan struct{})
		first, second := begun("first", goOn), begun("second", goOn)
		t.Cleanup(first.Close)
		t.Cleanup(second.Close)
		local, err := ollama.New(ollama.Options{Name: "first", DialContext: first.Dial, Memory: memory})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(local.Close)
		cloud := open(t, openai.Options{Name: "second", URL: "http://second/v1", DialContext: second.Dial, Memory: memory})

		ctx, leave := context.WithCancel(t.Context())
		answered, left := make(chan error, 1), make(chan error, 1)
		go func() { answered <- generate(t.Context(), local) }()
		go func() { left <- generate(ctx, cloud) }()
		synctest.Wait()
		before := memory.Held()
		if before < 2<<20 || before > 2*each {
			t.Fatalf("two answers of 1 MiB hold %d bytes", before)
		}
		for range 3 {
			err := generate(t.Context(), cloud)
			if !errors.Is(err, backend.TooLarge) || !strings.Contains(err.Error(), "the answers that are arriving take all of the 10 MiB allowed for them") {
				t.Errorf("a third answer: got %v", err)
			}
		}
		if held := memory.Held(); held != before {
			t.Errorf("refused answers changed what is held from %d to %d bytes", before, held)
		}

		leave()
		if err := <-left; !errors.Is(err, backend.Caller) {
			t.Errorf("the one who left: got %v", err)
		}
		close(goOn)
		if err := <-answered; err != nil {
			t.Errorf("the first: got %v", err)
		}
		if err := generate(t.Context(), cloud); err != nil {
			t.Errorf("after the others: got %v", err)
		}
		if held := memory.Held(); held != 0 {
			t.Errorf("%d bytes are held in the end", held)
		}
	})
}
