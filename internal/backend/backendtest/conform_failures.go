package backendtest

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ollama-mcp/internal/backend"
)

// failure is something that goes wrong before the first piece.
type failure struct {
	name  string
	fault Fault
	class backend.Class
}

var failures = []failure{
	{"queue full", Busy, backend.Overload},
	{"rate limit", Refuse(429, "slow down"), backend.Overload},
	{"internal error", Refuse(500, "internal server error"), backend.Server},
	{"process gone", Refuse(500, "llama runner process has terminated"), backend.Crashed},
	{"process of a newer engine gone", Refuse(400, "llama-server process no longer running: 134 GGML_ASSERT failed"), backend.Crashed},
	{"no connection to the process", Refuse(400, `Post "http://127.0.0.1:40123/tokenize": EOF`), backend.Crashed},
	{"out of memory at the start", Refuse(500, "llama-server process has terminated: exit status 1: cudaMalloc failed: out of memory\nerror loading model: unable to allocate CUDA0 buffer"), backend.NoRoom},
	{"out of memory, in JSON", Refuse(400, `tokenize error: {"error":{"code":500,"message":"CUDA error: out of memory","type":"server_error"}}`), backend.NoRoom},
	{"broken model", Refuse(500, "error loading model: unknown model architecture: 'qwen9'"), backend.Unloadable},
	{"bad tool call", Refuse(500, "error parsing tool call: raw='{\"a\":', err=unexpected end of JSON input"), backend.BadOutput},
	{"too long, in JSON", Refuse(500, `tokenize error: {"error":{"code":400,"message":"the request exceeds the available context size","n_prompt_tokens":9000,"n_ctx":4096}}`), backend.TooLong},
	{"timeout in the host", Refuse(500, "Post \"/completion\": context deadline exceeded"), backend.Server},
	{"bad gateway", Respond(502, "text/html", "<html>Bad Gateway"), backend.Server},
	{"empty error", Respond(500, "text/plain", ""), backend.Server},
	{"cancelled by the host", Refuse(499, "request canceled"), backend.Server},
	{"no such model", Refuse(404, "model 'tiny' not found"), backend.ModelMissing},
	{"no such model to load", Refuse(404, `model "tiny" not found, try pulling it first`), backend.ModelMissing},
	{"no such page", Respond(404, "text/plain", "404 page not found"), backend.Server},
	{"no such page in HTML", Respond(404, "text/html", "<title>model not found</title>"), backend.Server},
	{"too long", Refuse(400, tooLong), backend.TooLong},
	{"too long from an older host", Refuse(500, tooLong), backend.TooLong},
	{"too long after truncation", Refuse(400, "input after truncation exceeds maximum context length"), backend.TooLong},
	{"unauthorized", Refuse(401, "unauthorized"), backend.Unauthorized},
	{"forbidden", Refuse(403, "no"), backend.Unauthorized},
	{"bad request", Refuse(400, `"tiny" does not support chat`), backend.Request},
	{"too large", Refuse(413, "request body too large"), backend.Request},
	{"garbage", Garbage, backend.Server},
	{"HTML", HTML, backend.Server},
	{"empty", Empty, backend.Server},
	{"redirect", Respond(307, "text/html", "", "Location", "/elsewhere"), backend.Server},
	{"reset", Reset, backend.Transport},
}

// misleading are failures that Ollama gives the wrong status.
var misleading = []failure{
	{"bad format, called internal", Refuse(500, `invalid format: "x"; expected "json" or a valid JSON Schema object`), backend.Request},
	{"bad image, called internal", Refuse(500, "Failed to create new sequence: failed to process inputs: image: unknown format"), backend.Request},
	{"model too large, called internal", Refuse(500, "model requires more system memory (476.8 GiB) than is available (21.6 GiB)"), backend.NoRoom},
	{"crash, called internal", Refuse(500, "an error was encountered while running the model: CUDA error: out of memory"), backend.Crashed},
	{"crash a moment ago", Refuse(500, "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error"), backend.Crashed},
	{"runner died while it embedded, called bad", Refuse(400, `do embedding request: Post "http://127.0.0.1:35795/embedding": EOF`), backend.Crashed},
	{"runner died in its answer, called bad", Refuse(400, "error reading embed response: unexpected EOF"), backend.Crashed},
	{"runner gone, called bad", Refuse(400, "unexpected server status: llm server error"), backend.Server},
}

