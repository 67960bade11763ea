// Command record asks every release of Ollama that is tested the same things, and writes
// the answers, byte for byte, to one folder per version: HTTP responses as
// net/http.ReadResponse reads them. They are the test data of internal/backend/ollama.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"ollama-mcp/internal/e2e/engine"
	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: record FOLDER")
	}
	for _, release := range []ollamatest.Release{ollamatest.Oldest, ollamatest.Usual, ollamatest.Newest} {
		if err := record(ctx, release, args[0]); err != nil {
			return err
		}
	}
	return nil
}

// An exchange is a request, and the name of the file for its answer.
type exchange struct{ name, path, body string }

const (
	user     = `"messages":[{"role":"user","content":"hi"}]`
	weather  = `"tools":[{"type":"function","function":{"name":"get_weather","description":"d","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}]`
	noReload = `"keep_alive":"1h"`
)

var exchanges = []exchange{
	{"version", "/api/version", ""},
	{"tags", "/api/tags", ""},
	{"show", "/api/show", `{"model":"tiny-toolcall"}`},
	{"generate", "/api/generate", `{"model":"tiny-says","prompt":"hi",` + noReload + `}`},
	{"generate-cut", "/api/generate", `{"model":"tiny-loops","prompt":"hi","options":{"num_predict":3}}`},
	{"generate-thinking", "/api/generate", `{"model":"tiny-thinks","prompt":"hi","think":true}`},
	{"generate-format", "/api/generate", `{"model":"tiny-json","prompt":"hi","format":"json"}`},
	{"generate-endless", "/api/generate", `{"model":"tiny-stutters","prompt":"hi"}`},
	{"chat", "/api/chat", `{"model":"tiny-says",` + user + `}`},
	{"chat-tools", "/api/chat", `{"model":"tiny-toolcall",` + user + `,` + weather + `}`},
	{"chat-thinking", "/api/chat", `{"model":"tiny-thinks",` + user + `,"think":true}`},
	{"chat-format", "/api/chat", `{"model":"tiny-json",` + user + `,"format":{"type":"object","properties":{"answer":{"type":"integer"}},"required":["answer"]}}`},
	{"embed", "/api/embed", `{"model":"tiny-words","input":["docker","bread"]}`},
	{"ps", "/api/ps", ""},
	{"error-missing", "/api/generate", `{"model":"none","prompt":"hi"}`},
	{"error-no-thinking", "/api/chat", `{"model":"tiny-says",` + user + `,"think":true}`},
	{"error-no-tools", "/api/chat", `{"model":"tiny-says",` + user + `,` + weather + `}`},
	{"error-no-embedding", "/api/chat", `{"model":"tiny-words",` + user + `}`},
	{"error-think-level", "/api/chat", `{"model":"tiny-thinks",` + user + `,"think":"utmost"}`},
	{"error-too-long", "/api/generate", `{"model":"tiny-says","prompt":"` + strings.Repeat("word ", 200) + `","truncate":false,"options":{"num_ctx":256}}`},
	{"error-embed-too-long", "/api/embed", `{"model":"tiny-words","input":["` + strings.Repeat("word ", 600) + `"],"truncate":false}`},
}

// asked are the ways to ask the engine for something, for its failures.
var asked = []exchange{
	{"generate", "/api/generate", `{"model":"tiny-says","prompt":"hi"}`},
	{"chat", "/api/chat", `{"model":"tiny-says",` + user + `}`},
	{"native", "/api/chat", `{"model":"tiny-toolcall-native",` + user + `,` + weather + `}`},
	{"embed", "/api/embed", `{"model":"tiny-words","input":["docker"]}`},
}

// natives are models whose chats the engine of the newest release renders and parses.
var natives = []tinymodels.Model{tinymodels.Says.Native(), tinymodels.ToolCall.Native(), tinymodels.Thinks.Native()}

var nativeExchanges = []exchange{
	{"native-generate", "/api/generate", `{"model":"tiny-says-native","prompt":"hi"}`},
	{"native-chat", "/api/chat", `{"model":"tiny-says-native",` + user + `}`},
	{"native-tools", "/api/chat", `{"model":"tiny-toolcall-native",` + user + `,` + weather + `}`},
	{"native-thinking", "/api/chat", `{"model":"tiny-thinks-native",` + user + `,"think":true}`},
	{"error-native-too-long", "/api/chat", `{"model":"tiny-says-native","messages":[{"role":"user","content":"` + strings.Repeat("word ", 200) + `"}],"truncate":false,"options":{"num_ctx":256}}`},
}

