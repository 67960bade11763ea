package server

import (
	"encoding/json"
	"fmt"

	"github.com/mark3labs/mcp-go/mcp"
)

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

// retry is the data of an error answer: its kind, in the words that tools use too,
// and whether the same request may succeed later.
func retry(code string, retryable bool) any {
	return struct {
		Code      string `json:"code"`
		Retryable bool   `json:"retryable"`
	}{code, retryable}
}

// malformed says what is wrong with a message that is no proper request. Its id
// is only to be trusted if the message is JSON.
func malformed(id json.RawMessage, message []byte) mcp.JSONRPCError {
	switch {
	case !json.Valid(message):
		return rpcError(nil, mcp.PARSE_ERROR, "the message is not JSON", nil)
	case message[0] == '[':
		return rpcError(nil, mcp.INVALID_REQUEST, "batches are not supported: send one message a line", nil)
	}
	return rpcError(id, mcp.INVALID_REQUEST, fmt.Sprintf(`not a JSON-RPC request: it needs "jsonrpc": "2.0", a method, `+
		"and an id that is a string or a number of at most %d bytes", tokenMax), nil)
}
