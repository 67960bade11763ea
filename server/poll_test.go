package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/internal/jobs"
)

// keepTask starts a task of the client of stdio that goes on until its registry is closed.
func keepTask(t testing.TB, registry *jobs.Registry, says string) (id string) {
	t.Helper()
	id, err := keepTaskOf(registry, jobs.Owner{Account: "stdio", Private: true}, says)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func keepTaskOf(registry *jobs.Registry, owner jobs.Owner, says string) (id string, err error) {
	j := registry.Start(context.Background(), jobs.Spec{Tool: "slow"}, func(ctx context.Context) func() jobs.Outcome {
		<-ctx.Done()
		return func() jobs.Outcome { return jobs.Outcome{Failed: true} }
	})
	j.Reports(func() jobs.Progress { return jobs.Progress{Message: says} })
	if err := j.Keep(owner); err != nil {
		return "", err
	}
	return j.Info().ID, nil
}

// aTask stands for the handle of the task in a message, which differs each time.
const aTask = "TASK"

// polls are messages that ask for a task, or look as if they did. Those with true are written as
// clients write them.
func polls(task string) map[string]bool {
	get := declaring(about("tasks/get", task, ""))
	with := func(old, by string) string { return strings.Replace(get, old, by, 1) }
	return map[string]bool{
		get: true, " " + get + "\r\n": true,
		with(`"id":2`, `"id":"a\u00e4"`):                                             true,
		with(`"name":"t"`, `"name":"ä<"`):                                            true,
		with(`"io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},`, ""): true,
		with(`"x":1`, `"x":[{"taskId":"y"}],"progressToken":7`):                      true,
		with(task, "other"):                                                              false,
		with(task, " "+task):                                                             false, // which Get takes
		with("tasks/get", "tasks/cancel"):                                                false,
		with(`"taskId":`, `"taskid":`):                                                   false,
		with(`"taskId":`, `"taskId":"z","taskId":`):                                      false,
		with(`"taskId":`, `"extra":1,"taskId":`):                                         true,
		with(`"_meta":{`, `"_meta":{},"_meta":{`):                                        false,
		with("2026-07-28", "2025-11-25"):                                                 false,
		with("2026-07-28", "2099-01-01"):                                                 false,
		with(`"name":"t"`, `"name":7`):                                                   false,
		with(`"name":"t"`, "\"name\":\"\xff\""):                                          false,
		with(`"extensions":{"io.modelcontextprotocol/tasks":{}}`, `"x":1`):               false,
		with(`"io.modelcontextprotocol/tasks":{}`, `"io.modelcontextprotocol/tasks":[]`): false,
		with(`"id":2`, `"id":null`):                                                      false,
		with(`"id":2`, `"id":2.5e0`):                                                     true,
		with(`"x":1`, `"x":01`):                                                          false,
		get + "}":                                                                        false,
		strings.TrimSuffix(get, "}"):                                                     false,
	}
}

// sameAnswer reports whether two answers say the same.
func sameAnswer(t testing.TB, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal(a, &x); err != nil {
		t.Fatalf("%s: %v", a, err)
	}
	if err := json.Unmarshal(b, &y); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return reflect.DeepEqual(x, y)
}

// pollBothWays answers a message about a task that goes on in the short way and in the usual one, in a
// bubble, in which no time passes between the two.
func pollBothWays(t *testing.T, line, says string) (short, usual []byte) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		registry := jobs.New(jobs.Options{})
		defer registry.Close()
		s := newServer(t, taskServer(registry))
		line = strings.ReplaceAll(line, aTask, keepTask(t, registry, says))
		time.Sleep(time.Minute + time.Nanosecond)
		short, usual = s.PollAnswers([]byte(line))
	})
	if short != nil && !sameAnswer(t, short, usual) {
		t.Errorf("%s:\ngot  %s\nwant %s", line, short, usual)
	}
	return short, usual
}

