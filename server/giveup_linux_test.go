package server

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestClientWhoseMachineIsGoneIsNoticed(t *testing.T) {
	l, err := listenTCP("127.0.0.1:0", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	h, err := NewHTTP(s, HTTPOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- h.Serve(ctx, l) }()

	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n")
	var path string
	for in := bufio.NewReader(conn); !strings.HasPrefix(path, "/message"); {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		path = strings.TrimPrefix(strings.TrimSpace(line), "data: ")
	}
	dropAll(t, conn.(*net.TCPConn))

	const ping = `{"jsonrpc":"2.0","id":1,"method":"ping"}` // whose answer will not arrive
	resp, err := http.Post("http://"+l.Addr().String()+path, "application/json", strings.NewReader(ping))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	for end := time.Now().Add(30 * time.Second); h.streams.number() > 0; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("it is taken to be there")
		}
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
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

func (s *streams) number() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byID)
}
