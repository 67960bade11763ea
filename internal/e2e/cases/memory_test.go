package cases_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A greed is a way to want more memory than there is.
type greed struct {
	name string
	once func(c *greedy, n int) (answer string) // is called again and again, by several at once
	// bound is a word of some of the answers, which shows that there was no more to have; "" where
	// what is kept makes room instead.
	bound string
	at    int // how many of it each caller has under way at once; 0 means 2
}

// greedy is a caller that wants everything, or the honest one beside it.
type greedy struct {
	t       *testing.T
	ctx     context.Context // of the attack
	address string
	key     string
	dialer  *net.Dialer
	client  *http.Client
}

// newGreedy is the caller with that number, at an address of its own: connections are shared by addresses.
func newGreedy(ctx context.Context, t *testing.T, address string, number int) *greedy {
	c := &greedy{t: t, ctx: ctx, address: address, key: keyOf(number), dialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(number))}}}
	c.client = &http.Client{Transport: &http.Transport{DialContext: c.dialer.DialContext, MaxIdleConnsPerHost: 100}}
	return c
}

func keyOf(number int) string { return fmt.Sprintf("omcp_%043d", number) }

// post sends a request of the protocol, and returns its answer, or what is wrong with it.
func (c *greedy) post(method, params string) string {
	return c.send("/mcp", fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":%s}`, method, params))
}

func (c *greedy) call(tool, args string) string {
	return c.post("tools/call", fmt.Sprintf(`{"name":%q,"arguments":%s}`, tool, args))
}

func (c *greedy) send(path, body string) string {
	req, err := http.NewRequestWithContext(c.ctx, http.MethodPost, "http://"+c.address+path, strings.NewReader(body))
	if err != nil {
		return err.Error()
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("Authorization", "Bearer "+c.key)
	resp, err := c.client.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(got)
}

// hold sends the head of a request and, of its body, all but the last byte, or reads nothing of what comes.
func (c *greedy) hold(request string) string {
	conn, err := c.dialer.DialContext(c.ctx, "tcp", c.address)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	defer context.AfterFunc(c.ctx, func() { conn.Close() })()
	if _, err := io.WriteString(conn, request); err != nil {
		return err.Error()
	}
	begin := make([]byte, 512)
	n, _ := io.ReadAtLeast(conn, begin, len(begin))
	if n == len(begin) {
		<-time.After(time.Second) // and reads no more
	}
	return string(begin[:n])
}

func (c *greedy) head(method, path string, length int) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nContent-Length: %d\r\n\r\n", method, path, c.address, c.key, length)
}

// asks is a greed that calls generate with a prompt of its own.
func asks(args string) func(*greedy, int) string {
	return func(c *greedy, n int) string {
		return c.call("generate", fmt.Sprintf(`{"model":"m","prompt":"%d",%s}`, n, args))
	}
}

const mebibyte = 1 << 20

// greeds want each of the parts into which the memory is divided.
var greeds = []greed{
	{name: "bodies whose last byte is withheld", bound: "rate_limited", once: func(c *greedy, n int) string {
		return c.hold(c.head("POST", "/mcp", mebibyte) + strings.Repeat(" ", mebibyte-1))
	}},
	{name: "long prompts", bound: "rate_limited", once: func(c *greedy, n int) string {
		return c.call("generate", fmt.Sprintf(`{"model":"m","prompt":"%d %s"}`, n, strings.Repeat("x", mebibyte)))
	}},
	{name: "messages of many values", bound: "too many for its size", once: func(c *greedy, n int) string {
		value := []string{"[],", "{},", "0,", `{"":0},`}[n%4]
		return c.call("generate", `{"model":"m","options":[`+strings.Repeat(value, mebibyte/len(value))+`0]}`)
	}},
	{name: "the same for the gateway", bound: "too many for its size", once: func(c *greedy, n int) string {
		value := []string{"[],", "{},", "0,", `{"":0},`}[n%4]
		return c.send("/api/generate", `{"model":"m","options":[`+strings.Repeat(value, mebibyte/len(value))+`0]}`)
	}},
	{name: "answers that are too long", bound: "allowed for one answer", once: asks(`"system":"long","cache":"off"`)},
	{name: "many long answers", once: asks(`"system":"large","cache":"off"`)},
	{name: "answers to be cached", once: asks(`"system":"some"`)},
	{name: "vectors to be read later", bound: "memory", once: func(c *greedy, n int) string {
		var more strings.Builder
		for i := range n % 2 * 100 {
			fmt.Fprintf(&more, `,"%d"`, i)
		}
		return c.call("embed", fmt.Sprintf(`{"model":"e","output":"resource","input":["%d"%s]}`, n, more.String()))
	}},
	{name: "jobs with long prompts", bound: "overloaded", once: func(c *greedy, n int) string {
		return c.call("generate", fmt.Sprintf(`{"model":"m","wait_seconds":0,"system":"some","prompt":"%d %s"}`, n, strings.Repeat("x", mebibyte/4)))
	}},
	{name: "files", bound: "files of", once: asks(`"files":["large-*"],"cache":"off"`)},
	{name: "map over files", once: func(c *greedy, n int) string {
		return c.call("map", fmt.Sprintf(`{"model":"m","system":"some","prompt":"%d {{input}}","files":["large-*"]}`, n))
	}},
	{name: "batches to be resumed", once: func(c *greedy, n int) string {
		return c.call("map", fmt.Sprintf(`{"model":"m","system":"some","prompt":"%d {{input}}","inputs":["a","b","c","d"]}`, n))
	}},
	{name: "answers that are not read", bound: "", once: func(c *greedy, n int) string {
		body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"generate","arguments":{"model":"m","prompt":"same","system":"large"}}}`
		return c.hold(c.head("POST", "/mcp", len(body)) + body)
	}},
	{name: "sessions", once: func(c *greedy, n int) string {
		return c.post("initialize", `{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"`+strings.Repeat("x", 1000)+`","version":"1"}}`)
	}},
	{name: "streams", at: 8, once: func(c *greedy, n int) string { return c.hold(c.head("GET", "/sse", 0)) }},
	{name: "connections", at: 40, once: func(c *greedy, n int) string { return c.hold("P") }},
}

// greedyHost answers at once and in some words, but for what it is asked with other instructions.
func greedyHost() *backend {
	return &backend{handle: func(w http.ResponseWriter, r *http.Request, body string) {
		if r.URL.Path == "/api/embed" {
			vector := "[" + strings.Repeat("0.12345678,", 4095) + "1]"
			var asked struct{ Input []string }
			_ = json.Unmarshal([]byte(body), &asked)
			fmt.Fprintf(w, `{"model":"e","embeddings":[%s%s]}`, vector, strings.Repeat(","+vector, max(len(asked.Input), 1)-1))
			return
		}
		var asked struct{ System string }
		_ = json.Unmarshal([]byte(body), &asked)
		lines := map[string]int{"long": 1 << 10, "large": 100, "some": 8}[asked.System] // of 8 KiB
		line := fmt.Sprintf(`{"model":"m","response":%q,"done":false}`+"\n", strings.Repeat("word ", 8<<10/5))
		for i := range lines {
			if _, err := io.WriteString(w, line); err != nil {
				return
			}
			if i == lines/2 { // so that several are on their way at once
				http.NewResponseController(w).Flush()
				time.Sleep(50 * time.Millisecond)
			}
		}
		text("done").write(w, "application/x-ndjson")
	}}
}

// TestProcessStaysWithinItsMemoryBesideAnHonestCaller has some callers want all of each part of the memory at
// once, of a program that may use as little as can be. The honest caller is answered each time.
func TestProcessStaysWithinItsMemoryBesideAnHonestCaller(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the memory of a process is looked up as Linux has it")
	}
	const memory, own = 64, 32 // MiB: --memory, and what docs/security.md says for the program itself
	const hostile, honestCalls = 2, 10
	dir := t.TempDir()
	for i := range 2 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("large-", i)), []byte(strings.Repeat("x", mebibyte*9/10)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var keys strings.Builder
	for n := range hostile + 1 {
		fmt.Fprintf(&keys, "- {name: caller-%d, sha256: %x}\n", n, sha256.Sum256([]byte(keyOf(n))))
	}
	keyFile := filepath.Join(t.TempDir(), "keys.yaml")
	if err := os.WriteFile(keyFile, []byte(keys.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	host := greedyHost()
	host.start(t)
	s := serve(t, "--host="+host.server.URL, "--slots=8", fmt.Sprintf("--memory=%dMiB", memory), "--allow-dir="+dir, "--token-file="+keyFile, "--gateway",
		"--call-log="+filepath.Join(t.TempDir(), "calls.jsonl"), "--log-content")

	attack, end := context.WithCancel(t.Context())
	defer end()
	honest := newGreedy(t.Context(), t, s.address, hostile)
	calls, bounds := make([]atomic.Int64, len(greeds)), make([]atomic.Int64, len(greeds))
	var all sync.WaitGroup
	for i, g := range greeds {
		for number := range hostile {
			c := newGreedy(attack, t, s.address, number)
			for range cmp.Or(g.at, 2) {
				all.Go(func() {
					for attack.Err() == nil {
						n := calls[i].Add(1)
						if answer := g.once(c, int(n)); g.bound != "" && strings.Contains(answer, g.bound) {
							bounds[i].Add(1)
						}
						time.Sleep(time.Millisecond) // what is refused at once would take all of the processor
					}
				})
			}
		}
	}
	isReached := func(i int, g greed) bool {
		return g.bound == "" && calls[i].Load() > hostile || bounds[i].Load() > 0
	}
	areReached := func() bool {
		for i, g := range greeds {
			if !isReached(i, g) {
				return false
			}
		}
		return true
	}
	began := time.Now()
	for n := 0; n < honestCalls || !areReached() && time.Since(began) < limit/2; n++ {
		if answer := honest.call("generate", fmt.Sprintf(`{"model":"m","prompt":"honest %d"}`, n)); !strings.Contains(answer, "done") {
			t.Errorf("honest call %d got %.500s", n, answer)
		}
	}
	end()
	all.Wait()
	for i, g := range greeds {
		t.Logf("%s: %d times, %d at the bound", g.name, calls[i].Load(), bounds[i].Load())
		if !isReached(i, g) {
			t.Errorf("%s: the bound was not reached", g.name)
		}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.Atoi(strings.Fields(peak)[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("at most %d MiB were in use of %d", kib>>10, memory)
	if kib>>10 > memory+own {
		t.Errorf("%d MiB were in use, more than the %d of --memory and %d for the program itself", kib>>10, memory, own)
	}
}
