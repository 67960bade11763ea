package server_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/server"
)

func TestAnswerIsReadApartFromTheProgressBeforeIt(t *testing.T) {
	for name, pipe := range map[string]func(*testing.T) (r, w *os.File){"a pipe": pipe, "a socket": socketPair} {
		t.Run(name, func(t *testing.T) {
			reported := make(chan struct{})
			report := tool("report", func(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
				err := notify(ctx, r, 1)
				reported <- struct{}{}
				return mcp.NewToolResultText("done"), err
			})
			in, toServer := io.Pipe()
			fromServer, out := pipe(t)
			served := startStdio(t.Context(), t, with(report), in, out)

			// A read that has emptied the queue, and is interrupted before it ends, may still
			// take what comes next. That is rare; unseparated, most are read together.
			const rounds, mayFail = 50, 2
			together := 0
			read := make([]byte, 64<<10)
			for range rounds {
				io.WriteString(toServer, modern(call("1", "report", "{}"))+"\n")
				<-reported
				n, err := fromServer.Read(read)
				if err == nil && bytes.Contains(read[:n], []byte("done")) {
					together++
					continue
				}
				if n, err := fromServer.Read(read); err != nil || !bytes.Contains(read[:n], []byte("done")) {
					t.Fatalf("after the progress came %s, %v", read[:n], err)
				}
			}
			if together > mayFail {
				t.Errorf("%d of %d answers were read together with progress", together, rounds)
			}
			toServer.Close()
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestClientThatReadsNothingIsNotWaitedForForEver(t *testing.T) {
	in, toServer := io.Pipe()
	fromServer, out := pipe(t)
	served := startStdio(t.Context(), t, server.Options{}, in, out)
	began := time.Now()
	io.WriteString(toServer, modern(call("1", "progress", `{"reports":1}`))+"\n")
	toServer.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
	out.Close()
	if all, err := io.ReadAll(fromServer); err != nil || bytes.Count(all, []byte("\n")) != 2 {
		t.Errorf("after %v came %s, %v", time.Since(began), all, err)
	}
}

// socketPair is what Node.js gives to the programs that it starts.
func socketPair(t *testing.T) (r, w *os.File) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	r, w = os.NewFile(uintptr(fds[0]), "client"), os.NewFile(uintptr(fds[1]), "server")
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}
