package e2e_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"ollama-mcp/internal/e2e/procgroup"
	"ollama-mcp/internal/e2e/tinymodels"
)

// redisServer is a real Redis, which can be stopped and started anew at its address.
type redisServer struct {
	t       *testing.T
	address string
	cmd     *exec.Cmd
	group   *procgroup.Group
}

func startRedis(t *testing.T, args ...string) *redisServer {
	t.Helper()
	r := &redisServer{t: t, address: freeAddress(t)}
	r.start(args...)
	t.Cleanup(r.kill)
	return r
}

// start starts it empty.
func (r *redisServer) start(args ...string) {
	r.t.Helper()
	name, err := exec.LookPath("redis-server")
	if err != nil {
		r.t.Fatal("redis-server is not installed; on Debian: apt-get install redis-server")
	}
	host, port, _ := strings.Cut(r.address, ":")
	r.cmd = exec.CommandContext(context.Background(), name, append([]string{"--bind", host, "--port", port, "--save", "", "--appendonly", "no", "--dir", r.t.TempDir()}, args...)...)
	var log buffer
	r.cmd.Stdout = &log
	if r.group, err = procgroup.Start(r.cmd); err != nil {
		r.t.Fatal(err)
	}
	eventually(r.t, "Redis listens", func() bool { return strings.Contains(log.String(), "Ready to accept connections") })
}

func (r *redisServer) kill() {
	r.group.Kill()
	_ = r.cmd.Wait() // it was killed
}

func (r *redisServer) signal(s syscall.Signal) {
	r.t.Helper()
	if err := r.group.Signal(s); err != nil {
		r.t.Error(err)
	}
}

// replica is one of several servers that share answers.
type replica struct{ *listening }

// Some callers have limits: a test that had a Redis that was too slow takes the next one.
const (
	limitedKeys = 60
	callsPerDay = 10
)

// startReplicas starts servers for the callers ann and bob, and for some with limits.
func startReplicas(t *testing.T, n int, redis *redisServer, args ...string) (all []replica) {
	t.Helper()
	return startReplicasOf(t, shared.URL(), n, redis, args...)
}

func startReplicasOf(t *testing.T, ollama string, n int, redis *redisServer, args ...string) (all []replica) {
	t.Helper()
	keys := filepath.Join(t.TempDir(), "keys.yaml")
	text := fmt.Sprintf("- {name: ann, sha256: %x, admin: true}\n- {name: bob, sha256: %x}\n", sha256.Sum256([]byte("ann")), sha256.Sum256([]byte("bob")))
	for i := range limitedKeys {
		name := fmt.Sprint("limited-", i)
		text += fmt.Sprintf("- {name: %s, sha256: %x, calls_per_day: %d, in_flight: 4}\n", name, sha256.Sum256([]byte(name)), callsPerDay)
	}
	write(t, keys, text)
	for range n {
		all = append(all, replica{gatewayTo(t, ollama, append([]string{"--token-file", keys, "--redis", "redis://" + redis.address}, args...)...)})
	}
	return all
}

// ask has a caller ask a replica, and returns where the answer came from.
func (r replica) ask(caller, prompt string) (source string) {
	status, header, text := r.request(caller, "POST", "/api/generate", map[string]any{"model": "tiny-says", "prompt": prompt, "stream": false})
	var got struct{ Response string }
	if status != 200 || json.Unmarshal(text, &got) != nil || got.Response == "" {
		r.t.Errorf("status %d: %.300s", status, text)
	}
	return header.Get("X-Ollama-MCP-Source")
}

// generate has a caller ask a replica for an answer that neither looks into a cache nor is kept,
// so that Redis is asked for as little as possible.
func (r replica) generate(caller string) (status int, text []byte) {
	status, _, text = r.request(caller, "POST", "/api/generate", map[string]any{"model": "tiny-says", "prompt": fresh(), "stream": false}, "X-Ollama-MCP-Cache", "off")
	return status, text
}

