package gateway_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/pool"
)

// watched is a response that notes when it was flushed.
type watched struct {
	*httptest.ResponseRecorder
	at []time.Time
}

func (w *watched) Flush() { w.at = append(w.at, time.Now()); w.ResponseRecorder.Flush() }

func TestPiecesAreSentAsTheyCome(t *testing.T) {
	t.Parallel()
	for path, body := range map[string]string{
		"/api/chat":            `{"model":"tiny","messages":[{"role":"user","content":"?"}]}`,
		"/v1/chat/completions": `{"model":"tiny","messages":[{"role":"user","content":"?"}],"stream":true}`,
	} {
		story(t, func(t *testing.T, c *client) {
			c.use(pool.Options{Slots: 1}, backendtest.New("gpu-1").Answer("one two three").TokenTime(time.Second))
			w, began := &watched{ResponseRecorder: httptest.NewRecorder()}, time.Now()
			c.serve(w, t.Context(), "POST", path, body)
			if len(w.at) < 3 || w.at[0].Sub(began) != time.Second || w.at[2].Sub(began) != 3*time.Second {
				t.Errorf("%s: flushed at %v, begun at %v: %s", path, w.at, began, w.Body)
			}
		})
	}
}

func TestStreamThatBreaksOffEndsWithAnErrorOfItsAPI(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ path, body, want string }{
		{"/api/generate", `{"model":"tiny","prompt":"?"}`, "\n" + `{"error":"the answer broke off: `},
		{"/api/chat", `{"model":"tiny","messages":[{"role":"user","content":"?"}]}`, "\n" + `{"error":"the answer broke off: `},
		{"/v1/chat/completions", `{"model":"tiny","messages":[{"role":"user","content":"?"}],"stream":true}`, "\n\n" + `data: {"error":{"message":"the answer broke off: `},
		{"/v1/completions", `{"model":"tiny","prompt":"?","stream":true}`, "\n\n" + `data: {"error":{"message":"the answer broke off: `},
	} {
		story(t, func(t *testing.T, c *client) {
			c.use(pool.Options{Slots: 1}, backendtest.New("gpu-1").Answer("one two three").TokenTime(time.Second).FailWhen(func(backendtest.Call) backendtest.Fault { return backendtest.Cut(2) }))
			got := c.ask("POST", row.path, row.body)
			if got.status != 200 || !strings.Contains(got.body, "one ") || !strings.Contains(got.body, row.want) || strings.Contains(got.body, "[DONE]") {
				t.Errorf("%s: got %d %s", row.path, got.status, got.body)
			}
		})
	}
}

func TestStreamBeginsAgainForCallersWhoKnowThat(t *testing.T) {
	t.Parallel()
	story(t, func(t *testing.T, c *client) {
		host := backendtest.New("gpu-1").Answer("one two three").TokenTime(time.Second)
		host.Fail(1, backendtest.Cut(2))
		c.use(pool.Options{Slots: 1, Retries: 1}, host)
		got := c.ask("POST", "/api/generate", `{"model":"tiny","prompt":"?"}`, "X-Ollama-MCP-Resume", "whole")
		text, again := "", 0
		for _, chunk := range got.chunks(t) {
			if chunk["ollama_mcp_again"] == true {
				text, again = "", again+1
			}
			part, _ := chunk["response"].(string)
			text += part
		}
		if text != "one two three" || again != 1 {
			t.Errorf("got %q, begun again %d times: %s", text, again, got.body)
		}
	})
}

