package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/jobs"
	"ollama-mcp/server"
)

// taskInfo is what tests look at in a result about a task.
type taskInfo struct {
	Type          string `json:"resultType"`
	ID            string `json:"taskId"`
	Status        string
	StatusMessage string
	CreatedAt     time.Time
	LastUpdatedAt time.Time
	TTL           int64 `json:"ttlMs"`
	PollInterval  int64 `json:"pollIntervalMs"`
	Result        *mcp.CallToolResult
	Error         *struct {
		Code    int
		Message string
		Data    map[string]any
	}
	InputRequests map[string]struct{ Method string }
}

func readTask(t testing.TB, m message) (info taskInfo) {
	t.Helper()
	var line struct{ Result *taskInfo }
	if err := json.Unmarshal([]byte(m.line), &line); err != nil || line.Result == nil {
		t.Fatalf("got %s, %v, want a result", m.line, err)
	}
	return *line.Result
}

// declaring is a request of protocol version 2026-07-28 whose client takes tasks.
func declaring(request string) string {
	return strings.Replace(modern(request), `clientCapabilities":{}`, `clientCapabilities":{"elicitation":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}`, 1)
}

// about is a request about a task.
func about(method, task, more string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":2,"method":%q,"params":{"taskId":%q%s,"_meta":{"x":1}}}`, method, task, more)
}

func (r *remote) startTask(tool string, more ...string) taskInfo {
	r.t.Helper()
	return readTask(r.t, r.post(declaring(call("1", tool, "{}")), append(modernHeader("tools/call", tool), more...)...).message())
}

func (r *remote) ask(method, task, params string, more ...string) reply {
	r.t.Helper()
	return r.post(declaring(about(method, task, params)), append(modernHeader(method, task), more...)...)
}

func (r *remote) get(task string, more ...string) taskInfo {
	r.t.Helper()
	return readTask(r.t, r.ask("tasks/get", task, "", more...).message())
}

// slowTools take a minute, or until they are cancelled.
func slowTools() []mcpserver.ServerTool {
	slow := func(name string, end func() (*mcp.CallToolResult, error)) mcpserver.ServerTool {
		return tool(name, func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			if job := jobs.FromContext(ctx); job != nil {
				job.Reports(func() jobs.Progress { return jobs.Progress{Message: "at work"} })
			}
			select {
			case <-time.After(time.Minute):
				return end()
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		})
	}
	return []mcpserver.ServerTool{
		slow("slow", func() (*mcp.CallToolResult, error) { return mcp.NewToolResultText("done"), nil }),
		slow("fails", func() (*mcp.CallToolResult, error) { return mcp.NewToolResultError("it failed"), nil }),
		slow("breaks", func() (*mcp.CallToolResult, error) { return nil, errors.New("it broke") }),
		slow("panics", func() (*mcp.CallToolResult, error) { panic("a secret") }),
		says("quick", func(context.Context, mcp.CallToolRequest) string { return "done" }),
		tool("asks", func(ctx context.Context, call mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			if name, ok := call.Params.InputResponses["name"]; ok {
				if err := name.DecodeFor(mcp.MethodElicitationCreate); err != nil {
					return nil, err
				}
				return mcp.NewToolResultText(fmt.Sprint(call.Params.RequestState, " ", name.Elicitation.Content)), nil
			}
			time.Sleep(time.Minute)
			return &mcp.CallToolResult{
				Result: mcp.Result{ResultType: mcp.ResultTypeInputRequired},
				MultiRoundTripResult: mcp.MultiRoundTripResult{RequestState: "state", InputRequests: mcp.InputRequests{
					"name": mcp.NewElicitationInputRequest(mcp.ElicitationParams{Message: "Who?", RequestedSchema: map[string]any{"type": "object"}}),
				}},
			}, nil
		}),
	}
}

// withTasks tells a story of a server whose calls become tasks after ten seconds.
func withTasks(t *testing.T, over server.HTTPOptions, f func(*testing.T, *remote)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		registry := jobs.New(jobs.Options{TTL: time.Hour})
		r := serveInBubble(t, taskServer(registry), over)
		f(t, r)
		registry.Close()
		r.end()
	})
}

