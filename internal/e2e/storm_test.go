package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/ollama/ollama/api"

	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

const (
	stormCallers = 32
	// A call leaves half of its time to the hosts, so that the provider has as much.
	callLimit = 30 * time.Second
)

// storm is the program with two hosts and a provider, each of which gives another answer,
// and callers of an alias that tries the hosts first.
type storm struct {
	t        *testing.T
	ctx      context.Context
	hosts    [2]*ollamatest.Server
	provider *ollamatest.Server
	program  *listening
	session  *session

	answered, byProvider, unanswered, misleading atomic.Int64 // calls

	made [stormCallers]atomic.Int64 // calls that have ended, of each caller
	lull atomic.Bool                // callers pause between two calls
}

// says is m under the name of the model that both hosts have.
func says(m tinymodels.Model) tinymodels.Model {
	m.Name = tinymodels.Says.Name
	return m
}

func startStorm(t *testing.T, limit time.Duration, env ...string) *storm {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	s := &storm{t: t, ctx: ctx}
	s.hosts[0] = ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Says, tinymodels.Loops}})
	s.hosts[1] = ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{says(tinymodels.Fills), tinymodels.Loops}})
	s.provider = ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.JSON}})
	file := ladderFile(t, "tiny-says, cloud/tiny-json", s.provider, s.hosts[:]...)
	cmd := command(ctx, nobody, "--listen=127.0.0.1:0", "--config="+file)
	cmd.Env = append(cmd.Env, env...)
	s.program = serve(t, cmd)
	s.session = join(t, ctx, &mcp.StreamableClientTransport{Endpoint: s.program.url() + "/mcp"}, "")
	return s
}

// call makes a call of its own for the ladder. more are arguments besides.
func (s *storm) call(more string) (a answer, err error) {
	args := fmt.Sprintf(`{"model":"pro","prompt":%q,"timeout_seconds":%v%s}`, fresh(), callLimit.Seconds(), more)
	res, err := s.session.CallTool(s.ctx, &mcp.CallToolParams{Name: "generate", Arguments: json.RawMessage(args)})
	if err != nil {
		return a, err
	}
	return read(res)
}

// misled returns an error if an answer is not from the host or provider that its metadata
// names: each of them answers with another text. Of a host that was frozen while it answered, a caller has
// what there was when its time was over.
func (s *storm) misled(a answer) error {
	who, byProvider := a.Meta.Served, strings.Contains(a.text(), `"answer": 42`)
	isCut, host := strings.Contains(a.rest(), "The answer was cut by the time limit"), ""
	for name, answer := range map[string]string{"a": tinymodels.Says.Answer, "b": tinymodels.Fills.Answer} {
		if a.text() == answer && a.rest() == "" || isCut && a.text() != "" && strings.HasPrefix(answer, a.text()) {
			host = name
		}
	}
	switch {
	case byProvider && who.Host == "cloud" && who.Source == "cloud" && who.Model == "cloud/tiny-json" &&
		strings.Contains(a.rest(), "Answered by cloud/tiny-json instead of tiny-says ("):
		s.byProvider.Add(1)
		return nil
	case host != "" && who.Host == host && who.Source == "local" && who.Model == "tiny-says":
		return nil
	}
	return fmt.Errorf("%q (%s) is said to be of %+v", a.text(), a.rest(), who)
}

// blow keeps the callers calling until stop.
func (s *storm) blow(stop <-chan struct{}) (ended *sync.WaitGroup) {
	ended = new(sync.WaitGroup)
	for i := range s.made {
		ended.Go(func() {
			for ; ; s.made[i].Add(1) {
				pause := time.Duration(0)
				if s.lull.Load() {
					pause = 500 * time.Millisecond
				}
				select {
				case <-stop:
					return
				case <-time.After(pause):
				}
				began := time.Now()
				a, err := s.call("")
				if err == nil && a.IsError {
					err = errors.New(a.text())
				}
				count := &s.unanswered
				if err == nil {
					count, err = &s.misleading, s.misled(a)
				}
				if err == nil {
					count = &s.answered
				}
				if count.Add(1) < 10 && err != nil {
					s.t.Errorf("after %v: %v", time.Since(began).Round(time.Millisecond), err)
				}
			}
		})
	}
	return ended
}

