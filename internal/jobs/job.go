package jobs

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"maps"
	"strings"
	"sync"
	"time"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
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
	caller   caller.Caller // whose work it is
	created  time.Time
	cancel   context.CancelCauseFunc
	detach   func() bool // from the request; reports whether the request was still there
	done     chan struct{}
	saving   sync.Mutex // held while the job is written to the disk, or other replicas are told, so that its states come in order
	told     string     // what Shared.Memory was when other replicas were last told; guarded by saving

	// What follows is guarded by the registry's mutex.

	id         string          // "" until it is kept
	replica    string          // that works on it; "" if this one does, or the job has ended
	progress   func() Progress // nil if that is not known
	asking     *questions      // nil if the work asks nothing
	owner      Owner
	cancelling bool // its owner has cancelled it
	over       bool // the work has returned
	ended      time.Time
	expires    time.Time // by the wall clock; the zero Time until it has ended
	expiry     *time.Timer
	outcome    Outcome
}

type contextKey struct{}

// FromContext is the job whose work has a context; nil if it is no job's.
func FromContext(ctx context.Context) *Job {
	j, _ := ctx.Value(contextKey{}).(*Job)
	return j
}

// Start begins work. Until the job is kept, the work is cancelled with ctx, for the same cause.
// Its own context has the values of ctx. The function that the work returns makes its outcome;
// it is called, once, only if the job was kept.
func (r *Registry) Start(ctx context.Context, spec Spec, work func(context.Context) func() Outcome) *Job {
	j := &Job{Spec: spec, registry: r, caller: caller.FromContext(ctx), created: time.Now(), done: make(chan struct{})}
	var own context.Context
	own, j.cancel = context.WithCancelCause(context.WithValue(context.WithoutCancel(ctx), contextKey{}, j))
	j.detach = context.AfterFunc(ctx, func() { j.cancel(context.Cause(ctx)) })
	r.workers.Go(func() {
		defer j.cancel(nil)
		j.end(work(own))
	})
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
	rec := j.note(&got)
	j.save(rec, got.Result)
}

// note notes what the job has ended with, and makes room for it.
func (j *Job) note(got *Outcome) record {
	r := j.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	if size := len(got.Result); int64(size) > r.opts.BytesPerOwner {
		*got = Outcome{Err: fault.Of(&tooLargeError{size, r.opts.BytesPerOwner}), Failed: true}
	}
	j.Size = 0 // the arguments are not held any more
	r.makeRoom(j.owner.Account, usage{bytes: int64(len(got.Result))})
	j.outcome, j.progress, j.asking = *got, nil, nil
	j.ended = time.Now()
	j.expires = j.ended.Round(0).Add(r.opts.TTL)
	j.expiry = time.AfterFunc(r.opts.TTL, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.drop(j)
	})
	return j.record()
}

// record is what the disk has of the job. The registry's mutex is held.
func (j *Job) record() record {
	return record{j.owner, j.Tool, j.created, j.ended, j.expires, j.state(), j.outcome.Err}
}

// save writes the job to the disk, if jobs are kept there, and tells other replicas of it. A job
// that cannot be written is kept in memory alone.
func (j *Job) save(rec record, result json.RawMessage) {
	j.saving.Lock()
	defer j.saving.Unlock()
	j.write(rec, result)
}

// write needs saving to be held.
func (j *Job) write(rec record, result json.RawMessage) {
	if d := j.registry.disk; d != nil {
		if err := d.save(j.id, rec, result); err != nil {
			j.registry.unsaved(err)
		}
	}
	j.tell()
}

// Reports has the progress of the job be what a function says. The function is called from
// several goroutines, and not after the work has ended.
func (j *Job) Reports(progress func() Progress) {
	j.registry.mu.Lock()
	defer j.registry.mu.Unlock()
	if !j.over {
		j.progress = progress
	}
}

// Ended is closed when the work has ended. That of a job on another replica is heard by Wait only.
func (j *Job) Ended() <-chan struct{} { return j.done }

// Wait returns when the job has ended, or ctx has.
func (j *Job) Wait(ctx context.Context) {
	if j.isElsewhere() {
		j.waitElsewhere(ctx)
		return
	}
	select {
	case <-j.done:
	case <-ctx.Done():
	}
}

// Keep lets the job outlast its request, and makes its handle for an owner. It fails if that has as
// many jobs as it may have, and there is none among them that has ended, with an error that
// explains itself to callers, and with ErrEnded if the work has ended already, or its request
// has: then there is nothing to keep. A job that is not kept goes on as before.
func (j *Job) Keep(who Owner) error {
	j.saving.Lock() // before anybody can see the job end
	defer j.saving.Unlock()
	rec, err := j.keep(who)
	if err == nil {
		j.write(rec, nil)
	}
	return err
}

// keep is Keep without the disk and other replicas.
func (j *Job) keep(who Owner) (rec record, err error) {
	r := j.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case j.over || r.closed:
		return rec, ErrEnded
	case !r.makeRoom(who.Account, usage{1, int64(j.Size)}):
		own, _ := r.usageOf(who.Account)
		return rec, &fullError{own.jobs}
	case !j.detach():
		return rec, ErrEnded
	}
	j.owner, j.id = who, r.run+"-"+strings.ToLower(rand.Text())
	r.kept[j.id] = j
	r.work.Add(1)
	return j.record(), nil
}

// IsKept reports whether the job is kept. If it is not, it cannot be kept any more: the work says
// that it is about to end.
func (j *Job) IsKept() bool {
	j.registry.mu.Lock()
	defer j.registry.mu.Unlock()
	j.over = j.over || j.id == ""
	return j.id != ""
}

// Cancel asks the work to end. The job is cancelled when the work has ended, unless it
// succeeds all the same. It fails if the job is one of another replica, which cannot be told now,
// with an error that explains itself to callers.
func (j *Job) Cancel() error {
	if j.isElsewhere() {
		return j.cancelElsewhere()
	}
	j.cancelHere()
	return nil
}

func (j *Job) cancelHere() {
	j.registry.mu.Lock()
	j.cancelling = j.cancelling || !j.over
	j.registry.mu.Unlock()
	j.cancel(ErrCancelled)
}

// Interrupter returns what ends the context of the work for a cause other than that the owner of the
// job has cancelled it. The job has failed then, unless the work succeeds all the same.
func (j *Job) Interrupter() context.CancelCauseFunc { return j.cancel }

// Info is what there is to know of a job.
type Info struct {
	ID      string // its handle
	Tool    string
	State   State
	Created time.Time
	Ended   time.Time // the zero Time if it has not
	Expires time.Time // the zero Time before it has ended
	Progress
	Asking  map[string]json.RawMessage // questions that the work waits for answers to, by name
	Outcome                            // once it has ended
}

// Info returns what there is to know of the job at present.
func (j *Job) Info() Info {
	r := j.registry
	r.mu.Lock()
	info := Info{
		ID: j.id, Tool: j.Tool, Created: j.created, Ended: j.ended, Expires: j.expires,
		Outcome: j.outcome, State: j.state(),
	}
	progress := j.progress
	if j.asking != nil {
		info.Asking = maps.Clone(j.asking.open)
	}
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
