package redis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"

	"ollama-mcp/cache"
)

// world is a pretend Redis, and the replicas that share it. It lives in a bubble of virtual time.
type world struct {
	t      *testing.T
	server *miniredis.Miniredis
	// reach says how connections are made; nil for as usual.
	reach    atomic.Pointer[func(context.Context) (net.Conn, error)]
	swallows atomic.Bool // what is written arrives nowhere
	log      lines
}

// lines are those of a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(words string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), words)
}

// inWorld runs a test with a pretend Redis in virtual time.
func inWorld(t *testing.T, test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, server: miniredis.NewMiniRedis()}
		t.Cleanup(func() {
			w.server.Close()
			time.Sleep(5 * time.Second) // the library's goroutines end a while after its clients
		})
		test(t, w)
	})
}

// replica starts a replica, which ends with the test, or when stop is called.
func (w *world) replica(change ...func(*Options)) (c *Client, stop func()) {
	w.t.Helper()
	o := Options{URL: "redis://redis.test", Log: slog.New(slog.NewTextHandler(&w.log, nil))}
	o.dial = func(ctx context.Context, _ string) (net.Conn, error) {
		if reach := w.reach.Load(); reach != nil {
			return (*reach)(ctx)
		}
		raw, err := w.server.Dial()
		if err != nil {
			return nil, err
		}
		return &swallowing{Conn: raw, now: &w.swallows}, nil
	}
	for _, f := range change {
		f(&o)
	}
	c, err := New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.Run(ctx)
	}()
	stop = func() {
		cancel()
		<-ended
	}
	w.t.Cleanup(stop)
	time.Sleep(100 * time.Millisecond)
	return c, stop
}

// swallowing is a connection that can swallow what is written.
type swallowing struct {
	net.Conn
	now    *atomic.Bool
	closed atomic.Bool
}

func (s *swallowing) Write(p []byte) (int, error) {
	if s.now.Load() && !s.closed.Load() {
		return len(p), nil
	}
	return s.Conn.Write(p)
}

func (s *swallowing) Close() error {
	s.closed.Store(true)
	return s.Conn.Close()
}

func keyFor(t *testing.T, tenant, request string) cache.Key {
	t.Helper()
	k, err := cache.KeyOf(cache.Scope{Tenant: tenant, Tool: "generate", Model: "tiny", Digest: "sha256:1"}, request)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func record(text string) cache.Record {
	return cache.Record{Data: []byte(text), Took: time.Second, Stored: time.Now().Round(0)}
}

// has fails the test unless a replica has an answer; "" for none.
func has(t *testing.T, c *Client, k cache.Key, want string) {
	t.Helper()
	r, ok := c.Get(t.Context(), k)
	if got := string(r.Data); got != want || ok != (want != "") {
		t.Errorf("got %q, %v, want %q", got, ok, want)
	}
}

func TestAnswerOfOneReplicaIsFoundByTheOthers(t *testing.T) {
	for name, key := range map[string][]byte{"open": nil, "sealed": []byte("a secret of more than 32 bytes, for a test")} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				seal := func(o *Options) { o.SealKey = key }
				a, _ := w.replica(seal)
				b, _ := w.replica(seal)
				k, long := keyFor(t, "team", "why?"), keyFor(t, "team", "at length?")
				want := record("because")
				has(t, b, k, "")
				if !a.Set(t.Context(), k, want) || !a.Set(t.Context(), long, record(strings.Repeat("because ", 1000))) {
					t.Fatal("not stored")
				}
				got, ok := b.Get(t.Context(), k)
				if !ok || string(got.Data) != "because" || got.Took != want.Took || !got.Stored.Equal(want.Stored) || got.TTL != time.Hour {
					t.Errorf("got %+v, %v, want %+v", got, ok, want)
				}
				has(t, b, long, strings.Repeat("because ", 1000))
				has(t, b, keyFor(t, "other", "why?"), "")
				for _, name := range w.server.Keys() {
					if !strings.HasPrefix(name, "ollama-mcp:") {
						t.Errorf("the key %q does not begin with the prefix", name)
					}
					text, _ := w.server.Get(name)
					if key != nil && (strings.Contains(text, "because") || strings.Contains(text, "tiny")) {
						t.Errorf("%s is not sealed", name)
					}
				}
				w.server.FastForward(time.Hour)
				has(t, b, k, "")
			})
		})
	}
}

func TestServerThatSwallowsIsWaitedForOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, _ := w.replica()
		k := keyFor(t, "", "why?")
		c.Set(t.Context(), k, record("because"))
		w.swallows.Store(true)
		var waits []time.Duration
		for range 100 {
			began := time.Now()
			has(t, c, k, "")
			waits = append(waits, time.Since(began))
		}
		if waits[0] > commandTime {
			t.Errorf("the first call waited %v, more than %v", waits[0], commandTime)
		}
		for i, d := range waits[1:] {
			if d > 0 {
				t.Fatalf("call %d waited %v for a server that is known not to answer", i+2, d)
			}
		}
		time.Sleep(time.Minute)
		if s := c.State(); s.Up || s.Reason == "" {
			t.Errorf("got the state %+v, want not up, with a reason", s)
		}
		if n := w.log.count("cannot be reached"); n != 1 {
			t.Errorf("the log says it %d times, want once", n)
		}
		w.swallows.Store(false)
		time.Sleep(5 * time.Second)
		has(t, c, k, "because")
		if n := w.log.count("can be reached again"); n != 1 {
			t.Errorf("the log says %d times that it is back, want once", n)
		}
	})
}

func TestFailureThatNoCallMetIsCounted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, _ := w.replica()
		w.swallows.Store(true)
		time.Sleep(time.Minute)
		if s := c.State(); s.Up || s.Failures != 1 {
			t.Errorf("got %+v, want not up, and one failure: from then on the server is only tried", s)
		}
	})
}

func TestReplicaStartsWithoutARedisAndFindsItLater(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		silent := func(ctx context.Context) (net.Conn, error) { // a connection that nobody answers
			ours, theirs := net.Pipe()
			go func() {
				buf := make([]byte, 1024)
				for {
					if _, err := theirs.Read(buf); err != nil {
						return
					}
				}
			}()
			return ours, nil
		}
		refused := func(context.Context) (net.Conn, error) { return nil, errors.New("connection refused") }
		w.reach.Store(&refused)
		c, _ := w.replica()
		k := keyFor(t, "", "why?")
		for _, reach := range []func(context.Context) (net.Conn, error){refused, silent} {
			w.reach.Store(&reach)
			time.Sleep(time.Minute)
			began := time.Now()
			has(t, c, k, "")
			if c.Set(t.Context(), k, record("because")) {
				t.Error("an answer was stored nowhere")
			}
			_, ok, leave := c.Join(t.Context(), k, "", time.Time{})
			leave(cache.Failed)
			if ok || time.Since(began) > 0 {
				t.Errorf("found %v, after %v; want nothing, at once", ok, time.Since(began))
			}
		}
		w.reach.Store(nil)
		time.Sleep(5 * time.Second)
		if !c.Set(t.Context(), k, record("because")) {
			t.Error("not stored by a server that is there now")
		}
		if down, up := w.log.count("cannot be reached"), w.log.count("can be reached again"); down != 1 || up != 1 {
			t.Errorf("the log says %d times that it is gone and %d times that it is back, want once each", down, up)
		}
	})
}

func TestServerThatStopsIsLeftAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		silent := func(context.Context) (net.Conn, error) {
			ours, _ := net.Pipe()
			return ours, nil
		}
		w.reach.Store(&silent)
		_, stop := w.replica()
		began := time.Now()
		stop()
		if d := time.Since(began); d > 0 {
			t.Errorf("to stop took %v", d)
		}
	})
}

