package server

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/jsonrpc"
)

// The arguments of a tool may be as large as a message, with texts and images in them, and
// mcp-go copies or decodes each message ten times. So mcp-go gets a call without its arguments
// (split), and a middleware adds them again before the tool is called (passArguments).

// split takes from a message what mcp-go must not get or would change. It may be called more
// than once.
func (m *incoming) split() {
	if m.brief != nil {
		return
	}
	tolerate(m.Line)
	m.brief = m.Line
	if m.Method == string(mcp.MethodToolsCall) {
		m.takeArguments()
	}
	m.Doubtful = m.Doubtful || doubtful(m.brief)
	m.token = jsonrpc.ValidUTF8(lookUp(m.brief, "params", "_meta", "progressToken"))
}

// takeArguments replaces the arguments of a tool call by null. If they are not JSON, or have a
// number that Go cannot hold, it changes nothing, and mcp-go explains the error.
func (m *incoming) takeArguments() {
	begin, end := jsonrpc.Member(m.Line, "params")
	from, to := jsonrpc.Member(m.Line[begin:end], "arguments")
	from, to = begin+from, begin+to
	if from == to || json.Unmarshal(m.Line[from:to], &m.values) != nil {
		return
	}
	m.arguments = m.Line[from:to]
	m.brief = slices.Concat(m.Line[:from], []byte("null"), m.Line[to:])
}

// respell writes the name of the tool of a call as it is listed, in place. Clients write names
// with - and with _, whichever their framework allows.
func (s *Server) respell(r *request) {
	if r.Method != string(mcp.MethodToolsCall) || r.Doubtful {
		return
	}
	quoted := lookUp(r.brief, "params", "name")
	name := string(bytes.Trim(quoted, `"`))
	isIt := func(tool string) bool { return caller.Matches([]string{tool}, name) }
	if slices.Contains(s.tools, name) || len(name) != len(quoted)-2 {
		return
	}
	if i := slices.IndexFunc(s.tools, isIt); i >= 0 {
		copy(quoted[1:], s.tools[i])
	}
}

// passArguments wraps every tool handler. It adds the arguments and the headers that mcp-go
// was not given, and the progress token as it came.
func passArguments(handle mcpserver.ToolHandlerFunc) mcpserver.ToolHandlerFunc {
	return func(ctx context.Context, call mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		if r, ok := mcpserver.ClientSessionFromContext(ctx).(*request); ok {
			r.reached = true
			call.Header = r.header
			if meta := call.Params.Meta; meta != nil && meta.ProgressToken != nil && r.token != nil {
				meta.ProgressToken = r.token // mcp-go rounds numbers of more than 53 bits
			}
			if r.arguments != nil {
				call.Params.Arguments, call.Params.RawArguments = r.values, r.arguments
			}
		}
		return handle(ctx, call)
	}
}