// failures are what an engine of the newest release does when it fails.
var failures = map[string]engine.Script{
	"error-memory-at-start": {AtStart: true, Stderr: "cudaMalloc failed: out of memory\nerror loading model: unable to allocate CUDA0 buffer"},
	"error-exit":            {Exit: true},
	"error-exit-halfway":    {Exit: true, Pieces: 2},
	"error-memory":          {Status: 500, Body: `{"error":{"code":500,"message":"CUDA error: out of memory","type":"server_error"}}`},
	"error-context":         {Status: 400, Body: `{"error":{"code":400,"message":"the request exceeds the available context size, try increasing it","type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":4096}}`},
	"error-vector":          {Path: "/v1/embeddings", Status: 500, Body: `{"error":{"code":500,"message":"failed to encode response: json: unsupported value: NaN","type":"server_error"}}`},
}

func record(ctx context.Context, release ollamatest.Release, folder string) (err error) {
	models, all := tinymodels.All, exchanges
	if release == ollamatest.Newest {
		models, all = slices.Concat(models, natives), slices.Concat(all, nativeExchanges)
	}
	s, err := ollamatest.Launch(ctx, ollamatest.Options{Release: release, Models: models, Env: []string{"OLLAMA_MAX_LOADED_MODELS=20"}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	version, err := s.Client().Version(ctx)
	if err != nil {
		return err
	}
	folder = filepath.Join(folder, version)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, e := range all {
		if err := e.write(ctx, s.URL(), folder); err != nil {
			return err
		}
	}
	if release != ollamatest.Newest {
		return crash(ctx, s, folder)
	}
	for name, script := range failures {
		for _, e := range asked {
			embeds := e.path == "/api/embed"
			if script.Path == "" && !(embeds && script.Pieces > 0) || script.Path != "" && embeds {
				if err := fail(ctx, s, script, exchange{name + "-" + e.name, e.path, e.body}, folder); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// fail records what a server makes of a failure of its engine. The engines that run begin
// anew before that, without a fault.
func fail(ctx context.Context, s *ollamatest.Server, script engine.Script, e exchange, folder string) error {
	if err := s.Script(engine.Script{}); err != nil {
		return err
	}
	if err := s.Restart(ctx); err != nil {
		return err
	}
	if !script.AtStart {
		if err := e.send(ctx, s.URL(), io.Discard); err != nil {
			return err
		}
	}
	if err := s.Script(script); err != nil {
		return err
	}
	return e.write(ctx, s.URL(), folder)
}

// crash records an answer that ends with the process that runs the model.
func crash(ctx context.Context, s *ollamatest.Server, folder string) error {
	e := exchange{"error-exit-halfway-generate", "/api/generate", `{"model":"tiny-loops","prompt":"hi"}`}
	var got bytes.Buffer
	var died error
	err := e.send(ctx, s.URL(), &onNewline{to: &got, after: 3, do: func() {
		_, died = s.Crash()
	}})
	if err := errors.Join(err, died); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, e.name+".http"), shortened(got.Bytes()), 0o644)
}

// shortened leaves a response its head and its first three and its last two lines: how
// many came before a process died is chance.
func shortened(response []byte) []byte {
	head, body, _ := bytes.Cut(response, []byte("\n\n"))
	lines := bytes.SplitAfter(bytes.TrimSpace(body), []byte("\n"))
	if len(lines) > 5 {
		lines = append(lines[:3], lines[len(lines)-2:]...)
	}
	return append(append(head, "\n\n"...), append(bytes.Join(lines, nil), '\n')...)
}

// onNewline does something once, when so many lines have come.
type onNewline struct {
	to    io.Writer
	after int
	do    func()
}

func (w *onNewline) Write(p []byte) (int, error) {
	before := w.after
	w.after -= bytes.Count(p, []byte("\n"))
	if before > 0 && w.after <= 0 {
		w.do()
	}
	return w.to.Write(p)
}

func (e exchange) write(ctx context.Context, url, folder string) error {
	var got bytes.Buffer
	if err := e.send(ctx, url, &got); err != nil {
		return fmt.Errorf("%s: %w", e.name, err)
	}
	return os.WriteFile(filepath.Join(folder, e.name+".http"), got.Bytes(), 0o644)
}

// send writes the response to a request. Of its head it keeps what decides how it is read.
func (e exchange) send(ctx context.Context, url string, to io.Writer) error {
	method := http.MethodPost
	if e.body == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, method, url+e.path, strings.NewReader(e.body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := fmt.Fprintf(to, "HTTP/1.1 %s\nContent-Type: %s\n\n", resp.Status, resp.Header.Get("Content-Type")); err != nil {
		return err
	}
	_, err = io.Copy(to, resp.Body)
	return err
}
