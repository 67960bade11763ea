package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/server"
)

const mark = "\ufeff"

func TestByteOrderMarkIsSkippedOnEveryTransport(t *testing.T) {
	for name, before := range map[string]string{"at once": mark, "after blanks": " \t" + mark, "before blanks": mark + "  "} {
		overStdio(t, server.Options{}, func(t *testing.T, c *client) {
			c.send(before + initialize)
			if m := c.next(); string(m.ID) != `"init"` || m.Error != nil {
				t.Errorf("stdio, %s: %s", name, m.line)
			}
			c.send(before+call("1", "echo", `{"text":"a`+mark+`"}`), mark)
			c.next().want(t, "stdio, "+name, "1", "a"+mark)
		})
		inBubble(t, server.Options{}, func(t *testing.T, r *remote) {
			a := r.post(before + initialize)
			if a.StatusCode != 200 || a.message().Error != nil {
				t.Errorf("HTTP, %s: %d %s", name, a.StatusCode, a.body)
			}
			r.postIn(a.Header.Get("Mcp-Session-Id"), before+call("1", "echo", `{"text":"b"}`)).want("legacy, "+name, "b")
			r.post(before+modern(call("1", "echo", `{"text":"c"}`)), modernHeader("tools/call", "echo")...).want("modern, "+name, "c")
			s := r.openStream()
			s.say(before + call("1", "echo", `{"text":"d"}`))
			s.next().want(t, "SSE, "+name, "1", "d")
		})
	}
}

func TestEmptyArrayStandsForAnEmptyObject(t *testing.T) {
	var seen mcp.ClientCapabilities
	look := tool("look", func(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		seen = mcpserver.ClientSessionFromContext(ctx).(mcpserver.SessionWithClientInfo).GetClientCapabilities()
		arguments, _ := r.Params.Arguments.(map[string]any)
		return mcp.NewToolResultText(fmt.Sprintf("%d %t %s", len(arguments), arguments != nil, r.Params.RawArguments)), nil
	})
	hello := func(params string) string {
		return `{"jsonrpc":"2.0","id":"init","method":"initialize","params":` + params + `}`
	}
	for _, params := range []string{
		`[]`,
		`{"protocolVersion":"2025-11-25","capabilities":[],"clientInfo":{"name":"php","version":"1"}}`,
		`{"protocolVersion":"2025-11-25","capabilities":[ ],"clientInfo":[],"_meta":[]}`,
		`{"protocolVersion":"2025-11-25","capabilities":{"elicitation":[],"sampling":{"tools":[]},"roots":[],"experimental":[],"extensions":{"a/b":[]}},"clientInfo":{"name":"php","version":"1","icons":[]}}`,
	} {
		overStdio(t, with(look), func(t *testing.T, c *client) {
			c.send(hello(params))
			if m := c.next(); m.Error != nil {
				t.Errorf("initialize with %s: %s", params, m.line)
			}
			for _, request := range []string{
				`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"look","arguments":[],"_meta":[]}}`,
				`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"look","arguments":[ ]}}`,
			} {
				c.send(request)
				if got := c.next().text(); got != "0 true {}" && got != "0 true { }" {
					t.Errorf("%s: the tool got %s", request, got)
				}
			}
			c.send(`{"jsonrpc":"2.0","id":2,"method":"tools/list","params":[]}`, `{"jsonrpc":"2.0","id":3,"method":"ping","params":{"_meta":[]}}`)
			for range 2 {
				if m := c.next(); m.Error != nil {
					t.Errorf("got %s", m.line)
				}
			}
			if strings.Contains(params, "elicitation") && (seen.Elicitation == nil || seen.Sampling == nil || seen.Sampling.Tools == nil || seen.Roots == nil) {
				t.Errorf("the capabilities are %+v", seen)
			}
		})
	}
	inBubble(t, with(look), func(t *testing.T, r *remote) {
		body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"look","arguments":[],"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":[],"io.modelcontextprotocol/clientInfo":[]}}}`
		r.post(body, modernHeader("tools/call", "look")...).want("modern", "0 true {}")
	})
}

func TestArraysThatAreMeantStayArrays(t *testing.T) {
	overStdio(t, server.Options{Tools: []mcpserver.ServerTool{says("raw", func(_ context.Context, r mcp.CallToolRequest) string {
		return string(r.Params.RawArguments)
	})}}, func(t *testing.T, c *client) {
		const arguments = `{"a":[],"b":{"c":[ ]},"d":"[]"}`
		c.send(call("1", "raw", arguments))
		c.next().want(t, "the tool", "1", arguments)
	})
}

func TestProgressTokenComesBackByteForByte(t *testing.T) {
	tokens := []string{
		`1760000000123456789`, `18446744073709551617`, `1.0`, `1e3`, `-0`, `0.1000000000000000055511151231257827`,
		`"a"`, `""`, `"1760000000123456789"`, `"<a&b>"`, `"\u00fc/\/"`, "\"\u2028ü\"",
	}
	for _, token := range tokens {
		request := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"progressToken" : %s },"name":"progress","arguments":{"reports":1}}}`, token)
		want := `"progressToken":` + token
		overStdio(t, server.Options{}, func(t *testing.T, c *client) {
			c.initialize()
			c.send(request)
			if m := c.next(); m.Method != "notifications/progress" || !strings.Contains(m.line, want) {
				t.Errorf("stdio, %s: got %s", token, m.line)
			}
			c.next().want(t, "stdio", "1", "done")
		})
		inBubble(t, server.Options{}, func(t *testing.T, r *remote) {
			if a := r.postIn(r.initialize(), request); !strings.Contains(a.body, want) {
				t.Errorf("legacy, %s: got %s", token, a.body)
			}
			again := strings.Replace(request, `"_meta":{`, `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},`, 1)
			if a := r.post(again, modernHeader("tools/call", "progress")...); !strings.Contains(a.body, want) {
				t.Errorf("modern, %s: got %s", token, a.body)
			}
			s := r.openStream()
			s.say(initialize)
			s.next()
			s.say(request)
			if m := s.next(); !strings.Contains(m.line, want) {
				t.Errorf("SSE, %s: got %s", token, m.line)
			}
		})
	}
}

