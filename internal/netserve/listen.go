package netserve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ErrNotLocal means that other machines could connect to an address.
var ErrNotLocal = errors.New("other machines could connect")

// Listen listens on host:port, or unix:PATH. Where other machines can connect
// it does so only if open is set, and else fails with ErrNotLocal.
func Listen(address string, open bool) (net.Listener, error) {
	if path, isUnix := strings.CutPrefix(address, "unix:"); isUnix {
		return listenUnix(path)
	}
	resolved, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, err
	}
	if !IsLocal(resolved) && !open {
		return nil, ErrNotLocal
	}
	return listenTCP(resolved.String(), goneAfter)
}

// goneAfter is how long data may stay unacknowledged before a client counts as gone, because
// its machine was switched off, for example. By default Linux retransmits for a quarter of an
// hour, and a model may be answering for as long.
const goneAfter = 2 * time.Minute

// listenTCP listens on a TCP address. On Linux its connections fail when data stays
// unacknowledged for longer than goneAfter.
func listenTCP(address string, goneAfter time.Duration) (net.Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return giveUpAfter(c, goneAfter) }}
	config.SetMultipathTCP(false) // the limit is one of TCP
	return config.Listen(context.Background(), "tcp", address)
}

// IsLocal reports whether only processes on this machine can connect to an address.
func IsLocal(address net.Addr) bool {
	tcp, ok := address.(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback()
}

// socketMode gives access to the owner alone.
const socketMode = 0o600

// listenUnix makes a socket that only its owner may use. It replaces a socket on which nothing
// listens any more.
//
// The kernel creates a socket with the rights that the umask leaves, and the umask belongs to
// the whole process. So the socket is made in a directory that only its owner may enter, and
// is linked to its own name once its rights are set.
func listenUnix(path string) (net.Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	private, err := os.MkdirTemp(filepath.Dir(path), ".s") // whose rights are 0700
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(private)
	made := filepath.Join(private, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // it has the name that is about to go
	if err = os.Chmod(made, socketMode); err == nil {
		err = os.Link(made, path) // which, unlike a rename, takes no other server's place
		if err != nil && !errors.Is(err, fs.ErrExist) {
			err = os.Rename(made, path) // not every file system has links
		}
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return &unixListener{l, path}, nil
}

// unixListener listens on a socket whose name is not the one it was created with.
type unixListener struct {
	*net.UnixListener
	path string
}

func (l *unixListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

func (l *unixListener) Close() error {
	err := l.UnixListener.Close()
	if err == nil { // once
		os.Remove(l.path)
	}
	return err
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("%s is there, and is no socket", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		conn.Close()
		return fmt.Errorf("somebody listens on %s already", path)
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	}
	return err
}
