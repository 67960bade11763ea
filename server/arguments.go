package server

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/jsonrpc"
)

// The arguments of a tool may be as large as a message, with texts and images in them, and
// mcp-go copies or decodes each message ten times. So mcp-go gets a call without its arguments
// and its progress token (split), and a middleware adds them again before the tool is called
// (passArguments).

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
	m.takeMeta()
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

// takeMeta replaces the _meta of a tool call by null if there is nothing in it but the progress
// token, which is what most clients send: mcp-go decodes it three times.
func (m *incoming) takeMeta() {
	if m.arguments == nil || m.Doubtful || !json.Valid(m.token) || string(m.token) == "null" {
		return
	}
	begin, end := jsonrpc.Member(m.brief, "params")
	from, to := jsonrpc.Member(m.brief[begin:end], "_meta")
	from, to = begin+from, begin+to
	before, after, _ := bytes.Cut(m.brief[from:to], m.token)
	if blanks.Replace(string(before)) == `{"progressToken":` && blanks.Replace(string(after)) == "}" {
		m.token = bytes.Clone(m.token) // which is overwritten now; the line is not, since arguments were taken
		m.brief = slices.Replace(m.brief, from, to, []byte("null")...)
	}
}

// blanks removes what may stand between the parts of JSON.
var blanks = strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "")

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

// openDirect makes the handlers of Options.Direct, wrapped as mcp-go wraps them for each call.
func (s *Server) openDirect() {
	s.direct = make(map[string]mcpserver.ToolHandlerFunc)
	if len(s.opts.Extra) > 0 { // which may wrap more around them, or look on
		return
	}
	for _, tool := range s.opts.Tools {
		if !slices.Contains(s.opts.Direct, tool.Tool.Name) {
			continue
		}
		handle := tool.Handler
		if s.opts.Tasks.Jobs != nil {
			handle = s.asTask(handle)
		}
		s.direct[tool.Tool.Name] = checkCapabilities(passArguments(handle))
	}
}

// callDirectly answers a call of a tool without mcp-go, which would decode the message four times,
// if nothing in it concerns mcp-go: it is that of a protocol before 2026-07-28, and has no _meta
// but the progress token that split has taken out. It is not ok for any other request.
func (s *Server) callDirectly(ctx context.Context, r *request) (answer mcp.JSONRPCMessage, ok bool) {
	if r.arguments == nil {
		return nil, false
	}
	params := lookUp(r.brief, "params")
	quoted, meta := lookUp(params, "name"), lookUp(params, "_meta")
	name, _ := jsonrpc.Text(quoted)
	handle := s.direct[name]
	isPlain := (meta == nil || string(meta) == "null") && string(lookUp(r.brief, "jsonrpc")) == `"2.0"` && lookUp(r.brief, "result") == nil
	if handle == nil || !isPlain || !json.Valid(r.brief) {
		return nil, false
	}
	r.direct = true
	var call mcp.CallToolRequest
	call.Method, call.Params.Name = r.Method, name
	result, err := handle(ctx, call)
	if err != nil {
		return rpcError(r.ID, mcp.INTERNAL_ERROR, err.Error(), nil), true
	}
	return mcp.NewJSONRPCResultResponse(mcp.NewRequestId(r.ID), result), true
}

// passArguments wraps every tool handler. It adds the arguments and the headers that mcp-go
// was not given, and the progress token as it came.
func passArguments(handle mcpserver.ToolHandlerFunc) mcpserver.ToolHandlerFunc {
	return func(ctx context.Context, call mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		if r, ok := mcpserver.ClientSessionFromContext(ctx).(*request); ok {
			r.reached = true
			call.Header = r.header
			switch meta := call.Params.Meta; {
			case r.token == nil:
			case meta == nil: // it was taken out
				call.Params.Meta = &mcp.Meta{ProgressToken: r.token}
			case meta.ProgressToken != nil:
				meta.ProgressToken = r.token // mcp-go rounds numbers of more than 53 bits
			}
			if r.arguments != nil {
				call.Params.Arguments, call.Params.RawArguments = r.values, r.arguments
				if r.direct { // once, and the tool may take long: it needs them only until it has read them
					r.values, r.arguments, r.Line = nil, nil, nil
				}
			}
		}
		return handle(ctx, call)
	}
}

// objects are the places in a request where the protocol has an object, as paths from the top
// of the message. PHP writes an empty object as [], and so do clients written in it.
var objects = []struct {
	path []string
	deep bool // the protocol has no array anywhere inside it
}{
	{path: []string{"params"}},
	{path: []string{"params", "arguments"}},
	{path: []string{"params", "clientInfo"}},
	{path: []string{"params", "capabilities"}, deep: true},
	{path: []string{"params", "_meta"}},
	{path: []string{"params", "_meta", "io.modelcontextprotocol/clientInfo"}},
	{path: []string{"params", "_meta", "io.modelcontextprotocol/clientCapabilities"}, deep: true},
}

// tolerate makes empty objects of empty arrays where the protocol has objects, in place.
func tolerate(message []byte) {
	if !jsonrpc.HasEmptyArray(message) {
		return
	}
	for _, o := range objects {
		switch place := lookUp(message, o.path...); {
		case o.deep:
			jsonrpc.EmptyObjects(place)
		default:
			jsonrpc.EmptyObject(place)
		}
	}
}

// lookUp returns the value at a path in a message, as a part of it; nil if there is none.
func lookUp(message []byte, path ...string) []byte {
	for _, name := range path {
		from, to := jsonrpc.Member(message, name)
		if from == to {
			return nil
		}
		message = message[from:to]
		for len(message) > 0 && message[len(message)-1] <= ' ' {
			message = message[:len(message)-1]
		}
	}
	return message
}

// doubtful reports whether two readers of a request may differ about what it asks for, as in
// jsonrpc.Doubtful. It looks at the names that the server, the library or a proxy goes by.
func doubtful(message []byte) bool {
	params := lookUp(message, "params")
	return jsonrpc.Doubtful(params, "name", "arguments", "_meta", "uri", "protocolVersion", "capabilities", "clientInfo", "inputResponses", "requestState", "taskId") ||
		jsonrpc.Doubtful(lookUp(params, "_meta"), "progressToken",
			"io.modelcontextprotocol/protocolVersion", "io.modelcontextprotocol/clientInfo", "io.modelcontextprotocol/clientCapabilities")
}
