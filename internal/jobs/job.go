package jobs

import (
	"context"
	"crypto/rand"
	"strings"
	"time"
)

// State says how far a job is.
type State string

// The states. A job goes through them in this order, and ends in one of the last three.
const (
	Queued    State = "queued"
	Running   State = "running"
	Done      State = "done"
	Failed    State = "failed"
	Cancelled State = "cancelled"
)

// Ended reports whether the state does not change any more.
func (s State) Ended() bool { return s == Done || s == Failed || s == Cancelled }

// Job is work that goes on in a goroutine of its own. It belongs to the request that started
// it until it is kept.
type Job struct {
	Spec
	registry *Registry
	created  time.Time
	cancel   context.CancelCauseFunc
	detach   func() bool // from the request; reports whether the request was still there
	done     chan struct{}

	// What follows is guarded by the registry's mutex.

	id         string // "" until it is kept
	owner      Owner
	cancelling bool // its owner has cancelled it
	over       bool // the work has returned
	ended      time.Time
	expires    time.Time // by the wall clock; the zero Time until it has ended
	expiry     *time.Timer
	outcome    Outcome
}

// Start begins work. Until the job is kept, the work is cancelled with ctx, for the same cause.
// Its own context has the values of ctx. The function that the work returns makes its outcome;
// it is called, once, only if the job was kept.
func (r *Registry) Start(ctx context.Context, spec Spec, work func(context.Context) func() Outcome) *Job {
	j := &Job{Spec: spec, registry: r, created: time.Now(), done: make(chan struct{})}
	var own context.Context
	own, j.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	j.detach = context.AfterFunc(ctx, func() { j.cancel(context.Cause(ctx)) })
	go func() {
		defer j.cancel(nil)
		j.end(work(own))
	}()
	return j
}

// end notes that the work has ended.
func (j *Job) end(outcome func() Outcome) {
	r := j.registry
	defer close(j.done)
	r.mu.Lock()
	j.over = true
	isKept := j.id != ""
	r.mu.Unlock()
	if !isKept {
		j.detach()
		return
	}
	defer r.work.Done()
	got := outcome()
	r.mu.Lock()
	defer r.mu.Unlock()
	if size := len(got.Result); int64(size) > r.opts.BytesPerOwner {
		got = Outcome{r.opts.Failed(j.Tool, &tooLargeError{size, r.opts.BytesPerOwner}), true}
	}
	j.Size = 0 // the arguments are not held any more
	r.makeRoom(j.owner.Account, usage{bytes: int64(len(got.Result))})
	j.outcome, j.Progress = got, nil
	j.ended = time.Now()
	j.expires = j.ended.Round(0).Add(r.opts.TTL)
	j.expiry = time.AfterFunc(r.opts.TTL, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.drop(j)
	})
}

// Ended is closed when the work has ended.
func (j *Job) Ended() <-chan struct{} { return j.done }

// Keep lets the job outlast its request, and makes its handle for an owner. It fails if that has as
// many jobs as it may have, and there is none among them that has ended, with an error that
// explains itself to callers, and with ErrEnded if the work has ended already, or its request
// has: then there is nothing to keep. A job that is not kept goes on as before.
func (j *Job) Keep(who Owner) error {
	r := j.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case j.id != "":
		return nil
	case j.over || r.closed:
		return ErrEnded
	case !r.makeRoom(who.Account, usage{1, int64(j.Size)}):
		own, _ := r.usageOf(who.Account)
		return &fullError{own.jobs}
	case !j.detach():
		return ErrEnded
	}
	j.owner, j.id = who, r.run+"-"+strings.ToLower(rand.Text())
	r.kept[j.id] = j
	r.work.Add(1)
	return nil
}

// Cancel asks the work to end. The job is cancelled when the work has ended, unless it
// succeeds all the same.
func (j *Job) Cancel() {
	j.registry.mu.Lock()
	j.cancelling = true
	j.registry.mu.Unlock()
	j.cancel(ErrCancelled)
}

// Info is what there is to know of a job.
type Info struct {
	ID      string // its handle
	Tool    string
	State   State
	Created time.Time
	Ended   time.Time // the zero Time if it has not
	Expires time.Time // the zero Time before it has ended
	Progress
	Outcome // once it has ended
}

// Info returns what there is to know of the job at present.
func (j *Job) Info() Info {
	r := j.registry
	r.mu.Lock()
	info := Info{
		ID: j.id, Tool: j.Tool, Created: j.created, Ended: j.ended, Expires: j.expires,
		Outcome: j.outcome, State: j.state(),
	}
	progress := j.Progress
	r.mu.Unlock()
	if progress != nil { // which takes locks of others
		info.Progress = progress()
		if info.Queued {
			info.State = Queued
		}
	}
	return info
}

// state is that of the job, as far as the registry knows. mu is held.
func (j *Job) state() State {
	switch {
	case j.ended.IsZero():
		return Running
	case !j.outcome.Failed:
		return Done
	case j.cancelling:
		return Cancelled
	}
	return Failed
}

// size is what the job takes, in bytes. mu is held.
func (j *Job) size() int64 { return int64(j.Size + len(j.outcome.Result)) }
