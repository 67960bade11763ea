package server_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/server"
)

// asked is a client that its server may ask, in a bubble.
type asked struct {
	t        *testing.T
	send     func(line string) // a message, which is taken
	messages chan message      // that came
	leave    func()            // without a word
	stop     func()            // has the server stop
}

// transports are the ways to be asked. What they begin has ended after end.
var transports = map[string]func(t *testing.T, opts server.Options, capabilities string) (a *asked, end func()){
	"stdio": askedOverStdio, "HTTP": askedOverHTTP, "SSE": askedOverSSE,
}

// onEachTransport tells a story of a client with those capabilities, and the tool ask.
func onEachTransport(t *testing.T, opts server.Options, capabilities string, story func(*testing.T, *asked)) {
	opts.Tools = append(opts.Tools, ask())
	for name, connect := range transports {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, end := connect(t, opts, capabilities)
				story(t, a)
				end()
			})
		})
	}
}

const ping = `{"jsonrpc":"2.0","id":"ping","method":"ping"}`

const everything = `{"elicitation":{"form":{},"url":{}},"sampling":{"tools":{}},"roots":{}}`

// introducing is initialize of a client that can be asked.
func introducing(capabilities string) string {
	return strings.Replace(initialize, `"capabilities":{}`, `"capabilities":`+capabilities, 1)
}

func askedOverStdio(t *testing.T, opts server.Options, capabilities string) (*asked, func()) {
	c := connect(t, opts)
	c.send(introducing(capabilities))
	c.next()
	a := &asked{t: t, send: func(line string) { c.send(line) }, messages: make(chan message, 100), stop: c.stop, leave: func() {
		c.out.Close()
		c.send(ping) // whose answer cannot be written
	}}
	go func() {
		for line := range c.lines {
			a.messages <- parse(t, line)
		}
		close(a.messages)
	}()
	return a, func() {
		c.in.Close()
		if err := <-c.served; err != nil && !errors.Is(err, server.ErrClientGone) {
			t.Errorf("ServeStdio: %v", err)
		}
	}
}

func askedOverSSE(t *testing.T, opts server.Options, capabilities string) (*asked, func()) {
	r := serveInBubble(t, opts, server.HTTPOptions{})
	return r.askedOverSSE(t, capabilities), r.end
}

func (r *remote) askedOverSSE(t *testing.T, capabilities string) *asked {
	s := r.openStream()
	s.say(introducing(capabilities))
	s.next()
	a := &asked{t: t, send: func(line string) { s.say(line) }, messages: make(chan message, 100), stop: r.stop, leave: func() { s.close() }}
	go func() {
		for e := range s.events {
			if e.name == "message" {
				a.messages <- parse(t, e.data)
			}
		}
	}()
	t.Cleanup(a.leave)
	return a
}

func askedOverHTTP(t *testing.T, opts server.Options, capabilities string) (*asked, func()) {
	r := serveInBubble(t, opts, server.HTTPOptions{})
	return r.askedOverHTTP(t, capabilities), r.end
}

func (r *remote) askedOverHTTP(t *testing.T, capabilities string, more ...string) *asked {
	t.Helper()
	begun := r.post(introducing(capabilities), more...)
	more = append(more, "Mcp-Session-Id", begun.Header.Get("Mcp-Session-Id"))
	ctx, leave := context.WithCancel(t.Context())
	a := &asked{t: t, messages: make(chan message, 100), stop: r.stop, leave: leave}
	a.send = func(line string) {
		if strings.Contains(line, `"tools/call"`) {
			go a.call(func() (*http.Response, error) { return r.do(ctx, "POST", "/mcp", line, header(more...)) })
		} else if got := r.post(line, more...); got.StatusCode != http.StatusAccepted {
			t.Errorf("%.100s got %d, %s", line, got.StatusCode, got.body)
		}
	}
	return a
}

