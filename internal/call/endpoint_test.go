package call_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"ollama-mcp/internal/call"
)

// running serves a tool, and what a test answers calls of it.
func running(t *testing.T, answer func(w http.ResponseWriter, req *http.Request, id int)) (url string) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var m struct {
			ID     int
			Method string
			Params struct {
				Name string
				Meta map[string]any `json:"_meta"`
			}
		}
		body, err := io.ReadAll(req.Body)
		if err = errors.Join(err, json.Unmarshal(body, &m)); err != nil {
			t.Error(err)
		}
		revision := req.Header.Get("MCP-Protocol-Version")
		if req.Header.Get("Mcp-Method") != m.Method || req.Header.Get("Mcp-Name") != m.Params.Name || m.Params.Meta["io.modelcontextprotocol/protocolVersion"] != revision {
			t.Errorf("the headers of %+v are %v", m, req.Header)
		}
		if m.Method == "tools/list" {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%d,"result":{"tools":[{"name":"ask","inputSchema":{"type":"object"}}]}}`, m.ID)
			return
		}
		answer(w, req, m.ID)
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/mcp"
}

// stream answers with events, each of them as it is written.
func stream(events string) func(http.ResponseWriter, *http.Request, int) {
	return func(w http.ResponseWriter, _ *http.Request, id int) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		io.WriteString(w, strings.ReplaceAll(events, "ID", fmt.Sprint(id)))
	}
}

func status(code int, body string) func(http.ResponseWriter, *http.Request, int) {
	return func(w http.ResponseWriter, _ *http.Request, id int) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		io.WriteString(w, strings.ReplaceAll(body, "ID", fmt.Sprint(id)))
	}
}

func TestAnswersOfARunningServerAreRead(t *testing.T) {
	const (
		progress = `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"ask","progress":1,"message":"queued"}}`
		half     = `{"jsonrpc":"2.0","id":ID,"result":`
		rest     = `{"content":[{"type":"text","text":"hello"}]}}`
	)
	for _, c := range []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request, int)
		key    string
		status int
		stdout string
		stderr string // part of it
	}{
		{name: "JSON", answer: status(200, half+rest), stdout: "hello\n"},
		{name: "events", answer: stream(": one\n\nid: 7\ndata: " + progress + "\n\ndata:" + half + "\ndata: " + rest + "\n\n"), stdout: "hello\n", stderr: "queued"},
		{name: "events with CRLF", answer: stream("event: message\r\ndata: " + half + rest + "\r\n\r\n"), stdout: "hello\n"},
		{name: "events without an answer", answer: stream("data: " + progress + "\n\n"), status: 3, stderr: "error: the answer broke off"},
		{name: "half an event", answer: stream("data: " + half + rest + "\n"), status: 3, stderr: "error: the answer broke off"},
		{name: "error of the protocol", answer: status(400, `{"jsonrpc":"2.0","id":ID,"error":{"code":-32602,"message":"no such tool"}}`), status: 1, stderr: "error: no such tool\n"},
		{name: "no key", answer: status(401, `{"error":"unauthorized"}`), status: 3, stderr: "error: the server wants a key"},
		{name: "wrong key", answer: status(401, ""), key: "omcp_x", status: 3, stderr: "error: the server does not accept the key"},
		{name: "key that has expired", answer: status(401, `{"error":"invalid_token","error_description":"the key has expired; ask for a new one"}`), key: "omcp_x", status: 3, stderr: "error: the server does not accept the key in OLLAMA_MCP_KEY: the key has expired; ask for a new one\n"},
		{name: "refused", answer: status(403, `{"error":"forbidden","error_description":"the host is not allowed"}`), status: 3, stderr: "error: the server answered 403 Forbidden: the host is not allowed\n"},
		{name: "a proxy's error", answer: status(502, "<html>"), status: 3, stderr: "error: the server answered 502 Bad Gateway\n"},
		{name: "another server", answer: status(200, "<html>"), status: 3, stderr: "the URL usually ends in /mcp"},
		{name: "another path", answer: status(405, "no"), status: 3, stderr: "the URL usually ends in /mcp"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, errs strings.Builder
			got := call.Run(t.Context(), call.Options{URL: running(t, c.answer), Key: c.key, Tool: "ask", Progress: true, Stdout: &out, Stderr: &errs})
			if got != c.status || out.String() != c.stdout || !strings.Contains(errs.String(), c.stderr) {
				t.Errorf("status %d, %q, %q; want %d, %q, and in it %q", got, out.String(), errs.String(), c.status, c.stdout, c.stderr)
			}
		})
	}
}

func TestServerThatCannotBeReachedIsSaid(t *testing.T) {
	srv := httptest.NewServer(nil)
	srv.Close()
	var errs strings.Builder
	if status := call.Run(t.Context(), call.Options{URL: srv.URL, Tool: "ask", Stderr: &errs}); status != 3 || !strings.HasPrefix(errs.String(), "error: the server did not answer: ") {
		t.Errorf("status %d, %q", status, errs.String())
	}
}

func TestInterruptClosesTheConnectionToARunningServer(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	closed := make(chan struct{})
	url := running(t, func(_ http.ResponseWriter, req *http.Request, _ int) {
		interrupt()
		<-req.Context().Done()
		close(closed)
	})
	var errs strings.Builder
	if status := call.Run(ctx, call.Options{URL: url, Tool: "ask", Stderr: &errs}); status != 130 || errs.String() != "error: interrupted\n" {
		t.Errorf("status %d, %q", status, errs.String())
	}
	<-closed
}
