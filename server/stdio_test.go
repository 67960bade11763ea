package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/server"
)

func TestProgressComesBeforeItsAnswer(t *testing.T) {
	const rounds, calls, reports = 30, 16, 50
	overStdio(t, server.Options{}, func(t *testing.T, c *client) {
		c.initialize()
		for range rounds {
			seen := make(map[string]int)
			for id := range calls {
				c.send(call(fmt.Sprint(id), "progress", fmt.Sprintf(`{"reports":%d}`, reports)))
			}
			for answered := 0; answered < calls; {
				m := c.next()
				if m.Method == "" {
					answered++
					if seen[string(m.ID)] != reports {
						t.Fatalf("%d reports came before the answer, want %d: %s", seen[string(m.ID)], reports, m.line)
					}
					continue
				}
				token := fmt.Sprint(m.Params.ProgressToken)
				if seen[token]++; seen[token] != int(m.Params.Progress) {
					t.Fatalf("report %d of its call is %s", seen[token], m.line)
				}
			}
		}
	})
}

func TestNothingFollowsTheAnswer(t *testing.T) {
	var late, tooLate error
	var returned chan struct{} // made in the bubble
	straggler := says("straggler", func(ctx context.Context, r mcp.CallToolRequest) string {
		session := mcpserver.ClientSessionFromContext(ctx)
		channel := session.NotificationChannel()
		go func() {
			defer close(returned)
			time.Sleep(time.Second)
			channel <- mcp.JSONRPCNotification{} // taken before the answer, used after it
			tooLate = notify(ctx, r, 1)
			session.(interface{ Notify(string, any) }).Notify("notifications/progress", nil)
		}()
		late = notify(ctx, r, 0)
		return "done"
	})
	overStdio(t, with(straggler), func(t *testing.T, c *client) {
		returned = make(chan struct{})
		c.initialize()
		c.send(call("1", "straggler", "{}"))
		if m := c.next(); m.Method != "notifications/progress" {
			t.Errorf("first came %s", m.line)
		}
		c.next().want(t, "then", "", "done")
		<-returned
		if late != nil || !errors.Is(tooLate, mcpserver.ErrNotificationChannelBlocked) {
			t.Errorf("before the return: %v; after it: %v, want it refused", late, tooLate)
		}
	})
}

func TestCancelHitsHoweverEarlyItComes(t *testing.T) {
	const times = 100
	var ended collector
	overStdio(t, with(ended.waiting()), func(_ *testing.T, c *client) {
		for i := range times {
			c.send(call(fmt.Sprint(i), "wait", "{}"), cancel(fmt.Sprint(i)))
		}
	})
	ended.want(t, slices.Repeat([]string{"cancelled by the client"}, times)...)
}

func TestCancelEndsOnlyTheRequestWithThatVeryID(t *testing.T) {
	var ended collector
	overStdio(t, with(ended.waiting()), func(t *testing.T, c *client) {
		c.send(call("1", "wait", "{}"), call(`"1"`, "wait", "{}"), cancel("2"), cancel("null"),
			`{"jsonrpc":"2.0","method":"notifications/cancelled"}`, cancel("1"))
		synctest.Wait()
		ended.want(t, "cancelled by the client")
		// The id is free at once.
		c.send(call("1", "echo", `{"text":"again"}`))
		c.next().want(t, "the call", "1", "again")
		c.send(cancel(`"1"`))
	})
	ended.want(t, "cancelled by the client", "cancelled by the client")
}

func TestNoProgressFollowsACancel(t *testing.T) {
	dogged := tool("dogged", func(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		<-ctx.Done()
		return mcp.NewToolResultText("done"), notify(ctx, r, 1)
	})
	overStdio(t, with(dogged), func(_ *testing.T, c *client) {
		c.initialize()
		c.send(call("1", "dogged", "{}"), cancel("1"))
	})
}

func TestRequestWhoseIDIsInUseIsRefused(t *testing.T) {
	overStdio(t, server.Options{}, func(t *testing.T, c *client) {
		c.send(call("7", "sleep", `{"seconds":60}`), call("7", "echo", `{"text":"second"}`))
		if m := c.next(); string(m.ID) != "7" || m.Error == nil || m.Error.Code != mcp.INVALID_REQUEST {
			t.Errorf("the second got %s", m.line)
		}
		c.next().want(t, "the first", "7", "slept")
	})
}

func TestAThousandRequestsRunAtOnceAndOneMoreIsRefused(t *testing.T) {
	var ended collector
	overStdio(t, with(ended.waiting()), func(t *testing.T, c *client) {
		for i := range 1000 {
			c.send(call(fmt.Sprint(i), "wait", "{}"))
		}
		c.send(call(`"more"`, "echo", "{}"))
		if m := c.next(); m.Error == nil || m.Error.Data.Code != "overloaded" || !*m.Error.Data.Retryable || string(m.ID) != `"more"` {
			t.Errorf("one more got %s", m.line)
		}
		c.send(`{"jsonrpc":"2.0","id":"alive","method":"ping"}`)
		if m := c.next(); m.Error != nil || string(m.ID) != `"alive"` {
			t.Errorf("ping got %s", m.line)
		}
		c.send(cancel("500"))
		synctest.Wait()
		c.send(call(`"more"`, "echo", `{"text":"room"}`))
		c.next().want(t, "after a cancel", "", "room")
		for i := range 1000 {
			c.send(cancel(fmt.Sprint(i)))
		}
	})
	if len(ended.causes) != 1000 {
		t.Errorf("%d ended", len(ended.causes))
	}
}

func TestClientThatReadsNothingIsHeldUpButNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, toServer := io.Pipe()
		fromServer, out := io.Pipe()
		served := startStdio(t.Context(), t, server.Options{MaxInFlight: 2}, in, out)
		sent := 0
		go func() {
			defer toServer.Close()
			for ; sent < 20; sent++ {
				fmt.Fprintln(toServer, "garbage")
			}
		}()
		synctest.Wait()
		if sent > 10 {
			t.Errorf("it could send %d messages and read no answer", sent)
		}
		answers, _ := io.ReadAll(fromServer)
		if n := strings.Count(string(answers), "-32700"); n != 20 {
			t.Errorf("%d of 20 answers came", n)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

func TestRequestsInFlightAreAnsweredAfterTheEndOfInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, server.Options{})
		c.send(call("1", "sleep", `{"seconds":300}`))
		io.WriteString(c.in, call("2", "sleep", `{"seconds":200}`)) // a last line without an end
		rest, err := c.hangUp()
		if err != nil || len(rest) != 2 || rest[0].text() != "slept" || rest[1].text() != "slept" {
			t.Errorf("got %v, %v", rest, err)
		}
	})
}

func TestRequestsAreCancelledWhenTheirAnswersCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended collector
		c := connect(t, with(ended.waiting()))
		c.send(call("1", "wait", "{}"), call("2", "wait", "{}"))
		c.out.Close()
		c.send(`{"jsonrpc":"2.0","id":3,"method":"ping"}`)
		if err := <-c.served; !errors.Is(err, server.ErrClientGone) {
			t.Errorf("ServeStdio returned %v", err)
		}
		ended.want(t, gone, gone)
	})
}

func TestStoppingLetsRequestsEndForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, server.Options{Drain: 10 * time.Second})
		c.send(call("1", "sleep", `{"seconds":9}`), call("2", "sleep", `{"seconds":11}`))
		synctest.Wait()
		began := time.Now()
		c.stop()
		c.next().want(t, "in time", "1", "slept")
		c.next().want(t, "too late", "2", "the server is stopping")
		if err := <-c.served; err != nil || time.Since(began) != 10*time.Second {
			t.Errorf("ServeStdio returned %v after %v", err, time.Since(began))
		}
	})
}

func TestStoppingEndsTheWaitForAnswersAfterTheEndOfInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, server.Options{Drain: time.Second})
		c.send(call("1", "sleep", `{"seconds":300}`))
		time.AfterFunc(5*time.Second, c.stop)
		began := time.Now()
		rest, err := c.hangUp()
		if err != nil || len(rest) != 1 || rest[0].text() != "the server is stopping" || time.Since(began) != 6*time.Second {
			t.Errorf("got %v, %v after %v", rest, err, time.Since(began))
		}
	})
}

func TestToolThatDoesNotEndIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		deaf := says("deaf", func(context.Context, mcp.CallToolRequest) string {
			<-release
			return "at last"
		})
		c := connect(t, server.Options{Drain: time.Second, Tools: []mcpserver.ServerTool{deaf}})
		c.send(call("1", "deaf", "{}"))
		synctest.Wait()
		c.stop()
		if err := <-c.served; err == nil || !strings.Contains(err.Error(), "1 requests did not end") {
			t.Errorf("ServeStdio returned %v", err)
		}
		close(release)
		c.in.Close()
	})
}

// stuck is input whose Read cannot be woken.
type stuck struct{ lines chan string }

func (s stuck) Read(p []byte) (int, error) {
	line, ok := <-s.lines
	if !ok {
		return 0, io.EOF
	}
	return copy(p, line), nil
}

func TestReadThatCannotBeWokenDoesNotHoldUpTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := stuck{make(chan string)}
		var out bytes.Buffer
		ctx, stop := context.WithCancel(t.Context())
		served := startStdio(ctx, t, server.Options{}, in, &out)
		synctest.Wait()
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		in.lines <- `{"jsonrpc":"2.0","id":1,"method":"ping"}` + "\n"
		close(in.lines)
		synctest.Wait()
		if out.Len() > 0 {
			t.Errorf("what was sent after the end was answered: %s", &out)
		}
	})
}

func TestInputThatBreaksIsAnError(t *testing.T) {
	broken := errors.New("the cable was cut")
	in := io.MultiReader(strings.NewReader(call("1", "echo", `{"text":"before"}`)+"\n"), brokenReader{broken})
	var out bytes.Buffer
	s := newServer(t, server.Options{})
	if err := s.ServeStdio(t.Context(), in, &out); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if m := parse(t, out.String()); m.text() != "before" {
		t.Errorf("what was asked before got %s", m.line)
	}
}

type brokenReader struct{ err error }

func (r brokenReader) Read([]byte) (int, error) { return 0, r.err }

func TestPanicIsToldToTheLogAndNotToTheClient(t *testing.T) {
	var log bytes.Buffer
	s := newServer(t, server.Options{Log: logTo(&log)})
	var out bytes.Buffer
	if err := s.ServeStdio(t.Context(), strings.NewReader(call("1", "panic", "{}")), &out); err != nil {
		t.Fatal(err)
	}
	m := parse(t, out.String())
	if m.Error == nil || m.Error.Code != mcp.INTERNAL_ERROR || strings.Contains(m.line, "hunter2") {
		t.Fatalf("the client got %s", m.line)
	}
	reference := m.Error.Message[strings.LastIndex(m.Error.Message, " ")+1:]
	if !strings.Contains(log.String(), "reference="+reference) || !strings.Contains(log.String(), "hunter2") {
		t.Errorf("the log for %q is %s", m.Error.Message, &log)
	}
}

func TestReadThatCanBeWokenIsWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, server.Options{})
		synctest.Wait()
		c.stop()
		if err := <-c.served; err != nil { // the bubble sees to it that the reader has ended too
			t.Error(err)
		}
	})
}
