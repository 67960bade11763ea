package batch

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unique"

	"ollama-mcp/internal/durable"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/schema"
)

// Row is the answer to an input.
type Row struct {
	Text      string          `json:"text,omitempty"`
	Data      json.RawMessage `json:"data,omitempty"` // the JSON object that the format asked for, instead of Text
	Notes     []string        `json:"notes,omitempty"`
	TokensIn  int             `json:"tokens_in,omitempty"`
	TokensOut int             `json:"tokens_out,omitempty"`
	Digests   string          `json:"digests,omitempty"` // of the model, one of which has answered; "" if not known
}

// JournalOptions configure Journals. Zero fields take the defaults given with them.
type JournalOptions struct {
	// Dir is a directory that keeps answers over a restart; "" keeps them in memory. Processes
	// may share it. Trouble with it is logged, and answers are then kept in memory.
	Dir   string
	Bytes int64        // that are kept in memory, of all batches together; 0 means 64 MiB
	Log   *slog.Logger // nil discards

	// Shared has a batch that is begun again find the answers that other replicas have got; nil
	// for none.
	Shared Shared
}

const (
	journalAge   = 7 * 24 * time.Hour // after which a file that nobody writes to is removed
	journalBytes = 1 << 30            // of all files, beyond which the oldest are removed

	// rowOverhead is about what a row in memory takes beside its JSON, in bytes: its key and its place.
	rowOverhead = 192

	journalSuffix = ".jsonl"
	lockSuffix    = ".lock"
)

// Journals keep the answers of batches, so that a batch which is begun again asks only for what
// is missing. Use NewJournals to make them. Their methods are safe for concurrent use.
type Journals struct {
	opts JournalOptions

	mu    sync.Mutex // guards what follows and the users of journals; taken before those of journals
	all   map[string]*journal
	bytes int64 // in memory
}

// NewJournals makes journals. It touches no file yet.
func NewJournals(o JournalOptions) *Journals {
	o.Bytes = cmp.Or(o.Bytes, 64<<20)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Journals{opts: o, all: make(map[string]*journal)}
}

// journal has the answers of one batch by the key of the question. Batches that are the same
// share it.
type journal struct {
	set   *Journals
	id    string
	users int // batches that use it now; guarded by the mutex of Journals
	used  time.Time

	mu     sync.Mutex // guards what follows
	rows   map[string]place
	memory int64    // bytes of the rows in memory
	file   *os.File // nil while rows are kept in memory
	size   int64    // of the whole lines in the file
	unlock func()
	lost   bool // rows are not kept over a restart, although they should be
}

// place is where a row is: in memory, or in the file.
type place struct {
	row []byte // its JSON without the digests; nil if it is in the file
	at  int64  // of the line in the file
	n   int

	digests string // of the model that has answered
}

// memory is about how many bytes a row takes that is kept in memory; 0 for one in the file.
func (p place) memory() int64 {
	if p.row == nil {
		return 0
	}
	return int64(len(p.row)) + rowOverhead
}

// isOf reports whether a row may be of the model that hosts have by these digests. Hosts may
// differ, and of some it may not be known at the moment what they have.
func (p place) isOf(digests string) bool {
	if p.digests == digests || p.digests == "" || digests == "" {
		return true
	}
	now := strings.Fields(digests)
	return slices.ContainsFunc(strings.Fields(p.digests), func(one string) bool { return slices.Contains(now, one) })
}

// open returns the journal of a batch, which must be closed. It fails if another process has it,
// with a *fault.Error.
func (s *Journals) open(ctx context.Context, id string) (*journal, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.all[id]
	if j == nil {
		j = &journal{set: s, id: id, rows: make(map[string]place)}
	}
	if s.opts.Dir != "" && j.file == nil {
		err := j.openFile(ctx)
		switch {
		case errors.Is(err, durable.ErrLocked):
			return nil, &fault.Error{
				Code: fault.Overloaded, Message: "another server works on the same inputs with the same prompt", Retryable: true, RetryAfter: 10 * time.Second,
				Hint: "wait until it has ended: then the same call costs nothing",
			}
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			j.unsaved(err)
		}
	}
	j.users++
	s.all[id] = j
	return j, nil
}

// unsaved logs that answers will not outlast the program. The mutex of the journal is held, or
// nobody else has it.
func (j *journal) unsaved(err error) {
	if !j.lost {
		j.lost = true
		j.set.opts.Log.Warn("answers of a batch are not kept over a restart: the state directory cannot be used; see --state-dir", "error", err)
	}
}

// close says that a batch is done with the journal.
func (j *journal) close() {
	s := j.set
	s.mu.Lock()
	defer s.mu.Unlock()
	if j.users--; j.users > 0 {
		return
	}
	j.used = time.Now()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file != nil {
		if err := errors.Join(j.file.Sync(), j.file.Close()); err != nil {
			j.unsaved(err)
		}
		j.unlock()
		j.file = nil
		s.bytes -= j.memory
		delete(s.all, j.id)
	}
}

// path is that of a file of the journal.
func (j *journal) path(suffix string) string { return filepath.Join(j.set.opts.Dir, j.id+suffix) }

// openFile locks the journal's file against other processes and reads what it has.
func (j *journal) openFile(ctx context.Context) error {
	// Files are removed, and locks taken, under one lock for all: otherwise a lock could be
	// removed while somebody is about to take it.
	unlockAll, err := durable.Lock(ctx, filepath.Join(j.set.opts.Dir, "all"+lockSuffix))
	if err != nil {
		return err
	}
	defer unlockAll()
	j.set.sweep()
	unlock, err := durable.TryLock(j.path(lockSuffix))
	if err != nil {
		return err
	}
	f, err := os.OpenFile(j.path(journalSuffix), os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		j.file = f
		err = j.load()
	}
	if err != nil {
		if f != nil {
			_ = f.Close() // nothing was written
		}
		unlock()
		j.file = nil
		return err
	}
	j.unlock = unlock
	return nil
}

