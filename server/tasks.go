package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/jobs"
	"ollama-mcp/internal/jsonrpc"
)

// This file is the protocol's extension for tasks. A call that takes long is answered with a
// task if the client has declared the extension with the request, which it can since protocol
// version 2026-07-28; the client then asks for the task until it has ended. A task is a job.

// tasksExtension names the extension among capabilities.
const tasksExtension = "io.modelcontextprotocol/tasks"

// TaskOptions configure tasks. The zero value offers none.
type TaskOptions struct {
	// Jobs keeps the calls that have become tasks; nil offers no tasks.
	Jobs *jobs.Registry
	// Tools are those whose calls may become tasks, by name. Those with true can only be called
	// by clients that have declared the extension.
	Tools map[string]bool
	// Wait is how long a call waits for its result before it becomes a task, by its
	// arguments; nil means not at all.
	Wait func(arguments any) time.Duration
	// Replaced are tools that are not listed to clients that have declared the extension, and
	// Instructions are what these are told instead of Options.Instructions; "" for the same.
	Replaced     []string
	Instructions string
}

// JobOwner is who may ask for the jobs of the request: the authenticated caller, the user of the
// process on stdio, or else the session and every client that cannot be told from this one.
func (r *request) JobOwner() jobs.Owner { return r.jobOwner(r.sessionID) }

// jobOwner is JobOwner for a message in a session; "" stands for a session that has only this message.
func (m *incoming) jobOwner(session string) jobs.Owner {
	switch {
	case m.transport == overStdio:
		return jobs.Owner{Account: "stdio", Private: true}
	case m.from.Tenant != "":
		return jobs.Owner{Account: "key " + m.from.Tenant, Private: true, Authenticated: true}
	}
	who := jobs.Owner{Account: "client " + m.from.ID, Private: m.from.Admin}
	if session != "" {
		hash := sha256.Sum256([]byte(session))
		who.Session = hex.EncodeToString(hash[:])
	}
	return who
}

// TakesTasks reports whether the server has tasks, and the client has declared with the request
// that it takes them.
func (r *request) TakesTasks() bool {
	if !r.offersTasks {
		return false
	}
	meta := lookUp(r.brief, "params", "_meta")
	version, _ := jsonrpc.Text(lookUp(meta, mcp.MetaKeyProtocolVersion))
	return isModern(version) && declaresTasks(lookUp(meta, mcp.MetaKeyClientCapabilities))
}

// declaresTasks reports whether capabilities of a client have the extension.
func declaresTasks(capabilities []byte) bool {
	declared := lookUp(capabilities, "extensions", tasksExtension)
	return len(declared) > 0 && declared[0] == '{'
}

// asTask wraps every tool handler. It makes a task of a call that takes long, if tool and
// client allow it. The work is cancelled with its request until then.
func (s *Server) asTask(handle mcpserver.ToolHandlerFunc) mcpserver.ToolHandlerFunc {
	o := s.opts.Tasks
	return func(ctx context.Context, call mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		r, ok := mcpserver.ClientSessionFromContext(ctx).(*request)
		needed, may := o.Tools[call.Params.Name]
		switch {
		case !ok || !may:
			return handle(ctx, call)
		case !r.TakesTasks():
			if needed {
				return nil, mcp.MissingRequiredClientCapabilityError{Capability: "extensions." + tasksExtension}
			}
			return handle(ctx, call)
		}
		var res *mcp.CallToolResult
		var err error
		job := o.Jobs.Start(ctx, jobs.Spec{Tool: call.Params.Name, Size: len(call.Params.RawArguments)}, func(ctx context.Context) func() jobs.Outcome {
			res, err = s.work(ctx, r, handle, call)
			return func() jobs.Outcome { return outcome(res, err) }
		})
		var wait time.Duration
		if o.Wait != nil {
			wait = o.Wait(call.Params.Arguments) - time.Since(r.began)
		}
		timer := time.NewTimer(max(wait, 0))
		defer timer.Stop()
		select {
		case <-job.Ended():
		case <-timer.C:
		}
		if job.Keep(r.JobOwner()) == nil {
			r.task = job
			return new(mcp.CallToolResult), nil
		}
		<-job.Ended() // or there is no room for a task, and the call is answered as it would be without tasks
		return res, err
	}
}

