package jobs

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
)

// This file has the replicas of a server know of each other's jobs. A job is worked on where it
// began: what the others can be told is how it stands, and what it has ended with, and what they can
// ask is that it be cancelled, or its questions answered.

// Shared is where replicas tell each other of their jobs. Its methods return within a short time,
// and have no errors: ok is false if that cannot be done now.
type Shared interface {
	// PutJob tells of a job of this replica, in place of what was told of it before.
	PutJob(j Told) (ok bool)
	// DropJob takes back what was told of a job, and takes it off its list.
	DropJob(id, list string)
	// Jobs returns what was told of jobs, by their handles; with their results, if these are wanted.
	Jobs(ids []string, withResults bool) (found map[string]Told, ok bool)
	// JobList returns the handles of the jobs on a list. Some may be gone.
	JobList(list string) (ids []string, ok bool)
	// AskReplica asks something of another replica. It replaces what was asked under the same name.
	AskReplica(replica, name string, data []byte) (ok bool)
	// Asked returns what others have asked of this replica since it was last called.
	Asked() (all [][]byte, ok bool)
	// Memory names what the others can be told at present: under another name, all that was told may
	// be forgotten. It is "" while nothing can be told.
	Memory() string
}

// Told is what a replica tells of a job.
type Told struct {
	ID     string
	List   string        // that the job is on; "" for none
	Data   []byte        // how it stands
	Result []byte        // nil if there is none, or it is too large
	TTL    time.Duration // for which it is to be remembered

	// What follows is known of jobs that others have told of.

	Replica string // that has told of it
	Gone    bool   // nothing has been heard of that replica for seconds
}

const (
	// shareInterval is how often other replicas are told of jobs that have not ended, and it is
	// looked what they ask.
	shareInterval = time.Second
	// maxToldPartial is how much of an answer that is not complete they are told, in bytes.
	maxToldPartial = 4 << 10
	// Who waits for a job of another replica looks again after an eighth of the time that it has
	// waited, within these bounds.
	minLook, maxLook = 50 * time.Millisecond, time.Second
)

// standing is how a job stands, as others are told.
type standing struct {
	record
	Progress
	Asking map[string]json.RawMessage `json:",omitempty"`
	Size   int                        // of the result, in bytes
	At     time.Time                  // by the clock of the replica that tells it
}

// list is the list on which other replicas find the jobs of an owner; "" for none: an account that
// has not authenticated may be somebody else there.
func (o Owner) list() string {
	switch {
	case o.Session != "":
		return "session " + o.Session
	case o.Private && o.Authenticated:
		return o.Account
	}
	return ""
}

// Share tells other replicas of the jobs of this one, and does what they ask, until ctx ends. It
// returns at once without Options.Shared.
func (r *Registry) Share(ctx context.Context) {
	if r.opts.Shared == nil {
		return
	}
	ticker := time.NewTicker(shareInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			r.share()
		case <-ctx.Done():
			return
		}
	}
}

func (r *Registry) share() {
	memory := r.opts.Shared.Memory()
	if memory == "" {
		return
	}
	r.mu.Lock()
	var all []*Job
	anyUnderway := false
	for _, j := range r.kept {
		all = append(all, j)
		anyUnderway = anyUnderway || j.ended.IsZero()
	}
	r.mu.Unlock()
	if anyUnderway {
		r.runCommands()
	}
	for _, j := range all {
		j.tellAgain(memory)
	}
}

// tellAgain tells other replicas of the job, unless it has ended and they know.
func (j *Job) tellAgain(memory string) {
	j.saving.Lock()
	defer j.saving.Unlock()
	j.registry.mu.Lock()
	known := !j.ended.IsZero() && j.told == memory
	j.registry.mu.Unlock()
	if !known {
		j.tell()
	}
}

// tell tells other replicas how the job stands. What they cannot be told now they are told later.
// saving is held.
func (j *Job) tell() {
	r := j.registry
	if r.opts.Shared == nil {
		return
	}
	j.told = "" // they do not know how it stands now
	memory := r.opts.Shared.Memory()
	if memory == "" {
		return
	}
	info := j.Info()
	r.mu.Lock()
	isKept, owner := r.kept[j.id] == j, j.owner
	r.mu.Unlock()
	ttl := r.opts.TTL
	if info.State.Ended() {
		ttl = time.Until(info.Expires)
	}
	if !isKept || ttl <= 0 {
		return
	}
	info.Partial = info.Partial[max(0, len(info.Partial)-maxToldPartial):]
	data, err := json.Marshal(standing{
		record{owner, info.Tool, info.Created, info.Ended, info.Expires, info.State, info.Err},
		info.Progress, info.Asking, len(info.Result), time.Now(),
	})
	if err == nil && r.opts.Shared.PutJob(Told{ID: info.ID, List: owner.list(), Data: data, Result: info.Result, TTL: ttl}) {
		j.told = memory
	}
}

// load finds a job of an owner of which another replica has told.
func (r *Registry) load(who Owner, id string) (*Job, *unknownError) {
	if !handle.MatchString(id) {
		return nil, &unknownError{id, unheardOf}
	}
	found, ok := r.opts.Shared.Jobs([]string{id}, true)
	if !ok {
		return nil, &unknownError{id, unreachable}
	}
	told, ok := found[id]
	if !ok {
		return nil, &unknownError{id, nowhere}
	}
	j, size, ok := r.heard(who, told)
	if !ok {
		return nil, &unknownError{id, unheardOf}
	}
	if size > 0 {
		if j.outcome.Result = told.Result; len(told.Result) != size {
			return nil, &unknownError{id, apart}
		}
	}
	return j, nil
}

