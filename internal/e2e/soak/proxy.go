package main

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A weather is what a proxy does to the bytes that pass.
type weather int32

const (
	fair    weather = iota
	slow            // answers come in small pieces with pauses between them
	cutting         // a connection is closed in the middle of an answer
	garbage         // answers are not HTTP
	silent          // nothing passes, and nothing is closed
	closed          // connections are refused
)

func (w weather) String() string {
	return [...]string{"fair", "slow", "cutting", "garbage", "silent", "closed"}[w]
}

// A proxy passes connections on to a host, in any weather. The host's address stays the
// same while the host is killed and restarted.
type proxy struct {
	listener net.Listener
	second   net.Listener // at another address, with the same port; nil for none
	target   string
	weather  atomic.Int32

	mu    sync.Mutex // guards conns
	conns map[net.Conn]bool
}

func startProxy(target string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: l, target: target, conns: make(map[net.Conn]bool)}
	go p.serve(l)
	return p, nil
}

// listenToo has the proxy be found at another address too.
func (p *proxy) listenToo(address string) (err error) {
	_, port, _ := net.SplitHostPort(p.addr())
	if p.second, err = net.Listen("tcp", net.JoinHostPort(address, port)); err == nil {
		go p.serve(p.second)
	}
	return err
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

// set changes the weather. Connections that are open stay open, unless they are to be closed.
func (p *proxy) set(w weather) {
	p.weather.Store(int32(w))
	if w == closed {
		p.closeAll()
	}
}

func (p *proxy) close() {
	p.listener.Close()
	if p.second != nil {
		p.second.Close()
	}
	p.closeAll()
}

func (p *proxy) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		conn.Close()
	}
}

// keep has closeAll close a connection until it is let go.
func (p *proxy) keep(conn net.Conn) (let func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[conn] = true
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, conn)
		conn.Close()
	}
}

func (p *proxy) serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go p.pass(conn)
	}
}

func (p *proxy) pass(client net.Conn) {
	defer p.keep(client)()
	if weather(p.weather.Load()) == closed {
		return
	}
	host, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer p.keep(host)()
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(host, client) // until one of them leaves
		host.Close()
		client.Close()
	})
	p.answer(client, host)
	client.Close()
	host.Close()
	both.Wait()
}

// answer passes on what the host says.
func (p *proxy) answer(client, host net.Conn) {
	buffer := make([]byte, 4<<10)
	for {
		n, err := host.Read(buffer)
		if err != nil || !p.deliver(client, buffer[:n]) {
			return
		}
	}
}

// deliver reports whether the connection is to stay open.
func (p *proxy) deliver(client net.Conn, piece []byte) bool {
	for weather(p.weather.Load()) == silent {
		time.Sleep(50 * time.Millisecond)
	}
	switch weather(p.weather.Load()) {
	case closed:
		return false
	case cutting:
		// Nothing after the cut may arrive: a connection that loses bytes and goes on does not exist.
		if rand.IntN(4) == 0 {
			_, _ = client.Write(piece[:rand.IntN(len(piece)+1)])
			return false
		}
	case garbage:
		for i := range piece {
			piece[i] = byte(rand.Uint32())
		}
	case slow:
		for len(piece) > 256 {
			if _, err := client.Write(piece[:256]); err != nil {
				return false
			}
			piece = piece[256:]
			time.Sleep(10 * time.Millisecond)
		}
	}
	_, err := client.Write(piece)
	return err == nil
}
