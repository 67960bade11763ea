package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ollama-mcp/internal/e2e/procgroup"
)

const (
	keys = 8

	// overtime is what a call may take longer than its limit. It only catches what hangs: on
	// a machine that is busy, an answer that was written in time is read late.
	overtime = 15 * time.Second
)

// A transport is a way to the program.
type transport int

const (
	overStdio transport = iota
	overHTTP
	overSSE
	overGateway
	transports
)

func (t transport) String() string {
	return [...]string{"stdio", "HTTP", "SSE", "the gateway"}[t]
}

// transportOf is the transport of a caller.
func transportOf(number int) transport { return transport(number % int(transports)) }

// soak is the program, its hosts and its callers.
type soak struct {
	bin, dir string
	seed     uint64
	callers  int           // beside the honest one; a quarter of them on each transport
	pause    time.Duration // that a caller makes between two calls, at most
	world    *world
	hosts    []*host
	kinds    []kind
	http     *server
	pipes    []*stdio
	honest   *web
	unread   *os.File // where nobody reads the log of a program on stdio

	mu         sync.Mutex // guards what follows
	violations []string
	outcomes   map[string]map[outcome]int // by kind of call
	calls      [transports]map[outcome]int
	happened   map[string]int // faults
	underWay   map[string]int // faults, with their hosts
	failed     []call         // some of those that failed

	revoked atomic.Int64 // how often a key is revoked, or its callers may not know yet that it was
	late    atomic.Int64
}

// newSoak starts hosts and the program. What it has started is in the soak that it returns,
// with an error too.
func newSoak(ctx context.Context, bin string, seed uint64, callers int, pause time.Duration) (*soak, error) {
	s := &soak{bin: bin, seed: seed, callers: callers, pause: pause, outcomes: make(map[string]map[outcome]int), happened: make(map[string]int), underWay: make(map[string]int)}
	var err error
	if s.dir, err = os.MkdirTemp("", "ollama-mcp-soak-"); err != nil {
		return s, err
	}
	if s.world, err = newWorld(s.dir); err != nil {
		return s, err
	}
	if !s.world.names {
		s.say("no host comes and goes in DNS: this system gives the programs no file of names of their own")
	}
	if s.hosts, err = startHosts(ctx); err != nil {
		return s, err
	}
	vectors, err := vectorsOf(ctx, s.hosts[0], embedTexts)
	if err != nil {
		return s, err
	}
	s.kinds = kinds(vectors)
	if err := errors.Join(s.writeConfig(), s.writeKeys(keys)); err != nil {
		return s, err
	}
	if s.http, err = s.serve(); err != nil {
		return s, err
	}
	s.honest = newWeb(s.http.url, key(0), true, s.violate)
	return s, nil
}