func TestCancelMeansTheOnlyRequestThatItCanMean(t *testing.T) {
	for _, tt := range []struct {
		inFlight []string
		cancel   string
		ended    string // the id of the request that ends; "" for none
	}{
		{[]string{`7`}, `"7"`, `7`},
		{[]string{`"7"`}, `7`, `"7"`},
		{[]string{`7`}, `7.0`, `7`},
		{[]string{`7`}, `"\u0037"`, `7`},
		{[]string{`9007199254740993`}, `"9007199254740993"`, `9007199254740993`},
		{[]string{`9007199254740993`}, `"9007199254740992"`, ""},
		{[]string{`7`, `"7"`}, `"7"`, `"7"`},
		{[]string{`7`, `"7"`}, `7`, `7`},
		{[]string{`7`, `"7"`}, `7.0`, ""},
		{[]string{`7`}, `"8"`, ""},
		{[]string{`7`}, `" 7"`, ""},
		{[]string{`"a"`}, `"A"`, ""},
		{[]string{`7`}, `null`, ""},
	} {
		ends := make(chan string, 2)
		wait := tool("wait", func(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			<-ctx.Done()
			ends <- r.GetString("id", "")
			return mcp.NewToolResultText(""), nil
		})
		synctest.Test(t, func(t *testing.T) {
			c := connect(t, with(wait))
			for _, id := range tt.inFlight {
				quoted, _ := json.Marshal(id)
				c.send(call(id, "wait", `{"id":`+string(quoted)+`}`))
			}
			synctest.Wait()
			c.send(cancel(tt.cancel))
			synctest.Wait()
			got := ""
			if len(ends) > 0 {
				got = <-ends
			}
			if got != tt.ended || len(ends) > 0 {
				t.Errorf("with %s in flight, a cancel for %s ended %q, want %q", tt.inFlight, tt.cancel, got, tt.ended)
			}
			c.stop()
			_, _ = c.hangUp()
		})
	}
}

