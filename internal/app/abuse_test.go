package app

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/gateway"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/manage"
	"ollama-mcp/internal/quota"
	"ollama-mcp/pool"
	"ollama-mcp/server"
	"ollama-mcp/tools"
)

// The tests of this file abuse the paths of the other APIs, beside a caller who asks for little. A
// path that is added joins them by itself, once it has a request in the table below.

// requests has a request for each path, with room for a prompt.
var requests = map[string]string{
	"/api/generate":        `{"model":"tiny","prompt":"%s"}`,
	"/api/chat":            `{"model":"tiny","messages":[{"role":"user","content":"%s"}]}`,
	"/api/embed":           `{"model":"tiny","input":"%s"}`,
	"/api/embeddings":      `{"model":"tiny","prompt":"%s"}`,
	"/api/show":            `{"model":"tiny","system":"%s"}`,
	"/api/pull":            `{"model":"tiny","username":"%s"}`,
	"/api/copy":            `{"source":"tiny","destination":"copy","x":"%s"}`,
	"/api/delete":          `{"model":"copy","x":"%s"}`,
	"/api/create":          `{"model":"made","from":"tiny","system":"%s"}`,
	"/api/tags":            ``,
	"/api/ps":              ``,
	"/api/version":         ``,
	"/v1/chat/completions": `{"model":"tiny","stream":true,"messages":[{"role":"user","content":"%s"}]}`,
	"/v1/completions":      `{"model":"tiny","stream":true,"prompt":"%s"}`,
	"/v1/embeddings":       `{"model":"tiny","input":"%s"}`,
	"/v1/models":           ``,
	"/v1/models/{model}":   ``,
}

// turnOfHost is how long each answer takes: three tokens of a second each.
const turnOfHost = 3 * time.Second

// An abused server is the gateway behind the server that clients connect to, in a bubble.
type abused struct {
	t         *testing.T
	host      *backendtest.Host
	engine    *inference.Engine
	server    *server.HTTP
	endpoints []gateway.Endpoint // but for those whose answer has no body
	conns     chan net.Conn
	closed    chan struct{}
	client    *http.Client
	began     time.Time
	prompts   atomic.Int64
	revoked   atomic.Bool // the keys of the hostile caller
}

// Accept implements net.Listener, as do the next two.
func (a *abused) Accept() (net.Conn, error) {
	select {
	case conn := <-a.conns:
		return conn, nil
	case <-a.closed:
		return nil, net.ErrClosed
	}
}

func (a *abused) Close() error {
	select {
	case <-a.closed:
	default:
		close(a.closed)
	}
	return nil
}

func (a *abused) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

func (a *abused) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case a.conns <- far:
		return near, nil
	case <-a.closed:
		return nil, net.ErrClosed
	}
}

// longWord is a token of an answer to the hostile caller. Three of them are more than any buffer takes,
// and large enough to be counted.
var longWord = strings.Repeat("x", 32<<10)

