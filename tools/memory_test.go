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

	"ollama-mcp/internal/backend/backendtest"
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

func TestMemoryOfMapDoesNotGrowWithTheTextOfItsInputs(t *testing.T) {
	const few, many, textSize = 100, 300, 10 << 10
	took := make(map[int]int64)
	for _, n := range []int{few, many} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			c := &client{t: t}
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
			before, during := live(), int64(0)
			liveAt(host, n, &during)
			if m := c.maps(`{"model":"tiny","prompt":"{{input}}","lines":["lines.txt"],"wait_seconds":600}`); m.Answered != n {
				t.Fatalf("got %+v", m)
			}
			took[n] = during - before
		})
	}
	t.Logf("while the last input is worked on: %d KiB with %d inputs, %d KiB with %d", took[few]>>10, few, took[many]>>10, many)
	if grown := took[many] - took[few]; grown > (many-few)*textSize/2 {
		t.Errorf("%d more inputs take %d bytes, %d each", many-few, grown, grown/(many-few))
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