func TestClientThatLeavesEndsTheWork(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"model":"tiny","prompt":"?"}`, `{"model":"tiny","prompt":"?","stream":false}`} {
		story(t, func(t *testing.T, c *client) {
			c.use(pool.Options{Slots: 1}, backendtest.New("gpu-1").Answer("one two three").TokenTime(10*time.Second))
			ctx, leave := context.WithTimeout(t.Context(), 15*time.Second)
			defer leave()
			w, began := httptest.NewRecorder(), time.Now()
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			time.AfterFunc(15*time.Second, cancel)
			c.serve(w, ctx, "POST", "/api/generate", body)
			synctest.Wait()
			if s := c.host.Stats(); time.Since(began) != 15*time.Second || s.InFlight != 0 || s.Left != 1 {
				t.Errorf("after %v the host has %+v", time.Since(began), s)
			}
		})
	}
}

// broken is a response whose client has left.
type broken struct{ http.ResponseWriter }

func (broken) Write([]byte) (int, error) { return 0, http.ErrAbortHandler }

func TestClientThatTakesNoMoreEndsTheWork(t *testing.T) {
	t.Parallel()
	story(t, func(t *testing.T, c *client) {
		c.use(pool.Options{Slots: 1}, backendtest.New("gpu-1").Answer("one two three").TokenTime(10*time.Second))
		began := time.Now()
		c.serve(broken{httptest.NewRecorder()}, t.Context(), "POST", "/api/generate", `{"model":"tiny","prompt":"?"}`)
		synctest.Wait()
		if s := c.host.Stats(); time.Since(began) > 15*time.Second || s.InFlight != 0 {
			t.Errorf("after %v the host has %+v", time.Since(began), s)
		}
	})
}

func TestModelsArePulledCopiedMadeAndDeleted(t *testing.T) {
	t.Parallel()
	story(t, func(t *testing.T, c *client) {
		c.use(pool.Options{Slots: 1}, backendtest.New("gpu-1").Pulls(
			backendtest.PullStep{Step: backend.Step{Status: "pulling 0123", Digest: "sha256:0123", Total: 100, Completed: 40}},
			backendtest.PullStep{Step: backend.Step{Status: "pulling 0123", Digest: "sha256:0123", Total: 100, Completed: 100}, After: 2 * time.Second},
		))
		pulled := c.ask("POST", "/api/pull", `{"model":"new"}`).chunks(t)
		if last := pulled[len(pulled)-1]; last["status"] != "success" || len(pulled) < 2 {
			t.Errorf("got %v", pulled)
		}
		seen := false
		for _, line := range pulled {
			seen = seen || line["total"] == 100.0 && line["completed"] == 40.0
		}
		if !seen {
			t.Errorf("no line says how far the pull was: %v", pulled)
		}
		if got := c.ask("POST", "/api/pull", `{"name":"another","stream":false}`); got.body != `{"status":"success"}` {
			t.Errorf("in one answer: got %s", got.body)
		}
		if got := c.ask("POST", "/api/copy", `{"source":"tiny","destination":"copy"}`); got.status != 200 || got.body != "" || !c.host.Has("copy") {
			t.Errorf("the copy: got %d %s", got.status, got.body)
		}
		if got := c.ask("POST", "/api/create", `{"model":"made","from":"tiny","system":"be brief"}`).chunks(t); got[len(got)-1]["status"] != "success" || !c.host.Has("made") {
			t.Errorf("the new one: got %v", got)
		}
		if got := c.ask("DELETE", "/api/delete", `{"model":"copy"}`); got.status != 200 || c.host.Has("copy") {
			t.Errorf("deleted: got %d %s", got.status, got.body)
		}
		for _, row := range []struct{ method, path, body, want string }{
			{"DELETE", "/api/delete", `{"model":"absent"}`, "model 'absent' not found"},
			{"POST", "/api/copy", `{"source":"absent","destination":"x"}`, "model 'absent' not found"},
			{"POST", "/api/create", `{"model":"x","files":{"a":"sha256:0"}}`, "files"},
			{"POST", "/api/pull", `{"model":"example.com/x"}`, "example.com"},
			{"POST", "/api/pull", `{}`, "model is required"},
		} {
			if got := c.ask(row.method, row.path, row.body); got.status < 400 || !strings.Contains(got.body, row.want) {
				t.Errorf("%s %s: got %d %s", row.path, row.body, got.status, got.body)
			}
		}
	})
}
