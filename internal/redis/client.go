// Package redis lets several replicas of the program share answers through a server that
// speaks Redis' protocol, such as Redis or Valkey.
//
// It promises that no call fails, and none waits longer than 50 ms for a command, because of
// that server: what cannot be had in time is a cache miss. It promises too that nothing is
// believed that another version, another program or another tenant has written: records have a
// version, the scope that they belong to, and, with a key, a seal. Which answers are shared is
// left to package cache, and what is in them to those who encode them.
package redis

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"ollama-mcp/cache"
)

const (
	// commandTime bounds each command, including its wait for a connection.
	commandTime = 50 * time.Millisecond
	// connectTime bounds the making of a connection, which no call waits for.
	connectTime = 2 * time.Second
	// beatInterval is how often a replica says that it is there, and how often a server that does
	// not answer is tried.
	beatInterval = time.Second
	// confirmations is how often a server that has been reconnected to may be too slow before
	// it counts as unreachable: the machine may be busy.
	confirmations = 3
)

// Options describe a client. Only URL is required.
type Options struct {
	// URL is redis://[user@]host[:port][/database], rediss:// for TLS, or unix:///path. The
	// parameter addr, which may be repeated, names further nodes of a cluster.
	URL      string
	Password string        // "" for none
	CAFile   string        // PEM file, for TLS; "" for the system's authorities
	Prefix   string        // of all keys; "" for "ollama-mcp"
	TTL      time.Duration // of records; 0 for an hour
	SealKey  []byte        // a secret with which records are encrypted; nil for none
	Log      *slog.Logger  // nil discards

	dial func(ctx context.Context, address string) (net.Conn, error) // replaced by tests
}

// Client is the connection to the server, for the whole life of the program. Use New to make one,
// and Run to connect it. Its methods are safe for concurrent use.
type Client struct {
	opts   Options
	option rueidis.ClientOption
	sealer *sealer // nil if records are not sealed
	id     string  // of this replica

	// life ends connections. It is set by Run, before any is made.
	life context.Context
	lib  atomic.Pointer[rueidis.Client] // nil until the first connection
	// usable says that the server has answered in time when it was last asked. Calls do not
	// ask it otherwise, so that a server that swallows commands is waited for once.
	usable atomic.Bool
	wake   chan struct{} // has Run ask the server at once
	// questions wait to be told to the other replicas.
	questions chan question

	hits, misses, failures, unreadable, tooLarge atomic.Uint64

	// unlimited is why limits are not shared although the server takes writes; nil if they are.
	unlimited atomic.Pointer[string]

	mu       sync.Mutex // guards what follows; no command is sent under it
	reached  bool       // it is known whether the server can be reached
	up       bool
	since    time.Time // of up
	why      string    // the server cannot be reached; "" if it can
	refused  string    // why the server takes no writes; "" if it does
	warned   time.Time // when the log last told of an unreadable record
	beats    int
	replicas replicas
	seen     int               // how many there were at the last beat; 0 before the first
	heardAt  time.Time         // of that beat
	cleared  map[string]string // what has been cleared last, by model; nil until it is known
	unsent   map[string]bool   // models that are to be cleared once the server can be reached
	onClear  []func(isOf func(model string) bool)
}

// New makes a client, which connects when Run is called. It fails if the URL, the CA file or the
// key cannot be used.
func New(o Options) (*Client, error) {
	o.Prefix, o.TTL = cmp.Or(o.Prefix, "ollama-mcp"), cmp.Or(o.TTL, time.Hour)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &Client{
		opts: o, id: rand.Text(), wake: make(chan struct{}, 1), questions: make(chan question, questionsWaiting),
		replicas: make(replicas), unsent: make(map[string]bool),
	}
	var err error
	if c.option, err = clientOption(o); err != nil {
		return nil, err
	}
	c.option.DialCtxFn = c.dial
	if o.SealKey != nil {
		if c.sealer, err = newSealer(o.SealKey); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// clientOption is how the library is set up.
func clientOption(o Options) (rueidis.ClientOption, error) {
	option, err := rueidis.ParseURL(o.URL)
	if err != nil {
		return option, errors.New("must be a URL such as redis://redis.example.com:6379") // the error might quote a password
	}
	option.Password = cmp.Or(o.Password, option.Password)
	option.Dialer.Timeout = connectTime
	// A connection on which nothing arrives is closed, so that it is replaced by one that works.
	option.Dialer.KeepAlive, option.ConnWriteTimeout = time.Second, time.Second
	// Some servers and proxies do not know CLIENT, so there is no tracking, and no name.
	option.DisableCache, option.ClientSetInfo = true, rueidis.DisableClientSetInfo
	option.DisableRetry = true
	// One connection for each node, on which a command that is late does not hold up others.
	option.PipelineMultiplex, option.AlwaysPipelining = -1, true
	option.ReadBufferEachConn, option.WriteBufferEachConn = 32<<10, 32<<10
	option.RingScaleEachConn = 8 // 256 commands under way
	if option.TLSConfig != nil && o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return option, err
		}
		option.TLSConfig.RootCAs = x509.NewCertPool()
		if !option.TLSConfig.RootCAs.AppendCertsFromPEM(pem) {
			return option, fmt.Errorf("there is no certificate in %s", o.CAFile)
		}
	}
	return option, nil
}