// line is a line of the file.
type line struct {
	Key string          `json:"key"`
	Row json.RawMessage `json:"row"`
}

// load finds the rows in the file. A last line that a crash has cut is removed; any other that
// cannot be read is passed over, so that its row is asked for again.
func (j *journal) load() error {
	r := bufio.NewReaderSize(j.file, 64<<10)
	for {
		raw, err := r.ReadBytes('\n')
		if err == io.EOF {
			return j.file.Truncate(j.size)
		}
		if err != nil {
			return err
		}
		var l line
		var row Row
		if json.Unmarshal(raw, &l) == nil && l.Key != "" && json.Unmarshal(l.Row, &row) == nil {
			j.rows[l.Key] = place{at: j.size, n: len(raw), digests: unique.Make(row.Digests).Value()}
		}
		j.size += int64(len(raw))
	}
}

// has reports whether there is a row for a key, of the model that hosts have by these digests.
func (j *journal) has(key, digests string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	p, ok := j.rows[key]
	return ok && p.isOf(digests)
}

// get returns the row of a key that the journal has.
func (j *journal) get(key string) (row Row, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	p, ok := j.rows[key]
	if !ok {
		return row, errors.New("its answer was not kept")
	}
	if p.row != nil {
		row.Digests = p.digests
		return row, json.Unmarshal(p.row, &row)
	}
	raw := make([]byte, p.n)
	if _, err := j.file.ReadAt(raw, p.at); err != nil {
		return row, fmt.Errorf("its answer cannot be read: %w", err)
	}
	var l line
	if err = json.Unmarshal(raw, &l); err == nil {
		err = json.Unmarshal(l.Row, &row)
	}
	return row, err
}

// put keeps a row, here and for other replicas. It fails if there is no room for it here, with a
// *fault.Error.
func (j *journal) put(key string, row Row) error {
	if err := j.keep(key, row); err != nil {
		return err
	}
	if shared := j.set.opts.Shared; shared != nil {
		shared.PutRow(j.id, key, schema.Readable(row))
	}
	return nil
}

// keep keeps a row here. It fails like put.
func (j *journal) keep(key string, row Row) error {
	if j.write(key, row) {
		return nil
	}
	p := place{digests: row.Digests}
	row.Digests = "" // which all rows have in common
	p.row = schema.Readable(row)
	j.set.mu.Lock()
	defer j.set.mu.Unlock()
	if err := j.set.reserve(p.memory()); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	replaced := j.rows[key].memory()
	j.set.bytes -= replaced
	j.memory += p.memory() - replaced
	j.rows[key] = p
	return nil
}

// write writes a line to the file, and reports whether it has. A line that was cut is written
// over by the next, so that only whole lines are followed by others.
func (j *journal) write(key string, row Row) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return false
	}
	raw := append(schema.Readable(line{key, schema.Readable(row)}), '\n')
	if _, err := j.file.WriteAt(raw, j.size); err != nil {
		j.unsaved(err)
		return false
	}
	j.rows[key] = place{at: j.size, n: len(raw), digests: row.Digests}
	j.size += int64(len(raw))
	return true
}

// forget removes all rows, unless another batch uses them.
func (j *journal) forget() {
	j.set.mu.Lock()
	defer j.set.mu.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.users > 1 {
		return
	}
	j.set.bytes -= j.memory
	j.memory, j.size = 0, 0
	clear(j.rows)
	if j.file != nil {
		if err := j.file.Truncate(0); err != nil {
			j.unsaved(err)
		}
	}
}

// reserve makes room for bytes in memory, in place of the answers that were not used for
// longest. The mutex is held.
func (s *Journals) reserve(n int64) error {
	for s.bytes+n > s.opts.Bytes {
		var oldest *journal
		for _, other := range s.all {
			if other.users == 0 && (oldest == nil || other.used.Before(oldest.used)) {
				oldest = other
			}
		}
		if oldest == nil {
			return &fault.Error{
				Code: fault.Overloaded, Message: fmt.Sprintf("the answers of all batches take more than %d MiB", s.opts.Bytes>>20),
				Hint: "map fewer inputs in a call, or ask the operator of this server to set --state-dir",
			}
		}
		s.bytes -= oldest.memory
		delete(s.all, oldest.id)
	}
	s.bytes += n
	return nil
}

// sweep removes files that are old, and the oldest of too many. It is done under the lock for
// all; files in use are left alone. Trouble is left to the next time.
func (s *Journals) sweep() {
	entries, err := os.ReadDir(s.opts.Dir)
	if err != nil {
		return
	}
	var infos []fs.FileInfo
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && strings.HasSuffix(entry.Name(), journalSuffix) {
			infos = append(infos, info)
		}
	}
	slices.SortStableFunc(infos, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) }) // the newest first
	var all int64
	for _, info := range infos {
		if all += info.Size(); all <= journalBytes && time.Since(info.ModTime()) < journalAge {
			continue
		}
		name := filepath.Join(s.opts.Dir, info.Name())
		lock := strings.TrimSuffix(name, journalSuffix) + lockSuffix
		if unlock, err := durable.TryLock(lock); err == nil {
			_ = os.Remove(name)
			unlock()
			_ = os.Remove(lock)
		}
	}
}
