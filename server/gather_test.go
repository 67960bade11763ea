package server_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"ollama-mcp/server"
)

func TestAnswerThatIsNotSplitIsSentInOnePiece(t *testing.T) {
	ca := newAuthority(t)
	for name, over := range map[string]server.HTTPOptions{"HTTP": {}, "HTTPS": {TLS: ca.files(t)}} {
		t.Run(name, func(t *testing.T) {
			inner, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			l := &counted{Listener: inner}
			var d net.Dialer
			r := serveOn(t, l, func(ctx context.Context, network, _ string) (net.Conn, error) {
				return d.DialContext(ctx, network, inner.Addr().String())
			}, newServer(t, server.Options{}), over)
			t.Cleanup(r.end)
			if over.TLS.CertFile != "" {
				r.url, r.http1.TLSClientConfig = "https://localhost", ca.trusting()
			}
			r.call("echo", `{"text":"so that they are connected"}`)
			for _, size := range []int{10, 4000, 8000, 60_000} {
				text := strings.Repeat("x", size)
				before := l.sent.Load()
				if a := r.call("echo", `{"text":"`+text+`"}`); a.ProtoMajor != 1 || a.messages()[0].text() != text {
					t.Fatalf("%d bytes: HTTP/%d answered %.200s", size, a.ProtoMajor, a.body)
				}
				if pieces := l.sent.Load() - before; pieces != 1 {
					t.Errorf("%d bytes were sent in %d pieces", size, pieces)
				}
			}
		})
	}
}