// underAbuse runs a test with a server whose callers have their name as their key, in a bubble that
// has to end without a trace. The keys of "hostile" can be revoked, and that of "late" expires after
// a minute.
func underAbuse(t *testing.T, opts server.Options, f func(t *testing.T, a *abused)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		host := backendtest.New("gpu-1").Slots(2).TokenTime(time.Second).
			Install(backendtest.Model{Name: backendtest.Tiny, Capabilities: []string{"completion", "embedding"}}).
			AnswerWith(func(c backendtest.Call) backendtest.Reply {
				if strings.Contains(c.Prompt, "hostile") {
					return backendtest.Reply{Text: strings.Repeat(longWord+" ", 2) + longWord}
				}
				return backendtest.Reply{Text: "quick brown fox"}
			})
		hosts, err := pool.New(pool.Options{Hosts: []backend.Backend{host.Open(t)}, Slots: 2, PerCaller: 64})
		if err != nil {
			t.Fatal(err)
		}
		a := &abused{t: t, host: host, began: time.Now(), conns: make(chan net.Conn), closed: make(chan struct{})}
		if a.engine, err = inference.New(inference.Options{Hosts: hosts, Timeout: 5 * time.Minute, CacheMode: "auto"}); err != nil {
			t.Fatal(err)
		}
		over := server.HTTPOptions{AllowedOrigins: []string{"https://pages.example"}, Authenticate: func(req *http.Request) (caller.Caller, error) {
			if len(req.Header.Values("Authorization")) != 1 {
				return caller.Caller{}, &caller.Denied{Message: "one key is needed"}
			}
			switch name, _ := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer "); {
			case name == "honest":
				return caller.Caller{ID: name, Tenant: name}, nil
			case name == "hostile" && !a.revoked.Load():
				return caller.Caller{ID: name, Tenant: name, Admin: true, Valid: func() bool { return !a.revoked.Load() }}, nil
			case name == "late" && time.Since(a.began) < time.Minute:
				return caller.Caller{ID: name, Tenant: name, Admin: true, Expires: a.began.Add(time.Minute)}, nil
			}
			return caller.Caller{}, &caller.Denied{Code: "invalid_token", Message: "the key is not known"}
		}}
		g := gateway.New(gateway.Options{
			Engine: a.engine, Manage: manage.New(manage.Options{Hosts: hosts.Hosts}), Admit: tools.Deps{Offer: tools.Offer{Manage: true}, Quota: new(quota.Quota)}.Admit,
			Trace: tools.TraceOf, Log: slog.New(slog.DiscardHandler),
		})
		for _, e := range g.Endpoints() {
			over.Endpoints = append(over.Endpoints, server.Endpoint{Method: e.Method, Path: e.Path, Serve: e.Serve, Fail: e.Fail, Expose: gateway.Headers()})
			if _, known := requests[e.Path]; e.Serve != nil && !known {
				t.Errorf("%s has no request in the table of this test", e.Path)
			} else if e.Serve != nil && e.Method != http.MethodHead { // which is GET without the body that is looked at
				a.endpoints = append(a.endpoints, e)
			}
		}
		opts.Name = "abused"
		s, err := server.New(opts)
		if err != nil {
			t.Fatal(err)
		}
		if a.server, err = server.NewHTTP(s, over); err != nil {
			t.Fatal(err)
		}
		transport := &http.Transport{DialContext: a.dial, DisableKeepAlives: true}
		a.client = &http.Client{Transport: transport}
		ctx, stop := context.WithCancel(context.Background())
		served := make(chan error, 1)
		go func() { served <- a.server.Serve(ctx, a) }()
		f(t, a)
		stop()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		a.engine.Close()
	})
}

// body is a request for a path, with a prompt that no other request has.
func (a *abused) body(path, prompt string) string {
	text := requests[path]
	if strings.Contains(text, "%s") {
		text = fmt.Sprintf(text, fmt.Sprintf("%s %d", prompt, a.prompts.Add(1)))
	}
	return text
}

// raw is a request as it is sent. Headers are pairs of name and value.
func raw(e gateway.Endpoint, key, body string, headers ...string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nConnection: close\r\n", e.Method, e.Path, key)
	for i := 0; i < len(headers); i += 2 {
		fmt.Fprintf(&text, "%s: %s\r\n", headers[i], headers[i+1])
	}
	if !slices.Contains(headers, "Transfer-Encoding") && !slices.Contains(headers, "Content-Length") {
		fmt.Fprintf(&text, "Content-Length: %d\r\n", len(body))
	}
	return text.String() + "\r\n" + body
}

// open sends a request on a connection of its own, and does not wait until it has been read.
func (a *abused) open(text string) net.Conn {
	a.t.Helper()
	conn, err := a.dial(a.t.Context(), "", "")
	if err != nil {
		a.t.Fatal(err)
	}
	go io.WriteString(conn, text) // ends with the connection
	return conn
}

