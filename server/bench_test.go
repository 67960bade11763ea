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

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/server"
)

// noCall asks the tool for nothing, with arguments of ordinary size.
var noCall = `{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"nothing","arguments":{"text":"` +
	strings.Repeat("word ", 20) + `"}}}` + "\n"

// contenders are our server and mcp-go's, with a tool that does nothing.
func contenders(b *testing.B) (ours *server.Server, theirs *mcpserver.MCPServer) {
	b.Helper()
	tool := mcpserver.ServerTool{
		Tool: mcp.NewTool("nothing", mcp.WithString("text")),
		Handler: func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
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
	ours, theirs := contenders(b)
	stdio := mcpserver.NewStdioServer(theirs)
	mcpserver.WithWorkerPoolSize(64)(stdio)
	mcpserver.WithQueueSize(1000)(stdio)

	for _, callers := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("ours/callers=%d", callers), func(b *testing.B) { benchCalls(b, callers, ours.ServeStdio) })
		b.Run(fmt.Sprintf("mcp-go/callers=%d", callers), func(b *testing.B) { benchCalls(b, callers, stdio.Listen) })
	}
}

func benchCalls(b *testing.B, callers int, serve func(context.Context, io.Reader, io.Writer) error) {
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
				fmt.Fprintf(toServer, noCall, id)
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
