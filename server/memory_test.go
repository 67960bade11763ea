package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"ollama-mcp/server"
)

func TestIdleSessionTakesNoMemory(t *testing.T) {
	const sessions = 2000
	h := front(t, server.HTTPOptions{})
	before := inUse()
	for range sessions {
		if a := tryPost(h, "/mcp", initialize); a.Header().Get("Mcp-Session-Id") == "" {
			t.Fatalf("got %d, %s", a.Code, a.Body)
		}
	}
	wantEach(t, sessions, before, 100)
	runtime.KeepAlive(h)
}

func TestSessionIDHoldsLittleOfWhatItsClientSaysOfItself(t *testing.T) {
	h := newHTTP(t, server.Options{}, server.HTTPOptions{})
	for _, hello := range []string{stuffed("é"), stuffed(`\u0001`), stuffed("<")} {
		id := tryPost(h, "/mcp", hello).Header().Get("Mcp-Session-Id")
		if len(id) < 50 || len(id) > 2000 || strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
			t.Errorf("the id has %d bytes: %s", len(id), id)
		}
	}
}

// stuffed introduces a client that has much to say of itself.
func stuffed(with string) string {
	much := strings.Repeat(with, 1<<14)
	return `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"elicitation":{},` +
		`"experimental":{"x":"` + much + `"}},"clientInfo":{"name":"` + much + `","version":"` + much + `","description":"` + much + `"}}}`
}

func TestOpenStreamTakesLessThan64Kilobytes(t *testing.T) {
	const streams = 1000
	r := serveOnSocket(t, server.Options{}, server.HTTPOptions{})
	before := inUse()
	for range streams {
		conn, _ := r.openThin()
		defer conn.Close()
	}
	wantEach(t, streams, before, 64<<10)
}

func TestStreamThatHadManyCallsAtOnceTakesNoMore(t *testing.T) {
	const streams, calls = 50, 64
	r := serveOnSocket(t, server.Options{}, server.HTTPOptions{})
	r.initialize() // so that there is a connection to send messages by
	before := inUse()
	for range streams {
		conn, path := r.openThin()
		defer conn.Close()
		for i := range calls {
			r.send("POST", path, call(fmt.Sprint(i), "sleep", `{"seconds":0.01}`), header())
		}
		in := bufio.NewReader(conn)
		for range calls {
			if m := parse(t, nextData(t, in)); m.text() != "slept" {
				t.Errorf("got %s", m.line)
			}
		}
	}
	wantEach(t, streams, before, 64<<10)
}

// allocated is how many bytes f takes in all, for however short a time.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// inUse is the memory that goroutines take, and all that they can still reach.
func inUse() int64 {
	for range 3 { // what pools let go of, and stacks that shrink by half each time
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// wantEach checks what each of so many takes in memory, that were not there before.
func wantEach(t *testing.T, number, before, limit int64) {
	t.Helper()
	each := (inUse() - before) / number
	t.Logf("each of %d takes %d bytes", number, each)
	if each >= limit {
		t.Errorf("that is not less than %d", limit)
	}
}

// openThin opens a stream with a client that takes next to no memory, and returns
// where to send messages.
func (r *remote) openThin() (conn net.Conn, path string) {
	r.t.Helper()
	conn = r.dial()
	io.WriteString(conn, "GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n")
	in := bufio.NewReader(conn)
	path = "/" + nextData(r.t, in)                       // which is relative
	if _, err := in.Discard(len("\n\r\n")); err != nil { // the ends of the event and of its chunk
		r.t.Fatal(err)
	}
	return conn, path
}

// nextData is the data of the next event of a stream.
func nextData(t testing.TB, in *bufio.Reader) string {
	t.Helper()
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("the stream ended with %q, %v", line, err)
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			return strings.TrimSpace(data)
		}
	}
}

func tryPost(h http.Handler, path, body string) *httptest.ResponseRecorder {
	req := httptest.NewRequest("POST", path, strings.NewReader(body))
	req.Host, req.Header = "localhost", header()
	a := record(h, req)
	return a
}
