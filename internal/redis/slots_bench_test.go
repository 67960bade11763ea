package redis

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// BenchmarkRenewal has replicas renew the leases of hosts of four slots, one after another, at a real Redis. A call
// ends and another begins before each renewal. Beside the time of a renewal it tells how much processor
// time the server needs for one.
func BenchmarkRenewal(b *testing.B) {
	for _, c := range []struct{ replicas, hosts int }{{1, 4}, {3, 10}, {20, 100}} {
		for _, load := range []struct {
			name  string
			calls float64 // for each slot
		}{{"idle", 0}, {"four fifths in use", 0.8}, {"calls wait", 1.75}} {
			b.Run(fmt.Sprintf("replicas=%d/hosts=%d/%s", c.replicas, c.hosts, load.name), func(b *testing.B) {
				all := shareReal(b, c.replicas, c.hosts, int(load.calls*4*float64(c.hosts))/c.replicas)
				before := all[0].processorTime(b)
				for i := range b.N {
					s := all[i%len(all)]
					b.StopTimer()
					if s.calls != nil {
						select {
						case s.calls <- struct{}{}:
							<-s.began
						case <-time.After(time.Millisecond): // none has a slot
						}
					}
					b.StartTimer()
					s.renew(time.Now()) // a busy machine may be late with one
				}
				b.ReportMetric((all[0].processorTime(b)-before)/float64(b.N), "µs-server/op")
			})
		}
	}
}

// realSharer is a replica that shares hosts at a real Redis, and renews its leases when the benchmark says so.
type realSharer struct {
	*sharing
	calls chan struct{} // ends a call, after which another begins; nil if there are none
	began chan struct{}
}

// shareReal starts a Redis, and replicas with so many calls each.
func shareReal(b *testing.B, replicas, hosts, calls int) (all []*realSharer) {
	b.Helper()
	name, err := exec.LookPath("redis-server")
	if err != nil {
		b.Skip("redis-server is not installed; on Debian: apt-get install redis-server")
	}
	ctx, cancel := context.WithCancel(context.Background())
	socket := filepath.Join(b.TempDir(), "redis")
	server := exec.CommandContext(ctx, name, "--port", "0", "--unixsocket", socket, "--save", "")
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	var work sync.WaitGroup
	b.Cleanup(func() {
		cancel()
		work.Wait()
		_ = server.Wait() // it was killed
	})
	for range replicas {
		c, err := New(Options{URL: "unix://" + socket})
		if err != nil {
			b.Fatal(err)
		}
		work.Go(func() { c.Run(ctx) })
		var backends []backend.Backend
		for i := range hosts {
			backends = append(backends, gpu{name: fmt.Sprint("gpu-", i)})
		}
		p, err := pool.New(pool.Options{Hosts: backends, Slots: 4, Queue: 1000, PerCaller: 1000})
		if err != nil {
			b.Fatal(err)
		}
		s := &realSharer{sharing: &sharing{Client: c, pool: p, unused: make(map[string]bool)}}
		s.alone(p.Claims(), 0)
		if calls > 0 {
			s.calls, s.began = make(chan struct{}), make(chan struct{})
		}
		for range calls {
			work.Go(func() {
				for ctx.Err() == nil {
					_ = p.With(ctx, route.Need{}, func(ctx context.Context, _ *pool.Lease) error {
						select {
						case <-s.calls:
							work.Go(func() { s.began <- struct{}{} })
						case <-ctx.Done():
						}
						return nil
					})
				}
			})
		}
		all = append(all, s)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		ready := true
		for _, s := range all {
			ready = ready && s.usable.Load()
		}
		if ready {
			break
		}
		if time.Now().After(deadline) {
			b.Fatal("Redis cannot be reached")
		}
	}
	for range 20 {
		for _, s := range all {
			s.renew(time.Now())
		}
	}
	return all
}

// processorTime is how many µs of a processor the server has needed.
func (s *realSharer) processorTime(b *testing.B) (us float64) {
	b.Helper()
	for line := range strings.Lines(s.ask(b, "INFO", "cpu")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if seconds, err := strconv.ParseFloat(value, 64); err == nil && strings.HasSuffix(name, "_main_thread") {
			us += seconds * 1e6
		}
	}
	return us
}

func (s *realSharer) ask(b *testing.B, words ...string) string {
	b.Helper()
	results, ok := s.do(context.Background(), func(build rueidis.Builder) rueidis.Commands {
		return rueidis.Commands{build.Arbitrary(words[0]).Args(words[1:]...).Build()}
	})
	if !ok || refusal(results[0]) != nil {
		b.Fatalf("%v failed", words)
	}
	text, _ := results[0].ToString()
	return text
}
