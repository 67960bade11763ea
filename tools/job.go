package tools

import (
	"context"
	"time"

	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/jobs"
)

// jobTool is the name of the tool that asks for jobs.
const jobTool = "job"

type jobIn struct {
	ID     string    `json:"id,omitempty" jsonschema:"job, from the result that named it"`
	Action jobAction `json:"action,omitempty" jsonschema:"result (default) waits for the result, cancel ends the job, list needs no id"`
	waitArgs
}

type jobAction string // "result", which is "", "cancel" or "list"

type jobsOut struct {
	Jobs []*jobOut `json:"jobs"`
	noted
}

func job(d Deps, a about) mcpserver.ServerTool {
	return define(d, a, func(ctx context.Context, in jobIn, c *call) (*result, error) {
		owner := sessionOf(ctx).JobOwner()
		if in.Action == "list" {
			return d.listJobs(owner), nil
		}
		if in.ID == "" {
			return nil, fault.Invalidf(`argument "id" is missing: it is the "job" of the result that named it`)
		}
		job, err := d.Jobs.Get(owner, in.ID)
		if err != nil {
			return nil, err
		}
		if in.Action == "cancel" {
			return cancelJob(ctx, job)
		}
		c.reports(func() jobs.Progress { return job.Info().Progress })
		return d.jobResult(ctx, job, in.Wait.duration(d.Wait))
	})
}

// jobResult waits for the result of a job.
func (d Deps) jobResult(ctx context.Context, job *jobs.Job, wait time.Duration) (*result, error) {
	ctx, stop := context.WithTimeout(ctx, wait)
	defer stop()
	job.Wait(ctx)
	info := job.Info()
	if !info.State.Ended() {
		return &result{whole: unfinished(job)}, nil
	}
	res, err := d.finished(info)
	return &result{whole: res}, err
}

// cancelGrace is how long a cancelled job may take to end before its caller is told that it
// will.
const cancelGrace = 5 * time.Second

func cancelJob(ctx context.Context, job *jobs.Job) (*result, error) {
	before := job.Info().State
	if !before.Ended() {
		if err := job.Cancel(); err != nil {
			return nil, err
		}
		ctx, stop := context.WithTimeout(ctx, cancelGrace)
		defer stop()
		job.Wait(ctx)
	}
	info := job.Info()
	r := &result{data: describe(info)}
	switch {
	case before.Ended():
		r.notes = append(r.notes, "The job had ended before. Its result can still be had with action \"result\".")
	case !info.State.Ended():
		r.notes = append(r.notes, "The job is being cancelled.")
	case info.State == jobs.Done:
		r.notes = append(r.notes, "The job ended before it could be cancelled. Its result can be had with action \"result\".")
	}
	return r, nil
}

func (d Deps) listJobs(owner jobs.Owner) *result {
	out := &jobsOut{Jobs: []*jobOut{}}
	all, areAll := d.Jobs.List(owner)
	for _, job := range all {
		one := describe(job.Info())
		one.Partial = ""
		out.Jobs = append(out.Jobs, one)
	}
	r := &result{data: out}
	if !areAll {
		r.notes = append(r.notes, "Jobs of other servers are missing: these cannot be reached now. Try again.")
	}
	return r
}
