package server_test

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/server"
)

// fromEach is a listener whose connections come from the addresses that are named in turn.
type fromEach struct {
	*pipes
	peer atomic.Value // string
}

func (l *fromEach) Accept() (net.Conn, error) {
	conn, err := l.pipes.Accept()
	if err != nil {
		return nil, err
	}
	at := tcp(l.peer.Load().(string))
	return addressedConn{conn, addressed{l.pipes, l.Addr(), at}}, nil
}

func TestClientHasAsManyConnectionsAsAreLeftForOthers(t *testing.T) {
	for _, tt := range []struct {
		what            string
		hostile, honest []string // addresses of connections, in turn
		trusted         []string
		most            int // connections of the hostile client, of 8
	}{
		{"one address", []string{"192.0.2.1"}, []string{"192.0.2.2", "192.0.2.3"}, nil, 4},
		{"many addresses of one network", []string{"2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::"}, []string{"2001:db8:0:1::1"}, nil, 4},
		{"a socket", []string{"@"}, []string{"127.0.0.1"}, nil, 4},
		{"a trusted proxy, which has many clients", []string{"192.0.2.1"}, nil, []string{"192.0.2.0/24"}, 8},
		{"a trusted proxy by a socket", []string{"@"}, nil, []string{"unix"}, 8},
	} {
		t.Run(tt.what, func(t *testing.T) {
			var log bytes.Buffer
			synctest.Test(t, func(t *testing.T) {
				l := &fromEach{pipes: newPipes()}
				l.peer.Store("192.0.2.99")
				connections := &counted{Listener: l}
				over := server.HTTPOptions{MaxConns: 8, Insecure: true, TrustedProxies: tt.trusted}
				r := serveOn(t, connections, l.dial, newServer(t, server.Options{Log: logTo(&log)}), over)
				for i := range 40 {
					l.peer.Store(tt.hostile[i%len(tt.hostile)])
					conn := r.dial()
					defer conn.Close()
					go io.Copy(io.Discard, conn)
					synctest.Wait()
				}
				if open := int(connections.open.Load()); open != tt.most {
					t.Errorf("it has %d connections of 8, want %d", open, tt.most)
				}
				for _, peer := range tt.honest {
					l.peer.Store(peer)
					r.call("echo", `{"text":"a"}`).want(peer, "a")
					r.http1.CloseIdleConnections()
					synctest.Wait()
				}
				time.Sleep(10 * time.Second) // in which nothing has been said on them
				synctest.Wait()
				if open := connections.open.Load(); open != 0 {
					t.Errorf("afterwards %d connections are open", open)
				}
				l.peer.Store(tt.hostile[0])
				r.call("echo", `{"text":"a"}`).want("the hostile client afterwards", "a")
				r.end()
			})
			if n := strings.Count(log.String(), "connections are refused"); n != 1 {
				t.Errorf("the log says so %d times:\n%s", n, &log)
			}
		})
	}
}

// exhausted is a listener that cannot accept at first, as when too many files are open.
type exhausted struct {
	net.Listener
	until time.Time
	tried int
}

func (l *exhausted) Accept() (net.Conn, error) {
	if time.Now().Before(l.until) {
		l.tried++
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

func TestServerThatIsOutOfFilesWaitsForSome(t *testing.T) {
	var log bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		l := &exhausted{Listener: p, until: time.Now().Add(time.Minute)}
		began := time.Now()
		r := serveOn(t, l, p.dial, newServer(t, server.Options{Log: logTo(&log)}), server.HTTPOptions{})
		r.call("echo", `{"text":"a"}`).want("when there are files again", "a")
		if took := time.Since(began); took > 62*time.Second || l.tried > 100 {
			t.Errorf("it was served after %v, in which the server tried %d times to accept", took, l.tried)
		}
		r.end()
	})
	if text := log.String(); !strings.Contains(text, "too many open files") {
		t.Errorf("the log says %s", text)
	}
}

func TestNumberOfConnectionsIsAnOption(t *testing.T) {
	if _, err := server.NewHTTP(newServer(t, server.Options{}), server.HTTPOptions{MaxConns: -1}); err == nil || !strings.Contains(err.Error(), "MaxConns") {
		t.Errorf("got %v", err)
	}
}
