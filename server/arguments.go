package server

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/jsontext"
)

// Arguments of a tool may be as large as a message, with texts and images in them, and
// mcp-go goes over each message ten times. So it is handed a call without them, and
// the tool gets them from us.

// split takes the arguments out of a call of a tool. Of a message that is not JSON, or
// has a number that Go cannot hold, it leaves all to mcp-go to complain of.
func (m *incoming) split() {
	if m.brief != nil {
		return
	}
	m.brief = m.line
	if m.method != string(mcp.MethodToolsCall) {
		return
	}
	begin, end := member(m.line, "params")
	from, to := member(m.line[begin:end], "arguments")
	from, to = begin+from, begin+to
	if from == to || json.Unmarshal(m.line[from:to], &m.values) != nil {
		return
	}
	m.arguments = m.line[from:to]
	m.brief = slices.Concat(m.line[:from], []byte("null"), m.line[to:])
}

// handing is around the handler of every tool, and hands it what mcp-go was not: the
// arguments, and how its request is named.
func handing(handle mcpserver.ToolHandlerFunc) mcpserver.ToolHandlerFunc {
	return func(ctx context.Context, call mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		if r, ok := mcpserver.ClientSessionFromContext(ctx).(*request); ok {
			r.reached = true
			call.Header = r.header
			if r.arguments != nil {
				call.Params.Arguments, call.Params.RawArguments = r.values, r.arguments
			}
		}
		return handle(ctx, call)
	}
}

// member returns where the value of a member of a JSON object begins and ends. Where
// there are several, that is the last, and case does not matter, as in encoding/json;
// where there is none, they are equal. It does not check that the object is JSON.
func member(object []byte, name string) (from, to int) {
	if len(object) == 0 || object[0] != '{' {
		return 0, 0
	}
	for comma := 0; comma < len(object) && object[comma] != '}'; {
		colon := behind(object, comma+1)
		end := behind(object, colon+1)
		if isNamed(bytes.TrimSpace(object[comma+1:colon]), name) {
			from, to = min(colon+1, end), end
		}
		comma = end
	}
	return to - len(bytes.TrimLeft(object[from:to], " \t\r\n")), to
}

func isNamed(token []byte, name string) bool {
	if len(token) < len(name)+len(`""`) {
		return false // as most are, and need not be looked at
	}
	key, ok := text(token)
	return ok && strings.EqualFold(key, name)
}

// behind returns where the name or value in JSON that begins at i has ended: at what
// comes behind it.
func behind(text []byte, i int) int {
	for depth := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i = jsontext.StringEnd(text, i) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
		case ',', ':':
			if depth == 0 {
				return i
			}
		}
	}
	return len(text)
}