func TestPollThatIsWrittenAsUsualIsAnsweredInTheShortWay(t *testing.T) {
	for line, usual := range polls(aTask) {
		if short, _ := pollBothWays(t, line, "half \"done\" <b> \u00e9\x00"); (short != nil) != usual {
			t.Errorf("%s: answered in the short way: %v, want %v", line, short != nil, usual)
		}
	}
	if short, usual := pollBothWays(t, declaring(about("tasks/get", aTask, "")), strings.Repeat("long ", 1000)); short != nil || usual == nil {
		t.Errorf("got %s for what may not fit into a pipe", short)
	}
}

// FuzzPoll checks that the short way says what the usual one does, or nothing.
func FuzzPoll(f *testing.F) {
	for line := range polls(aTask) {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) { pollBothWays(t, line, "at work") })
}

// A client that reads nothing for a time gets all answers, and its other messages are read.
func TestPollsOfAClientThatDoesNotReadAreAnswered(t *testing.T) {
	registry := jobs.New(jobs.Options{})
	defer registry.Close()
	task := keepTask(t, registry, strings.Repeat("w", 1000))
	in, toServer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fromServer, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	begun, ended := make(chan struct{}), make(chan struct{})
	o := taskServer(registry)
	o.Tools = append(o.Tools, says("wait", func(ctx context.Context, _ mcp.CallToolRequest) string {
		close(begun)
		<-ctx.Done()
		close(ended)
		return ""
	}))
	served := startStdio(t.Context(), t, o, in, out)
	const n = 500 // of which a pipe takes the answers to some 50
	var sending sync.WaitGroup
	sending.Go(func() {
		for i := range n {
			line := strings.Replace(declaring(about("tasks/get", task, "")), `"id":2`, fmt.Sprintf(`"id":"poll %d"`, i), 1)
			if _, err := io.WriteString(toServer, line+"\n"); err != nil {
				t.Error(err)
			}
		}
		if _, err := io.WriteString(toServer, call("1", "wait", "{}")+"\n"); err != nil {
			t.Error(err)
		}
		<-begun
		if _, err := io.WriteString(toServer, cancel("1")+"\n"); err != nil {
			t.Error(err)
		}
		<-ended
	})
	sending.Wait() // nothing has been read yet
	toServer.Close()
	lines, seen := bufio.NewScanner(fromServer), make(map[string]bool)
	for range n {
		if !lines.Scan() {
			t.Fatalf("after %d answers: %v", len(seen), lines.Err())
		}
		var a struct{ ID string }
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil || seen[a.ID] {
			t.Fatalf("got %s, %v", lines.Text(), err)
		}
		seen[a.ID] = true
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	out.Close()
	if lines.Scan() {
		t.Errorf("got %s too", lines.Text())
	}
}

func TestPollIsRefusedLikeAnyRequestBeyondALimit(t *testing.T) {
	registry := jobs.New(jobs.Options{})
	o := taskServer(registry)
	o.MaxInFlight = 1
	overStdio(t, o, func(t *testing.T, c *client) {
		task := keepTask(t, registry, "")
		get := declaring(about("tasks/get", task, ""))
		c.send(get, `{"jsonrpc":"2.0","id":"ping","method":"ping"}`, get) // which are read together
		for range 3 {
			if m := c.next(); m.Error != nil || !strings.Contains(m.line, `"working"`) && !strings.Contains(m.line, `"ping"`) {
				t.Errorf("got %s", m.line)
			}
		}
		c.send(call("1", "slow", "{}"))
		synctest.Wait()
		for line, want := range map[string]string{get: "requests in flight", strings.Replace(get, `"id":2`, `"id":1`, 1): "id is still in flight"} {
			c.send(line)
			if m := c.next(); m.Error == nil || !strings.Contains(m.Error.Message, want) {
				t.Errorf("got %s, want %q", m.line, want)
			}
		}
		c.send(cancel("1"))
		synctest.Wait()
		registry.Close()
	})
}