func TestRevisionThatDemandsBatchesIsNotOffered(t *testing.T) {
	for asked, want := range map[string]string{
		"2024-11-05": "2024-11-05", "2025-03-26": "2024-11-05", "2025-06-18": "2025-06-18", "2025-11-25": "2025-11-25", "2026-07-28": "2025-11-25", "1999-01-01": "2025-11-25",
	} {
		hello := strings.Replace(initialize, "2025-11-25", asked, 1)
		answer := `"protocolVersion":"` + want + `"`
		overStdio(t, server.Options{}, func(t *testing.T, c *client) {
			c.send(hello)
			if m := c.next(); !strings.Contains(m.line, answer) {
				t.Errorf("stdio, asked for %s: %s", asked, m.line)
			}
		})
		var version string
		look := says("look", func(ctx context.Context, _ mcp.CallToolRequest) string {
			version = mcpserver.RequestProtocolVersion(ctx)
			return ""
		})
		inBubble(t, with(look), func(t *testing.T, r *remote) {
			a := r.post(hello)
			r.postIn(a.Header.Get("Mcp-Session-Id"), call("1", "look", "{}"), "MCP-Protocol-Version", want)
			if !strings.Contains(a.body, answer) || version != want {
				t.Errorf("HTTP, asked for %s: %s, and the session has %s", asked, a.body, version)
			}
		})
	}
	inBubble(t, server.Options{}, func(t *testing.T, r *remote) {
		discover := `{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
		unknown := strings.Replace(discover, "2026-07-28", "2099-01-01", 1)
		for _, a := range []reply{r.post(discover, modernHeader("server/discover", "")...), r.post(unknown, "MCP-Protocol-Version", "2099-01-01", "Mcp-Method", "server/discover")} {
			if !strings.Contains(a.body, `["2026-07-28","2025-11-25","2025-06-18","2024-11-05"]`) {
				t.Errorf("got %s", a.body)
			}
		}
	})
}

func TestRequestsThatTwoReadersTakeDifferentlyAreRefused(t *testing.T) {
	ran := 0
	run := says("run", func(context.Context, mcp.CallToolRequest) string { ran++; return "" })
	const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`
	bodies := []string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/list","Method":"tools/call","params":{"name":"run",` + meta + `}}`,
		`{"jsonrpc":"2.0","id":1,"Method":"tools/call","method":"tools/list","params":{"name":"run",` + meta + `}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","method":"tools/call","params":{"name":"run",` + meta + `}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo",` + meta + `},"Params":{"name":"run",` + meta + `}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","Name":"run",` + meta + `}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","name":"run",` + meta + `}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"run","arguments":{"a":1},"Arguments":{"a":2},` + meta + `}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"run",` + meta + `,"_META":{}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"run","_meta":{"progressToken":1,"progressToken":2,` + meta[len(`"_meta":{`):] + `}}`,
	}
	overStdio(t, with(run), func(t *testing.T, c *client) {
		for _, body := range bodies {
			c.send(body)
			if m := c.next(); m.Error == nil || m.Error.Code != mcp.INVALID_REQUEST || string(m.ID) != "1" {
				t.Errorf("stdio, %s: %s", body, m.line)
			}
		}
	})
	inBubble(t, with(run), func(t *testing.T, r *remote) {
		session := r.initialize()
		for _, body := range bodies {
			for _, method := range []string{"tools/list", "tools/call"} {
				for _, name := range []string{"echo", "run"} {
					if a := r.post(body, modernHeader(method, name)...); a.StatusCode != 400 {
						t.Errorf("modern, %s %s, %s: %d %s", method, name, body, a.StatusCode, a.body)
					}
				}
			}
			if a := r.postIn(session, body); a.StatusCode != 400 {
				t.Errorf("legacy, %s: %d %s", body, a.StatusCode, a.body)
			}
		}
	})
	if ran > 0 {
		t.Errorf("a tool ran %d times", ran)
	}
}
