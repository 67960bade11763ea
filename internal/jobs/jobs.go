// Package jobs keeps work that outlasts the request that began it.
//
// It promises that work which nobody has kept ends with its request; that work which was kept
// goes on until it ends or is cancelled, although the request is gone; that its result can
// then be had for a time, by its owner alone, under a handle that cannot be guessed; and that
// no owner can keep more than a bounded number of jobs and bytes, or push out those of others.
// With a Shared, other processes tell and cancel the jobs too, for the same owner.
// What the work is, and what its result means, is left to the packages that start it.
package jobs

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/lru"
	"ollama-mcp/internal/workers"
)

// Options configure a Registry. Zero fields take the defaults given with them.
type Options struct {
	TTL time.Duration // how long a job can be asked for after it has ended; 0 means one hour

	PerOwner      int   // jobs of one owner; 0 means 64
	BytesPerOwner int64 // of the arguments and results of one owner's jobs; 0 means 64 MiB
	Total         int   // jobs of all owners; 0 means 1024
	TotalBytes    int64 // of the arguments and results of all jobs; 0 means 256 MiB

	// Dir is a directory that keeps jobs over a restart; "" keeps none. Processes may share it.
	// Trouble with it is logged, and jobs are then kept in memory alone.
	Dir string

	// Shared has other replicas know of the jobs, and this one of theirs, while Share runs; nil
	// for none. No two users may have the same Account on them.
	Shared Shared

	// Spare is how many goroutines are kept for later work until Close; 0 means none. They make it
	// cheaper to start work; see package workers.
	Spare int

	Log *slog.Logger // nil discards
}

// Owner is who may ask for a job.
type Owner struct {
	// Account is what the caller has authenticated as, or what it is told apart by if it has
	// not.
	Account string
	// Session names the session or connection of a caller that has not authenticated; "" if
	// there is none. It finds the job again whatever Account says.
	Session string
	// Private says that Account stands for one user, so that its jobs can be listed. The jobs
	// of others are only listed within their session.
	Private bool
	// Authenticated says that Account stands for the same user on every replica of the server.
	Authenticated bool
}

func (o Owner) owns(j *Job) bool {
	return o.Account == j.owner.Account || o.inSession(j)
}

func (o Owner) inSession(j *Job) bool { return o.Session != "" && o.Session == j.owner.Session }

func (o Owner) lists(j *Job) bool {
	return o.Private && o.Account == j.owner.Account || o.inSession(j)
}

// Spec describes work.
type Spec struct {
	Tool string
	Size int // bytes of the arguments, which are held while the work goes on
}

// Progress is how far the work of a job is. Zero fields are not known.
type Progress struct {
	Queued   bool          // the work waits for its turn
	Position int           // in the queue; 1 is next
	Expected time.Duration // until the job ends or, while it is queued, until it begins
	Message  string        // for people
	Partial  string        // what there is of the answer
	Done, Of int           // parts of the work
}

// Outcome is what work ends with: a result or an error.
type Outcome struct {
	Result json.RawMessage
	Failed bool // Result says why
	// Err is why there is no result; nil if there is one.
	Err *fault.Error
}

// Registry keeps jobs. Use New to make one, and Close it when no more work is started. Its
// methods are safe for concurrent use.
type Registry struct {
	opts Options
	run  string // the beginning of all handles of this registry
	work sync.WaitGroup
	disk *disk // nil if jobs are not kept over a restart

	workers workers.Group
	stop    chan struct{} // closed by Close, to end spare goroutines

	// mu guards what follows and the jobs' fields; nothing blocks under it.
	mu     sync.Mutex
	kept   map[string]*Job
	gone   lru.Map[string, Owner] // jobs that have expired or made room for others
	closed bool
}

// runLength is the length of the part of a handle that names the run of the program.
const runLength = 6

// mostGone is for how many jobs it is remembered that they have expired.
const mostGone = 10_000

// New makes a registry. It starts nothing, and cannot fail: without the directory, jobs are kept
// in memory.
func New(o Options) *Registry {
	o.TTL = cmp.Or(o.TTL, time.Hour)
	o.PerOwner = cmp.Or(o.PerOwner, 64)
	o.BytesPerOwner = cmp.Or(o.BytesPerOwner, 64<<20)
	o.Total = cmp.Or(o.Total, 1024)
	o.TotalBytes = cmp.Or(o.TotalBytes, 256<<20)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r := &Registry{opts: o, run: strings.ToLower(rand.Text()[:runLength]), kept: make(map[string]*Job), stop: make(chan struct{})}
	r.workers.Keep(o.Spare, r.stop)
	if o.Dir != "" {
		var err error
		if r.disk, err = openDisk(o.Dir, r.run, o.TTL, o.Total); err != nil {
			r.unsaved(err)
		}
	}
	return r
}