// fill keeps the hosts busy with calls that do not go through the program.
func (s *storm) fill(d time.Duration) {
	ctx, cancel := context.WithTimeout(s.ctx, d)
	defer cancel()
	var busy sync.WaitGroup
	for _, host := range s.hosts {
		for range 16 {
			busy.Go(func() {
				req := &api.GenerateRequest{Model: tinymodels.Loops.Name, Prompt: "hi", Options: map[string]any{"num_predict": 1 << 20}}
				_ = host.Client().Generate(ctx, req, func(api.GenerateResponse) error { return nil }) // until ctx ends
			})
		}
	}
	busy.Wait()
}

// must wants that a step of the story could be taken.
func (s *storm) must(steps ...error) {
	s.t.Helper()
	if err := errors.Join(steps...); err != nil {
		s.t.Fatal(err)
	}
}

// some waits until so many more calls have been answered.
func (s *storm) some(n int64) {
	s.t.Helper()
	before := s.answered.Load()
	eventually(s.t, fmt.Sprintf("%d more calls are answered", n), func() bool { return s.answered.Load() >= before+n })
}

// renewed waits until all calls that are under way have ended. Such a call does not retry
// a host that it has found down, even if the host is up again by now.
func (s *storm) renewed() {
	s.t.Helper()
	var before [stormCallers]int64
	for i := range s.made {
		before[i] = s.made[i].Load()
	}
	eventually(s.t, "the calls that were under way have ended", func() bool {
		for i := range s.made {
			if s.made[i].Load() == before[i] {
				return false
			}
		}
		return true
	})
}

// abide waits for what takes its time, such as that a circuit breaker closes. Meanwhile the callers
// call less often: all that calls could meet has happened.
func (s *storm) abide(what string, happened func() bool) {
	s.t.Helper()
	s.lull.Store(true)
	defer s.lull.Store(false)
	eventually(s.t, what, happened)
}

// logged counts the lines of the log that tell of such a change of the ladder.
func (s *storm) logged(change string) int { return strings.Count(s.program.stderr.String(), change) }

// untilLogged takes a step, and waits for one more such line.
func (s *storm) untilLogged(change string, step func()) {
	s.t.Helper()
	before := s.logged(change)
	step()
	s.abide("the log tells of "+change, func() bool { return s.logged(change) > before })
}

// calm waits until the ladder is normal.
func (s *storm) calm() {
	s.t.Helper()
	s.abide("the ladder is out of trouble", func() bool { return !s.troubled() })
}

// spell is all the bad weather there is. A rung that can answer is left at any time, and
// for each call there is time to find it. Each step lasts until the callers have felt it.
func (s *storm) spell() {
	s.t.Helper()
	a, b := s.hosts[0], s.hosts[1]
	s.some(2 * stormCallers)
	a.Kill()
	s.some(2 * stormCallers)
	s.must(a.Restart(s.ctx))
	s.fill(2 * time.Second)
	s.must(b.Freeze())
	s.some(2 * stormCallers)
	s.must(b.Thaw())

	s.calm()
	// One call after another gives up on them. To calls that wait for a slot the hosts are overloaded, and to
	// calls that have one they fail. Which are three in a row first depends on how many slots were learned.
	s.untilLogged("from=normal", func() { s.must(a.Freeze(), b.Freeze()) })
	s.must(a.Thaw(), b.Thaw())
	s.some(stormCallers)
	s.calm() // or it might be degraded already
	s.untilLogged("state=degraded", func() { a.Kill(); b.Kill() })
	s.untilLogged("from=recovering state=normal", func() { s.must(a.Restart(s.ctx), b.Restart(s.ctx)) })

	s.renewed()
	s.provider.Kill()
	s.must(b.Freeze())
	s.some(2 * stormCallers)
	s.must(b.Thaw())
	s.some(stormCallers)
	s.must(s.provider.Restart(s.ctx))
	s.renewed()
}

// troubled reports whether status tells of a ladder that is not normal.
func (s *storm) troubled() bool {
	res, err := s.session.CallTool(s.ctx, &mcp.CallToolParams{Name: "status"})
	if err != nil {
		s.t.Fatal(err)
	}
	a, err := read(res)
	return err != nil || a.StructuredContent["ladders"] != nil
}

// all has every caller call a few times, and wants errors of one line with these words.
func (s *storm) all(more string, words ...string) {
	s.t.Helper()
	var callers sync.WaitGroup
	for range stormCallers {
		callers.Go(func() {
			for range 3 {
				a, err := s.call(more)
				if err != nil {
					s.t.Error(err)
					continue
				}
				wantError(s.t, a, "no_host", words...)
			}
		})
	}
	callers.Wait()
}
