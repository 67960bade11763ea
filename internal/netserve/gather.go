package netserve

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"

	"ollama-mcp/internal/rawio"
)

// GatheringListener accepts connections that can send several writes as one packet.
type GatheringListener struct {
	net.Listener
	Buffers *Buffers
}

// Accept implements net.Listener.
func (l GatheringListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	stream, ok := conn.(halfCloser)
	if !ok {
		return conn, err
	}
	within := stream
	if bounded, ok := stream.(boundedStream); ok {
		within = bounded.halfCloser
	}
	return &GatheringConn{halfCloser: stream, raw: rawio.Of(within), buffers: l.Buffers}, nil
}

// halfCloser is a connection with the method that net/http calls when it ends one.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// GatheringConn is a connection that can send several writes as one packet. net/http writes a
// response of more than 4 KB in two parts, which costs the server a system call, and the
// client one more and a wake-up.
type GatheringConn struct {
	halfCloser
	raw     io.ReadWriter // the same connection
	buffers *Buffers

	mu       sync.Mutex // TLS also writes when it is read from
	gathered *[]byte    // nil while writes are sent at once
}

// Read implements net.Conn.
func (c *GatheringConn) Read(p []byte) (int, error) { return c.raw.Read(p) }

// Write implements net.Conn.
func (c *GatheringConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gathered == nil {
		return c.raw.Write(p)
	}
	*c.gathered = append(*c.gathered, p...)
	return len(p), nil
}

// Gather sends everything that write writes as one packet. On a nil connection the writes are
// sent as they come.
func (c *GatheringConn) Gather(write func()) {
	if c == nil {
		write()
		return
	}
	c.begin()
	write()
	c.send()
}

func (c *GatheringConn) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gathered = c.buffers.Take()
	*c.gathered = (*c.gathered)[:0]
}

func (c *GatheringConn) send() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = c.raw.Write(*c.gathered) // what fails shows when net/http reads on
	c.buffers.Give(c.gathered)
	c.gathered = nil
}

type connKey struct{}

// WithConn is an http.Server.ConnContext, and lets Gathering find the connection.
func WithConn(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

// Gathering returns the connection of a request. It returns nil if the connection cannot
// gather, or carries other requests too, as in HTTP/2.
func Gathering(req *http.Request) *GatheringConn {
	if req.ProtoMajor != 1 {
		return nil
	}
	conn := req.Context().Value(connKey{})
	if secret, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
		conn = secret.NetConn()
	}
	c, _ := conn.(*GatheringConn)
	return c
}