// call receives what comes on the response to a call.
func (a *asked) call(post func() (*http.Response, error)) {
	resp, err := post()
	if err != nil {
		return
	}
	defer resp.Body.Close()
	body := bufio.NewReader(resp.Body)
	if resp.Header.Get("Content-Type") == "application/json" {
		line, _ := body.ReadString('\n') // which ends where the body does
		a.messages <- parse(a.t, line)
		return
	}
	for {
		name, data, err := nextEvent(body)
		if err != nil {
			return
		}
		if name == "message" {
			a.messages <- parse(a.t, data)
		}
	}
}

// next is the next message, which comes soon.
func (a *asked) next() message {
	a.t.Helper()
	select {
	case m, ok := <-a.messages:
		if ok {
			return m
		}
	case <-time.After(time.Minute):
	}
	a.t.Fatal("nothing came")
	return message{}
}

// question is the next message, which asks.
func (a *asked) question() message {
	a.t.Helper()
	m := a.next()
	if m.Method == "" || len(m.ID) < 20 {
		a.t.Fatalf("got %s, want a question with an id that cannot be guessed", m.line)
	}
	return m
}

// reply answers a question.
func (a *asked) reply(to message, result string) {
	a.t.Helper()
	a.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":%s}`, to.ID, result))
}

// quiet checks that nothing has come.
func (a *asked) quiet() {
	a.t.Helper()
	synctest.Wait()
	select {
	case m, ok := <-a.messages:
		if ok {
			a.t.Errorf("there came %s", m.line)
		}
	default:
	}
}

// ask is a tool that asks its client what its arguments say, after so many seconds and
// for so many, and tells what came of it.
func ask() mcpserver.ServerTool {
	return tool("ask", func(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		time.Sleep(time.Duration(r.GetInt("after", 0)) * time.Second)
		if limit := r.GetInt("seconds", 0); limit > 0 {
			limited, stop := context.WithTimeout(ctx, time.Duration(limit)*time.Second)
			defer stop()
			ctx = limited
		}
		heard, err := askFor(ctx, r.GetString("what", ""))
		switch {
		case mcp.IsMissingRequiredClientCapability(err):
			return nil, err
		case err != nil:
			return mcp.NewToolResultError(err.Error()), nil
		}
		return mcp.NewToolResultText(heard), nil
	})
}

func callAsk(id, what string) string { return call(id, "ask", fmt.Sprintf(`{"what":%q}`, what)) }

func askFor(ctx context.Context, what string) (heard string, err error) {
	s := mcpserver.ServerFromContext(ctx)
	switch what {
	case "form", "url":
		q := mcp.ElicitationParams{Message: "Who are you?", RequestedSchema: map[string]any{"type": "object"}}
		if what == "url" {
			q = mcp.ElicitationParams{Mode: "url", Message: "Who are you?", ElicitationID: "1", URL: "https://example.com"}
		}
		got, err := s.RequestElicitation(ctx, mcp.ElicitationRequest{Params: q})
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s %v", got.Action, got.Content), nil
	case "model", "model with tools":
		q := mcp.CreateMessageParams{MaxTokens: 9, Messages: []mcp.SamplingMessage{{Role: mcp.RoleUser, Content: mcp.NewTextContent("Hi")}}}
		if what == "model with tools" {
			q.Tools = []mcp.Tool{mcp.NewTool("x")}
		}
		client := mcpserver.ClientSessionFromContext(ctx).(mcpserver.SessionWithSampling)
		got, err := client.RequestSampling(ctx, mcp.CreateMessageRequest{CreateMessageParams: q})
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%T %s", got.Content, mcp.GetTextFromContent(got.Content)), nil
	case "folders":
		got, err := s.RequestRoots(ctx, mcp.ListRootsRequest{})
		if err != nil {
			return "", err
		}
		return fmt.Sprint(got.Roots), nil
	}
	return "", fmt.Errorf("there is no such thing as %s to ask for", what)
}
