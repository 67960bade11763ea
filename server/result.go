package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/internal/jsonrpc"
)

// encode writes the answer to a request, in its buffer if it has one.
func (r *request) encode(answer mcp.JSONRPCMessage) ([]byte, error) {
	response, _ := answer.(mcp.JSONRPCResponse)
	result, ok := response.Result.(*mcp.CallToolResult)
	if !ok {
		return json.Marshal(answer)
	}
	if r.buffer == nil {
		r.buffer = new([]byte)
	}
	line, err := appendResult(slices.Grow((*r.buffer)[:0], sizeOf(answer)), r.ID, result)
	*r.buffer = line
	return line, err
}

// sizeOf estimates the bytes of an encoded answer, as far as it can be large: plain text, of
// which one byte in sixteen is escaped, and a kilobyte for the rest.
func sizeOf(answer mcp.JSONRPCMessage) int {
	text := 0
	response, _ := answer.(mcp.JSONRPCResponse)
	switch result := response.Result.(type) {
	case *mcp.CallToolResult:
		for _, content := range result.Content {
			if block, ok := content.(mcp.TextContent); ok {
				text += len(block.Text)
			}
		}
	case mcp.ReadResourceResult:
		for _, content := range result.Contents {
			if document, ok := content.(mcp.TextResourceContents); ok {
				text += len(document.Text)
			}
		}
	}
	return text + text/16 + 1<<10
}

// aboutResult is a mcp.CallToolResult but for its content.
type aboutResult struct {
	Meta              map[string]any    `json:"_meta,omitempty"`
	InputRequests     mcp.InputRequests `json:"inputRequests,omitempty"`
	IsError           bool              `json:"isError,omitempty"`
	RequestState      string            `json:"requestState,omitempty"`
	ResultType        mcp.ResultType    `json:"resultType,omitempty"`
	StructuredContent any               `json:"structuredContent,omitempty"`
}

func aboutOf(r *mcp.CallToolResult) aboutResult {
	about := aboutResult{
		ResultType: r.ResultType, StructuredContent: r.StructuredContent, IsError: r.IsError,
		InputRequests: r.InputRequests, RequestState: r.RequestState,
	}
	if r.Meta != nil {
		about.Meta = r.Meta.AdditionalFields
	}
	if len(r.RawStructuredContent) > 0 {
		about.StructuredContent = r.RawStructuredContent
	}
	return about
}

// appendResult appends the answer to a tool call. mcp-go would encode it through maps that
// marshal themselves, and copy the text four times.
func appendResult(line []byte, id json.RawMessage, r *mcp.CallToolResult) ([]byte, error) {
	line = append(append(line, `{"jsonrpc":"2.0","id":`...), id...)
	line = append(line, `,"result":{"content":[`...)
	for i, content := range r.Content {
		if i > 0 {
			line = append(line, ',')
		}
		var err error
		if line, err = appendContent(line, content); err != nil {
			return nil, err
		}
	}
	about, err := json.Marshal(aboutOf(r))
	if err != nil {
		return nil, err
	}
	line = append(line, ']')
	if members := about[1:]; len(members) > len("}") {
		line = append(append(line, ','), members...)
	} else {
		line = append(line, '}')
	}
	return append(line, '}'), nil
}

// appendContent appends a block of content. Plain text is most of what there is.
func appendContent(line []byte, content mcp.Content) ([]byte, error) {
	text, ok := content.(mcp.TextContent)
	if ok && text.Annotations == nil && text.Meta == nil {
		line = append(line, `{"type":"text","text":`...)
		return append(jsonrpc.AppendString(line, text.Text), '}'), nil
	}
	block, err := json.Marshal(content)
	return append(line, block...), err
}

// paramsOf are the params of a notification of mcp-go's, whose own encoding would escape <, > and &.
func paramsOf(note mcp.JSONRPCNotification) any {
	params := note.Params.AdditionalFields
	if note.Params.Meta != nil {
		params = map[string]any{"_meta": note.Params.Meta}
		maps.Copy(params, note.Params.AdditionalFields)
	}
	if len(params) == 0 {
		return nil
	}
	return params
}

