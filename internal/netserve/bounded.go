package netserve

import (
	"net"
	"sync"
)

// Places are what connections take, until they are closed. A share.Limit is one.
type Places interface {
	// Take returns an error if a peer may have no more.
	Take(peer string, n int64) error
	Give(peer string, n int64)
}

// BoundedListener bounds how many of its connections are open at once. Those beyond are closed at
// once, so that a client learns that it has too many, and none of them waits in front of those of others.
type BoundedListener struct {
	net.Listener
	// Conns is what all connections, of this and other listeners, share.
	Conns Places
	// Peer names who takes a share of Conns by a connection.
	Peer func(net.Addr) string
	// Refused is called for each connection that is closed because there are too many.
	Refused func(peer string, over error)
}

// Accept implements net.Listener.
func (l BoundedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer := l.Peer(conn.RemoteAddr())
		if over := l.Conns.Take(peer, 1); over != nil {
			conn.Close()
			l.Refused(peer, over)
			continue
		}
		give := sync.OnceFunc(func() { l.Conns.Give(peer, 1) })
		if stream, ok := conn.(halfCloser); ok {
			return boundedStream{stream, give}, nil
		}
		return boundedConn{conn, give}, nil
	}
}

// boundedConn gives back its place when it is closed.
type boundedConn struct {
	net.Conn
	give func()
}

func (c boundedConn) Close() error {
	defer c.give() // when its file is free again
	return c.Conn.Close()
}

// boundedStream is a boundedConn with what net/http looks for in a connection over TCP.
type boundedStream struct {
	halfCloser
	give func()
}

func (c boundedStream) Close() error {
	defer c.give()
	return c.halfCloser.Close()
}

// maxConns is how many connections there may be if the system has files for them: each takes some
// ten kilobytes even if nothing is said on it.
const maxConns = 16_384

// MaxConns is how many connections a server should accept at once. The system counts a connection
// as an open file, and refuses to open any more beyond a limit: a quarter is left for connections to
// hosts and for files. files is that limit; 0 if it has none.
func MaxConns() (conns, files int) {
	files = openFiles()
	return connsFor(files), files
}

func connsFor(files int) int {
	if files == 0 {
		return maxConns
	}
	return max(min(files-files/4, maxConns), 1)
}