// unsaved logs that jobs would not outlast the program.
func (r *Registry) unsaved(err error) {
	r.opts.Log.Warn("a job is not kept over a restart: the state directory cannot be used; see --state-dir", "error", err)
}

// Close cancels all jobs, and returns when their work has ended. No more can be kept then.
func (r *Registry) Close() {
	r.mu.Lock()
	if !r.closed {
		close(r.stop)
	}
	r.closed = true
	jobs := slices.Collect(maps.Values(r.kept))
	r.mu.Unlock()
	for _, j := range jobs {
		j.cancel(ErrStopped)
	}
	r.work.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, j := range r.kept {
		if j.expiry != nil {
			j.expiry.Stop()
		}
	}
	clear(r.kept)
	if r.disk != nil {
		r.disk.close()
	}
}

// Get finds a job of an owner: in memory, on the disk, or on another replica. The error explains
// itself to callers.
func (r *Registry) Get(who Owner, id string) (*Job, error) {
	id = strings.ToLower(strings.TrimSpace(id))
	j, err := r.find(who, id)
	if r.disk != nil && err != nil && err.why != expired {
		if j, err = r.disk.load(who, id, true); err == nil {
			j.registry = r
		}
	}
	if r.opts.Shared != nil && err != nil && (err.why == ofAnotherRun || err.why == ofAnotherProcess) {
		var unheard *unknownError
		if j, unheard = r.load(who, id); unheard == nil || err.why == ofAnotherRun {
			err = unheard
		}
	}
	if err != nil {
		return nil, err
	}
	return j, nil
}

// Underway finds a job of an owner that has not ended. It is cheaper than Get, and looks for the exact
// handle and in memory only; nil means that Get says what there is to say.
func (r *Registry) Underway(who Owner, id string) *Job {
	r.mu.Lock()
	defer r.mu.Unlock()
	if j := r.kept[id]; j != nil && who.owns(j) && j.ended.IsZero() {
		return j
	}
	return nil
}

// find finds a job of an owner in memory.
func (r *Registry) find(who Owner, id string) (*Job, *unknownError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if j, ok := r.kept[id]; ok && who.owns(j) {
		if !j.expires.IsZero() && time.Now().After(j.expires) { // the timer stands still while a laptop sleeps
			r.drop(j)
			return nil, &unknownError{id, expired}
		}
		return j, nil
	}
	if owner, ok := r.gone.Get(id); ok && who.owns(&Job{owner: owner}) {
		return nil, &unknownError{id, expired}
	}
	if run, rest, ok := strings.Cut(id, "-"); ok && run != r.run && len(run) == runLength && len(rest) == len(rand.Text()) {
		return nil, &unknownError{id, ofAnotherRun}
	}
	return nil, &unknownError{id, unheardOf}
}

// List returns the jobs that an owner may see, the newest first. They are not all if those of
// other replicas cannot be had now.
func (r *Registry) List(who Owner) (jobs []*Job, areAll bool) {
	r.mu.Lock()
	jobs = slices.DeleteFunc(slices.Collect(maps.Values(r.kept)), func(j *Job) bool { return !who.lists(j) })
	r.mu.Unlock()
	if r.disk != nil {
		jobs = append(jobs, r.ofOtherRuns(who)...)
	}
	jobs, areAll = r.addElsewhere(who, jobs)
	slices.SortFunc(jobs, func(a, b *Job) int { return cmp.Or(b.created.Compare(a.created), cmp.Compare(a.id, b.id)) })
	return jobs, areAll
}

// ofOtherRuns are the jobs of an owner on the disk that are not of this run, and have ended.
func (r *Registry) ofOtherRuns(who Owner) (jobs []*Job) {
	ids, err := r.disk.ids()
	if err != nil {
		r.unsaved(err)
	}
	for _, id := range ids {
		if strings.HasPrefix(id, r.run) {
			continue
		}
		if j, err := r.disk.load(who, id, false); err == nil && who.lists(j) {
			j.registry = r
			jobs = append(jobs, j)
		}
	}
	return jobs
}

