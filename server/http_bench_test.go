//go:build unix

package server_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/server"
)

// BenchmarkHTTP compares our HTTP with mcp-go's, without sessions and streams as
// it is cheapest, with a tool that does nothing. The time of processors is that of
// the clients too, who are the same.
func BenchmarkHTTP(b *testing.B) {
	ours, theirs := contenders(b, func() {})
	front, err := server.NewHTTP(ours, server.HTTPOptions{})
	if err != nil {
		b.Fatal(err)
	}
	stateless := mcpserver.NewStreamableHTTPServer(theirs, mcpserver.WithStateLess(true), mcpserver.WithDisableStreaming(true))

	for _, callers := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("ours/callers=%d", callers), func(b *testing.B) { benchPosts(b, callers, front) })
		b.Run(fmt.Sprintf("mcp-go/callers=%d", callers), func(b *testing.B) { benchPosts(b, callers, stateless) })
	}
}

func benchPosts(b *testing.B, callers int, h http.Handler) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	var ends sync.WaitGroup
	ends.Go(func() { _ = srv.Serve(l) })
	defer ends.Wait()
	defer srv.Close()
	transport := &http.Transport{MaxIdleConnsPerHost: callers}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport}
	url := "http://" + l.Addr().String() + "/mcp"

	b.ReportAllocs()
	before := processorTime()
	b.ResetTimer()
	var id atomic.Int64
	var calls sync.WaitGroup
	for range callers {
		calls.Go(func() {
			for n := id.Add(1); n <= int64(b.N); n = id.Add(1) {
				if err := postOnce(&client, url, modern(call(fmt.Sprint(n), "nothing", `{"text":"word word word word"}`))); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	calls.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
	b.ReportMetric(float64((processorTime()-before).Microseconds())/float64(b.N), "cpu-µs/call")
}

func postOnce(client *http.Client, url, body string) error {
	req, err := http.NewRequest("POST", url, bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	req.Header = header(modernHeader("tools/call", "nothing")...)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Contains(answer, []byte("done")) {
		return fmt.Errorf("got %s, %w", answer, err)
	}
	return nil
}

// processorTime is what this process has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