func TestRefusalsOfTheServerAreMissesAndOneLine(t *testing.T) {
	for _, said := range []string{
		"OOM command not allowed when used memory > 'maxmemory'.",
		"READONLY You can't write against a read only replica.",
		"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
		"NOPERM this user has no permissions to run the 'set' command",
	} {
		inWorld(t, func(t *testing.T, w *world) {
			c, _ := w.replica()
			k := keyFor(t, "", "why?")
			c.Set(t.Context(), k, record("because"))
			w.server.Server().SetPreHook(func(p *miniredisPeer, cmd string, _ ...string) bool {
				if cmd != "SET" && cmd != "HSET" && cmd != "HSETNX" {
					return false
				}
				p.WriteError(said)
				return true
			})
			time.Sleep(10 * time.Second)
			has(t, c, k, "because") // it may be read still
			if c.Set(t.Context(), k, record("another")) {
				t.Error("stored")
			}
			_, ok, leave := c.Join(t.Context(), keyFor(t, "", "how?"), "", time.Time{})
			leave(cache.Stored)
			if s := c.State(); ok || !s.Up || !strings.Contains(s.Reason, said) {
				t.Errorf("got the state %+v, want up, and why there are no writes", s)
			}
			if n := w.log.count("takes no writes"); n != 1 {
				t.Errorf("the log says it %d times, want once", n)
			}
			w.server.Server().SetPreHook(nil)
			time.Sleep(5 * time.Second)
			if s := c.State(); s.Reason != "" || !c.Set(t.Context(), k, record("another")) {
				t.Errorf("got the state %+v afterwards", s)
			}
		})
	}
}

func TestServerThatKnowsOnlyOldCommandsWillDo(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		_, stop := w.replica() // the pretend server has no hook before its first connection
		stop()
		w.server.Server().SetPreHook(func(p *miniredisPeer, cmd string, _ ...string) bool {
			if cmd != "CLIENT" && cmd != "HELLO" && cmd != "CLUSTER" {
				return false
			}
			p.WriteError("ERR unknown command '" + cmd + "'")
			return true
		})
		c, _ := w.replica()
		k := keyFor(t, "", "why?")
		c.Set(t.Context(), k, record("because"))
		has(t, c, k, "because")
		if s := c.State(); !s.Up || s.Reason != "" {
			t.Errorf("got the state %+v", s)
		}
	})
}

func TestServerThatServesNobodyCountsAsGone(t *testing.T) {
	for _, said := range []string{
		"LOADING Redis is loading the dataset in memory", "NOAUTH Authentication required.", "CLUSTERDOWN The cluster is down", "MASTERDOWN Link with MASTER is down",
		"WRONGPASS invalid username-password pair or user is disabled.",
	} {
		inWorld(t, func(t *testing.T, w *world) {
			w.server.SetError(said)
			c, _ := w.replica()
			time.Sleep(10 * time.Second)
			has(t, c, keyFor(t, "", "why?"), "")
			if s := c.State(); s.Up || !strings.Contains(s.Reason, strings.Fields(said)[0]) {
				t.Errorf("%s: got the state %+v", said, s)
			}
			if n := w.log.count("cannot be reached"); n != 1 {
				t.Errorf("%s: the log says it %d times, want once", said, n)
			}
			w.server.SetError("")
			time.Sleep(5 * time.Second)
			if s := c.State(); !s.Up {
				t.Errorf("%s: got the state %+v afterwards", said, s)
			}
		})
	}
}

func TestWrongPasswordIsSaidAndNotShown(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.server.RequireAuth("right")
		c, _ := w.replica(func(o *Options) { o.Password = "secret-guess" })
		time.Sleep(10 * time.Second)
		if s := c.State(); s.Up || s.Reason == "" || strings.Contains(s.Reason, "secret-guess") || w.log.count("secret-guess") > 0 {
			t.Errorf("got the state %+v", s)
		}
		right, _ := w.replica(func(o *Options) { o.Password = "right" })
		if s := right.State(); !s.Up {
			t.Errorf("got the state %+v with the right password", s)
		}
	})
}

func TestServerOfAnotherProtocolIsAMissAndAWord(t *testing.T) {
	for name, talk := range map[string]string{
		"web server":   "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
		"mail server":  "220 mail.test ESMTP\r\n",
		"post office":  "+OK POP3 ready\r\n",
		"memcached":    "ERROR\r\n",
		"bytes":        "\x00\x01\x02\x03\r\n\xff\xff\r\n",
		"nothing":      "",
		"half a reply": "$100\r\nab",
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				other := func(context.Context) (net.Conn, error) {
					ours, theirs := net.Pipe()
					go func() {
						defer theirs.Close()
						_, _ = theirs.Read(make([]byte, 4096))
						_, _ = theirs.Write([]byte(talk))
					}()
					return ours, nil
				}
				w.reach.Store(&other)
				c, _ := w.replica()
				time.Sleep(10 * time.Second)
				has(t, c, keyFor(t, "", "why?"), "")
				if s := c.State(); s.Up || s.Reason == "" || w.log.count("cannot be reached") != 1 {
					t.Errorf("got the state %+v, and %d lines", s, w.log.count("cannot be reached"))
				}
			})
		})
	}
}