func taskServer(registry *jobs.Registry) server.Options {
	o := with(slowTools()...)
	o.Log = logTo(io.Discard)
	o.Tasks = server.TaskOptions{
		Jobs:     registry,
		Tools:    map[string]bool{"slow": false, "fails": true, "breaks": false, "panics": false, "quick": false, "asks": false},
		Wait:     func(any) time.Duration { return 10 * time.Second },
		Replaced: []string{"quick"}, Instructions: "with tasks",
	}
	return o
}

func TestCallThatTakesLongBecomesATask(t *testing.T) {
	withTasks(t, server.HTTPOptions{}, func(t *testing.T, r *remote) {
		began := time.Now()
		task := r.startTask("slow")
		if took := time.Since(began); took != 10*time.Second || task.Type != "task" || task.Status != "working" || task.Result != nil || !task.CreatedAt.Equal(began) {
			t.Errorf("after %v: got %+v, want a task that works", took, task)
		}
		got := r.get(task.ID)
		if got.Type != "complete" || got.ID != task.ID || got.Status != "working" || got.StatusMessage != "at work" || got.TTL < time.Hour.Milliseconds() || got.PollInterval != 2000 {
			t.Errorf("got %+v, want a task that works", got)
		}
		time.Sleep(50 * time.Second)
		synctest.Wait()
		got = r.get(task.ID)
		if got.Status != "completed" || got.Result == nil || got.Result.Content[0].(mcp.TextContent).Text != "done" || got.LastUpdatedAt.Sub(began) != time.Minute {
			t.Errorf("got %+v, want its result", got)
		}
		ack := r.ask("tasks/cancel", task.ID, "").message()
		if a := readTask(t, ack); a.Type != "complete" || a.ID != "" {
			t.Errorf("got %s, want an acknowledgement", ack.line)
		}
		if got := r.get(task.ID); got.Status != "completed" {
			t.Errorf("got %+v after it was cancelled, want what it was", got)
		}
		time.Sleep(time.Hour + time.Second)
		a := r.ask("tasks/get", task.ID, "")
		if m := a.message(); m.Error == nil || m.Error.Code != mcp.INVALID_PARAMS || m.Error.Data.Code != "not_found" || !strings.Contains(m.Error.Message, "not kept any more") {
			t.Errorf("after its time: got %s", m.line)
		}
	})
}

func TestTaskEndsAsItsToolDoes(t *testing.T) {
	withTasks(t, server.HTTPOptions{}, func(t *testing.T, r *remote) {
		failing, breaking, panicking := r.startTask("fails"), r.startTask("breaks"), r.startTask("panics")
		time.Sleep(time.Minute)
		if got := r.get(failing.ID); got.Status != "completed" || got.Result == nil || !got.Result.IsError || got.Error != nil {
			t.Errorf("a tool that says that it failed: got %+v", got)
		}
		if got := r.get(breaking.ID); got.Status != "failed" || got.Result != nil || got.Error == nil || got.Error.Code != mcp.INTERNAL_ERROR || got.Error.Message != "it broke" {
			t.Errorf("a tool that breaks: got %+v", got)
		}
		if got := r.get(panicking.ID); got.Status != "failed" || got.Error == nil || strings.Contains(got.Error.Message, "secret") {
			t.Errorf("a tool that panics: got %+v", got)
		}
		cancelled := r.startTask("slow")
		r.ask("tasks/cancel", cancelled.ID, "")
		synctest.Wait()
		if got := r.get(cancelled.ID); got.Status != "cancelled" || got.Result != nil || got.Error != nil {
			t.Errorf("a task that was cancelled: got %+v", got)
		}
	})
}