// heard makes a job of an owner of what another replica has told of it, without its result, which
// has so many bytes.
func (r *Registry) heard(who Owner, told Told) (j *Job, size int, ok bool) {
	var s standing
	if err := json.Unmarshal(told.Data, &s); err != nil || !who.owns(&Job{owner: s.Owner}) {
		return nil, 0, false
	}
	switch {
	case s.State.Ended():
		j = s.ended(told.ID)
	case told.Gone:
		j = s.lost(told.ID, r.opts.TTL)
	default:
		j = &Job{
			Spec: Spec{Tool: s.Tool}, id: told.ID, owner: s.Owner, created: s.Created, replica: told.Replica,
			done: make(chan struct{}), cancel: func(error) {},
			progress: func() Progress { return s.Progress }, asking: &questions{open: s.Asking},
		}
	}
	j.registry = r
	return j, s.Size, true
}

// lost is a job that has ended with its replica.
func (s standing) lost(id string, ttl time.Duration) *Job {
	lost := &lostError{id: id, tool: s.Tool, unheard: true}
	s.State, s.Ended, s.Expires, s.Err = Failed, s.At, s.At.Add(ttl), lost.Fault()
	return s.ended(id)
}

// addElsewhere adds the jobs of an owner that are on other replicas, unless they are there already.
func (r *Registry) addElsewhere(who Owner, jobs []*Job) (all []*Job, areAll bool) {
	list := who.list()
	if r.opts.Shared == nil || list == "" {
		return jobs, true
	}
	ids, ok := r.opts.Shared.JobList(list)
	if !ok {
		return jobs, false
	}
	ids = slices.DeleteFunc(ids, func(id string) bool {
		return !handle.MatchString(id) || strings.HasPrefix(id, r.run+"-") || slices.ContainsFunc(jobs, func(j *Job) bool { return j.id == id })
	})
	found, ok := r.opts.Shared.Jobs(ids, false)
	if !ok {
		return jobs, false
	}
	for _, id := range ids {
		told, isThere := found[id]
		if !isThere {
			r.opts.Shared.DropJob(id, list)
		} else if j, _, ok := r.heard(who, told); ok && who.lists(j) {
			jobs = append(jobs, j)
		}
	}
	return jobs, true
}

// isElsewhere reports whether another replica works on the job.
func (j *Job) isElsewhere() bool {
	j.registry.mu.Lock()
	defer j.registry.mu.Unlock()
	return j.replica != ""
}

// waitElsewhere waits for a job of another replica. While nothing can be heard of it, it counts as
// not ended.
func (j *Job) waitElsewhere(ctx context.Context) {
	for began := time.Now(); j.isElsewhere(); {
		select {
		case <-time.After(min(max(time.Since(began)/8, minLook), maxLook)):
		case <-ctx.Done():
			return
		}
		now, err := j.registry.load(j.owner, j.id)
		switch {
		case err == nil:
		case err.why == unreachable:
			continue
		default:
			now = record{Owner: j.owner, Tool: j.Tool, Created: j.created, Ended: time.Now(), State: Failed, Err: err.Fault()}.ended(j.id)
		}
		j.update(now)
	}
}

// update takes over how a job of another replica stands now.
func (j *Job) update(now *Job) {
	j.registry.mu.Lock()
	defer j.registry.mu.Unlock()
	if now.over && !j.over {
		close(j.done)
	}
	j.replica, j.progress, j.asking = now.replica, now.progress, now.asking
	j.over, j.cancelling, j.ended, j.expires, j.outcome = now.over, now.cancelling, now.ended, now.expires, now.outcome
}

// command is what a replica asks of another, for the owner of a job.
type command struct {
	Owner   Owner
	ID      string
	Cancel  bool                       `json:",omitempty"`
	Answers map[string]json.RawMessage `json:",omitempty"`
}

func (j *Job) cancelElsewhere() error {
	return j.send("cancel", command{Cancel: true})
}

func (j *Job) answerElsewhere(answers map[string]json.RawMessage) error {
	open := j.Info().Asking
	for _, name := range slices.Sorted(maps.Keys(answers)) {
		if _, isOpen := open[name]; !isOpen {
			continue
		}
		// Each by itself, or the next would replace the others.
		if err := j.send("answer "+name, command{Answers: map[string]json.RawMessage{name: answers[name]}}); err != nil {
			return err
		}
	}
	return nil
}

// send sends a command to the replica that works on the job. It replaces an earlier one of that name.
func (j *Job) send(name string, c command) error {
	r := j.registry
	r.mu.Lock()
	replica := j.replica
	r.mu.Unlock()
	c.Owner, c.ID = j.owner, j.id
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if replica != "" && !r.opts.Shared.AskReplica(replica, j.id+" "+name, data) { // it may have ended meanwhile
		return &unknownError{j.id, unreachable}
	}
	return nil
}

// runCommands does what other replicas ask.
func (r *Registry) runCommands() {
	all, _ := r.opts.Shared.Asked()
	for _, data := range all {
		var c command
		if json.Unmarshal(data, &c) != nil {
			continue
		}
		j, err := r.find(c.Owner, c.ID)
		switch {
		case err != nil: // it is not kept any more
		case c.Cancel:
			j.cancelHere()
		default:
			j.answer(c.Answers)
		}
	}
}
