package server_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/server"
)

// benchCall calls the tool, with so many words for its argument.
func benchCall(words int) string {
	return `{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"nothing","arguments":{"text":"` +
		strings.Repeat("word ", words) + `"}}}` + "\n"
}

// contenders are our server and mcp-go's, with a tool that does work and no more.
func contenders(b *testing.B, work func()) (ours *server.Server, theirs *mcpserver.MCPServer) {
	b.Helper()
	tool := mcpserver.ServerTool{
		Tool: mcp.NewTool("nothing", mcp.WithString("text")),
		Handler: func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			work()
			return mcp.NewToolResultText("done"), nil
		},
	}
	ours, err := server.New(server.Options{Name: "bench", Tools: []mcpserver.ServerTool{tool}})
	if err != nil {
		b.Fatal(err)
	}
	theirs = mcpserver.NewMCPServer("bench", "", mcpserver.WithToolCapabilities(false))
	theirs.AddTools(tool)
	return ours, theirs
}

// BenchmarkStdio compares our stdio with mcp-go's, with a tool that does nothing.
func BenchmarkStdio(b *testing.B) {
	ours, theirs := contenders(b, func() {})
	stdio := mcpserver.NewStdioServer(theirs)
	mcpserver.WithWorkerPoolSize(64)(stdio)
	mcpserver.WithQueueSize(1000)(stdio)

	for _, tt := range []struct{ callers, words int }{{1, 20}, {8, 20}, {32, 20}, {8, 2000}, {8, 200_000}} {
		line := benchCall(tt.words)
		b.Run(fmt.Sprintf("ours/callers=%d/words=%d", tt.callers, tt.words), func(b *testing.B) {
			benchCalls(b, tt.callers, line, ours.ServeStdio)
		})
		b.Run(fmt.Sprintf("mcp-go/callers=%d/words=%d", tt.callers, tt.words), func(b *testing.B) {
			benchCalls(b, tt.callers, line, stdio.Listen)
		})
	}
}

// BenchmarkSlots compares how well our stdio, and mcp-go's as it comes, keep 32 slots of
// 50 ms busy, with 64 calls in flight: at best with 640 calls a second.
func BenchmarkSlots(b *testing.B) {
	const number, takes = 32, 50 * time.Millisecond
	slots := make(chan struct{}, number)
	ours, theirs := contenders(b, func() {
		slots <- struct{}{}
		time.Sleep(takes)
		<-slots
	})
	for name, serve := range map[string]func(context.Context, io.Reader, io.Writer) error{
		"ours": ours.ServeStdio, "mcp-go": mcpserver.NewStdioServer(theirs).Listen,
	} {
		b.Run(name, func(b *testing.B) {
			benchCalls(b, 2*number, benchCall(20), serve)
			best := float64(number) / takes.Seconds()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/best, "of-best")
		})
	}
}

func benchCalls(b *testing.B, callers int, line string, serve func(context.Context, io.Reader, io.Writer) error) {
	in, toServer := io.Pipe()
	fromServer, out := io.Pipe()
	var ends sync.WaitGroup
	ends.Go(func() {
		if err := serve(b.Context(), in, out); err != nil {
			b.Error(err)
		}
		out.Close()
	})

	answered := make([]chan struct{}, callers)
	for i := range answered {
		answered[i] = make(chan struct{}, 1)
	}
	ends.Go(func() {
		lines := bufio.NewScanner(fromServer)
		for lines.Scan() {
			_, after, _ := bytes.Cut(lines.Bytes(), []byte(`"id":`))
			digits, _, _ := bytes.Cut(after, []byte(","))
			id, err := strconv.Atoi(string(digits))
			if err != nil || !bytes.Contains(after, []byte("done")) {
				b.Errorf("answer %s", lines.Bytes())
				return
			}
			answered[id%callers] <- struct{}{}
		}
	})

	b.ReportAllocs()
	b.ResetTimer()
	var calls sync.WaitGroup
	for caller := range callers {
		calls.Go(func() {
			for id := caller; id < b.N; id += callers {
				fmt.Fprintf(toServer, line, id)
				<-answered[caller]
			}
		})
	}
	calls.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
	toServer.Close()
	ends.Wait()
}