// asHonest makes a request of the honest caller, which has to be answered within some turns.
func (a *abused) asHonest(when string, turns int) {
	a.t.Helper()
	began := time.Now()
	req, err := http.NewRequestWithContext(a.t.Context(), "POST", "http://localhost/api/chat", strings.NewReader(a.body("/api/chat", "honest")))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer honest")
	resp, err := a.client.Do(req)
	if err != nil {
		a.t.Errorf("%s: the honest caller got %v", when, err)
		return
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if took := time.Since(began); err != nil || resp.StatusCode != 200 || !strings.Contains(string(text), `"done":true`) || took > time.Duration(turns)*turnOfHost {
		a.t.Errorf("%s: the honest caller got %d %.300s after %v, %v", when, resp.StatusCode, text, took, err)
	}
}

// left are the stacks of the goroutines in the bubble but for spare workers, of which there is a
// bound. Those of bubbles beside it are left out.
func (a *abused) left() (stacks []string) {
	a.client.CloseIdleConnections()
	synctest.Wait()
	all, bubble := make([]byte, 8<<20), ""
	for one := range strings.SplitSeq(string(all[:runtime.Stack(all, true)]), "\n\n") {
		head, _, _ := strings.Cut(one, "\n")
		_, in, ok := strings.Cut(head, "synctest bubble")
		if bubble == "" { // the first is the one that asks
			bubble = in
		}
		if ok && in == bubble && !strings.Contains(one, "workers.(*Group).run(...)") {
			stacks = append(stacks, one)
		}
	}
	return stacks
}

// base is what there is when nobody is served. It is called when all that is left of requests has
// had its time, and connections that are kept for the next are closed.
func (a *abused) base() []string {
	time.Sleep(10 * time.Minute)
	return a.left()
}

// wantBase wants that nothing is left of what hostile callers did.
func (a *abused) wantBase(before []string) {
	a.t.Helper()
	now := a.base()
	if len(now) > len(before) {
		a.t.Errorf("there are %d goroutines, and were %d:\n%s", len(now), len(before), strings.Join(now[:min(len(now), 12)], "\n\n"))
	}
	busy := 0
	status := a.engine.Status(caller.Caller{}).Hosts
	for _, h := range status.Hosts {
		busy += h.Busy
	}
	if s := a.host.Stats(); s.InFlight != 0 || busy != 0 || status.Queue.Waiting != 0 {
		a.t.Errorf("left are %d requests at the host, %d slots and %d waiting", s.InFlight, busy, status.Queue.Waiting)
	}
}

// inForm wants an error that is written as the API of a path writes errors.
func inForm(t *testing.T, path string, text []byte) {
	t.Helper()
	var of struct {
		Error json.RawMessage `json:"error"`
	}
	var form any = new(string)
	if strings.HasPrefix(path, "/v1/") {
		form = &struct {
			Message, Type, Code string
		}{}
	}
	if json.Unmarshal(text, &of) != nil || json.Unmarshal(of.Error, form) != nil {
		t.Errorf("%s: got %.200q, want an error in the form of its API", path, text)
	}
}

func TestNoPathOfAnotherAPIIsOpenToOtherSitesOrWithoutAKey(t *testing.T) {
	t.Parallel()
	attempts := map[string]struct {
		status  int
		headers []string
	}{
		"another host":                    {403, []string{"Host", "evil.example"}},
		"a host that begins as ours":      {403, []string{"Host", "localhost.evil.example"}},
		"another site":                    {403, []string{"Origin", "https://evil.example"}},
		"a page without an origin":        {403, []string{"Origin", "null"}},
		"a site beside an allowed one":    {403, []string{"Origin", "https://xpages.example"}},
		"an allowed site, not encrypted":  {403, []string{"Origin", "http://pages.example"}},
		"another port of this machine":    {403, []string{"Origin", "http://localhost:3000"}},
		"an image in a page":              {403, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}},
		"a form in a page":                {403, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Content-Type", "text/plain"}},
		"a page of the same site":         {403, []string{"Sec-Fetch-Site", "same-site"}},
		"no key":                          {401, []string{"Authorization", ""}},
		"a key that is not known":         {401, []string{"Authorization", "Bearer nobody"}},
		"a key in another form":           {401, []string{"Authorization", "Basic aG9uZXN0"}},
		"a key of an allowed site's page": {401, []string{"Origin", "https://pages.example", "Authorization", "Bearer nobody"}},
	}
	underAbuse(t, server.Options{}, func(t *testing.T, a *abused) {
		asked := a.host.Stats().Calls
		for _, e := range a.endpoints {
			for name, attempt := range attempts {
				req, err := http.NewRequestWithContext(t.Context(), e.Method, "http://localhost"+e.Path, strings.NewReader(a.body(e.Path, "hostile")))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Authorization", "Bearer honest")
				for i := 0; i < len(attempt.headers); i += 2 {
					if req.Header.Set(attempt.headers[i], attempt.headers[i+1]); attempt.headers[i] == "Host" {
						req.Host = attempt.headers[i+1]
					}
				}
				resp, err := a.client.Do(req)
				if err != nil {
					t.Fatalf("%s, %s: %v", e.Path, name, err)
				}
				text, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != attempt.status {
					t.Errorf("%s, %s: got %d %s, %v", e.Path, name, resp.StatusCode, text, err)
				}
				inForm(t, e.Path, text)
			}
		}
		if n := a.host.Stats().Calls; n != asked {
			t.Errorf("the host was asked %d times", n-asked)
		}
	})
}

func TestBadBodiesAtPathsOfOtherAPIsHoldUpNobody(t *testing.T) {
	t.Parallel()
	const limit = 1 << 16
	deep := strings.Repeat(`{"a":[`, limit/8)
	attacks := map[string]struct {
		status  int // 0 if nobody is left to be answered
		body    string
		headers []string
		drips   bool // the rest comes at a byte a second
		cut     bool // the connection is closed
		after   time.Duration
	}{
		"a byte a second":                       {status: 408, body: `{"model":"t`, headers: []string{"Content-Length", "1000"}, drips: true, after: 20 * time.Second},
		"a byte a second, of an unknown length": {status: 408, body: "3e8\r\n{", headers: []string{"Transfer-Encoding", "chunked"}, drips: true, after: 20 * time.Second},
		"the last byte is withheld":             {status: 408, body: strings.Repeat(" ", 999), headers: []string{"Content-Length", "1000"}, after: 20 * time.Second},
		"it is said to be too large":            {status: 413, headers: []string{"Content-Length", fmt.Sprint(limit + 1)}},
		"it is too large":                       {status: 413, body: strings.Repeat(" ", limit+1)},
		"it grows too large":                    {status: 413, body: fmt.Sprintf("%x\r\n%s", limit+1, strings.Repeat(" ", limit+1)), headers: []string{"Transfer-Encoding", "chunked"}},
		"it breaks off":                         {body: `{"model":"t`, headers: []string{"Content-Length", "1000"}, cut: true},
		"its chunks are none":                   {status: 400, body: "zz\r\n", headers: []string{"Transfer-Encoding", "chunked"}},
		"its length is no number":               {status: 400, headers: []string{"Content-Length", "-1"}},
		"it is nested too deeply":               {status: 400, body: deep},
		"it is no JSON":                         {status: 400, body: "\xff\xfe\x00"},
		"it is of another type":                 {status: 400, body: `{"model":{"a":1},"source":1}`},
	}
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			underAbuse(t, server.Options{MaxMessage: limit}, func(t *testing.T, a *abused) {
				a.asHonest("before", 1)
				before := a.base()
				for _, e := range a.endpoints {
					const times = 5
					var all sync.WaitGroup
					began := time.Now()
					for range times {
						conn := a.open(raw(e, "hostile", attack.body, attack.headers...))
						if attack.cut {
							synctest.Wait()
							conn.Close()
							continue
						}
						all.Go(func() {
							defer conn.Close()
							synctestDrip(conn, attack.drips)
							resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
							if err != nil {
								t.Errorf("%s: %v", e.Path, err)
								return
							}
							defer resp.Body.Close()
							text, _ := io.ReadAll(resp.Body)
							readsBody := e.Method != "GET" || attack.after > 0 || attack.status == 413 || len(attack.headers) > 0
							if took := time.Since(began); readsBody && (resp.StatusCode != attack.status || took != attack.after) {
								t.Errorf("%s: got %d %.200s after %v, want %d after %v", e.Path, resp.StatusCode, text, took, attack.status, attack.after)
							}
							if resp.StatusCode >= 400 && len(text) > 0 && text[0] == '{' {
								inForm(t, e.Path, text)
							}
						})
					}
					synctest.Wait()
					a.asHonest(e.Path, 1)
					all.Wait()
				}
				a.wantBase(before)
				a.asHonest("afterwards", 1)
			})
		})
	}
}