// request has a caller send a request to a replica, with headers given as names and values.
func (r replica) request(caller, method, path string, body any, headers ...string) (status int, header http.Header, text []byte) {
	data, err := json.Marshal(body)
	if err != nil {
		r.t.Error(err)
		return 0, nil, nil
	}
	req, err := http.NewRequestWithContext(context.Background(), method, r.url()+path, bytes.NewReader(data))
	if err != nil {
		r.t.Error(err)
		return 0, nil, nil
	}
	req.Header.Set("Authorization", "Bearer "+caller)
	for h := range slices.Chunk(headers, 2) {
		req.Header.Set(h[0], h[1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Error(err)
		return 0, nil, nil
	}
	defer resp.Body.Close()
	if text, err = io.ReadAll(resp.Body); err != nil {
		r.t.Error(err)
	}
	return resp.StatusCode, resp.Header, text
}

// metric is a value in the metrics of a replica.
func (r replica) metric(name string) string {
	_, _, text := r.request("ann", "GET", "/metrics", nil)
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	r.t.Errorf("there is no metric %s", name)
	return ""
}

// share waits until an answer of the first replica is found by the others: all can ask Redis then.
func share(t *testing.T, replicas []replica) {
	t.Helper()
	eventually(t, "an answer is shared", func() bool {
		prompt := fresh()
		for i, r := range replicas {
			if want := map[bool]string{true: "local", false: "cache-shared"}[i == 0]; r.ask("ann", prompt) != want {
				return false
			}
		}
		return true
	})
}

func TestReplicasShareAnswersAndNoTenantGetsThoseOfAnother(t *testing.T) {
	t.Parallel()
	seal := filepath.Join(t.TempDir(), "seal.key")
	write(t, seal, strings.Repeat("0123456789abcdef", 4))
	replicas := startReplicas(t, 3, startRedis(t, "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"), "--redis-seal-key", seal)
	share(t, replicas)

	// However slow Redis is, each replica makes an answer once at most.
	prompt := fresh()
	var local atomic.Int64
	var callers sync.WaitGroup
	for i := range 1000 {
		callers.Go(func() {
			if replicas[i%3].ask("ann", prompt) == "local" {
				local.Add(1)
			}
		})
		if i%50 == 49 {
			callers.Wait()
		}
	}
	callers.Wait()
	if n := local.Load(); n < 1 || n > 3 {
		t.Errorf("1,000 equal calls were answered %d times by a model, want once for each replica at most", n)
	}
	for i, r := range replicas {
		prompt := fresh()
		r.ask("ann", prompt)
		if source := replicas[(i+1)%3].ask("bob", prompt); source != "local" {
			t.Errorf("bob got an answer that was made for ann, from %s", source)
		}
	}

	as := func(r replica, key string) *session {
		return join(t, deadline(t), &mcp.StreamableClientTransport{Endpoint: r.url() + "/mcp", HTTPClient: &http.Client{Transport: withKey{key, http.DefaultTransport}}}, "")
	}
	here, there, his := as(replicas[0], "ann"), as(replicas[1], "ann"), as(replicas[1], "bob")
	var vectors *mcp.ReadResourceParams
	eventually(t, "vectors that one replica keeps are read from another", func() bool {
		uri, _ := here.succeeds("embed", `{"model":"tiny-words","input":"hello","output":"resource"}`).StructuredContent["uri"].(string)
		vectors = &mcp.ReadResourceParams{URI: uri}
		_, err := there.ReadResource(there.ctx, vectors)
		return err == nil
	})
	if _, err := his.ReadResource(his.ctx, vectors); err == nil {
		t.Error("bob has read the vectors of ann")
	}
}

func TestNoCallFailsWhateverHappensToRedis(t *testing.T) {
	t.Parallel()
	redis := startRedis(t)
	replicas := startReplicas(t, 2, redis)
	share(t, replicas)
	// some has each replica asked a few things, some of them by both.
	some := func() {
		var callers sync.WaitGroup
		for range 5 {
			both := fresh()
			for _, r := range replicas {
				callers.Go(func() { r.ask("ann", both) })
				callers.Go(func() { r.ask("bob", fresh()) })
			}
		}
		callers.Wait()
	}
	for _, trouble := range []struct {
		name, line string
		begin, end func()
	}{
		{"frozen", "redis cannot be reached", func() { redis.signal(syscall.SIGSTOP) }, func() { redis.signal(syscall.SIGCONT) }},
		{"killed, and started anew empty", "redis cannot be reached", redis.kill, func() { redis.start() }},
		{"full", "redis takes no writes", func() { redis.kill(); redis.start("--maxmemory", "1", "--maxmemory-policy", "noeviction") }, func() { redis.kill(); redis.start() }},
	} {
		said := func(r replica) int { return strings.Count(r.stderr.String(), trouble.line) }
		before := []int{said(replicas[0]), said(replicas[1])}
		trouble.begin()
		some()
		eventually(t, trouble.name+": the log says so", func() bool { return said(replicas[0]) > before[0] && said(replicas[1]) > before[1] })
		some()
		trouble.end()
		some()
		share(t, replicas)
	}
}

// meet waits until all replicas have heard of each other.
func meet(t *testing.T, replicas []replica) {
	t.Helper()
	eventually(t, "all replicas have heard of each other", func() bool {
		for _, r := range replicas {
			if r.metric("ollama_mcp_redis_replicas") != fmt.Sprint(len(replicas)) {
				return false
			}
		}
		return true
	})
}

// failures says how often Redis was too slow so far: a replica then goes by its share, until Redis
// answers it again.
func failures(replicas []replica) (all string) {
	for _, r := range replicas {
		all += r.metric(`ollama_mcp_redis_failures_total{reason="command"}`) + " "
	}
	return all
}

// counting is a proxy before an Ollama that counts the requests for answers that are under way. It
// has forgotten one before its client has the end of the answer.
type counting struct {
	mu        sync.Mutex
	now, most int
}

func (c *counting) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now += n
	c.most = max(c.most, c.now)
}

// reset returns the most requests at a time since the last reset.
func (c *counting) reset() (most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	most, c.most = c.most, c.now
	return most
}

func (c *counting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	counts := r.URL.Path == "/api/generate" || r.URL.Path == "/api/chat"
	if counts {
		c.add(1)
	}
	req, err := http.NewRequestWithContext(r.Context(), r.Method, shared.URL()+r.URL.Path, r.Body)
	if err == nil {
		req.Header = r.Header
		var resp *http.Response
		if resp, err = http.DefaultTransport.RoundTrip(req); err == nil {
			defer resp.Body.Close()
			var body []byte
			body, err = io.ReadAll(resp.Body)
			defer func() {
				w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
				w.WriteHeader(resp.StatusCode)
				_, _ = w.Write(body) // the client may have left
			}()
		}
	}
	if counts {
		c.add(-1)
	}
	if err != nil {
		panic(http.ErrAbortHandler)
	}
}

func TestReplicasTogetherOfferAHostNoMoreThanItsSlots(t *testing.T) {
	t.Parallel()
	var ollama counting
	proxy := httptest.NewServer(&ollama)
	t.Cleanup(proxy.Close)
	const slots, attempts = 2, 100
	replicas := startReplicasOf(t, proxy.URL, 3, startRedis(t), "--slots", fmt.Sprint(slots))
	meet(t, replicas)
	for range attempts {
		before := failures(replicas)
		ollama.reset()
		var callers sync.WaitGroup
		for _, r := range replicas {
			for range 2 * slots {
				callers.Go(func() {
					for range 2 {
						if status, text := r.generate("ann"); status != 200 {
							t.Errorf("status %d: %.300s", status, text)
						}
					}
				})
			}
		}
		callers.Wait()
		most := ollama.reset()
		if most <= slots {
			return
		}
		// A replica that was stopped for seconds, or had no answer of Redis in time, uses slots that
		// others have, for a second. The attempts are short, so that some come before or after that.
		t.Logf("%d requests at once, with %d slots; failures of Redis were %s, and are %s", most, slots, before, failures(replicas))
	}
	t.Errorf("three replicas sent a host with %d slots more requests at once in each of %d attempts", slots, attempts)
}

func TestLimitsOfAKeyHoldOnAllReplicasTogether(t *testing.T) {
	t.Parallel()
	replicas := startReplicas(t, 3, startRedis(t))
	meet(t, replicas)
	for i := range limitedKeys {
		who, day, before := fmt.Sprint("limited-", i), time.Now().UTC().Day(), failures(replicas)
		share(t, replicas) // after this, only a failure keeps them from counting together
		var answered, refused atomic.Int64
		var callers sync.WaitGroup
		for c := range 4 { // as many as may be in flight
			callers.Go(func() {
				for n := range callsPerDay {
					switch status, text := replicas[(c+n)%3].generate(who); {
					case status == 200:
						answered.Add(1)
					case status == 429 && strings.Contains(string(text), fmt.Sprintf("daily budget of %d calls", callsPerDay)):
						refused.Add(1)
					case status == 429: // the share of a replica, if Redis was too slow
					default:
						t.Errorf("status %d: %.300s", status, text)
					}
				}
			})
		}
		callers.Wait()
		if failures(replicas) != before || time.Now().UTC().Day() != day {
			continue
		}
		if answered.Load() != callsPerDay || refused.Load() != 3*callsPerDay {
			t.Errorf("%d calls were answered and %d refused, and %d a day are allowed", answered.Load(), refused.Load(), callsPerDay)
		}
		return
	}
	t.Error("Redis was too slow each time")
}

func TestJobsOfAReplicaAreToldAndCancelledByTheOthersForTheirOwnerOnly(t *testing.T) {
	t.Parallel()
	redis := startRedis(t)
	replicas := startReplicas(t, 2, redis)
	share(t, replicas)
	meet(t, replicas)
	of := func(r replica, key string) taskClient { return taskClient{t: t, url: r.url(), key: key} }
	here, there, his := of(replicas[0], "ann"), of(replicas[1], "ann"), of(replicas[1], "bob")
	isThere := func(id, status string) (got task) {
		t.Helper()
		eventually(t, "the other replica says that the task is "+status, func() bool {
			got = there.about("tasks/get", id)
			return got.Status == status
		})
		return got
	}

	finished, cancelled := here.startShort().TaskID, here.start(testLimit).TaskID
	if got := isThere(finished, "completed"); got.Result == nil || got.Result.text() != tinymodels.Says.Answer {
		t.Errorf("the task that had ended: got %+v", got)
	}
	isThere(cancelled, "working")
	const unreachable = "cannot be reached now; try again" // which Redis may be for a moment on a busy machine
	for _, method := range []string{"tasks/get", "tasks/cancel"} {
		eventually(t, "bob is refused the task", func() bool {
			got := his.about(method, cancelled)
			if got.Error == nil {
				t.Fatalf("%s for bob: got %+v", method, got)
			}
			return strings.Contains(got.Error.Message, "there is no job")
		})
	}
	eventually(t, "the other replica takes the cancellation", func() bool { return there.about("tasks/cancel", cancelled).Error == nil })
	isThere(cancelled, "cancelled")
	if got := here.about("tasks/get", cancelled); got.Status != "cancelled" {
		t.Errorf("the replica that worked on it: got %+v", got)
	}

	// reused is how many inputs of a map need not be asked, of three. Caches have no part in it.
	reused := func(c taskClient, prompt string) (n int) {
		t.Helper()
		got := c.send("tools/call", "map", fmt.Sprintf(`"name":"map","arguments":{"model":"tiny-says","prompt":%q,"inputs":["a","b","c"],"cache":"off","wait_seconds":%v}`,
			prompt+" {{input}}", testLimit.Seconds()))
		var out struct{ Answered, Reused int }
		if len(got.Content) == 0 || json.Unmarshal([]byte(got.Content[0].Text), &out) != nil || out.Answered != 3 {
			t.Fatalf("got %+v, want three answers", got)
		}
		return out.Reused
	}
	eventually(t, "a map goes on on the other replica", func() bool {
		prompt := fresh()
		return reused(here, prompt) == 0 && reused(there, prompt) == 3
	})

	working := here.start(testLimit).TaskID
	isThere(working, "working")
	if err := replicas[0].cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = replicas[0].cmd.Wait() // which says that it was killed
	isThere(working, "failed")
	isThere(finished, "completed")
	s := join(t, deadline(t), &mcp.StreamableClientTransport{Endpoint: replicas[1].url() + "/mcp", HTTPClient: &http.Client{Transport: withKey{"ann", http.DefaultTransport}}}, "")
	job := func(id string) (a answer) {
		t.Helper()
		eventually(t, "Redis is reached", func() bool {
			a = s.start("job", `{"id":"`+id+`"}`).result()
			return !strings.Contains(a.text(), unreachable)
		})
		return a
	}
	wantError(t, job(working), "cancelled", "ended with the server that ran it", "call the tool again")
	if a := job(finished); a.text() != tinymodels.Says.Answer {
		t.Errorf("the job that had ended: got %+v", a)
	}
	redis.kill()
	wantError(t, s.start("job", `{"id":"`+finished+`"}`).result(), "not_found", unreachable)
	if notes := fmt.Sprint(s.succeeds("job", `{"action":"list"}`).StructuredContent["notes"]); !strings.Contains(notes, "Jobs of other servers are missing") {
		t.Errorf("the list without Redis has the notes %s", notes)
	}
}

// questions is how many questions the semantic cache of a replica remembers.
func (r replica) questions() int {
	var got struct {
		Result struct {
			StructuredContent struct {
				Cache struct{ Semantic struct{ Entries int } }
			}
		}
	}
	text := r.post("ann", "status", "{}")
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		r.t.Errorf("%v: %.300s", err, text)
	}
	return got.Result.StructuredContent.Cache.Semantic.Entries
}

