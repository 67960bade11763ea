package tools

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"
)

// traceOf names a call in results and logs: by the trace that its caller says it is part
// of, or by the id that its request has over HTTP, or by a new number.
func traceOf(req mcp.CallToolRequest) string {
	parent := req.Header.Get("Traceparent")
	if parent == "" && req.Params.Meta != nil {
		parent, _ = req.Params.Meta.AdditionalFields["traceparent"].(string)
	}
	if id := traceID(parent); id != "" {
		return id
	}
	if id := req.Header.Get("X-Request-Id"); id != "" { // which the server has looked at
		return id
	}
	return fmt.Sprintf("%016x", rand.Uint64())
}

// traceID is the trace-id of a traceparent as W3C Trace Context (section 3.2.2) has it,
// of this version or one to come; "" of anything else.
func traceID(parent string) string {
	const length = len("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	if len(parent) < length || parent[2] != '-' || parent[35] != '-' {
		return ""
	}
	id := parent[3:35]
	if strings.Trim(id, "0123456789abcdef") != "" || strings.Trim(id, "0") == "" {
		return ""
	}
	return id
}