// synctestDrip sends a byte a second if it is to, until it cannot.
func synctestDrip(conn net.Conn, drips bool) {
	if !drips {
		return
	}
	go func() {
		for {
			time.Sleep(time.Second)
			if _, err := io.WriteString(conn, " "); err != nil {
				return
			}
		}
	}()
}

// readers are clients that do not read what they asked for as it comes.
var readers = []func(conn net.Conn){
	func(net.Conn) {}, // stops reading
	func(conn net.Conn) { go sip(conn, 1, time.Second) }, // until it is cut off
	func(conn net.Conn) { // leaves at the first byte
		go func() {
			_, _ = conn.Read(make([]byte, 1))
			conn.Close()
		}()
	},
}

// sip reads some bytes now and then, and returns when there are no more.
func sip(conn net.Conn, bytes int64, every time.Duration) {
	for {
		if _, err := io.CopyN(io.Discard, conn, bytes); err != nil {
			return
		}
		time.Sleep(every)
	}
}

func TestThousandOpenStreamsOfOneCallerLeaveTheOthersTheirTurn(t *testing.T) {
	t.Parallel()
	for _, same := range []bool{false, true} {
		t.Run(fmt.Sprint("the same question: ", same), func(t *testing.T) {
			t.Parallel()
			underAbuse(t, server.Options{}, func(t *testing.T, a *abused) {
				paths := a.streaming()
				a.asHonest("before", 1)
				before := a.base()
				bodies := make(map[string]string)
				for i := range 1000 {
					e := paths[i%len(paths)]
					if !same || bodies[e.Path] == "" {
						bodies[e.Path] = a.body(e.Path, "hostile")
					}
					conn := a.open(raw(e, "hostile", bodies[e.Path]))
					defer conn.Close()
					readers[i/len(paths)%len(readers)](conn)
				}
				synctest.Wait()
				for n := range 10 {
					a.asHonest(fmt.Sprint("during the attack, ", n), 4)
				}
				a.wantBase(before)
				a.asHonest("afterwards", 1)
			})
		})
	}
}