func TestOnlyClientsThatDeclareTasksGetThem(t *testing.T) {
	withTasks(t, server.HTTPOptions{}, func(t *testing.T, r *remote) {
		r.call("slow", "{}").want("a client without tasks", "done")
		session := r.initialize()
		r.postIn(session, call("1", "slow", "{}")).want("a client of an older protocol", "done")
		if m := r.postIn(session, declaring(about("tasks/get", "x", ""))).message(); m.Error == nil {
			t.Errorf("got %s", m.line)
		}
		r.post(declaring(call("1", "quick", "{}")), modernHeader("tools/call", "quick")...).want("a quick call", "done")

		refused := r.call("fails", "{}").message()
		task := r.startTask("slow")
		for _, method := range []string{"tasks/get", "tasks/update", "tasks/cancel"} {
			refused := r.post(modern(about(method, task.ID, "")), modernHeader(method, task.ID)...).message()
			if refused.Error == nil || refused.Error.Code != mcp.MISSING_REQUIRED_CLIENT_CAPABILITY || !strings.Contains(refused.line, `"requiredCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}`) {
				t.Errorf("%s: got %s", method, refused.line)
			}
		}
		if refused.Error == nil || refused.Error.Code != mcp.MISSING_REQUIRED_CLIENT_CAPABILITY {
			t.Errorf("a tool that needs tasks: got %s", refused.line)
		}
		for _, tt := range []struct {
			wrap        func(string) string
			quick, text bool
		}{{modern, true, false}, {declaring, false, true}} {
			list := r.post(tt.wrap(`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"x":1}}}`), modernHeader("tools/list", "")...).message()
			if strings.Contains(list.line, `"quick"`) != tt.quick {
				t.Errorf("got %s, want the replaced tool in it: %v", list.line, tt.quick)
			}
			about := r.post(tt.wrap(`{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"x":1}}}`), modernHeader("server/discover", "")...).message()
			if strings.Contains(about.line, "with tasks") != tt.text || !strings.Contains(about.line, `"extensions":{"io.modelcontextprotocol/tasks":{}}`) {
				t.Errorf("got %s", about.line)
			}
		}
	})
}

func TestTaskOfACallerIsUnknownToOthersAndItsNameIsChecked(t *testing.T) {
	withTasks(t, aliceAndBob(), func(t *testing.T, r *remote) {
		task := r.startTask("slow", as("alice")...)
		if got := r.get(task.ID, as("alice")...); got.Status != "working" {
			t.Errorf("got %+v", got)
		}
		for id, who := range map[string]string{task.ID: "bob", "nonsense": "alice", "": "alice", "../x": "alice"} {
			for _, method := range []string{"tasks/get", "tasks/update", "tasks/cancel"} {
				a := r.ask(method, id, "", as(who)...)
				if m := a.message(); m.Error == nil || m.Error.Code != mcp.INVALID_PARAMS || !strings.Contains(m.Error.Message, "there is no job") {
					t.Errorf("%s of %q as %s: got %s", method, id, who, m.line)
				}
			}
		}
		if got := r.get(task.ID, as("alice")...); got.Status != "working" {
			t.Errorf("got %+v after others have cancelled it", got)
		}
		for _, header := range [][]string{modernHeader("tasks/get", "another"), modernHeader("tasks/get", ""), modernHeader("tasks/cancel", task.ID)} {
			m := r.post(declaring(about("tasks/get", task.ID, "")), append(header, as("alice")...)...).message()
			if m.Error == nil || m.Error.Code != mcp.HEADER_MISMATCH {
				t.Errorf("%q: got %s", header, m.line)
			}
		}
		for _, params := range []string{`"_meta":{"x":1}`, `"taskId":7,"_meta":{"x":1}`, `"taskId":null,"_meta":{"x":1}`, `"taskId":"x","inputResponses":[],"_meta":{"x":1}`} {
			m := r.post(declaring(`{"jsonrpc":"2.0","id":2,"method":"tasks/update","params":{`+params+`}}`), append(modernHeader("tasks/update", ""), as("alice")...)...).message()
			if m.Error == nil || m.Error.Code != mcp.INVALID_PARAMS && m.Error.Code != mcp.HEADER_MISMATCH {
				t.Errorf("%s: got %s", params, m.line)
			}
		}
	})
}

