package netserve

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestPeerWhoseMachineIsGoneIsNoticed(t *testing.T) {
	l, err := listenTCP("127.0.0.1:0", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	dropAll(t, peer.(*net.TCPConn))
	if _, err := conn.Write([]byte("which will not arrive")); err != nil {
		t.Fatal(err)
	}
	// Without the limit the system sends it again for a quarter of an hour.
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Minute))
	if n, err := conn.Read(make([]byte, 1)); n > 0 || !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("got %d bytes, %v, want the system to give up", n, err)
	}
}

// dropAll makes a connection deaf, as if its machine were gone: not even the system
// takes note of what arrives.
func dropAll(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	nothing := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	failed := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing[0]})
	})
	if failed != nil || err != nil {
		t.Fatal(failed, err)
	}
}
