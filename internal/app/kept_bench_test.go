package app

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/config"
	"ollama-mcp/server"
	"ollama-mcp/tools"
)

// An answer of 8 KB that is kept, beside two calls that cost what the way there and back
// does: one of a tool that does as good as nothing, which is clear-cache for a model that
// nothing is kept of, and one of a tool that has the same answer ready.
func BenchmarkKeptAnswer(b *testing.B) {
	const nothing = `"name":"clear-cache","arguments":{"model":"none"}`
	for _, way := range []struct {
		name string
		call func(*testing.B, *server.Server) func(params string)
	}{{"stdio", overStdio}, {"http", overHTTP}} {
		s := keeping(b)
		kept := way.call(b, s.server)
		same := way.call(b, parrot(b, s))
		kept(question) // so that it is kept
		same(question) // which finds it kept
		for _, tt := range []struct {
			name, params string
			call         func(params string)
		}{{"nothing", nothing, kept}, {"same", question, same}, {"kept", question, kept}} {
			b.Run(way.name+"/"+tt.name, func(b *testing.B) {
				b.ReportAllocs()
				b.SetParallelism(4)
				b.RunParallel(func(p *testing.PB) {
					for p.Next() {
						tt.call(tt.params)
					}
				})
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
			})
		}
	}
}

// question is the params of a call whose answer is kept.
const question = `"name":"generate","arguments":{"model":"tiny","prompt":"hi"}`

// keeping is the program, with a host whose answer has 8 KB.
func keeping(b *testing.B) *service {
	host := backendtest.New("gpu-1").Answer(strings.Repeat("word ", 1600))
	var c config.Config
	args := []string{"--host=" + host.Listen(b), "--log-level=error"}
	if err := config.Parse(config.Flags(&c), &c, args, func(string) string { return "" }); err != nil {
		b.Fatal(err)
	}
	s, err := newService(c, nil, os.Stderr)
	if err != nil {
		b.Fatal(err)
	}
	stop := tuneMemory(s.memory) // as the program does
	b.Cleanup(func() {
		stop()
		debug.SetGCPercent(100)
		debug.SetMemoryLimit(math.MaxInt64)
	})
	s.start(b.Context())
	return s
}

// parrot is a server whose tool generate asks the model once, and from then on has that
// result ready.
func parrot(b *testing.B, s *service) *server.Server {
	offered := tools.All(tools.Deps{Engine: s.engine, Log: s.log})[:1]
	offered[0].Handler = once(offered[0].Handler)
	p, err := server.New(server.Options{Name: "ollama-mcp", Tools: offered})
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// once is handle for the first call, and has the same result for all others.
func once[In, Out any](handle func(context.Context, In) (Out, error)) func(context.Context, In) (Out, error) {
	var first sync.Once
	var out Out
	var err error
	return func(ctx context.Context, in In) (Out, error) {
		first.Do(func() { out, err = handle(ctx, in) })
		return out, err
	}
}

var failed = []byte(`"isError":true`)

const modernMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`

// overHTTP calls tools with a POST each.
func overHTTP(b *testing.B, s *server.Server) func(params string) {
	h, err := server.NewHTTP(s, server.HTTPOptions{})
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(ctx, l) }()
	b.Cleanup(func() {
		stop()
		<-ended
	})
	buffers := sync.Pool{New: func() any { return new(bytes.Buffer) }}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16, ReadBufferSize: 16 << 10}}
	return func(params string) {
		body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{` + params + `,` + modernMeta + `}}`
		req, err := http.NewRequest("POST", "http://"+l.Addr().String()+"/mcp", strings.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(params, `"name":"`), `"`)
		req.Header = http.Header{
			"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"},
			"Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {name},
		}
		resp, err := client.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		raw := buffers.Get().(*bytes.Buffer)
		defer buffers.Put(raw)
		raw.Reset()
		_, err = raw.ReadFrom(resp.Body)
		resp.Body.Close()
		if err != nil || bytes.Contains(raw.Bytes(), failed) {
			b.Errorf("%v, %.500s", err, raw)
		}
	}
}

// overStdio calls tools with a line each, many at once, through pipes as those that a
// client makes.
func overStdio(b *testing.B, s *server.Server) func(params string) {
	in, toServer := pipe(b)
	fromServer, out := pipe(b)
	ended := make(chan error, 1)
	go func() { ended <- s.ServeStdio(context.Background(), in, out) }()
	b.Cleanup(func() {
		toServer.Close()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	var last atomic.Int64
	waiting := make([]chan struct{}, 1<<10)
	for i := range waiting {
		waiting[i] = make(chan struct{}, 1)
	}
	go func() {
		for lines := bufio.NewReaderSize(fromServer, 64<<10); ; {
			line, err := lines.ReadSlice('\n') // no answer is longer than the buffer
			if err != nil {
				return // the server has ended, or the benchmark has
			}
			_, after, _ := bytes.Cut(line, []byte(`"id":`))
			digits, _, _ := bytes.Cut(after, []byte(","))
			id, err := strconv.Atoi(string(digits))
			if err != nil || bytes.Contains(line, failed) {
				b.Errorf("answer %.500s", line)
				return
			}
			waiting[id%len(waiting)] <- struct{}{}
		}
	}()
	return func(params string) {
		id := last.Add(1)
		fmt.Fprintf(toServer, `{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{%s,%s}}`+"\n", id, params, modernMeta)
		<-waiting[id%int64(len(waiting))]
	}
}

func pipe(b *testing.B) (r, w *os.File) {
	r, w, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		r.Close()
		w.Close()
	})
	return r, w
}
