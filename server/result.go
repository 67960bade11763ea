package server

import (
	"encoding/json"
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
	line, err := appendResult(slices.Grow((*r.buffer)[:0], sizeOf(result)), r.ID, result)
	*r.buffer = line
	return line, err
}

// sizeOf is about what it takes to write a result, in bytes: plain text, of which one in
// sixteen is escaped, and what is said about it.
func sizeOf(r *mcp.CallToolResult) int {
	size := 1 << 10
	for _, content := range r.Content {
		if text, ok := content.(mcp.TextContent); ok {
			size += len(text.Text) + len(text.Text)/16
		}
	}
	return size
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

// appendResult appends the answer to a call of a tool. The library's own way to write it
// is maps that marshal themselves, which goes over every answer's text four times.
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