// encodeNotification writes a notification. It leaves <, > and & as they are, so that a progress
// token has the bytes that came.
func encodeNotification(method string, params any) ([]byte, error) {
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(struct {
		JSONRPC string `json:"jsonrpc"`
		Method  string `json:"method"`
		Params  any    `json:"params,omitempty"`
	}{mcp.JSONRPC_VERSION, method, params})
	return bytes.TrimSuffix(line.Bytes(), []byte("\n")), err
}

// codeOverloaded is from the range that JSON-RPC leaves to servers.
const codeOverloaded = -32000

// rpcError makes an error answer. A nil id becomes null.
func rpcError(id json.RawMessage, code int, message string, data any) mcp.JSONRPCError {
	return mcp.JSONRPCError{
		JSONRPC: mcp.JSONRPC_VERSION,
		ID:      mcp.NewRequestId(id),
		Error:   mcp.NewJSONRPCErrorDetails(code, message, data),
	}
}

// retry is the data of an error response: a code that tools use too, and whether the same
// request may succeed later.
func retry(code string, retryable bool) any {
	return struct {
		Code      string `json:"code"`
		Retryable bool   `json:"retryable"`
	}{code, retryable}
}

// malformed explains what is wrong with a message that is not a valid request. Its id can only
// be trusted if the message is JSON, which cannot be checked for one that is nested too
// deeply; that one is answered under its id all the same, like one that is too long.
func malformed(m incoming) mcp.JSONRPCError {
	switch {
	case m.IsDeep:
		return rpcError(m.ID, mcp.INVALID_REQUEST,
			fmt.Sprintf("the message is nested more than %d deep, the most that this server takes", jsonrpc.MaxDepth),
			retry("invalid_argument", false))
	case !json.Valid(m.Line):
		return rpcError(nil, mcp.PARSE_ERROR, "the message is not JSON", nil)
	case m.Doubtful:
		return rpcError(m.ID, mcp.INVALID_REQUEST, "a member of the message occurs twice, or is spelled in another case than the protocol's", nil)
	case m.Line[0] == '[':
		return rpcError(nil, mcp.INVALID_REQUEST, "batches are not supported: send one message at a time", nil)
	}
	return rpcError(m.ID, mcp.INVALID_REQUEST, fmt.Sprintf(`not a JSON-RPC request: it needs "jsonrpc": "2.0", a method, `+
		"and an id that is a string or a number, in UTF-8 and of at most %d bytes", jsonrpc.MaxToken), nil)
}

// idInUse refuses a request whose id is that of one in flight, since the client could not tell
// their answers apart.
func idInUse(id json.RawMessage) mcp.JSONRPCError {
	return rpcError(id, mcp.INVALID_REQUEST, "a request with this id is still in flight", retry("invalid_argument", false))
}

// tooLong refuses a message larger than limit; whose names the owner of the limit.
func tooLong(id json.RawMessage, limit int64, whose string) mcp.JSONRPCError {
	return rpcError(id, mcp.INVALID_REQUEST,
		fmt.Sprintf("the message is larger than %s, the most that %s; send less, or split it", mebibytes(limit), whose),
		retry("invalid_argument", false))
}

// tooManyValues is for a message that would take too much memory once it is decoded.
func tooManyValues(id json.RawMessage, values int) mcp.JSONRPCError {
	return rpcError(id, mcp.INVALID_REQUEST,
		fmt.Sprintf("the message has %d values, lists and objects, too many for its size to be handled; send less, or split it", values),
		retry("invalid_argument", false))
}

func mebibytes(n int64) string { return fmt.Sprintf("%.4g MiB", float64(n)/(1<<20)) }

// stopping refuses a request that came when the server had begun to stop.
func stopping(id json.RawMessage) mcp.JSONRPCError {
	return rpcError(id, codeOverloaded, errStopping.Error(), retry("overloaded", true))
}
