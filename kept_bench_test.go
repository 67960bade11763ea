package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/config"
	"ollama-mcp/server"
)

// An answer of 8 KB that is kept, beside a tool that does as good as nothing on the
// same server: clear-cache for a model that nothing is kept of.
func BenchmarkKeptAnswer(b *testing.B) {
	const (
		kept    = `"name":"generate","arguments":{"model":"tiny","prompt":"hi"}`
		nothing = `"name":"clear-cache","arguments":{"model":"none"}`
	)
	for _, way := range []struct {
		name string
		call func(*testing.B, *service) func(params string)
	}{{"stdio", overStdio}, {"http", overHTTP}} {
		for _, tool := range []struct{ name, params string }{{"nothing", nothing}, {"kept", kept}} {
			b.Run(way.name+"/"+tool.name, func(b *testing.B) {
				host := backendtest.New("gpu-1").Answer(strings.Repeat("word ", 1600))
				var c config.Config
				if err := config.Parse(config.Flags(&c), &c, []string{"--host=" + host.Listen(b), "--log-level=error", "--listen=127.0.0.1:0"}, func(string) string { return "" }); err != nil {
					b.Fatal(err)
				}
				s, err := newService(c, nil, stdio{err: os.Stderr})
				if err != nil {
					b.Fatal(err)
				}
				s.start(b.Context())
				call := way.call(b, s)
				call(tool.params)
				b.ReportAllocs()
				b.SetParallelism(4)
				b.ResetTimer()
				b.RunParallel(func(p *testing.PB) {
					for p.Next() {
						call(tool.params)
					}
				})
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
			})
		}
	}
}

const modernMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`

// overHTTP calls tools with a POST each.
func overHTTP(b *testing.B, s *service) func(params string) {
	h, err := server.NewHTTP(s.server, server.HTTPOptions{})
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
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
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
		raw, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || bytes.Contains(raw, []byte(`"isError":true`)) {
			b.Fatalf("%v, %.500s", err, raw)
		}
	}
}

// overStdio calls tools with a line each, many at once.
func overStdio(b *testing.B, s *service) func(params string) {
	in, toServer := io.Pipe()
	fromServer, out := io.Pipe()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.server.ServeStdio(ctx, in, out) }()
	b.Cleanup(func() {
		stop()
		toServer.Close()
		<-ended
	})
	var last atomic.Int64
	waiting := make([]chan struct{}, 1<<16)
	for i := range waiting {
		waiting[i] = make(chan struct{}, 1)
	}
	go func() {
		for lines := bufio.NewReader(fromServer); ; {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				return
			}
			var id int
			if at := bytes.LastIndex(line, []byte(`"id":`)); at >= 0 {
				fmt.Sscanf(string(line[at+5:]), "%d", &id)
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