func TestParaphraseIsAnsweredByWhatAnotherReplicaHasAnswered(t *testing.T) {
	t.Parallel()
	seal := filepath.Join(t.TempDir(), "seal.key")
	write(t, seal, strings.Repeat("0123456789abcdef", 4))
	replicas := startReplicas(t, 2, startRedis(t), "--redis-seal-key", seal, "--semantic-cache=on", "--semantic-model=tiny-words", "--semantic-threshold=0.7")
	one, other := replicas[0], replicas[1]
	share(t, replicas)
	ask := func(r replica, caller, system, prompt string) (source string) {
		_, header, _ := r.request(caller, "POST", "/api/generate", map[string]any{"model": "tiny-says", "system": system, "prompt": prompt, "stream": false})
		return header.Get("X-Ollama-MCP-Source")
	}
	const question, paraphrase = "Please explain what a docker container is and what it is good for", "explain what a docker container is and what it is good for"
	var system string
	// A question whose vector is late is not compared.
	eventually(t, "a paraphrase is answered by what the other replica has answered", func() bool {
		system = fresh()
		before, heard := one.questions(), other.questions()
		ask(one, "ann", system, question)
		if one.questions() == before {
			return false
		}
		eventually(t, "the other replica hears of it", func() bool { return other.questions() > heard })
		return ask(other, "ann", system, paraphrase) == "cache-semantic"
	})
	if source := ask(other, "bob", system, paraphrase); source != "local" {
		t.Errorf("bob's paraphrase was answered from %s, and bob has asked nothing before", source)
	}
	one.post("ann", "clear-cache", "{}")
	eventually(t, "both replicas have forgotten all questions", func() bool { return one.questions()+other.questions() == 0 })
	for _, r := range replicas {
		if source := ask(r, "ann", fresh(), paraphrase); source != "local" {
			t.Errorf("once all was cleared a question was answered from %s", source)
		}
		if source := ask(r, "ann", system, question+" "); source == "cache-semantic" {
			t.Errorf("once all was cleared a question was answered from %s", source)
		}
	}
}
