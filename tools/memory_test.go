//go:build !race

package tools_test

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"ollama-mcp/cache"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/batch"
	"ollama-mcp/pool"
)

// live is how many bytes of the heap are in use after a collection.
func live() int64 {
	runtime.GC()
	runtime.GC() // what the first has moved out of pools
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

// liveAt has a host measure the heap while it works on a call, and forget all calls, which
// would count as memory of the program.
func liveAt(host *backendtest.Host, call int, into *int64) {
	calls := 0
	host.FailWhen(func(backendtest.Call) backendtest.Fault {
		calls++
		measured := calls == call
		return func(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
			host.Forget()
			if measured {
				*into = live()
			}
			next(w, r)
		}
	})
}

// These tests have no virtual time: in its bubble, the runtime keeps what stopped timers refer to.

func TestMemoryOfMapIsFlatUpToItsMostInputs(t *testing.T) {
	const few, many, textSize = 1000, batch.MaxInputs, 10 << 10
	during, after := make(map[int]int64), make(map[int]int64)
	for _, n := range []int{few, many} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			c := &client{t: t, sharing: true}
			c.opts.Cache, c.opts.CacheMode = cache.Options{Size: 256 << 20, TTL: 10 * time.Minute}, "auto" // as shipped
			file, err := os.Create(filepath.Join(c.allow(nil), "lines.txt"))
			if err != nil {
				t.Fatal(err)
			}
			w := bufio.NewWriter(file)
			for i := range n {
				fmt.Fprintf(w, "%d %s\n", i, strings.Repeat("text ", textSize/5))
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			file.Close()
			host := backendtest.New("gpu-1").Answer("yes")
			c.useAll(pool.Options{Slots: 1}, host) // so that as much is in flight each time
			before, at := live(), int64(0)
			liveAt(host, n, &at)
			if m := c.maps(`{"model":"tiny","prompt":"{{input}}","lines":["lines.txt"],"wait_seconds":600}`); m.Answered != n {
				t.Fatalf("got %+v", m)
			}
			host.Forget()
			during[n], after[n] = at-before, live()-before
		})
	}
	for when, took := range map[string]map[int]int64{"while the last input is worked on": during, "when all is done": after} {
		each := (took[many] - took[few]) / (many - few)
		t.Logf("%s: %d KiB with %d inputs, %d KiB with %d, %d bytes for each more", when, took[few]>>10, few, took[many]>>10, many, each)
		// The answer, its key and where to find both: none of it grows with the text of the input.
		if each > 512 {
			t.Errorf("%s: each more input takes %d bytes", when, each)
		}
	}
}

func TestCachedAnswersTakeWhatTheCacheCountsWhateverTheirPrompts(t *testing.T) {
	const warm, n, mostEach = 100, 1000, 1 << 10
	prompt := strings.Repeat("text ", 2<<10)
	for tool, args := range map[string]string{
		"generate": `{"prompt":"%d %s","model":"tiny"}`,
		"chat":     `{"messages":[{"role":"user","content":"%d %s"}],"model":"tiny"}`,
		"embed":    `{"input":"%d %s","model":"words"}`,
	} {
		t.Run(tool, func(t *testing.T) {
			c := &client{t: t, sharing: true}
			c.opts.Cache, c.opts.CacheMode = cache.Options{Size: 256 << 20, TTL: 10 * time.Minute}, "auto" // as shipped
			host := backendtest.New("gpu-1").Answer("yes").Install(backendtest.Model{Name: "words", Dimensions: 8})
			c.useAll(pool.Options{Slots: 1}, host)
			call := func(i int) { c.succeeds(tool, fmt.Sprintf(args, i, prompt)) }
			for i := range warm { // after which connections and tables are as large as they get
				call(n + i)
			}
			host.Forget()
			before, counted := live(), c.engine.Status(c.who).Cache.Bytes
			for i := range n {
				call(i)
				host.Forget()
			}
			now := c.engine.Status(c.who).Cache
			took := live() - before
			counted = now.Bytes - counted
			t.Logf("%d bytes for each, counted as %d", took/n, counted/n)
			if now.Entries != warm+n || took > counted || counted > n*mostEach {
				t.Errorf("%d answers are cached and take %d bytes each; want %d that take no more than the %d counted, and these at most %d", now.Entries, took/n, warm+n, counted/n, mostEach)
			}
		})
	}
}

func TestEmbedKeepsItsTextsOnce(t *testing.T) {
	const few, many, textSize = 160, 800, 2 << 10
	took := make(map[int]int64) // beyond the arguments as they came
	for _, n := range []int{few, many} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			c := &client{t: t}
			host := backendtest.New("gpu-1").Install(backendtest.Model{Name: "words", Dimensions: 8})
			c.useAll(pool.Options{Slots: 1}, host) // so that as much is in flight each time
			all := make([]string, n)
			for i := range all {
				all[i] = fmt.Sprintf("%d %s", i, strings.Repeat("text ", textSize/5))
			}
			args := `{"model":"words","input":["` + strings.Join(all, `","`) + `"],"wait_seconds":600}`
			clear(all)
			before, during := live(), int64(0)
			liveAt(host, (n+31)/32, &during)
			if a := c.succeeds("embed", args); a.StructuredContent["count"] != float64(n) {
				t.Fatalf("got %v", a.StructuredContent["count"])
			}
			took[n] = during - before
		})
	}
	t.Logf("while the last batch is worked on: %d KiB with %d inputs, %d KiB with %d", took[few]>>10, few, took[many]>>10, many)
	if grown := took[many] - took[few]; grown > (many-few)*textSize*2 {
		t.Errorf("%d more inputs take %d bytes, %d each", many-few, grown, grown/(many-few))
	}
}