// work handles a call in a goroutine of its own. If the call has become a task, the questions
// of the tool are those of the task.
func (s *Server) work(ctx context.Context, r *request, handle mcpserver.ToolHandlerFunc, call mcp.CallToolRequest) (res *mcp.CallToolResult, err error) {
	defer func() {
		if p := recover(); p != nil {
			reference := rand.Text()[:8]
			s.opts.Log.Error("panic in a task", "reference", reference, "tool", call.Params.Name, "panic", p, "stack", string(debug.Stack()))
			res, err = nil, errors.New("internal error, in the server's log as "+reference)
		}
	}()
	for {
		res, err = handle(ctx, call)
		if err != nil || !res.NeedsInput() || !jobs.FromContext(ctx).IsKept() {
			return res, err
		}
		if err := checkAllCapabilities(r.declared(ctx), res.InputRequests); err != nil {
			return nil, err
		}
		if call.Params.MultiRoundTripParams, err = ask(ctx, res); err != nil {
			return nil, err
		}
	}
}

// ask asks the client of a task, and returns what its tool is called with again.
func ask(ctx context.Context, res *mcp.CallToolResult) (again mcp.MultiRoundTripParams, err error) {
	questions := make(map[string]json.RawMessage)
	for name, q := range res.InputRequests {
		if questions[name], err = json.Marshal(q); err != nil {
			return again, err
		}
	}
	answers, err := jobs.FromContext(ctx).Ask(ctx, questions)
	if err != nil {
		return again, err
	}
	again.RequestState, again.InputResponses = res.RequestState, make(mcp.InputResponses)
	for name, raw := range answers {
		if again.InputResponses[name], err = readAnswer(raw, res.InputRequests[name].Method); err != nil {
			return again, err // which was read before
		}
	}
	return again, nil
}

// readAnswer decodes the answer to a question of a method.
func readAnswer(raw json.RawMessage, method mcp.MCPMethod) (answer mcp.InputResponse, err error) {
	if err := answer.UnmarshalJSON(raw); err != nil || answer.DecodeFor(method) != nil || !isProper(answer) {
		return answer, errBadReply
	}
	return answer, nil
}

// outcome is what a task ends with: a tool that says that it failed has a result.
func outcome(res *mcp.CallToolResult, err error) jobs.Outcome {
	if err == nil && res == nil {
		err = errors.New("the tool has returned nothing")
	}
	if err != nil {
		return jobs.Outcome{Err: fault.Of(err), Failed: true}
	}
	raw, err := json.Marshal(res)
	if err != nil {
		return jobs.Outcome{Err: fault.Of(err), Failed: true}
	}
	return jobs.Outcome{Result: raw, Failed: res.IsError}
}

// task is a task as clients see it.
type task struct {
	Type          string                     `json:"resultType"`
	ID            string                     `json:"taskId"`
	Status        string                     `json:"status"`
	StatusMessage string                     `json:"statusMessage,omitempty"`
	Created       time.Time                  `json:"createdAt"`
	Updated       time.Time                  `json:"lastUpdatedAt"`
	TTL           int64                      `json:"ttlMs"` // from its creation
	PollInterval  int64                      `json:"pollIntervalMs"`
	Result        json.RawMessage            `json:"result,omitempty"`
	Error         *mcp.JSONRPCErrorDetails   `json:"error,omitempty"`
	Questions     map[string]json.RawMessage `json:"inputRequests,omitempty"`
	Meta          serverMeta                 `json:"_meta"`
}

// serverMeta is the metadata of every result since 2026-07-28.
type serverMeta struct {
	Server serverInfo `json:"io.modelcontextprotocol/serverInfo"`
}

type serverInfo struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

func (s *Server) meta() serverMeta { return serverMeta{serverInfo{s.opts.Name, s.opts.Version}} }

// describe is a task without what it has ended with or asks.
func (s *Server) describe(info jobs.Info, of string) task {
	now, ttl := time.Now(), s.opts.Tasks.Jobs.TTL()
	t := task{
		Type: of, ID: info.ID, StatusMessage: info.Message, Created: info.Created.UTC(), Updated: now.UTC(), Meta: s.meta(),
		TTL: (now.Sub(info.Created) + ttl).Milliseconds(), PollInterval: pollInterval(now.Sub(info.Created)).Milliseconds(),
	}
	if info.State.Ended() {
		t.Updated, t.TTL = info.Ended.UTC(), (info.Ended.Sub(info.Created) + ttl).Milliseconds()
	}
	switch {
	case len(info.Asking) > 0:
		t.Status = "input_required"
	case !info.State.Ended():
		t.Status = "working"
	case info.State == jobs.Cancelled:
		t.Status = "cancelled"
	case info.Err != nil:
		t.Status = "failed"
	default:
		t.Status = "completed"
	}
	return t
}

// pollInterval is how long a client should wait before it asks for a task of an age again: a
// fifth of what the task has taken so far, within bounds.
func pollInterval(age time.Duration) time.Duration {
	return min(max(age/5, 2*time.Second), maxPollInterval)
}

const maxPollInterval = 10 * time.Second