func TestRecordsThatAreNotOursAreMissesAndAWord(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, _ := w.replica()
		k, other := keyFor(t, "a", "why?"), keyFor(t, "b", "why?")
		if !c.Set(t.Context(), k, record("because")) {
			t.Fatal("not stored")
		}
		good, err := w.server.Get(c.keyOf(k))
		if err != nil {
			t.Fatal(err)
		}
		var before uint64
		unreadable := func(name string) {
			t.Helper()
			has(t, c, k, "")
			if now := c.State().Unreadable; now != before+1 {
				t.Errorf("%s: %d records are unreadable, want %d", name, now, before+1)
			}
			before = c.State().Unreadable
		}
		for name, value := range map[string]string{
			"newer":          "\x02" + good[1:],
			"another's":      "{\"json\": true}",
			"cut":            good[:len(good)/2],
			"only a version": good[:1],
			"unknown flags":  good[:1] + "\x80" + good[2:],
			"too large":      good + strings.Repeat(" ", maxRecord),
			"sealed":         good[:1] + "\x02" + good[2:],
		} {
			_ = w.server.Set(c.keyOf(k), value)
			unreadable(name)
		}
		w.server.Del(c.keyOf(k))
		w.server.SetAdd(c.keyOf(k), "a set")
		unreadable("of another type")
		w.server.Del(c.keyOf(k))
		has(t, c, k, "") // is no trouble

		// An answer that somebody has put under another tenant's key serves nobody.
		_ = w.server.Set(c.keyOf(other), good)
		has(t, c, other, "")
		if n := w.log.count("cannot be used"); n != 1 {
			t.Errorf("the log says it %d times in a minute, want once", n)
		}
	})
}

func TestSealedRecordIsBoundToItsKeyAndItsSecret(t *testing.T) {
	first, err := newSealer(bytes.Repeat([]byte("1"), 32))
	if err != nil {
		t.Fatal(err)
	}
	second, err := newSealer(bytes.Repeat([]byte("2"), 32))
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := first.encode("key", header{Era: "now"}, []byte("because"))
	if err != nil {
		t.Fatal(err)
	}
	if _, data, err := first.decode("key", sealed); err != nil || string(data) != "because" {
		t.Fatalf("got %q, %v", data, err)
	}
	if _, _, err := first.decode("another key", sealed); err == nil {
		t.Error("a record was moved to another key")
	}
	if _, _, err := second.decode("key", sealed); err == nil {
		t.Error("a record was read with another secret")
	}
	var open *sealer
	if _, _, err := open.decode("key", sealed); err == nil {
		t.Error("a record was read without a secret")
	}
	plain, err := open.encode("key", header{}, []byte("because"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := first.decode("key", plain); err == nil {
		t.Error("a record without a seal was believed")
	}
	for i := range sealed {
		broken := bytes.Clone(sealed)
		broken[i] ^= 1
		if _, _, err := first.decode("key", broken); err == nil {
			t.Errorf("the byte %d was changed, and nobody has noticed", i)
		}
	}
}

func FuzzDecode(f *testing.F) {
	var open *sealer
	for _, text := range []string{"", "because", strings.Repeat("because ", 1000)} {
		record, err := open.encode("key", header{Era: "now", Scope: cache.Scope{Tenant: "team"}}, []byte(text))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(record)
	}
	f.Add([]byte{1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, record []byte) {
		h, data, err := open.decode("key", record)
		if err != nil {
			return
		}
		again, err := open.encode("key", h, data)
		if err != nil {
			return // it is too large, now that it is encoded as JSON writes it
		}
		h2, data2, err := open.decode("key", again)
		if err != nil || !bytes.Equal(data, data2) || h.Scope != h2.Scope || h.Era != h2.Era || h.Took != h2.Took {
			t.Errorf("got %+v %q %v, want %+v %q", h2, data2, err, h, data)
		}
	})
}

func TestClearReachesAllReplicasAndLaterOnesToo(t *testing.T) {
	for _, c := range []struct {
		clear  string // model
		forgot bool
	}{{"", true}, {"tiny", true}, {"another", false}} {
		inWorld(t, func(t *testing.T, w *world) {
			a, _ := w.replica()
			b, _ := w.replica()
			var forgotten atomic.Int64
			b.OnClear(func(isOf func(string) bool) {
				if isOf("tiny") {
					forgotten.Add(1)
				}
			})
			k := keyFor(t, "", "why?")
			a.Set(t.Context(), k, record("because"))
			if !a.Clear(t.Context(), c.clear) {
				t.Fatal("the others were not told")
			}
			want := "because"
			if c.forgot {
				want = ""
			}
			has(t, b, k, want) // at once, and not only when it hears of it
			has(t, a, k, want)
			time.Sleep(2 * time.Second)
			if got := forgotten.Load() == 1; got != c.forgot {
				t.Errorf("after %q was cleared: the memory of the other replica was cleared %d times", c.clear, forgotten.Load())
			}
			b.Set(t.Context(), k, record("anew"))
			later, _ := w.replica()
			has(t, later, k, "anew")
			if forgotten.Load() > 1 {
				t.Error("what was cleared once was cleared again")
			}
		})
	}
}

func TestClearDuringAnOutageIsDoneAfterIt(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, _ := w.replica()
		b, _ := w.replica()
		k := keyFor(t, "", "why?")
		a.Set(t.Context(), k, record("because"))
		w.swallows.Store(true)
		if a.Clear(t.Context(), "") {
			t.Error("the others were told by a server that swallows")
		}
		time.Sleep(time.Minute)
		w.swallows.Store(false)
		time.Sleep(5 * time.Second)
		has(t, b, k, "")
	})
}