// streaming are the paths that answer in pieces.
func (a *abused) streaming() (all []gateway.Endpoint) {
	a.t.Helper()
	for _, e := range a.endpoints {
		if a.streams(e) {
			all = append(all, e)
		}
	}
	if len(all) < 4 {
		a.t.Fatalf("only %d paths answer in pieces", len(all))
	}
	return all
}

// streams reports whether a path answers in pieces.
func (a *abused) streams(e gateway.Endpoint) bool {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), e.Method, "http://localhost"+e.Path, strings.NewReader(a.body(e.Path, "honest")))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer hostile")
	resp, err := a.client.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode >= 500 {
		a.t.Fatalf("%s: %d %s, %v", e.Path, resp.StatusCode, text, err)
	}
	kind := resp.Header.Get("Content-Type")
	return kind == "application/x-ndjson" || kind == "text/event-stream"
}

func atOnce(conn net.Conn) string {
	text, _ := io.ReadAll(conn) // up to where it breaks off
	return string(text)
}

// slowly reads enough for no single write to take long, and minutes for all.
func slowly(conn net.Conn) string {
	sip(conn, 1<<10, time.Second)
	return ""
}

// TestStreamOfARevokedKeyEnds has clients that read at once, slowly, and not at all. Where an answer is whole before it has been read, there is nothing left to be cancelled: it is
// the reading that has to end.
func TestStreamOfARevokedKeyEnds(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		revokeAt time.Duration // from when it was asked for
		reads    func(conn net.Conn) (text string)
		within   time.Duration // it ends
		says     string        // in the end
	}{
		"before it begins":               {turnOfHost / 6, atOnce, 0, "401 Unauthorized"},
		"while it is made":               {turnOfHost / 2, atOnce, 0, "is no longer valid"},
		"while it is made, read slowly":  {turnOfHost / 2, slowly, time.Minute, ""},
		"while it is made, read no more": {turnOfHost / 2, func(net.Conn) string { time.Sleep(time.Minute); return "" }, time.Minute, ""},
		"when it is whole, read slowly":  {2 * turnOfHost, slowly, time.Minute, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			underAbuse(t, server.Options{}, func(t *testing.T, a *abused) {
				paths := a.streaming()
				a.asHonest("before", 1)
				before := a.base()
				began := time.Now()
				var all sync.WaitGroup
				for _, e := range paths {
					a.revoked.Store(false)
					conn := a.open(raw(e, "hostile", a.body(e.Path, "hostile")))
					began := time.Now()
					all.Go(func() {
						defer conn.Close()
						text := row.reads(conn)
						if !strings.Contains(text, row.says) && !strings.Contains(text, `"status":"success"`) { // which takes no time
							t.Errorf("%s: the stream ends with %q", e.Path, text[max(0, len(text)-300):])
						}
						if took := time.Since(began); took > row.revokeAt+row.within {
							t.Errorf("%s: the stream ended after %v, want %v and at most %v more", e.Path, took, row.revokeAt, row.within)
						}
					})
				}
				time.Sleep(row.revokeAt - time.Since(began))
				a.revoked.Store(true)
				a.server.EndRevoked()
				synctest.Wait()
				if n := a.host.Stats().InFlight; n != 0 {
					t.Errorf("when the key was revoked, the host worked on %d answers", n)
				}
				a.asHonest("when the key was revoked", 1)
				all.Wait()
				a.wantBase(before)
			})
		})
	}
}