// details is a task with what it has ended with or asks.
func (s *Server) details(info jobs.Info) task {
	t := s.describe(info, string(mcp.ResultTypeComplete))
	switch t.Status {
	case "input_required":
		t.Questions = info.Asking
	case "completed":
		t.Result = info.Result
	case "failed":
		t.Error = new(mcp.NewJSONRPCErrorDetails(mcp.INTERNAL_ERROR, info.Err.Error(), info.Err))
	}
	return t
}

// ack is the answer to a message about a task.
type ack struct {
	Type string     `json:"resultType"`
	Meta serverMeta `json:"_meta"`
}

// taskMethods are those of the extension, by the way in which they are answered.
var taskMethods = map[string]func(*Server, *jobs.Job, map[string]json.RawMessage) (any, error){
	"tasks/get": func(s *Server, job *jobs.Job, _ map[string]json.RawMessage) (any, error) {
		return s.details(job.Info()), nil
	},
	"tasks/cancel": func(s *Server, job *jobs.Job, _ map[string]json.RawMessage) (any, error) {
		return ack{string(mcp.ResultTypeComplete), s.meta()}, job.Cancel()
	},
	"tasks/update": func(s *Server, job *jobs.Job, answers map[string]json.RawMessage) (any, error) {
		asking := job.Info().Asking
		for _, name := range slices.Sorted(maps.Keys(answers)) {
			question, isOpen := asking[name]
			if !isOpen {
				continue // it may have been answered before
			}
			var q struct{ Method mcp.MCPMethod }
			err := json.Unmarshal(question, &q)
			if err == nil {
				_, err = readAnswer(answers[name], q.Method)
			}
			if err != nil {
				return nil, fault.Invalidf("inputResponses: %.64q: %v", name, err)
			}
		}
		return ack{string(mcp.ResultTypeComplete), s.meta()}, job.Answer(answers)
	},
}

// isAboutTask reports whether a request is one of the extension.
func (s *Server) isAboutTask(m incoming, version string) bool {
	_, ok := taskMethods[m.Method]
	return ok && s.opts.Tasks.Jobs != nil && isModern(version)
}

// answerTask answers a request of the extension; ok is false for other requests.
func (s *Server) answerTask(r *request) (answer mcp.JSONRPCMessage, ok bool) {
	if taskMethods[r.Method] == nil || s.opts.Tasks.Jobs == nil || r.transport == overSSE {
		return nil, false
	}
	params := lookUp(r.brief, "params")
	meta := lookUp(params, "_meta")
	version, _ := jsonrpc.Text(lookUp(meta, mcp.MetaKeyProtocolVersion))
	capabilities := lookUp(meta, mcp.MetaKeyClientCapabilities)
	id, hasID := jsonrpc.Text(lookUp(params, "taskId"))
	var answers map[string]json.RawMessage
	malformed := !json.Valid(r.brief)
	if given := lookUp(params, "inputResponses"); !malformed && given != nil {
		malformed = json.Unmarshal(given, &answers) != nil
	}
	switch {
	case !isModern(version) || !slices.Contains(revisions, version):
		return nil, false
	case len(capabilities) == 0 || capabilities[0] != '{':
		return rpcError(r.ID, mcp.INVALID_PARAMS, "missing or invalid _meta field "+mcp.MetaKeyClientCapabilities, nil), true
	case !declaresTasks(capabilities):
		e := rpcError(r.ID, mcp.MISSING_REQUIRED_CLIENT_CAPABILITY, "the client has not declared that it takes tasks", nil)
		explainCapability(&e.Error, "extensions."+tasksExtension)
		return e, true
	case malformed || !hasID:
		return rpcError(r.ID, mcp.INVALID_PARAMS, "taskId is missing, or a value is of the wrong type", retry("invalid_argument", false)), true
	}
	job, err := s.opts.Tasks.Jobs.Get(r.JobOwner(), id)
	if err == nil {
		var result any
		if result, err = taskMethods[r.Method](s, job, answers); err == nil {
			return mcp.NewJSONRPCResultResponse(mcp.NewRequestId(r.ID), result), true
		}
	}
	e, code := fault.Of(err), mcp.INVALID_PARAMS
	if e.Retryable { // there may be such a task
		code = codeOverloaded
	}
	return rpcError(r.ID, code, e.Error(), e), true
}

// checkTaskHeader compares the header that names a task with the request. Proxies may act on the
// header alone.
func (s *Server) checkTaskHeader(header http.Header, m incoming, p params) error {
	if !s.isAboutTask(m, p.version) {
		return nil
	}
	var task struct {
		ID string `json:"taskId"`
	}
	_ = json.Unmarshal(p.raw, &task) // what is wrong with it is said later
	name, ok := mcp.DecodeHeaderValue(header.Get(mcp.HeaderName))
	if !ok || name != task.ID {
		return fmt.Errorf("the header %s says %.64q, the request %.64q", mcp.HeaderName, name, task.ID)
	}
	return nil
}
