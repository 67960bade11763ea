package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"ollama-mcp/internal/e2e/tinymodels"
)

// A client gives up on each call in half the time that the model writes. Over HTTP it loses its
// connection too.
func TestLongGenerationReachesAClientThatGivesUpEarly(t *testing.T) {
	overHTTP := func(revision string) func(*testing.T) func() *session {
		return func(t *testing.T) func() *session {
			url := serve(t, command(deadline(t), shared.URL(), "--listen=127.0.0.1:0", "--wait=1s", "--result-meta=full")).url()
			return func() *session {
				return join(t, deadline(t), &mcp.StreamableClientTransport{Endpoint: url + "/mcp"}, revision)
			}
		}
	}
	for name, start := range map[string]func(*testing.T) (client func() *session){
		"stdio": func(t *testing.T) func() *session {
			s := connect(t, shared, "OLLAMA_MCP_WAIT=1s", fullMeta)
			return func() *session { return s }
		},
		"HTTP":           overHTTP(""),
		"HTTP as legacy": overHTTP(legacy),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := start(t)
			longEnough(t, func(limit time.Duration) bool {
				call := func(tool, args string) (a answer) {
					t.Helper()
					ctx, giveUp := context.WithTimeout(t.Context(), limit/2)
					defer giveUp()
					res, err := client().CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: json.RawMessage(args)})
					if err == nil {
						a, err = read(res)
					}
					if err != nil {
						t.Logf("%s: %v", tool, err) // the machine is too busy for this limit
					}
					return a
				}
				a := call("generate", fmt.Sprintf(`{"model":%q,"prompt":%q,"timeout_seconds":%v}`, tinymodels.Loops.Name, fresh(), limit.Seconds()))
				id, _ := a.StructuredContent["job"].(string)
				for id != "" && a.StructuredContent["job"] == id {
					a = call("job", `{"id":"`+id+`"}`)
				}
				if a.Meta.Served.DoneReason != "timeout" {
					return false
				}
				if !strings.HasPrefix(a.text(), " tick tock tick") || a.Meta.Served.Total < limit.Milliseconds()/2 {
					t.Errorf("got %.200s… (%+v)", a.text(), a.Meta.Served)
				}
				return true
			})
		})
	}
}

// taskClient makes requests of protocol version 2026-07-28 that declare that the client takes
// tasks. No SDK can do that yet.
type taskClient struct {
	t   *testing.T
	url string
	key string // "" for none
}

// task is a result about a task, or that of a tool.
type task struct {
	ResultType, TaskID, Status string
	PollIntervalMS             int64
	Result                     *answer
	Content                    []struct{ Text string }
	Error                      *struct {
		Code    int
		Message string
	}
}

func (c taskClient) send(method, name, params string) (got task) {
	c.t.Helper()
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":{%s,"_meta":{"io.modelcontextprotocol/protocolVersion":%q,`+
		`"io.modelcontextprotocol/clientInfo":{"name":"e2e","version":"1"},`+
		`"io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}}}`, method, params, modern)
	req, err := http.NewRequestWithContext(c.t.Context(), "POST", c.url+"/mcp", strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for key, value := range map[string]string{"Content-Type": "application/json", "Accept": "application/json", "MCP-Protocol-Version": modern, "Mcp-Method": method, "Mcp-Name": name} {
		req.Header.Set(key, value)
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	var line struct {
		Result *task
		Error  *struct {
			Code    int
			Message string
		}
	}
	if err := json.Unmarshal(raw, &line); err != nil || line.Result == nil && line.Error == nil {
		c.t.Fatalf("%s: got %s, %v", method, raw, err)
	}
	if line.Result == nil {
		return task{Error: line.Error}
	}
	return *line.Result
}

func (c taskClient) about(method, id string) task {
	c.t.Helper()
	return c.send(method, id, fmt.Sprintf(`"taskId":%q`, id))
}

// start calls generate for an answer that has no end, and waits for the task that it becomes.
func (c taskClient) start(limit time.Duration) task {
	c.t.Helper()
	got := c.send("tools/call", "generate", fmt.Sprintf(`"name":"generate","arguments":{"model":%q,"prompt":%q,"timeout_seconds":%v,"wait_seconds":1}`,
		tinymodels.Loops.Name, fresh(), limit.Seconds()))
	if got.ResultType != "task" || got.Status != "working" {
		c.t.Fatalf("got %+v, want a task", got)
	}
	return got
}

// startShort calls generate for a short answer, as a task.
func (c taskClient) startShort() (got task) {
	c.t.Helper()
	for got.TaskID == "" { // which it has not if the answer was there at once
		got = c.send("tools/call", "generate", fmt.Sprintf(`"name":"generate","arguments":{"model":"tiny-says","prompt":%q,"wait_seconds":0}`, fresh()))
	}
	return got
}

func TestLongGenerationIsATaskForClientsThatTakeTasks(t *testing.T) {
	t.Parallel()
	c := taskClient{t: t, url: serve(t, command(deadline(t), shared.URL(), "--listen=127.0.0.1:0", "--result-meta=full")).url()}
	longEnough(t, func(limit time.Duration) bool {
		id := c.start(limit).TaskID
		var got task
		eventually(t, "the task has ended", func() bool {
			got = c.about("tasks/get", id)
			return got.Status != "working"
		})
		if got.Result == nil || got.Result.Meta.Served.DoneReason != "timeout" {
			return false // the machine is too busy for this limit
		}
		if got.Status != "completed" || !strings.HasPrefix(got.Result.text(), " tick tock tick") {
			t.Errorf("got %+v", got)
		}
		return true
	})
	cancelled := c.start(testLimit)
	before := ended(shared, "/api/generate")
	c.about("tasks/cancel", cancelled.TaskID)
	eventually(t, "Ollama has stopped", func() bool { return ended(shared, "/api/generate") > before })
	eventually(t, "the task is cancelled", func() bool { return c.about("tasks/get", cancelled.TaskID).Status == "cancelled" })
}

// A server that is killed leaves its results to the next one with the same state directory, and
// a clear answer for what it was at work on.
func TestKilledServerLeavesResultsAndClearAnswers(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	start := func(addr string) (*listening, taskClient) {
		l := serve(t, command(deadline(t), shared.URL(), "--listen", addr, "--state-dir", state))
		return l, taskClient{t: t, url: l.url()}
	}
	l, c := start("127.0.0.1:0")
	finished := c.startShort()
	working := c.start(testLimit)
	eventually(t, "the short task has ended", func() bool { return c.about("tasks/get", finished.TaskID).Status == "completed" })
	if err := l.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = l.cmd.Wait() // which says that it was killed
	_, c = start(l.addr)
	if got := c.about("tasks/get", finished.TaskID); got.Status != "completed" || got.Result == nil || got.Result.text() != tinymodels.Says.Answer {
		t.Errorf("the task that had ended: got %+v", got)
	}
	if got := c.about("tasks/get", working.TaskID); got.Status != "failed" || got.Result != nil {
		t.Errorf("the task that was worked on: got %+v", got)
	}
	s := join(t, deadline(t), &mcp.StreamableClientTransport{Endpoint: c.url + "/mcp"}, "")
	if a := s.start("job", `{"id":"`+finished.TaskID+`"}`).result(); a.text() != tinymodels.Says.Answer {
		t.Errorf("the job that had ended: got %+v", a)
	}
	wantError(t, s.start("job", `{"id":"`+working.TaskID+`"}`).result(), "cancelled", "ended with the server that ran it; call the tool again")
	wantError(t, s.start("job", `{"id":"nonsense"}`).result(), "not_found", "there is no job")
}