// dial connects to a node. The connection ends with the client's life, whatever the library
// does with it at the time.
func (c *Client) dial(ctx context.Context, address string, dialer *net.Dialer, config *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	var raw net.Conn
	var err error
	switch {
	case c.opts.dial != nil:
		raw, err = c.opts.dial(ctx, address)
	case strings.HasPrefix(c.opts.URL, "unix:"):
		raw, err = dialer.DialContext(ctx, "unix", address)
	default:
		raw, err = dialer.DialContext(ctx, "tcp", address)
	}
	if err != nil {
		return nil, err
	}
	own := &conn{Conn: raw}
	own.forget = context.AfterFunc(c.life, func() { _ = raw.Close() })
	if config == nil {
		return own, nil
	}
	config = config.Clone()
	if host, _, err := net.SplitHostPort(address); err == nil {
		config.ServerName = host // of this node
	}
	secure := tls.Client(own, config)
	ctx, cancelHandshake := context.WithTimeout(ctx, connectTime)
	defer cancelHandshake()
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = own.Close()
		return nil, err
	}
	return secure, nil
}

// conn is a connection that ends with the client's life.
type conn struct {
	net.Conn
	forget func() bool
}

func (c *conn) Close() error {
	c.forget()
	return c.Conn.Close()
}

// Run connects, and keeps this replica known to the others, until ctx ends. Then it closes the
// connections.
func (c *Client) Run(ctx context.Context) {
	c.life = ctx
	defer c.close()
	for ctx.Err() == nil {
		err := c.check(ctx)
		if ctx.Err() != nil {
			return
		}
		c.noteReach(err)
		timer := time.NewTimer(beatInterval)
		select {
		case <-ctx.Done():
		case <-c.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// close closes the connections. Commands that still come are refused.
func (c *Client) close() {
	c.usable.Store(false)
	if lib := c.lib.Load(); lib != nil {
		(*lib).Close()
	}
}

// check asks the server whether it answers in time. A server that did not when it was last asked
// has time to be connected to first.
func (c *Client) check(ctx context.Context) error {
	if c.usable.Load() {
		if c.beat(ctx) == nil {
			return nil
		}
		c.noteFailure(ctx)
	}
	if c.lib.Load() == nil {
		lib, err := rueidis.NewClient(c.option)
		if err != nil {
			return err
		}
		c.lib.Store(&lib)
	}
	pong, err := c.send(ctx, connectTime, func(b rueidis.Builder) rueidis.Commands {
		return rueidis.Commands{b.Arbitrary("PING").Build()}
	})
	if err == nil {
		err = pong[0].Error()
	}
	for range confirmations {
		if err != nil {
			break
		}
		if err = c.beat(ctx); err == nil {
			c.usable.Store(true)
			return nil
		}
		if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			err = nil
		}
	}
	return cmp.Or(err, errSlow)
}

var errSlow = fmt.Errorf("the server does not answer within %v", commandTime)

// do sends commands in one round trip, for a call. It is not ok if the server cannot be asked
// now, or does not answer in time; others then do without it until it answers again.
func (c *Client) do(ctx context.Context, build func(rueidis.Builder) rueidis.Commands) (results []rueidis.RedisResult, ok bool) {
	if !c.usable.Load() {
		return nil, false
	}
	results, err := c.send(ctx, commandTime, build)
	if err != nil && c.noteFailure(ctx) {
		c.poke()
	}
	return results, err == nil
}

// write sends commands that write, and notes what the server says against one. It is ok if all were done.
func (c *Client) write(key string, build func(rueidis.Builder) rueidis.Commands) (ok bool) {
	results, ok := c.do(context.Background(), build)
	for _, r := range results {
		err := refusal(r)
		switch {
		case err == nil:
			continue
		case takesNoWrites(err):
			c.noteWrite(err)
		default:
			c.noteUnreadable(key, err)
		}
		return false
	}
	return ok
}

// noteFailure counts a command that failed, and has calls do without the server until it answers
// again. It reports false, and does neither, if the command failed because ctx has ended.
func (c *Client) noteFailure(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false
	}
	c.failures.Add(1) // before calls do without it: whoever sees no failure knows that none did
	c.usable.Store(false)
	return true
}

// poke has Run ask the server at once.
func (c *Client) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// send sends commands and waits for their results, but for no longer than a limit. The error is
// one of the connection or of a server that cannot serve anybody; what the server says of a single
// command is in its result. The library may wait for a connection that another command makes, so
// it is not waited for itself.
func (c *Client) send(ctx context.Context, limit time.Duration, build func(rueidis.Builder) rueidis.Commands) ([]rueidis.RedisResult, error) {
	lib := c.lib.Load()
	if lib == nil {
		return nil, errors.New("there is no connection yet")
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := make(chan []rueidis.RedisResult, 1)
	go func() { done <- (*lib).DoMulti(ctx, build((*lib).B())...) }()
	select {
	case results := <-done:
		for _, r := range results {
			if err := cmp.Or(r.NonRedisError(), unserviceable(r.Error())); err != nil {
				return nil, err
			}
		}
		return results, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// unserviceable returns the error of a server that serves nobody, or not us, at the moment; nil
// for any other.
func unserviceable(err error) error {
	said, ok := rueidis.IsRedisErr(err)
	if !ok {
		return nil
	}
	for _, word := range []string{"LOADING", "CLUSTERDOWN", "MASTERDOWN", "NOAUTH", "WRONGPASS"} {
		if strings.HasPrefix(said.Error(), word) {
			return err
		}
	}
	return nil
}

// refusal is what the server says against a command; nil if it has done it, or has nothing.
func refusal(r rueidis.RedisResult) error {
	if err := r.Error(); err != nil && !rueidis.IsRedisNil(err) {
		return err
	}
	return nil
}

// State returns how the client fares. It does no input or output.
func (c *Client) State() cache.SharedState {
	c.mu.Lock()
	defer c.mu.Unlock()
	unlimited := ""
	if why := c.unlimited.Load(); why != nil {
		unlimited = *why
	}
	return cache.SharedState{
		Up: c.up, Since: c.since, Reason: cmp.Or(c.why, c.refused, unlimited), Replicas: c.countReplicas(time.Now()),
		Hits: c.hits.Load(), Misses: c.misses.Load(), Failures: c.failures.Load(), Unreadable: c.unreadable.Load(), TooLarge: c.tooLarge.Load(),
	}
}

// noteReach notes whether the server can be reached, and tells the log of a change.
func (c *Client) noteReach(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was, up, now := c.up, err == nil, time.Now()
	c.why = ""
	if !up {
		c.why = err.Error()
	}
	if c.reached && up == was {
		return
	}
	switch {
	case !up:
		c.opts.Log.Warn("redis cannot be reached, so this replica goes on by itself, with its share of each limit", "replicas", c.countReplicas(now), "error", err)
	case c.reached:
		c.opts.Log.Info("redis can be reached again", "after", now.Sub(c.since).Round(time.Millisecond))
	default:
		c.opts.Log.Info("redis connected", "replicas", c.countReplicas(now))
	}
	c.reached, c.up, c.since = true, up, now
}

// noteWrite notes what the server said to a write; nil if it took it. It tells the log of a
// change.
func (c *Client) noteWrite(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.refused
	c.refused = ""
	if err != nil {
		c.refused = "it takes no writes: " + err.Error()
	}
	switch {
	case was == "" && err != nil:
		c.opts.Log.Warn("redis takes no writes, so this replica shares no new answers, and has its share of each limit", "error", err)
	case was != "" && err == nil:
		c.opts.Log.Info("redis takes writes again")
	}
}

// warnInterval is the least time between two lines of the log about unreadable records.
const warnInterval = time.Minute

// noteUnreadable notes a value under one of our keys that is none of our records.
func (c *Client) noteUnreadable(key string, err error) {
	c.unreadable.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); c.warned.IsZero() || now.Sub(c.warned) >= warnInterval {
		c.warned = now
		c.opts.Log.Warn("what redis has under a key of ours cannot be used, so this replica does without it", "key", key, "error", err)
	}
}
