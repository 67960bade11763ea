package backendtest

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"ollama-mcp/internal/backend"
)

// Raw has a host write what it likes instead of an answer, and then end the connection.
func Raw(write func(conn net.Conn)) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Time{})
		write(conn)
	}
}

// saying writes a text.
func saying(text string) Fault { return Raw(func(conn net.Conn) { _, _ = io.WriteString(conn, text) }) }

// forever writes a head, and then a text again and again until nobody reads it.
func forever(head, text string, every time.Duration) Fault {
	return Raw(func(conn net.Conn) {
		_, err := io.WriteString(conn, head)
		for err == nil {
			time.Sleep(every)
			_, err = io.WriteString(conn, text)
		}
	})
}

const (
	okHead      = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
	chunkedHead = okHead + "Transfer-Encoding: chunked\r\n\r\n"
	foreignText = "an answer that nobody asked for"
)

// foreign is a whole answer, for whichever API, that belongs to no request.
var foreign = func() string {
	body := fmt.Sprintf(`{"response":%[1]q,"message":{"role":"assistant","content":%[1]q},"choices":[{"message":{"content":%[1]q}}],"done":true,"done_reason":"stop","embeddings":[[1]]}`+"\n", foreignText)
	return fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", okHead, len(body), body)
}()

// bomb is a small body that is large when it is decompressed. It takes a while to make, and so is
// made when it is needed.
var bomb = sync.OnceValue(func() string {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	for range 8 {
		_, _ = w.Write(make([]byte, 1<<20))
	}
	_ = w.Close()
	return packed.String()
})

// hostileAnswers are what a host may send that wants to harm whoever asks it.
var hostileAnswers = map[string]Fault{
	"a byte now and then":          forever(okHead+"Content-Length: 1000000\r\n\r\n", "{", time.Second),
	"a line without end":           forever(okHead+"\r\n", strings.Repeat("x", 40<<10), 100*time.Millisecond),
	"lines with nothing in them":   forever(okHead+"\r\n", strings.Repeat("\n", 40<<10), 100*time.Millisecond),
	"pieces with nothing in them":  forever(okHead+"\r\n", strings.Repeat("{}\ndata: {}\n\n", 10), 100*time.Millisecond),
	"comments without end":         forever(okHead+"\r\n", strings.Repeat(": still here\n\n", 10), 100*time.Millisecond),
	"early hints without end":      forever("", strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 10), 100*time.Millisecond),
	"a head without end":           forever(okHead, strings.Repeat("X-A: "+strings.Repeat("x", 4<<10)+"\r\n", 10), 100*time.Millisecond),
	"a chunk of extensions":        forever(chunkedHead+"1;", strings.Repeat("x", 40<<10), 100*time.Millisecond),
	"trailers without end":         forever(chunkedHead+"0\r\n", strings.Repeat("X-A: "+strings.Repeat("x", 4<<10)+"\r\n", 10), 100*time.Millisecond),
	"a chunk larger than anything": saying(chunkedHead + "ffffffffffffffff\r\n{}"),
	"a chunk of a negative size":   saying(chunkedHead + "-1\r\n{}\r\n"),
	"two lengths":                  saying(okHead + "Content-Length: 2\r\nContent-Length: 20\r\n\r\n{}"),
	"a length and chunks":          saying(okHead + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
	"a body that is large when unpacked": Raw(func(conn net.Conn) {
		_, _ = fmt.Fprintf(conn, "%sContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", okHead, len(bomb()), bomb())
	}),
	"an encoding that nobody asked for":    saying(okHead + "Content-Encoding: br\r\nContent-Length: 4\r\n\r\n\x8b\x02\x80{"),
	"brackets that never close":            saying(okHead + "\r\n" + strings.Repeat("[", 100_000)),
	"objects that never close":             saying(okHead + "\r\ndata: " + strings.Repeat(`{"message":`, 100_000)),
	"numbers that nobody can hold":         saying(okHead + "\r\n" + `{"response":"x","done":true,"eval_count":1e99999999,"total_duration":-1e400}` + "\n"),
	"names twice":                          saying(okHead + "\r\n" + `{"error":"a","error":{"message":7},"done":1,"done":[]}` + "\n"),
	"text that is no UTF-8":                saying("HTTP/1.1 500 \xff\r\nContent-Type: application/json\r\n\r\n{\"error\":\"\xff\xfe\\ud800 \x1b[31m\\u001b[2J\\u202e\"}"),
	"an error of many lines":               saying("HTTP/1.1 500 No\r\n\r\n" + `{"error":"a\n\nlevel=INFO msg=forged\r\n\u2028b"}`),
	"an error of a megabyte":               saying("HTTP/1.1 500 No\r\n\r\n" + `{"error":"` + strings.Repeat("x", 1<<20) + `"}`),
	"no HTTP":                              saying("SSH-2.0-OpenSSH_9.6\r\n"),
	"HTTP of a version that there is not":  saying("HTTP/9.9 200 OK\r\n\r\n{}"),
	"a status that there is not":           saying("HTTP/1.1 999999999999999999999 No\r\n\r\n{}"),
	"another protocol":                     saying("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"),
	"a body where there is none":           saying("HTTP/1.1 204 No Content\r\n\r\n{\"response\":\"x\",\"done\":true}\n"),
	"a redirect to a file":                 saying("HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"),
	"a redirect to another host":           saying("HTTP/1.1 307 Temporary Redirect\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n"),
	"a name in the answer that is no name": saying("HTTP/1.1 200 OK\r\nX \x00: y\r\n\r\n{}"),
	"an answer to the next request too": Raw(func(conn net.Conn) {
		_, _ = io.WriteString(conn, foreign+foreign+foreign)
		time.Sleep(time.Second)
	}),
}

// hostileHostEndsNothingElse has a host send everything that it should not. Each call ends by its
// deadline, with an error that is one printable line of some length if it fails, and the next call
// gets its own answer.
func hostileHostEndsNothingElse(t *testing.T, host *Host, b backend.Backend) {
	const limit = 3 * time.Second
	for name, fault := range hostileAnswers {
		for way, ask := range map[string]asker{"generate": generate, "chat": chat, "embed": embedOne} {
			host.Fail(1, fault)
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			began := time.Now()
			answer, err := ask(ctx, b, "go")
			took := time.Since(began)
			cancel()
			if took > limit {
				t.Errorf("%s, %s: it took %v", name, way, took)
			}
			if err != nil {
				text := err.Error()
				if len(text) > 2000 || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
					t.Errorf("%s, %s: the error has %d bytes: %.300q", name, way, len(text), text)
				}
			}
			if answer != nil && len(answer.Text) > 1<<20 {
				t.Errorf("%s, %s: the answer has %d bytes", name, way, len(answer.Text))
			}
			time.Sleep(5 * time.Second) // in which more may come
			host.Mend()
			if next, err := generate(t.Context(), b, "one two"); err != nil || strings.TrimSpace(next.Text) != "one two" {
				t.Errorf("%s, %s: the next call got %+v, %v", name, way, next, err)
			}
		}
	}
}