// streamFailures are failures only of an answer that is streamed.
var streamFailures = []failure{
	{"error line", ErrorLine("boom"), backend.Server},
	{"error line about length", ErrorLine(tooLong), backend.TooLong},
	{"other JSON", Respond(200, "application/json", `{"items":[]}`), backend.Server},
	{"cut at once", Cut(0), backend.Server},
}

func failuresHaveClasses(t *testing.T, host *Host, b backend.Backend) {
	for _, f := range slices.Concat(failures, streamFailures) {
		for way := range askers {
			failsTo(t, host, b, way, f)
		}
	}
	for _, f := range failures {
		failsTo(t, host, b, "embed", f)
	}
}

func blameIsPutRight(t *testing.T, host *Host, b backend.Backend) {
	for _, f := range misleading {
		for _, way := range []string{"generate", "chat", "embed"} {
			failsTo(t, host, b, way, f)
		}
	}
}

// failsTo checks the class of one failed call.
func failsTo(t *testing.T, host *Host, b backend.Backend, way string, f failure) {
	t.Helper()
	ask := askers[way]
	if way == "embed" {
		ask = embedOne
	}
	host.Fail(1, f.fault)
	if got, err := ask(t.Context(), b, "go"); backend.ClassOf(err) != f.class || got != nil {
		t.Errorf("%s, %s: got %v and error %v, want class %q", way, f.name, got, err, f.class)
	}
}

func failedListsHaveClasses(t *testing.T, host *Host, b backend.Backend) {
	lists := map[string]func() error{
		"models":  func() error { _, err := b.Models(t.Context()); return err },
		"running": func() error { _, err := b.Running(t.Context()); return err },
		"show":    func() error { _, err := b.Show(t.Context(), Tiny); return err },
		"version": func() error { _, err := b.Version(t.Context()); return err },
	}
	for _, f := range failures {
		for way, list := range lists {
			var asked atomic.Bool
			host.Break(func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
				asked.Store(true)
				f.fault(w, r, serve)
			})
			err := list()
			switch {
			case asked.Load():
				if backend.ClassOf(err) != f.class {
					t.Errorf("%s, %s: got error %v, want class %q", way, f.name, err, f.class)
				}
			case err != nil || way == "models": // a kind may know the rest without asking
				t.Errorf("%s, %s: the host was not asked: %v", way, f.name, err)
			}
		}
	}
}

func errorsNameTheHost(t *testing.T, host *Host, b backend.Backend) {
	for _, f := range failures {
		host.Fail(1, f.fault)
		_, err := generate(t.Context(), b, "go")
		if err == nil || !strings.HasPrefix(err.Error(), b.Name()+": ") {
			t.Errorf("%s: got %v, want it to begin with %q", f.name, err, b.Name())
			continue
		}
		if strings.Contains(err.Error(), "://") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q has an address or several lines", f.name, err)
		}
	}
	host.Fail(1, Refuse(429, "slow down", "Retry-After", "7"))
	_, err := embedOne(t.Context(), b, "go")
	if e, ok := errors.AsType[*backend.Error](err); !ok || e.RetryAfter != 7*time.Second || e.Status != 429 || e.Message != "slow down" {
		t.Errorf("got %+v, want the host's own words, status and 7 s", err)
	}
}

func unfinishedAnswerIsAnError(t *testing.T, host *Host, b backend.Backend) {
	host.Answer("one two three four")
	for name, f := range map[string]Fault{
		"cut":            Cut(2),
		"ended":          Undone(2),
		"error in place": ErrorAfter(2, "the runner is gone"),
	} {
		for path, ask := range askers {
			host.Fail(1, f)
			got, err := ask(t.Context(), b, "go")
			if !errors.Is(err, backend.Server) {
				t.Errorf("%s, %s: got error %v, want class %q", path, name, err, backend.Server)
			}
			if got == nil || got.Text != "one two " || got.DoneReason != "" {
				t.Errorf("%s, %s: got answer %+v, want the two pieces that came", path, name, got)
			}
		}
	}
}

func tooFewVectors(t *testing.T, host *Host, b backend.Backend) {
	_, err := b.Embed(t.Context(), &backend.EmbedRequest{Model: Tiny, Input: ""}) // Ollama answers it with no vector
	if !errors.Is(err, backend.Request) {
		t.Errorf("an empty input: got %v, want class %q", err, backend.Request)
	}
	host.Fail(1, Respond(http.StatusOK, "application/json", `{"embeddings":[[1,0]]}`))
	if _, err = b.Embed(t.Context(), &backend.EmbedRequest{Model: Tiny, Input: []string{"a", "b"}}); !errors.Is(err, backend.Server) {
		t.Errorf("one vector for two inputs: got %v", err)
	}
}
