package server

import (
	"encoding/json"

	"github.com/mark3labs/mcp-go/mcp"
)

// toolResult is a mcp.CallToolResult that is written in one pass. The library's
// own way is maps that marshal themselves, which goes over every answer's text
// four times.
type toolResult struct {
	Meta              map[string]any    `json:"_meta,omitempty"`
	Content           []mcp.Content     `json:"content"`
	InputRequests     mcp.InputRequests `json:"inputRequests,omitempty"`
	IsError           bool              `json:"isError,omitempty"`
	RequestState      string            `json:"requestState,omitempty"`
	ResultType        mcp.ResultType    `json:"resultType,omitempty"`
	StructuredContent any               `json:"structuredContent,omitempty"`
}

func wireResult(r *mcp.CallToolResult) toolResult {
	w := toolResult{
		ResultType: r.ResultType, Content: r.Content, StructuredContent: r.StructuredContent, IsError: r.IsError,
		InputRequests: r.InputRequests, RequestState: r.RequestState,
	}
	if r.Meta != nil {
		w.Meta = r.Meta.AdditionalFields
	}
	if len(r.RawStructuredContent) > 0 {
		w.StructuredContent = json.RawMessage(r.RawStructuredContent)
	}
	if w.Content == nil {
		w.Content = []mcp.Content{} // a list, though an empty one
	}
	return w
}
