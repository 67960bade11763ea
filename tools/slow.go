package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/jobs"
	"ollama-mcp/internal/schema"
)

// This file is the one place where calls become jobs. Many hosts give up on a call after a
// minute, and do not say so. So a call of a slow tool that takes longer than it may is answered
// with a job, and the work goes on.

// waitArgs are the arguments that define adds to those of slow tools.
type waitArgs struct {
	Wait *waitSeconds `json:"wait_seconds,omitempty" jsonschema:"then return a job; 0 = at once"`
}

type waitSeconds float64

// duration is the time to wait; the default if the caller has not said.
func (w *waitSeconds) duration(byDefault time.Duration) time.Duration {
	if w == nil {
		return byDefault
	}
	return seconds(float64(*w))
}

const (
	defaultWait = 50 * time.Second
	// defaultTaskWait is how long a call may take before it becomes a task, for clients that
	// have tasks.
	defaultTaskWait = 10 * time.Second
	// maxPartial is how much of an answer that is not complete is shown, in bytes.
	maxPartial = 2000
)

// session is what a client's session has to say about jobs; that of package server does.
type session interface {
	// JobOwner is who may ask for the jobs of the request.
	JobOwner() jobs.Owner
	// TakesTasks reports whether the client knows the protocol's tasks, which replace ours.
	TakesTasks() bool
}

func sessionOf(ctx context.Context) session {
	if s, ok := mcpserver.ClientSessionFromContext(ctx).(session); ok {
		return s
	}
	return inProcess(caller.FromContext(ctx).ID)
}

// inProcess is the session of a client that calls tools without a server; its value is the
// caller's ID.
type inProcess string

func (s inProcess) JobOwner() jobs.Owner {
	return jobs.Owner{Account: "caller " + string(s), Private: true}
}
func (inProcess) TakesTasks() bool { return false }

// await runs the work of a call of a slow tool. If it takes longer than the call waits, the
// result is the job that it has become. The work ends with the call as long as it is none.
func (d Deps) await(ctx context.Context, c *call, asked *waitSeconds, size int, work func(context.Context) *mcp.CallToolResult) *mcp.CallToolResult {
	var res *mcp.CallToolResult
	client := sessionOf(ctx)
	if client.TakesTasks() { // package server makes a task of the call if it takes long
		if job := jobs.FromContext(ctx); job != nil {
			job.Reports(c.jobProgress)
		}
		return cancellable(ctx, c, work)
	}
	job := d.Jobs.Start(ctx, jobs.Spec{Tool: c.Tool, Size: size}, func(ctx context.Context) func() jobs.Outcome {
		c.CancelledBy(jobs.FromContext(ctx).Interrupter())
		res = work(ctx)
		return func() jobs.Outcome { return jobs.Outcome{Result: schema.MustMarshal(res), Failed: res.IsError} }
	})
	job.Reports(c.jobProgress)
	if !d.hasJobs { // nobody could ask for the job
		<-job.Ended()
		return res
	}
	wait := asked.duration(d.Wait)
	if !ended(job, wait-time.Since(c.Began)) {
		switch err := job.Keep(client.JobOwner()); {
		case err == nil:
			return unfinished(job)
		case wait == 0 && err != jobs.ErrEnded: // a caller who does not wait is refused what cannot be kept
			_ = job.Cancel() // it is one of ours, so that cannot fail
			<-job.Ended()
			return d.failed(c.Tool, err)
		}
		<-job.Ended()
	}
	return res
}

// ended waits for a job to end, and reports whether it has.
func ended(job *jobs.Job, wait time.Duration) bool {
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-job.Ended():
			return true
		case <-timer.C:
		}
	}
	select {
	case <-job.Ended():
		return true
	default:
		return false
	}
}

// jobProgress is the progress of a call, as the tool job shows it.
func (c *call) jobProgress() jobs.Progress {
	if own := c.own.Load(); own != nil {
		return (*own)()
	}
	at := c.Progress()
	p := jobs.Progress{Message: at.String(), Partial: c.Partial(), Done: at.Done, Of: at.Of}
	if at.State == inference.Waiting {
		p.Queued, p.Position, p.Expected = true, max(at.Standing.Place, 1), at.Standing.Expect
	}
	if at.State == inference.Embedding && at.Done > 0 {
		p.Expected = time.Since(c.Began) / time.Duration(at.Done) * time.Duration(at.Of-at.Done)
	}
	return p
}

// jobOut is a job that has not ended, or one of a list.
type jobOut struct {
	Job      string     `json:"job"`
	Tool     string     `json:"tool"`
	State    jobs.State `json:"state"`
	Position int        `json:"position,omitempty"`
	Expected int        `json:"expected_seconds,omitempty"`
	Progress string     `json:"progress,omitempty"`
	Done     int        `json:"done,omitempty"`
	Of       int        `json:"of,omitempty"`
	Partial  string     `json:"partial,omitempty"`
	Age      int        `json:"age_seconds"`
	Expires  string     `json:"expires_at,omitempty"`
	noted
}

func describe(info jobs.Info) *jobOut {
	out := &jobOut{
		Job: info.ID, Tool: info.Tool, State: info.State, Position: info.Position, Progress: info.Message,
		Done: info.Done, Of: info.Of, Partial: lastPart(info.Partial), Age: int(time.Since(info.Created).Seconds()), Expires: timestamp(info.Expires),
	}
	if info.Expected > 0 {
		out.Expected = int((info.Expected + time.Second - 1) / time.Second)
	}
	return out
}

// lastPart is the end of a text that has not been completed.
func lastPart(text string) string {
	if len(text) <= maxPartial {
		return text
	}
	from := len(text) - maxPartial
	for from < len(text) && text[from]&0xC0 == 0x80 { // within a character
		from++
	}
	return "…" + text[from:]
}

// unfinished is the result of a call that waits no longer for its job.
func unfinished(job *jobs.Job) *mcp.CallToolResult {
	info := job.Info()
	out := describe(info)
	out.note([]string{fmt.Sprintf("Not done yet; the work goes on. Call job with id %q to wait for the result.", info.ID)})
	return &mcp.CallToolResult{
		Content: []mcp.Content{mcp.NewTextContent(string(schema.Readable(out)))}, StructuredContent: out,
	}
}

// finished is the result that a job has ended with.
func (d Deps) finished(info jobs.Info) (*mcp.CallToolResult, error) {
	if info.Err != nil {
		return d.failed(info.Tool, info.Err), nil
	}
	res := new(mcp.CallToolResult)
	if err := json.Unmarshal(info.Result, res); err != nil {
		return nil, fmt.Errorf("the result of the job cannot be read: %w", err)
	}
	return res, nil
}

// TaskWait is how long a call waits for its result before it becomes a task, by its arguments.
func TaskWait(arguments any) time.Duration {
	if given, ok := arguments.(map[string]any); ok {
		if wait, ok := given["wait_seconds"].(float64); ok {
			return seconds(max(wait, 0))
		}
	}
	return defaultTaskWait
}
