package app

import (
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"testing/fstest"
	"time"

	"ollama-mcp/cache"
	"ollama-mcp/internal/config"
)

// tuned has the memory tuned until the test ends, as if neither GOGC nor GOMEMLIMIT were set.
func tuned(t *testing.T, m memory) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	stop := tuneMemory(m)
	t.Cleanup(func() {
		stop()
		debug.SetGCPercent(100)
		debug.SetMemoryLimit(math.MaxInt64)
	})
}

// A limit below what is in use would have garbage collected all the time.
func TestMemoryLimitIsNeverBelowWhatIsInUse(t *testing.T) {
	const cacheSize, other = 1 << 20, 64 << 20
	tuned(t, memory{total: 2 << 30, cache: cacheSize})
	least := cache.MemoryLimit(cacheSize)
	if limit := debug.SetMemoryLimit(-1); limit != least {
		t.Errorf("at the start the limit is %d, want %d", limit, least)
	}
	inUse := make([]byte, other)
	awaitLimit(t, func(limit int64) bool { return limit >= other+other/2 })
	runtime.KeepAlive(inUse)
	inUse = nil
	awaitLimit(t, func(limit int64) bool { return limit == least })
}

// awaitLimit collects garbage until the limit is as it should be.
func awaitLimit(t *testing.T, right func(limit int64) bool) {
	t.Helper()
	awaitCollector(t, func() (int64, bool) {
		limit := debug.SetMemoryLimit(-1)
		return limit, right(limit)
	})
}

// awaitCollector collects garbage until what the collector goes by is as it should be.
func awaitCollector(t *testing.T, look func() (is int64, isRight bool)) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; runtime.GC() {
		is, isRight := look()
		if isRight {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %d", is)
		}
	}
}

func TestGarbageMayGrowToAFewTimesWhatIsInUseButNotFarBeyondItsRoom(t *testing.T) {
	const mib = 1 << 20
	for inUse, want := range map[int64]int64{0: 0, 4: 16, 8: 32, 16: 32, 32: 32, 100: 100} {
		if got := inUse * int64(garbagePercent(inUse*mib)) / 100; got != want {
			t.Errorf("with %d MiB in use: got %d MiB of garbage, want %d", inUse, got, want)
		}
	}
	tuned(t, memory{total: 2 << 30, cache: 1 << 30}) // whose limit is far away
	percentIs := func(want int64) func() (int64, bool) {
		return func() (int64, bool) {
			sample := []metrics.Sample{{Name: "/gc/gogc:percent"}}
			metrics.Read(sample)
			is := int64(sample[0].Value.Uint64())
			return is, is == want
		}
	}
	inUse := make([]byte, 64*mib)
	awaitCollector(t, percentIs(100))
	runtime.KeepAlive(inUse)
	inUse = nil
	awaitCollector(t, percentIs(400))
}

func TestMemoryIsDividedByTheWhole(t *testing.T) {
	const mib = 1 << 20
	for name, tt := range map[string]struct {
		args      []string
		container int64
		want      memory
	}{
		"by default":             {nil, 0, usual},
		"in a small container":   {nil, 640 * mib, memory{total: 576 * mib, isLimit: true, cache: 72 * mib, questions: 9 * mib, batches: 9 * mib, documents: 36 * mib, jobs: 36 * mib, arriving: 36 * mib, answer: 9 * mib, unread: 36 * mib, queue: 36 * mib, files: 36 * mib, vectors: 36 * mib, logged: 36 * mib, traced: 18 * mib, messages: 72 * mib, message: 18 * mib, conns: 2304}},
		"in a tiny container":    {nil, 96 * mib, memory{total: 64 * mib, isLimit: true, cache: 8 * mib, questions: 1 * mib, batches: 1 * mib, documents: 4 * mib, jobs: 4 * mib, arriving: 4 * mib, answer: 1 * mib, unread: 4 * mib, queue: 4 * mib, files: 4 * mib, vectors: 4 * mib, logged: 4 * mib, traced: 2 * mib, messages: 8 * mib, message: 2 * mib, conns: 256}},
		"in a large container":   {nil, 64 << 30, limited},
		"with --memory":          {[]string{"--memory=128MiB"}, 0, memory{total: 128 * mib, isLimit: true, cache: 16 * mib, questions: 2 * mib, batches: 2 * mib, documents: 8 * mib, jobs: 8 * mib, arriving: 8 * mib, answer: 2 * mib, unread: 8 * mib, queue: 8 * mib, files: 8 * mib, vectors: 8 * mib, logged: 8 * mib, traced: 4 * mib, messages: 16 * mib, message: 4 * mib, conns: 512}},
		"above the container's":  {[]string{"--memory=2GiB"}, 256 * mib, limited},
		"with options beside it": {[]string{"--memory=256MiB", "--cache-size=100", "--max-message=32"}, 0, memory{total: 256 * mib, isLimit: true, cache: 100 * mib, questions: 4 * mib, batches: 4 * mib, documents: 16 * mib, jobs: 16 * mib, arriving: 16 * mib, answer: 4 * mib, unread: 16 * mib, queue: 16 * mib, files: 16 * mib, vectors: 16 * mib, logged: 16 * mib, traced: 8 * mib, messages: 64 * mib, message: 32 * mib, conns: 1024}},
		"with options alone":     {[]string{"--cache-size=256", "--max-message=512"}, 0, func() memory { m := usual; m.message, m.messages = 512*mib, 1024*mib; return m }()},
	} {
		var c config.Config
		if err := config.Parse(config.Flags(&c), &c, tt.args, func(string) string { return "" }); err != nil {
			t.Fatal(err)
		}
		got := divide(c, tt.container)
		if got != tt.want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", name, got, tt.want)
		}
		sum := got.cache + got.questions + got.batches + got.documents + got.jobs + got.arriving + got.unread + got.files + got.vectors + got.logged + got.traced + got.messages + got.conns*connSize
		if got.isLimit && got.message < 32*mib && sum > got.total/8*7 {
			t.Errorf("%s: the parts are %d of %d", name, sum, got.total)
		}
	}
}

