package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// listen listens on host:port, or unix:PATH. Where other machines can connect it does
// so only if that is open to them.
func listen(address string, open bool) (net.Listener, error) {
	if path, isUnix := strings.CutPrefix(address, "unix:"); isUnix {
		return listenUnix(path)
	}
	resolved, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, err
	}
	if !isLocal(resolved) && !open {
		return nil, errors.New("other machines could connect and use the models; listen on 127.0.0.1, " +
			"or say who may, with --token-file, --oauth-issuer or --tls-client-ca, or --insecure if everybody may")
	}
	return listenTCP(resolved.String(), goneAfter)
}

// goneAfter is how long nothing of what was sent may arrive before a client counts as
// gone, such as one whose machine was switched off. Left to itself Linux sends it
// again for a quarter of an hour, and a model may be answering for as long.
const goneAfter = 2 * time.Minute

func listenTCP(address string, goneAfter time.Duration) (net.Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return giveUpAfter(c, goneAfter) }}
	config.SetMultipathTCP(false) // the limit is one of TCP
	return config.Listen(context.Background(), "tcp", address)
}

// isLocal reports whether only this machine can connect to an address.
func isLocal(address net.Addr) bool {
	tcp, ok := address.(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback()
}

// listenUnix makes a socket that only its owner may use, in the place of one that
// nobody listens on any more.
func listenUnix(path string) (net.Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
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
