package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"ollama-mcp/server"
)

func TestClientThatIsSlowIsCutOff(t *testing.T) {
	const head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	for _, tt := range []struct {
		name   string
		first  string // sent at once; the rest comes at a letter a second, for ever
		after  time.Duration
		status int // of the answer; 0 if there is none
	}{
		{"never ends its first line", "", 10 * time.Second, http.StatusBadRequest},
		{"is slow with its headers", head + "X-A: ", 10 * time.Second, 0},
		{"is slow with its body", head + "Content-Length: 1000\r\n\r\n", 20 * time.Second, http.StatusRequestTimeout},
		{"is slow with a body of unknown length", head + "Transfer-Encoding: chunked\r\n\r\n100\r\n", 20 * time.Second, http.StatusRequestTimeout},
		{"is slow with a body that nobody wants", "POST /sse HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n", 20 * time.Second, http.StatusMethodNotAllowed},
		{"is slow with its second request", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET ", 10 * time.Second, http.StatusOK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, server.Options{}, func(t *testing.T, r *remote) {
				conn := r.dial()
				var dripping sync.WaitGroup
				defer dripping.Wait()
				defer conn.Close()
				began := time.Now()
				dripping.Go(func() { drip(conn, tt.first) })
				in := bufio.NewReader(conn)
				status := 0
				if resp, err := http.ReadResponse(in, nil); err == nil {
					status = resp.StatusCode
					io.Copy(io.Discard, resp.Body)
				}
				io.Copy(io.Discard, in)
				if took := time.Since(began).Truncate(time.Second); status != tt.status || took != tt.after {
					t.Errorf("after %v: got %d, want %d after %v", took, status, tt.status, tt.after)
				}
			})
		})
	}
}

// drip sends text at once and then a letter each second, until it cannot.
func drip(conn net.Conn, text string) {
	_, err := io.WriteString(conn, text)
	for err == nil {
		time.Sleep(time.Second)
		_, err = fmt.Fprint(conn, "x")
	}
}

func TestConnectionThatIsNotUsedIsClosed(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, r *remote) {
		conn := r.dial()
		defer conn.Close()
		began := time.Now()
		go io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if _, err := io.ReadAll(conn); err != nil || time.Since(began) != 2*time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}
