package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/server"
)

// What a call that does not pass mcp-go is answered is what mcp-go would answer.
func TestDirectCallsAreAnsweredAsByTheLibrary(t *testing.T) {
	const plain = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"told","arguments":{"text":"a","n":[1,2.5]}}}`
	change := strings.NewReplacer
	for name, tt := range map[string]struct {
		line   string
		direct bool
	}{
		"plain":                    {plain, true},
		"the id is a text":         {change(`"id":1`, `"id":"a\u0062"`).Replace(plain), true},
		"the name is escaped":      {change("told", `to\u006cd`).Replace(plain), true},
		"the name is spelled":      {change("told", "told_twice").Replace(plain), true},
		"a progress token":         {change(`}}}`, `},"_meta":{"progressToken":"p"}}}`).Replace(plain), true},
		"a number for one":         {change(`}}}`, `},"_meta":{ "progressToken" : 12345678901234567890 }}}`).Replace(plain), true},
		"no arguments":             {change(`{"text":"a","n":[1,2.5]}`, `{}`).Replace(plain), true},
		"arguments of PHP":         {change(`{"text":"a","n":[1,2.5]}`, `[]`).Replace(plain), true},
		"arguments that are none":  {change(`{"text":"a","n":[1,2.5]}`, `"text"`).Replace(plain), true},
		"null arguments":           {change(`{"text":"a","n":[1,2.5]}`, `null`).Replace(plain), true},
		"null for _meta":           {change(`}}}`, `},"_meta":null}}`).Replace(plain), true},
		"blanks":                   {change(`:`, " :\t", `,`, " ,").Replace(plain), true},
		"a further member":         {change(`"params":{`, `"params":{"more":{"name":"x"},`).Replace(plain), true},
		"the tool fails":           {change("told", "fails").Replace(plain), true},
		"without arguments":        {`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"told"}}`, false},
		"other metadata":           {change(`}}}`, `},"_meta":{"progressToken":"p","traceparent":"00-1"}}}`).Replace(plain), false},
		"_meta that is none":       {change(`}}}`, `},"_meta":7}}`).Replace(plain), false},
		"a tool that is not":       {change("told", "nothing").Replace(plain), false},
		"a tool that is not plain": {change("told", "echo").Replace(plain), false},
		"no name":                  {change(`"name":"told",`, "").Replace(plain), false},
		"the name is a number":     {change(`"told"`, "7").Replace(plain), false},
		"params are a list":        {`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["told",{}]}`, false},
		"another version":          {change(`"jsonrpc":"2.0"`, `"jsonrpc":"1.0"`).Replace(plain), false},
		"no version":               {change(`"jsonrpc":"2.0",`, "").Replace(plain), false},
		"a result too":             {change(`"id":1`, `"id":1,"result":{}`).Replace(plain), false},
		"no JSON":                  {plain[:len(plain)-1] + `,}`, false},
		"a member twice":           {change(`"name":"told"`, `"name":"told","name":"fails"`).Replace(plain), false},
		"another case":             {change(`"name":"told"`, `"Name":"told"`).Replace(plain), false},
		"a version of the modern protocol": {
			change(`}}}`, `},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`).Replace(plain), false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			byLibrary, wasDirect := answerTo(t, nil, tt.line)
			if wasDirect {
				t.Fatal("it did not pass mcp-go though no tool is direct")
			}
			got, wasDirect := answerTo(t, []string{"told", "told-twice", "fails"}, tt.line)
			if got != byLibrary {
				t.Errorf("got  %s\nwant %s", got, byLibrary)
			}
			if wasDirect != tt.direct {
				t.Errorf("direct: %t, want %t", wasDirect, tt.direct)
			}
		})
	}
}

func TestExtraOptionsMakeAllCallsPassTheLibrary(t *testing.T) {
	overStdio(t, server.Options{Direct: []string{"told"}, Tools: []mcpserver.ServerTool{says("told", func(ctx context.Context, _ mcp.CallToolRequest) string {
		if mcpserver.ServerFromContext(ctx) == nil {
			return "direct"
		}
		return "by mcp-go"
	})}, Extra: []mcpserver.ServerOption{mcpserver.WithLogging()}}, func(_ *testing.T, c *client) {
		c.initialize()
		c.send(call("1", "told", "{}"))
		c.next().want(c.t, "the call", "1", "by mcp-go")
	})
}

// answerTo is what a server writes for a message, and whether its tool was called without mcp-go.
func answerTo(t *testing.T, direct []string, line string) (answer string, wasDirect bool) {
	t.Helper()
	call := func(ctx context.Context, req mcp.CallToolRequest) string {
		wasDirect = mcpserver.ServerFromContext(ctx) == nil
		said, err := json.Marshal(map[string]any{
			"method": req.Method, "name": req.Params.Name, "arguments": req.Params.Arguments, "raw": string(req.Params.RawArguments), "meta": req.Params.Meta,
		})
		if err != nil {
			t.Error(err)
		}
		return string(said)
	}
	opts := with(says("told", call), says("told-twice", call), tool("fails", func(ctx context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		call(ctx, req)
		return nil, errors.New("out of order")
	}))
	opts.Direct = direct
	overStdio(t, opts, func(_ *testing.T, c *client) {
		c.initialize()
		c.send(line)
		answer = c.next().line
	})
	return answer, wasDirect
}
