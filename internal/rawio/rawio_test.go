//go:build !race

package rawio_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/net/nettest"

	"ollama-mcp/internal/rawio"
)

// conn is a connection that is read and written by raw system calls.
type conn struct {
	net.Conn
	raw io.ReadWriter
}

func (c conn) Read(p []byte) (int, error)  { return c.raw.Read(p) }
func (c conn) Write(p []byte) (int, error) { return c.raw.Write(p) }

func raw(c net.Conn) net.Conn { return conn{c, rawio.Of(c)} }

// connect returns the two ends of a connection over a network.
func connect(t *testing.T, network string) (one, other net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if one, err = net.Dial(network, l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if other, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		one.Close()
		other.Close()
	})
	return one, other
}

var networks = []string{"tcp", "unix"}

func TestRawConnectionsDoAllThatConnectionsDo(t *testing.T) {
	for _, network := range networks {
		t.Run(network, func(t *testing.T) {
			nettest.TestConn(t, func() (one, other net.Conn, stop func(), err error) {
				one, other = connect(t, network)
				return raw(one), raw(other), func() {
					one.Close()
					other.Close()
				}, nil
			})
		})
	}
}

// More than the buffers of a socket hold, in writes of all sizes.
func TestAllThatIsWrittenArrivesAsItWas(t *testing.T) {
	for _, network := range networks {
		one, other := connect(t, network)
		sent := make([]byte, 8<<20)
		random := rand.NewChaCha8([32]byte{1})
		if _, err := random.Read(sent); err != nil {
			t.Fatal(err)
		}
		failed := make(chan error, 1)
		go func() {
			w, rest := raw(one), sent
			for size := 1; len(rest) > 0; size *= 3 {
				n, err := w.Write(rest[:min(size, len(rest))])
				if err != nil {
					failed <- err
					return
				}
				rest = rest[n:]
			}
			failed <- one.Close()
		}()
		got, err := io.ReadAll(raw(other))
		if err = errors.Join(err, <-failed); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%s: %d of %d bytes arrived as they were, %v", network, len(got), len(sent), err)
		}
	}
}

// net/http goes by these errors.
func TestErrorsAreThoseOfPackageNet(t *testing.T) {
	reset := func(t *testing.T, plain bool) (read, write error) {
		one, other := connect(t, "tcp")
		if err := errors.Join(other.(*net.TCPConn).SetLinger(0), other.Close()); err != nil {
			t.Fatal(err)
		}
		c := one
		if !plain {
			c = raw(one)
		}
		_, read = c.Read(make([]byte, 1))
		_, write = c.Write([]byte("hi"))
		return read, write
	}
	read, write := reset(t, false)
	wantRead, wantWrite := reset(t, true)
	for _, tt := range []struct {
		got, want error
		is        error
	}{{read, wantRead, syscall.ECONNRESET}, {write, wantWrite, syscall.EPIPE}} {
		got, ok := errors.AsType[*net.OpError](tt.got)
		want, _ := errors.AsType[*net.OpError](tt.want)
		if !ok || !errors.Is(tt.got, tt.is) || got.Op != want.Op || got.Net != want.Net || got.Source == nil || got.Addr == nil {
			t.Errorf("got %v, want one like %v", tt.got, tt.want)
		}
	}
	for _, network := range networks {
		one, _ := connect(t, network)
		c := raw(one)
		one.Close()
		_, err := c.Read(make([]byte, 1))
		if _, plain := one.Read(make([]byte, 1)); err == nil || err.Error() != plain.Error() || !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: got %v, want %v", network, err, plain)
		}
	}
}

func TestConnectionsWithMethodsOfTheirOwnKeepThem(t *testing.T) {
	one, _ := connect(t, "tcp")
	counting := struct{ *net.TCPConn }{one.(*net.TCPConn)}
	if rawio.Of(counting) != io.ReadWriter(counting) {
		t.Error("a connection with another in it is passed by")
	}
	pipe, _ := net.Pipe()
	if rawio.Of(pipe) != io.ReadWriter(pipe) {
		t.Error("a pipe of package net is no file")
	}
}