// CancelRevoked cancels the jobs of callers whose credentials are no longer valid. Results of
// jobs that have ended stay until they expire; they belong to the name of the caller, which
// may have other credentials by then.
func (r *Registry) CancelRevoked() {
	r.mu.Lock()
	var revoked []*Job
	for _, j := range r.kept {
		if !j.over && j.caller.IsRevoked() {
			j.cancelling = true
			revoked = append(revoked, j)
		}
	}
	r.mu.Unlock()
	for _, j := range revoked {
		j.cancel(caller.ErrRevoked)
	}
}

// TTL is how long a job can be asked for after it has ended.
func (r *Registry) TTL() time.Duration { return r.opts.TTL }

// Len is the number of jobs that are kept.
func (r *Registry) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.kept)
}

// Counts are how many jobs are kept.
type Counts struct {
	Underway, Ended int
	Oldest          time.Duration // since the oldest that is underway began; 0 if none is
}

// Counts returns how many jobs of this process are kept.
func (r *Registry) Counts() (n Counts) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, j := range r.kept {
		if j.ended.IsZero() {
			n.Underway++
			n.Oldest = max(n.Oldest, time.Since(j.created))
		} else {
			n.Ended++
		}
	}
	return n
}

// usage is what some jobs take.
type usage struct {
	jobs  int
	bytes int64
}

// usageOf is what the jobs of an account take, and what those of all take. mu is held.
func (r *Registry) usageOf(account string) (own, all usage) {
	for _, j := range r.kept {
		all.jobs++
		all.bytes += j.size()
		if j.owner.Account == account {
			own.jobs++
			own.bytes += j.size()
		}
	}
	return own, all
}

// makeRoom drops jobs that have ended, the oldest first, until more jobs and bytes of an
// account have room: first its own, and if all jobs together take too much, those of the
// account that takes most. It reports whether there is room. mu is held.
func (r *Registry) makeRoom(account string, more usage) bool {
	for {
		own, all := r.usageOf(account)
		var from string
		switch {
		case own.jobs+more.jobs > r.opts.PerOwner || own.bytes+more.bytes > r.opts.BytesPerOwner:
			from = account
		case all.jobs+more.jobs > r.opts.Total || all.bytes+more.bytes > r.opts.TotalBytes:
			from = r.largest()
		default:
			return true
		}
		oldest := r.oldestEnded(from)
		if oldest == nil {
			return false
		}
		r.drop(oldest)
	}
}

// largest is the account whose jobs that have ended take most, in bytes and then in number.
// mu is held.
func (r *Registry) largest() (account string) {
	taken := make(map[string]usage)
	for _, j := range r.kept {
		if !j.ended.IsZero() {
			u := taken[j.owner.Account]
			taken[j.owner.Account] = usage{u.jobs + 1, u.bytes + j.size()}
		}
	}
	var most usage
	for _, name := range slices.Sorted(maps.Keys(taken)) {
		u := taken[name]
		if u.bytes > most.bytes || u.bytes == most.bytes && u.jobs > most.jobs {
			account, most = name, u
		}
	}
	return account
}

// oldestEnded is the job of an account that ended first; nil if none has ended. mu is held.
func (r *Registry) oldestEnded(account string) (oldest *Job) {
	for _, j := range r.kept {
		if j.owner.Account == account && !j.ended.IsZero() && (oldest == nil || j.ended.Before(oldest.ended)) {
			oldest = j
		}
	}
	return oldest
}

// drop forgets a job that has ended. mu is held.
func (r *Registry) drop(j *Job) {
	if r.kept[j.id] != j || r.closed {
		return
	}
	delete(r.kept, j.id)
	r.gone.Set(j.id, j.owner, mostGone)
	if r.disk != nil || r.opts.Shared != nil {
		r.work.Go(j.remove)
	}
	j.outcome.Result = nil // the runtime may hold the stopped timer, and thus the job, for long
	if j.expiry != nil {
		j.expiry.Stop()
	}
}

// remove removes a job that was dropped from the disk, and from what other replicas know.
func (j *Job) remove() {
	j.saving.Lock()
	defer j.saving.Unlock()
	if d := j.registry.disk; d != nil {
		d.remove(j.id)
	}
	if s := j.registry.opts.Shared; s != nil {
		s.DropJob(j.id, j.owner.list())
	}
}
