//go:build linux && !race

package rawio

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

// mostAtOnce bounds what one system call copies, in bytes: the garbage collector, which has to
// stop all goroutines, waits until it returns.
const mostAtOnce = 64 << 10

// Of returns what reads from and writes to a connection, as its own methods do, which may be used
// beside it. It returns the connection itself if that is neither TCP nor a Unix socket.
func Of(conn net.Conn) io.ReadWriter {
	switch conn.(type) { // and no other that has such a connection in it, and methods of its own
	case *net.TCPConn, *net.UnixConn:
	default:
		return conn
	}
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return conn
	}
	c := &stream{conn: conn, raw: raw}
	c.in.move, c.out.move = c.read, c.write // made once, as they would otherwise be for each call
	return c
}

// stream reads and writes a connection.
type stream struct {
	conn    net.Conn
	raw     syscall.RawConn
	in, out transfer
}

// transfer is a read or a write that is under way.
type transfer struct {
	mu   sync.Mutex              // held during the whole of it
	move func(file uintptr) bool // moves bytes; false to be called again when the socket is ready
	rest []byte                  // to be filled, or to be written
	n    int                     // bytes that were moved
	err  syscall.Errno
}

// run moves bytes to or from p, with the method of a syscall.RawConn that waits until it can.
func (t *transfer) run(p []byte, by func(func(uintptr) bool) error) (n int, errno syscall.Errno, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rest, t.n, t.err = p, 0, 0
	err = by(t.move)
	t.rest = nil
	return t.n, t.err, err
}

// once makes one system call, and again if a signal has interrupted it. ready is false if the socket
// is not.
func (t *transfer) once(call, file uintptr) (n int, ready bool) {
	for {
		p := t.rest[:min(len(t.rest), mostAtOnce)]
		got, _, err := syscall.RawSyscall(call, file, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		switch err {
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			return 0, false
		case 0:
			t.n += int(got)
			t.rest = t.rest[got:]
			return int(got), true
		}
		t.err = err
		return 0, true
	}
}

func (c *stream) read(file uintptr) (done bool) {
	_, ready := c.in.once(syscall.SYS_READ, file)
	return ready
}

func (c *stream) write(file uintptr) (done bool) {
	for len(c.out.rest) > 0 {
		n, ready := c.out.once(syscall.SYS_WRITE, file)
		if !ready {
			return false
		}
		if n == 0 {
			break
		}
	}
	return true
}

// Read implements io.Reader.
func (c *stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, errno, err := c.in.run(p, c.raw.Read)
	if err = c.explain("read", errno, err); err == nil && n == 0 {
		err = io.EOF
	}
	return n, err
}

// Write implements io.Writer.
func (c *stream) Write(p []byte) (int, error) {
	n, errno, err := c.out.run(p, c.raw.Write)
	if err = c.explain("write", errno, err); err == nil && n < len(p) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// explain is the error that package net would return, by which net/http goes.
func (c *stream) explain(op string, errno syscall.Errno, err error) error {
	if errno != 0 {
		return &net.OpError{Op: op, Net: c.conn.LocalAddr().Network(), Source: c.conn.LocalAddr(), Addr: c.conn.RemoteAddr(), Err: os.NewSyscallError(op, errno)}
	}
	if of, ok := errors.AsType[*net.OpError](err); ok {
		same := *of
		same.Op = op // and not raw-read
		return &same
	}
	return err
}
