package server

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/jsonrpc"
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
	m.brief = m.Line
	if m.Method != string(mcp.MethodToolsCall) {
		return
	}
	begin, end := jsonrpc.Member(m.Line, "params")
	from, to := jsonrpc.Member(m.Line[begin:end], "arguments")
	from, to = begin+from, begin+to
	if from == to || json.Unmarshal(m.Line[from:to], &m.values) != nil {
		return
	}
	m.arguments = m.Line[from:to]
	m.brief = slices.Concat(m.Line[:from], []byte("null"), m.Line[to:])
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