func (s *soak) close() {
	if s.http != nil {
		s.http.group.Kill()
	}
	for _, p := range s.pipes {
		p.group.Kill()
	}
	if err := errors.Join(closeHosts(s.hosts), os.RemoveAll(s.dir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

func (s *soak) say(format string, args ...any) {
	fmt.Println(time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

// violate notes that something is as it must not be.
func (s *soak) violate(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.violations = append(s.violations, text)
	if len(s.violations) <= 20 {
		s.say("WRONG: %s", text)
	}
}

func (s *soak) faulted(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.happened[name]++
}

// begin notes that something goes wrong, until end is called.
func (s *soak) begin(what string) (end func()) {
	add := func(n int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.underWay[what] += n; s.underWay[what] == 0 {
			delete(s.underWay, what)
		}
	}
	add(1)
	return func() { add(-1) }
}

// wrong is what goes wrong at the moment.
func (s *soak) wrong() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.underWay))
}

func (s *soak) count(c call, how outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.outcomes[c.kind] == nil {
		s.outcomes[c.kind] = make(map[outcome]int)
	}
	s.outcomes[c.kind][how]++
	if how != ok && how != byCaller && c.right != nil && c.cancel == 0 && c.kind != overBudget && len(s.failed) < 50 {
		s.failed = append(s.failed, c)
	}
}

// countOver counts a call by its transport.
func (s *soak) countOver(t transport, how outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls[t] == nil {
		s.calls[t] = make(map[outcome]int)
	}
	s.calls[t][how]++
}

// key is the secret of a caller.
func key(n int) string { return fmt.Sprintf("omcp_%043d", n) }

func (s *soak) keyFile() string    { return filepath.Join(s.dir, "keys.yaml") }
func (s *soak) configFile() string { return filepath.Join(s.dir, "config.yaml") }

// writeKeys writes the file with the first n keys.
func (s *soak) writeKeys(n int) error {
	var yaml strings.Builder
	for i := range n {
		fmt.Fprintf(&yaml, "- {name: caller-%d, sha256: %x}\n", i, sha256.Sum256([]byte(key(i))))
	}
	return replace(s.keyFile(), yaml.String())
}

// writeConfig writes the file with all hosts but one.
func (s *soak) writeConfig(without ...string) error {
	var yaml strings.Builder
	yaml.WriteString("hosts:\n")
	for _, h := range s.hosts {
		if !slices.Contains(without, h.name) {
			fmt.Fprintf(&yaml, "  - {name: %s, url: %q}\n", h.name, s.hostURL(h))
		}
	}
	yaml.WriteString("providers:\n")
	for _, name := range []string{provider, metered} {
		fmt.Fprintf(&yaml, "  %s: {kind: openai, url: \"http://%s/v1\", local: true, max_calls_per_day: %d}\n", name, s.hosts[0].proxy.addr(), budget)
	}
	return replace(s.configFile(), yaml.String())
}

func replace(file, text string) error {
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// command is the program with what all its instances have in common.
func (s *soak) command(args ...string) *exec.Cmd {
	cmd := s.world.command(s.bin, append([]string{
		"--config=" + s.configFile(), "--result-meta=full", "--max-message=1", "--cache-size=16", "--state-dir=" + filepath.Join(s.dir, "state"),
	}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir}
	return cmd
}

// A server is the program over HTTP.
type server struct {
	cmd   *exec.Cmd
	group *procgroup.Group
	url   string
	log   *buffer
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu    sync.Mutex
	bytes bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes.String()
}

var listening = regexp.MustCompile(`msg=listening .*address=(\S+)`)

func (s *soak) serve() (*server, error) {
	p := &server{cmd: s.command("--listen=127.0.0.1:0", "--gateway", "--token-file="+s.keyFile(), "--call-log="+filepath.Join(s.dir, "calls.jsonl")), log: new(buffer)}
	p.cmd.Stderr = p.log
	var err error
	if p.group, err = procgroup.Start(p.cmd); err != nil {
		return nil, err
	}
	for range 6000 {
		if at := listening.FindStringSubmatch(p.log.String()); at != nil {
			p.url = "http://" + at[1]
			return p, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.group.Kill()
	return nil, fmt.Errorf("the server does not listen; its log:\n%s", p.log)
}

// run is the whole story: rest, many callers, trouble, and rest again.
func (s *soak) run(ctx context.Context, duration time.Duration) error {
	calm := min(duration/5, 2*time.Minute)
	quiet, err := s.quiet(ctx, calm)
	if err != nil {
		return err
	}
	before, err := footprintOf(s.http.cmd.Process.Pid)
	if err != nil {
		return err
	}
	if err := s.startPipes(); err != nil {
		return err
	}

	raging, stop := context.WithTimeout(ctx, duration)
	defer stop()
	var all sync.WaitGroup
	for i := range s.callers {
		all.Go(func() { s.caller(raging, i) })
	}
	crowded := s.measureFor(raging, calm, stormyPause)
	var stormy []measured
	all.Go(func() { stormy = s.measure(raging, stormyPause) })
	all.Go(func() { s.wander(raging) })
	s.rage(raging, rand.New(rand.NewPCG(s.seed, 0)))
	all.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}

	s.askAgain(ctx)
	s.rest(ctx, before)
	s.report(quiet, crowded, stormy)
	if len(s.violations) > 0 {
		return fmt.Errorf("%d things were wrong; SEED=%d repeats the run, such as %s", len(s.violations), s.seed, s.violations[0])
	}
	return nil
}

// quiet measures an honest caller alone, after every kind of call has been made, as a call of a tool and
// as a request of the gateway. Each may be made again: the machine may have other work.
func (s *soak) quiet(ctx context.Context, d time.Duration) ([]measured, error) {
	random := rand.New(rand.NewPCG(s.seed, 1))
	gate := s.newGate(key(0), 0)
	defer gate.close()
	for _, k := range s.kinds {
		for _, by := range []client{s.honest, gate} {
			var how outcome
			for range 5 {
				c := k.make(random)
				c.kind = k.name
				if how = s.make(ctx, by, c); how == ok || c.right == nil || c.cancel > 0 || slices.Contains(c.codes, string(how)) {
					how = ok
					break
				}
			}
			if how != ok {
				return nil, fmt.Errorf("with no trouble yet, calls of the kind %q end with %q", k.name, how)
			}
		}
	}
	return s.measureFor(ctx, d, quietPause), nil
}

// Pauses of the honest caller between its calls. At rest it calls often, since the p99 of few calls is the
// longest of them; in trouble it must be no burden.
const (
	quietPause  = 10 * time.Millisecond
	stormyPause = 200 * time.Millisecond
)

// fewCalls is how many calls a p99 takes to be more than one of the longest.
const fewCalls = 500

// measured is a call of the honest caller.
type measured struct {
	took  time.Duration
	host  string
	spent served
	wrong []string // what went wrong when it was made, or when it was answered
}

// measureFor measures for a while.
func (s *soak) measureFor(ctx context.Context, d, rest time.Duration) []measured {
	ctx, stop := context.WithTimeout(ctx, d)
	defer stop()
	return s.measure(ctx, rest)
}

// measure makes short calls, one after another. Their prompts begin like no others, so that a host has to
// read them whole in all parts of a run: of prompts that begin like the last one it reads little, but only
// as long as it was not restarted and no other caller's came in between.
func (s *soak) measure(ctx context.Context, rest time.Duration) (all []measured) {
	random := rand.New(rand.NewPCG(s.seed, 2))
	for ctx.Err() == nil {
		c := shortOf(random.IntN(1500), fmt.Sprintf("%016x", rand.Uint64()))
		c.kind = "honest"
		c.args["cache"] = "off"
		m := measured{wrong: s.wrong()}
		right := c.right
		c.right = func(r *result) error {
			m.host, m.spent = r.Meta.Served.Host, r.Meta.Served.served
			return right(r)
		}
		began := time.Now()
		if s.make(context.WithoutCancel(ctx), s.honest, c) == ok {
			m.took = time.Since(began)
			m.wrong = slices.Compact(slices.Sorted(slices.Values(append(m.wrong, s.wrong()...))))
			all = append(all, m)
		}
		pause(ctx, rest)
	}
	return all
}

// startPipes starts two programs on stdio: one whose log nobody reads.
func (s *soak) startPipes() error {
	unread, held, err := os.Pipe()
	if err != nil {
		return err
	}
	s.unread = unread
	for _, stderr := range []*os.File{nil, held} {
		cmd := s.command()
		if stderr != nil {
			cmd.Args = append(cmd.Args, "--log-level=debug")
			cmd.Stderr = stderr
		}
		p, err := startStdio(cmd, s.violate)
		if err != nil {
			return err
		}
		s.pipes = append(s.pipes, p)
	}
	return held.Close()
}

// caller makes calls until ctx ends, over the transport that its number stands for.
func (s *soak) caller(ctx context.Context, number int) {
	random := rand.New(rand.NewPCG(s.seed, uint64(100+number)))
	var c client
	defer func() {
		if c != nil && transportOf(number) != overStdio {
			c.close()
		}
	}()
	for ctx.Err() == nil {
		var err error
		if c == nil {
			if c, err = s.connect(ctx, number); err != nil {
				s.notConnected(ctx, number, err)
				continue
			}
		}
		next := draw(random, s.kinds)
		next.revocable = s.isRevocable(number)
		how := s.make(context.WithoutCancel(ctx), c, next)
		s.countOver(transportOf(number), how)
		if (how == keyRevoked || how == "lost") && transportOf(number) != overStdio {
			c.close()
			c = nil
		}
		pause(ctx, time.Duration(random.Int64N(int64(s.pause))))
	}
}

// connect returns a client of the caller's transport.
func (s *soak) connect(ctx context.Context, number int) (client, error) {
	secret, turn := key(1+number%(keys-1)), number/int(transports)
	switch transportOf(number) {
	case overStdio:
		return s.pipes[turn%len(s.pipes)], nil
	case overHTTP:
		return newWeb(s.http.url, secret, turn%2 == 0, s.violate), nil
	case overGateway:
		return s.newGate(secret, uint64(number)), nil
	}
	c, err := openSSE(ctx, s.http.url, secret, s.violate)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// newGate is a caller of the gateway, with draws of its own.
func (s *soak) newGate(secret string, number uint64) *gate {
	return newGate(s.http.url, secret, rand.New(rand.NewPCG(s.seed, 1000+number)), s.violate)
}

// notConnected judges that a stream could not be opened, and waits a moment.
func (s *soak) notConnected(ctx context.Context, number int, err error) {
	status, isStatus := errors.AsType[*errStatus](err)
	switch {
	case ctx.Err() != nil:
	case isStatus && status.status == 401 && s.revoked.Load() > 0 && s.isRevocable(number):
	case isStatus && (status.status == 503 || status.status == 429):
	case s.revoked.Load() > 0 && s.isRevocable(number): // revoked between the stream and its first message
	default:
		s.violate("caller %d could not connect: %v", number, err)
	}
	pause(ctx, time.Second)
}

// isRevocable tells of a caller with the key that is revoked now and then.
func (s *soak) isRevocable(number int) bool {
	return transportOf(number) != overStdio && 1+number%(keys-1) == keys-1
}

// make makes a call and judges how it ended.
func (s *soak) make(ctx context.Context, by client, c call) outcome {
	ctx, stop := context.WithTimeout(ctx, c.limit+overtime)
	defer stop()
	began := time.Now()
	if c.cancel > 0 {
		var leave context.CancelFunc
		ctx, leave = context.WithTimeout(ctx, c.cancel)
		defer leave()
	}
	r, err := by.call(ctx, "tools/call", c.params())
	took := time.Since(began)
	if c.cancel > 0 && ctx.Err() != nil && err != nil {
		s.count(c, byCaller)
		return byCaller
	}
	how, wrong := c.judge(r, err)
	if errors.Is(err, errLost) && c.revocable && s.revoked.Load() > 0 {
		how, wrong = "lost", nil
	}
	switch {
	case ctx.Err() != nil:
		s.violate("a call of the kind %q had %v and no answer after %v: %v", c.kind, c.limit, took, err)
	case wrong != nil:
		s.violate("a call of the kind %q after %v: %v", c.kind, took.Round(time.Millisecond), wrong)
	case how == keyRevoked && !(c.revocable && s.revoked.Load() > 0):
		s.violate("a call of the kind %q was refused: %v", c.kind, err)
	}
	if over := took - c.limit; over > time.Duration(s.late.Load()) {
		s.late.Store(int64(over))
	}
	s.count(c, how)
	return how
}

// revoke takes the last key away, wants that it opens nothing, and gives it back.
func (s *soak) revoke(ctx context.Context) error {
	s.revoked.Add(1)
	// A caller finds out that its stream has ended when it calls the next time.
	defer time.AfterFunc(s.pause+overtime, func() { s.revoked.Add(-1) })
	opens := func() bool {
		c := newWeb(s.http.url, key(keys-1), true, s.violate)
		defer c.close()
		_, err := c.call(ctx, "tools/list", map[string]any{})
		return err == nil
	}
	for _, step := range []struct {
		keys  int
		opens bool
	}{{keys - 1, false}, {keys, true}} {
		if err := s.writeKeys(step.keys); err != nil {
			return err
		}
		changed := false
		for deadline := time.Now().Add(time.Minute); !changed && time.Now().Before(deadline); {
			time.Sleep(100 * time.Millisecond)
			changed = opens() == step.opens
		}
		if !changed {
			return fmt.Errorf("with %d of %d keys in the file the last opens something: %v", step.keys, keys, !step.opens)
		}
	}
	return nil
}

// askAgain makes calls that failed once more: nothing of a failure is kept.
func (s *soak) askAgain(ctx context.Context) {
	s.say("asking again what failed: %d calls", len(s.failed))
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Second) { // until all hosts are well again
		if s.make(ctx, s.honest, short(rand.New(rand.NewPCG(s.seed, 3)))) == ok || time.Now().After(deadline) {
			break
		}
	}
	again := s.failed
	for _, c := range again {
		how := s.make(ctx, s.honest, c)
		for range 5 {
			if how == ok || c.kind == "out of time" {
				break
			}
			pause(ctx, 5*time.Second) // circuit breakers close again
			how = s.make(ctx, s.honest, c)
		}
		if how != ok && c.kind != "out of time" {
			s.violate("a call of the kind %q fails with %q when all is well again", c.kind, how)
		}
	}
}

// rest wants that the program is as it was before, and that its log can be read.
func (s *soak) rest(ctx context.Context, before footprint) {
	s.honest.close()
	after, err := settled(s.http.cmd.Process.Pid, before)
	s.say("memory %d MiB before and %d after, open files %d and %d", before.memory, after.memory, before.files, after.files)
	if err != nil {
		s.violate("%v", err)
	}
	for _, p := range s.pipes {
		p.close()
	}
	s.pipes = nil

	fresh, err := s.serve()
	if err != nil {
		s.violate("%v", err)
		return
	}
	defer fresh.group.Kill()
	first := newWeb(fresh.url, key(0), true, s.violate)
	s.make(ctx, first, short(rand.New(rand.NewPCG(s.seed, 4))))
	first.close()
	log := s.http.log.String()
	inFresh, err := goroutines(fresh)
	if err != nil {
		s.violate("%v", err)
		return
	}
	inOld, err := goroutines(s.http)
	if err != nil {
		s.violate("%v", err)
		return
	}
	if err := grown(inFresh, inOld); err != nil {
		s.violate("%v", err)
	}
	for _, fault := range unreadable(log) {
		s.violate("the log has %s", fault)
	}
}

// report prints what happened. The honest caller was measured alone, among the others, and in trouble.
func (s *soak) report(quiet, crowded, stormy []measured) {
	fmt.Println("\nfaults:", s.happened)
	fmt.Println("how calls ended:")
	for _, name := range slices.Sorted(maps.Keys(s.outcomes)) {
		fmt.Printf("  %-14s %v\n", name, s.outcomes[name])
	}
	for t, outcomes := range s.calls {
		fmt.Printf("  over %-11s %v\n", transport(t), outcomes)
	}
	alone, among, inTrouble := p99(quiet), p99(crowded), p99(stormy)
	fmt.Printf("an honest caller's p99: %v alone (%d calls); %v among the others (%d calls), which is %.1f times as much, and the goal is twice; %v while hosts fail too (%d calls), %.1f times\n",
		alone, len(quiet), among, len(crowded), times(among, alone), inTrouble, len(stormy), times(inTrouble, alone))
	if n := min(len(quiet), len(crowded), len(stormy)); n < fewCalls {
		fmt.Printf("  %d calls are few for a p99: it is about the longest of them\n", n)
	}
	for _, m := range stormy[max(0, len(stormy)-5):] {
		fmt.Printf("  %v by %s: %d ms in the queue, %d loading, %d to the first token, %d in all; %s\n", m.took.Round(time.Millisecond), m.host,
			m.spent.Queue, m.spent.Load, m.spent.FirstToken, m.spent.Total, strings.Join(m.wrong, ", "))
	}
	fmt.Printf("the latest answer came %v after its limit\n", max(0, time.Duration(s.late.Load())).Round(time.Millisecond))
}

func times(a, b time.Duration) float64 { return a.Seconds() / max(b.Seconds(), 1e-3) }

// p99 sorts calls by how long they took.
func p99(all []measured) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.SortFunc(all, func(a, b measured) int { return cmp.Compare(a.took, b.took) })
	return all[(len(all)*99-1)/100].took.Round(time.Millisecond)
}
