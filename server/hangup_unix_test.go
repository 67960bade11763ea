//go:build unix

package server_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/server"
)

func TestClientThatDiesIsNoticedWithoutWritingToIt(t *testing.T) {
	question := call("1", "hold", "{}") + "\n"
	for name, input := range map[string]func(t *testing.T) io.Reader{
		"after the end of input": func(*testing.T) io.Reader { return strings.NewReader(question) },
		"while somebody else holds its input open": func(t *testing.T) io.Reader {
			in, held := pipe(t)
			if _, err := io.WriteString(held, question); err != nil {
				t.Fatal(err)
			}
			return in
		},
	} {
		t.Run(name, func(t *testing.T) {
			in := input(t)
			fromServer, out := pipe(t)
			asked, cause := make(chan struct{}), make(chan error, 1)
			hold := says("hold", func(ctx context.Context, _ mcp.CallToolRequest) string {
				close(asked)
				<-ctx.Done()
				cause <- context.Cause(ctx)
				return "too late"
			})
			served := startStdio(t.Context(), t, with(hold), in, out)
			<-asked
			fromServer.Close()
			if err := <-served; !errors.Is(err, server.ErrClientGone) {
				t.Errorf("ServeStdio returned %v", err)
			}
			if err := <-cause; !errors.Is(err, server.ErrClientGone) {
				t.Errorf("the tool was told %v", err)
			}
		})
	}
}

func TestClientThatOnlyStopsSendingIsNotTakenForDead(t *testing.T) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	out, ours := os.NewFile(uintptr(pair[0]), "server"), os.NewFile(uintptr(pair[1]), "client")
	defer out.Close()
	defer ours.Close()
	if err := syscall.Shutdown(pair[1], syscall.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	in, toServer := pipe(t)
	served := startStdio(t.Context(), t, server.Options{}, in, out)
	answers := bufio.NewReader(ours)
	for range 3 {
		if _, err := io.WriteString(toServer, `{"jsonrpc":"2.0","id":1,"method":"ping"}`+"\n"); err != nil {
			t.Fatal(err)
		}
		if line, err := answers.ReadString('\n'); err != nil || !strings.Contains(line, `"result":{}`) {
			t.Fatalf("got %q, %v", line, err)
		}
	}
	toServer.Close()
	if err := <-served; err != nil {
		t.Errorf("ServeStdio returned %v", err)
	}
}

func TestReadOfAPipeIsWokenWhenTheServerStops(t *testing.T) {
	in, _ := pipe(t)
	fromServer, out := pipe(t)
	ctx, stop := context.WithCancel(t.Context())
	served := startStdio(ctx, t, server.Options{}, in, out)
	stop()
	if err := <-served; err != nil {
		t.Errorf("ServeStdio returned %v", err)
	}
	if _, err := in.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the deadline that wakes the read is not set: %v", err)
	}
	fromServer.Close()
}

// pipe is closed with the test.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Close()
		w.Close()
	})
	return r, w
}