func TestTaskOfAClientWithoutAKeyIsUnknownToOthers(t *testing.T) {
	withTasks(t, server.HTTPOptions{}, func(t *testing.T, r *remote) {
		// Clients of one machine are told apart by their names.
		of := func(client, request string) string {
			return strings.Replace(declaring(request), `{"name":"t",`, fmt.Sprintf(`{"name":%q,`, client), 1)
		}
		task := readTask(t, r.post(of("agent", call("1", "slow", "{}")), modernHeader("tools/call", "slow")...).message())
		get := of("agent", about("tasks/get", task.ID, ""))
		if got := readTask(t, r.post(get, modernHeader("tasks/get", task.ID)...).message()); got.Status != "working" {
			t.Errorf("its client got %+v", got)
		}
		for _, method := range []string{"tasks/get", "tasks/update", "tasks/cancel"} {
			m := r.post(of("other", about(method, task.ID, "")), modernHeader(method, task.ID)...).message()
			if m.Error == nil || m.Error.Code != mcp.INVALID_PARAMS || !strings.Contains(m.Error.Message, "there is no job") {
				t.Errorf("%s by another client: got %s", method, m.line)
			}
		}
	})
}

// silent is what replicas tell each other of their jobs, while nothing can be told.
type silent struct{ jobs.Shared }

func (silent) Memory() string                                            { return "" }
func (silent) Jobs([]string, bool) (found map[string]jobs.Told, ok bool) { return nil, false }

func TestTaskOfAReplicaThatCannotBeReachedMayBeAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := jobs.New(jobs.Options{Shared: silent{}})
		r := serveInBubble(t, taskServer(registry), server.HTTPOptions{})
		for _, method := range []string{"tasks/get", "tasks/update", "tasks/cancel"} {
			m := r.ask(method, "abcdef-abcdefghijklmnopqrstuvwxyz", "").message()
			if m.Error == nil || m.Error.Code != -32000 || !strings.Contains(m.Error.Message, "cannot be reached now; try again") || !strings.Contains(m.line, `"retryable":true`) {
				t.Errorf("%s: got %s", method, m.line)
			}
		}
		registry.Close()
		r.end()
	})
}

func TestTaskAsksItsClient(t *testing.T) {
	withTasks(t, server.HTTPOptions{}, func(t *testing.T, r *remote) {
		task := r.startTask("asks")
		time.Sleep(time.Minute)
		synctest.Wait()
		got := r.get(task.ID)
		if got.Status != "input_required" || got.InputRequests["name"].Method != "elicitation/create" || got.Result != nil {
			t.Fatalf("got %+v, want its question", got)
		}
		if m := r.ask("tasks/update", task.ID, `,"inputResponses":{"name":{"action":"whatever"}}`).message(); m.Error == nil || m.Error.Code != mcp.INVALID_PARAMS || !strings.Contains(m.Error.Message, `"name"`) {
			t.Errorf("an answer that is none: got %s", m.line)
		}
		r.ask("tasks/update", task.ID, `,"inputResponses":{"other":1}`)
		if got := r.get(task.ID); got.Status != "input_required" {
			t.Errorf("got %+v, want the question still", got)
		}
		if a := readTask(t, r.ask("tasks/update", task.ID, `,"inputResponses":{"name":{"action":"accept","content":{"n":"Ada"}}}`).message()); a.Type != "complete" || a.ID != "" {
			t.Errorf("got %+v, want an acknowledgement", a)
		}
		synctest.Wait()
		if got := r.get(task.ID); got.Status != "completed" || got.Result.Content[0].(mcp.TextContent).Text != "state map[n:Ada]" {
			t.Errorf("got %+v, want what came of the answer", got)
		}
	})
}

// The client of a call that is no task yet may leave, and the work ends.
func TestCallThatIsCancelledBeforeItIsATaskEnds(t *testing.T) {
	var causes collector
	o := taskServer(jobs.New(jobs.Options{}))
	o.Tools = append(o.Tools, causes.waiting())
	o.Tasks.Tools["wait"] = false
	overStdio(t, o, func(t *testing.T, c *client) {
		c.send(declaring(call("1", "wait", "{}")))
		time.Sleep(time.Second)
		c.send(cancel("1"))
		synctest.Wait()
		causes.want(t, "cancelled by the client")
		c.send(declaring(call("2", "slow", "{}")))
		task := readTask(t, c.next())
		c.send(cancel("2")) // too late
		c.send(declaring(about("tasks/get", task.ID, "")))
		if got := readTask(t, c.next()); got.Status != "working" {
			t.Errorf("got %+v", got)
		}
		o.Tasks.Jobs.Close()
	})
}
