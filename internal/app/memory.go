package app

import (
	"io/fs"
	"math"
	"os"
	"path"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"ollama-mcp/cache"
	"ollama-mcp/internal/config"
)

// memory is how the memory of the process is divided, in bytes. The parts are bounds, and an
// eighth is left to the program itself.
type memory struct {
	total int64
	// isLimit says that the process must stay within total, since its operator or its container
	// says so. Otherwise total only decides how large the parts are.
	isLimit bool

	cache     int64 // answers that are cached
	questions int64 // questions that the semantic cache compares with
	documents int64 // embeddings and other results that wait to be read
	batches   int64 // answers of batches that may be resumed
	jobs      int64 // arguments and results of jobs
	arriving  int64 // answers that are arriving from hosts
	answer    int64 // one of them
	unread    int64 // answers that clients have not read yet
	messages  int64 // messages that are being read or handled
	message   int64 // one of them
	queue     int64 // requests that wait for a host, whose messages are counted in messages or jobs too
	files     int64 // that calls have had read
	vectors   int64 // of calls under way
	logged    int64 // lines that wait to be written to the call log
	traced    int64 // and to be sent with traces
	conns     int64 // connections over HTTP; 0 if there is no limit for the whole
}

// usualMemory is what is divided if nobody says how much there is, and at most unless --memory
// says so: a large container is not there to be filled.
const usualMemory = 2 << 30

// ownMemory is what the program takes beside what is divided, in bytes: its code, and what Go does not
// give back at once. docs/security.md promises it.
const ownMemory = 32 << 20

// connSize is about how much memory a connection takes that is used, in bytes.
const connSize = 32 << 10

// divide divides the memory that there is. container is the limit of the process's container,
// in bytes; 0 for none. Options that are set win over what would follow from the whole.
func divide(c config.Config, container int64) memory {
	m := memory{total: int64(c.Memory), isLimit: c.Memory > 0 || container > 0}
	if m.total == 0 {
		m.total = usualMemory
		if container > 0 {
			m.total = min(m.total, container/10*9, max(container-ownMemory, container/2))
		}
	}
	part := m.total / 8
	m.cache = part
	if m.isLimit { // what is worked on is there more than once meanwhile
		part /= 2
		m.conns = m.total / 8 / connSize
	}
	m.documents, m.jobs, m.arriving, m.unread, m.queue, m.files, m.vectors, m.messages = part, part, part, part, part, part, part, 2*part
	m.questions, m.batches = min(64<<20, part/4), min(64<<20, part/4)
	m.logged, m.traced = min(64<<20, part), min(24<<20, part/2)
	m.answer = min(64<<20, m.arriving/4)
	m.message = min(int64(c.MaxMessage)<<20, m.messages/4)
	if c.IsSet("cache-size") {
		m.cache = int64(c.CacheSize) << 20
	}
	if c.IsSet("max-message") {
		m.message = int64(c.MaxMessage) << 20
		m.messages = max(m.messages, 2*m.message) // a caller alone may have half
	}
	return m
}

// containerLimit is the memory limit of the process's container, or of the control group that
// it is in, in bytes; 0 for none. root is the root of the file system.
func containerLimit(root fs.FS) (limit int64) {
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0 // not Linux
	}
	for line := range strings.Lines(string(groups)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3) // number, controllers, path
		if len(part) != 3 {
			continue
		}
		dir, file := "sys/fs/cgroup", "memory.max" // version 2
		if part[1] != "" {
			dir, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
			if !slices.Contains(strings.Split(part[1], ","), "memory") {
				continue
			}
		}
		// The limits of all groups above hold too. In a container the path may be one of the
		// host, of which there is only the top here.
		for group := path.Clean("/" + part[2]); ; group = path.Dir(group) {
			text, err := fs.ReadFile(root, path.Join(dir, group, file))
			n, bad := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
			if err == nil && bad == nil && n > 0 && n < math.MaxInt64/2 && (limit == 0 || n < limit) { // version 1 has a huge number for none
				limit = n
			}
			if group == "/" {
				break
			}
		}
	}
	return limit
}

// Garbage may grow to usualGarbage percent of what is in use before it is collected; but where that
// is more than garbageRoom, in bytes, to that, or to leastGarbage percent.
const (
	usualGarbage = 400 // with 100, as Go has it, a call took a tenth more processor time
	leastGarbage = 100
	garbageRoom  = 32 << 20
)

// garbagePercent is how much garbage may grow, in percent of what is in use, in bytes. What is kept for
// later, such as cached answers, need not be there five times for calls to leave their garbage.
func garbagePercent(inUse int64) int {
	return int(min(max(100*garbageRoom/max(inUse, 1), leastGarbage), usualGarbage))
}

// tuneMemory has garbage collected less often than Go would, as long as the process stays
// within a limit: a call leaves little behind, and finding that out costs as much as some
// calls. The limit is that of a program with a cache of this size, or half as much again as
// what is in use, if that is more: documents that wait to be read, or large messages. It is
// never more than the whole, if that is a limit. The variables GOGC and GOMEMLIMIT override
// what they set. stop ends the tuning.
func tuneMemory(m memory) (stop func()) {
	t := &memoryTuner{least: cache.MemoryLimit(m.cache), most: math.MaxInt64}
	if m.isLimit {
		t.least, t.most = min(t.least, m.total), m.total
	}
	t.setsPercent, t.setsLimit = os.Getenv("GOGC") == "", os.Getenv("GOMEMLIMIT") == ""
	if t.setsPercent {
		t.percent = usualGarbage
		debug.SetGCPercent(t.percent)
	}
	if t.setsLimit {
		debug.SetMemoryLimit(t.least)
	}
	t.rearm()
	return func() { t.stopped.Store(true) }
}

// memoryTuner sets the percentage of garbage and the memory limit after each garbage collection.
type memoryTuner struct {
	setsPercent bool
	percent     int // as it is set now
	setsLimit   bool
	least       int64 // bytes
	most        int64 // bytes
	stopped     atomic.Bool
}

// rearm has tune called after the next collection, which finds an object that nobody uses.
func (t *memoryTuner) rearm() {
	unused := new([64]byte) // smaller objects share a block, and may outlive a collection
	runtime.AddCleanup(unused, (*memoryTuner).tune, t)
}

// tune leaves small changes alone, since each stops the program for a moment.
func (t *memoryTuner) tune() {
	if t.stopped.Load() {
		return
	}
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	inUse := int64(sample[0].Value.Uint64())
	percent := garbagePercent(inUse)
	if old := t.percent; t.setsPercent && (percent == usualGarbage && old != percent || percent < old-old/8 || percent > old+old/8) {
		t.percent = percent
		debug.SetGCPercent(percent)
	}
	limit := min(max(t.least, inUse+inUse/2), t.most)
	if old := debug.SetMemoryLimit(-1); t.setsLimit && (limit == t.least && old != limit || limit > old || limit < old-old/8) {
		debug.SetMemoryLimit(limit)
	}
	t.rearm()
}
