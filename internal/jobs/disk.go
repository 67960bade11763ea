package jobs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"ollama-mcp/internal/durable"
	"ollama-mcp/internal/fault"
)

// disk keeps jobs over a restart of the program, in a directory that several processes may
// share. A job has a small file that says what it is, and another with its result once it has
// one. Each run of the program holds a lock for as long as it lives, so that others can tell
// its jobs from those that ended with it.
type disk struct {
	dir    string
	run    string
	ttl    time.Duration
	unlock func()
}

// record is the small file of a job.
type record struct {
	Owner   Owner
	Tool    string
	Created time.Time
	Ended   time.Time `json:",omitzero"`
	Expires time.Time `json:",omitzero"`
	State   State
	Err     *fault.Error `json:",omitempty"`
}

// openDisk makes a run known in a directory, and removes what nobody can ask for any more.
func openDisk(dir, run string, ttl time.Duration, most int) (*disk, error) {
	unlock, err := durable.TryLock(filepath.Join(dir, run+lockSuffix))
	if err != nil {
		return nil, err
	}
	d := &disk{dir, run, ttl, unlock}
	if err := d.sweep(most); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

const (
	recordSuffix = ".job"
	resultSuffix = ".result"
	lockSuffix   = ".lock"
)

func (d *disk) path(id, suffix string) string { return filepath.Join(d.dir, id+suffix) }

// close says that the run has ended.
func (d *disk) close() {
	d.unlock()
	_ = os.Remove(d.path(d.run, lockSuffix)) // no other run ever has its name
}

// save writes what a job is, after its result if it has one.
func (d *disk) save(id string, rec record, result json.RawMessage) error {
	if result != nil {
		if err := durable.Write(d.path(id, resultSuffix), result); err != nil {
			return err
		}
	}
	raw, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	return durable.Write(d.path(id, recordSuffix), raw)
}

// markLost ends a job whose run has ended.
func (d *disk) markLost(id string, rec record) (record, error) {
	rec.State, rec.Ended, rec.Err = Failed, time.Now(), fault.Of(&lostError{id: id, tool: rec.Tool})
	rec.Expires = rec.Ended.Round(0).Add(d.ttl)
	return rec, d.save(id, rec, nil)
}

func (d *disk) remove(id string) {
	_ = os.Remove(d.path(id, recordSuffix)) // first, since without it there is no job
	_ = os.Remove(d.path(id, resultSuffix))
}

// handle is what handles of jobs look like. Nothing else becomes part of a path.
var handle = regexp.MustCompile(fmt.Sprintf(`^[a-z2-7]{%d}-[a-z2-7]{26,52}$`, runLength))

// load finds a job of an owner that has ended. The error explains itself to callers.
func (d *disk) load(who Owner, id string, withResult bool) (*Job, *unknownError) {
	if !handle.MatchString(id) {
		return nil, &unknownError{id, unheardOf}
	}
	rec, err := d.read(id)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !strings.HasPrefix(id, d.run):
		return nil, &unknownError{id, ofAnotherRun}
	case err != nil || !who.owns(&Job{owner: rec.Owner}):
		return nil, &unknownError{id, unheardOf}
	case rec.State.Ended() && !time.Now().Before(rec.Expires):
		return nil, &unknownError{id, expired}
	case !rec.State.Ended() && d.isAlive(id):
		return nil, &unknownError{id, ofAnotherProcess}
	case !rec.State.Ended():
		rec, _ = d.markLost(id, rec) // or the next to ask does it
	}
	j := rec.ended(id)
	if rec.Err == nil && withResult {
		if j.outcome.Result, err = os.ReadFile(d.path(id, resultSuffix)); err != nil {
			return nil, &unknownError{id, expired}
		}
	}
	return j, nil
}

// ended is a job that has ended, without its result.
func (rec record) ended(id string) *Job {
	return &Job{
		Spec: Spec{Tool: rec.Tool}, id: id, owner: rec.Owner, created: rec.Created, ended: rec.Ended, expires: rec.Expires,
		done: ended, cancel: func(error) {}, over: true, cancelling: rec.State == Cancelled,
		outcome: Outcome{Failed: rec.State != Done, Err: rec.Err},
	}
}

// ended is the channel of jobs that have ended.
var ended = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func (d *disk) read(id string) (rec record, err error) {
	raw, err := os.ReadFile(d.path(id, recordSuffix))
	if err != nil {
		return rec, err
	}
	return rec, json.Unmarshal(raw, &rec)
}

// isAlive reports whether the run of a job goes on.
func (d *disk) isAlive(id string) bool {
	run, _, _ := strings.Cut(id, "-")
	if run == d.run {
		return true
	}
	lock := d.path(run, lockSuffix)
	if _, err := os.Stat(lock); err != nil { // or TryLock would create it
		return false
	}
	unlock, err := durable.TryLock(lock)
	if err != nil {
		return errors.Is(err, durable.ErrLocked)
	}
	unlock()
	_ = os.Remove(lock)
	return false
}

// ids are the handles of all jobs in the directory.
func (d *disk) ids() ([]string, error) {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, entry := range entries {
		if id, ok := strings.CutSuffix(entry.Name(), recordSuffix); ok && handle.MatchString(id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// sweep removes jobs that have expired or cannot be read, the oldest of more than a number, and
// the locks of runs that have ended. What other processes remove meanwhile is no trouble.
func (d *disk) sweep(most int) error {
	ids, err := d.ids()
	if err != nil {
		return err
	}
	left := make(map[string]time.Time)
	for _, id := range ids {
		rec, err := d.read(id)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil, rec.State.Ended() && !time.Now().Before(rec.Expires):
			d.remove(id)
		case rec.State.Ended():
			left[id] = rec.Created
		case !d.isAlive(id):
			if _, err := d.markLost(id, rec); err != nil {
				return err
			}
		}
	}
	oldest := slices.SortedFunc(maps.Keys(left), func(a, b string) int { return left[a].Compare(left[b]) })
	for _, id := range oldest[:max(0, len(oldest)-most)] {
		d.remove(id)
	}
	return nil
}