// usual is what there is where nobody says anything: the bounds that the parts have by themselves.
var usual = memory{
	total: 2 << 30, cache: 256 << 20, questions: 64 << 20, batches: 64 << 20, documents: 256 << 20, jobs: 256 << 20, arriving: 256 << 20,
	answer: 64 << 20, unread: 256 << 20, queue: 256 << 20, files: 256 << 20, vectors: 256 << 20, logged: 64 << 20, traced: 24 << 20, messages: 512 << 20, message: 32 << 20,
}

// limited is what there is where as much is a limit.
var limited = memory{
	total: 2 << 30, isLimit: true, cache: 256 << 20, questions: 32 << 20, batches: 32 << 20, documents: 128 << 20, jobs: 128 << 20, arriving: 128 << 20,
	answer: 32 << 20, unread: 128 << 20, queue: 128 << 20, files: 128 << 20, vectors: 128 << 20, logged: 64 << 20, traced: 24 << 20, messages: 256 << 20, message: 32 << 20, conns: 8192,
}

func TestLimitOfTheContainerIsFound(t *testing.T) {
	const none = "9223372036854771712\n" // as version 1 has it
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	for name, tt := range map[string]struct {
		root fstest.MapFS
		want int64
	}{
		"no Linux":                       {fstest.MapFS{}, 0},
		"version 2, in a container":      {fstest.MapFS{"proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("536870912\n")}, 512 << 20},
		"version 2 without a limit":      {fstest.MapFS{"proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("max\n")}, 0},
		"version 2, at the top":          {fstest.MapFS{"proc/self/cgroup": file("0::/\n")}, 0},
		"version 2, the smallest counts": {fstest.MapFS{"proc/self/cgroup": file("0::/a.slice/b.service\n"), "sys/fs/cgroup/a.slice/b.service/memory.max": file("max\n"), "sys/fs/cgroup/a.slice/memory.max": file("1000\n"), "sys/fs/cgroup/memory.max": file("2000\n")}, 1000},
		"version 2, path of the host":    {fstest.MapFS{"proc/self/cgroup": file("0::/../../docker/abc\n"), "sys/fs/cgroup/memory.max": file("2000\n")}, 2000},
		"version 1, in a container":      {fstest.MapFS{"proc/self/cgroup": file("5:cpu,cpuacct:/\n4:memory:/docker/abc\n1:name=systemd:/x\n"), "sys/fs/cgroup/memory/memory.limit_in_bytes": file("1000\n")}, 1000},
		"version 1 without a limit":      {fstest.MapFS{"proc/self/cgroup": file("4:hugetlb,memory:/\n"), "sys/fs/cgroup/memory/memory.limit_in_bytes": file(none)}, 0},
		"both":                           {fstest.MapFS{"proc/self/cgroup": file("4:memory:/a\n0::/a\n"), "sys/fs/cgroup/memory/a/memory.limit_in_bytes": file("3000\n"), "sys/fs/cgroup/a/memory.max": file("max\n")}, 3000},
		"what makes no sense":            {fstest.MapFS{"proc/self/cgroup": file("x\n\n0::\n"), "sys/fs/cgroup/memory.max": file("-1\n")}, 0},
	} {
		if got := containerLimit(tt.root); got != tt.want {
			t.Errorf("%s: got %d, want %d", name, got, tt.want)
		}
	}
}

func TestMemoryLimitIsNeverMoreThanTheWhole(t *testing.T) {
	const total = 96 << 20
	tuned(t, memory{total: total, isLimit: true, cache: 12 << 20})
	inUse := make([]byte, 80<<20)
	awaitLimit(t, func(limit int64) bool { return limit == total })
	runtime.KeepAlive(inUse)
}