func TestServerThatLostItsMemoryClearsNoReplica(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, _ := w.replica()
		c.OnClear(func(func(string) bool) { t.Error("the memory was cleared, and nobody has asked for that") })
		k := keyFor(t, "", "why?")
		c.Set(t.Context(), k, record("because"))
		w.server.FlushAll()
		has(t, c, k, "")
		time.Sleep(5 * time.Second)
		if !c.Set(t.Context(), k, record("anew")) {
			t.Error("not stored")
		}
		has(t, c, k, "anew")
	})
}

func TestReplicasAreCountedWhileTheyLive(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.server.HSet("ollama-mcp:replicas", "long gone", "17")
		a, _ := w.replica()
		_, stop := w.replica()
		time.Sleep(3 * time.Second)
		if n := a.State().Replicas; n != 2 {
			t.Errorf("%d replicas, want 2", n)
		}
		stop()
		time.Sleep(goneAfter + 2*time.Second)
		if n := a.State().Replicas; n != 1 {
			t.Errorf("%d replicas after one has ended, want 1", n)
		}
		time.Sleep(2 * forgottenAfter)
		if fields, _ := w.server.HKeys("ollama-mcp:replicas"); len(fields) != 1 {
			t.Errorf("%q are still listed", fields)
		}
	})
}

func TestURLOfNoServerIsRefused(t *testing.T) {
	for _, url := range []string{"", "redis.test:6379", "http://redis.test", "redis://redis.test/x", "redis://redis.test/1/2"} {
		if _, err := New(Options{URL: url}); err == nil {
			t.Errorf("%q is accepted", url)
		}
	}
	if _, err := New(Options{URL: "nonsense://user:hunter2@redis.test"}); err == nil || strings.Contains(fmt.Sprint(err), "hunter2") {
		t.Errorf("got %v, want an error without the password", err)
	}
}

func TestRecordsExpireAfterTheirTime(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, _ := w.replica(func(o *Options) { o.TTL = time.Minute })
		k := keyFor(t, "", "why?")
		c.Set(t.Context(), k, record("because"))
		w.server.FastForward(time.Minute - time.Second)
		has(t, c, k, "because")
		w.server.FastForward(time.Second)
		has(t, c, k, "")
	})
}

func TestReplicasWithAnotherPrefixShareNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, _ := w.replica()
		b, _ := w.replica(func(o *Options) { o.Prefix = "staging" })
		k := keyFor(t, "", "why?")
		a.Set(t.Context(), k, record("because"))
		has(t, b, k, "")
		b.Clear(t.Context(), "")
		has(t, a, k, "because")
	})
}