// A call that is under way when its token expires is answered, as one of MCP is.
func TestStreamGoesOnWhenItsTokenExpires(t *testing.T) {
	t.Parallel()
	underAbuse(t, server.Options{}, func(t *testing.T, a *abused) {
		paths := a.streaming()
		time.Sleep(time.Minute - turnOfHost/2 - time.Since(a.began))
		ask := func(e gateway.Endpoint) (status int, text string) {
			conn := a.open(raw(e, "late", a.body(e.Path, "late")))
			defer conn.Close()
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Errorf("%s: %v", e.Path, err)
				return 0, ""
			}
			defer resp.Body.Close()
			all, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Errorf("%s: %v", e.Path, err)
			}
			return resp.StatusCode, string(all)
		}
		var all sync.WaitGroup
		for _, e := range paths {
			all.Go(func() {
				if status, text := ask(e); status != 200 || strings.Contains(text, `"error"`) {
					t.Errorf("%s: got %d %s", e.Path, status, text)
				}
				time.Sleep(turnOfHost)
				if status, text := ask(e); status != 401 {
					t.Errorf("%s: afterwards the token gets %d %s", e.Path, status, text)
				}
			})
		}
		all.Wait()
	})
}

// An answer that is whole is no longer one of those that are arriving, and its stream may take as long
// as its client wants to read it.
func TestStreamsThatAreReadSlowlyTakeNoMoreMemoryThanTheShareOfTheirCaller(t *testing.T) {
	t.Parallel()
	const size = 3 * 32 << 10
	underAbuse(t, server.Options{MaxAnswers: 10 * size}, func(t *testing.T, a *abused) {
		paths := slices.DeleteFunc(a.streaming(), func(e gateway.Endpoint) bool { return e.Path == "/api/pull" || e.Path == "/api/create" })
		before := a.base()
		var whole, ended atomic.Int64
		for i := range 20 {
			conn := a.open(raw(paths[i%len(paths)], "hostile", a.body(paths[i%len(paths)].Path, "hostile")))
			defer conn.Close()
			go func() {
				var text strings.Builder
				for err := error(nil); err == nil; time.Sleep(time.Second) {
					_, err = io.CopyN(&text, conn, 1<<10)
				}
				switch text := text.String(); {
				case strings.Contains(text, "as much memory as they may"):
					ended.Add(1)
				case strings.Contains(text, `"done":true`), strings.Contains(text, "[DONE]"):
					whole.Add(1)
				default:
					t.Errorf("the stream ends with %q", text[max(0, len(text)-300):])
				}
			}()
		}
		for n := range 10 { // while all of them are made, one after another
			time.Sleep(turnOfHost)
			a.asHonest(fmt.Sprint("during the attack, ", n), 3)
		}
		a.wantBase(before)
		if whole.Load() == 0 || whole.Load() > 6 || whole.Load()+ended.Load() != 20 {
			t.Errorf("%d answers were read to their end, and %d ended before; there is memory for five at a time", whole.Load(), ended.Load())
		}
	})
}
