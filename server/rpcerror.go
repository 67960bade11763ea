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
		return rpcError(nil, mcp.INVALID_REQUEST, "batches are not supported: send one message at a time", nil)
	}
	return rpcError(id, mcp.INVALID_REQUEST, fmt.Sprintf(`not a JSON-RPC request: it needs "jsonrpc": "2.0", a method, `+
		"and an id that is a string or a number of at most %d bytes", tokenMax), nil)
}

// idInUse refuses a request whose id is that of one in flight. Its caller is
// waiting under that id, and would else be given the answer to the other one.
func idInUse(id json.RawMessage) mcp.JSONRPCError {
	return rpcError(id, mcp.INVALID_REQUEST, "a request with this id is still in flight", retry("invalid_argument", false))
}

func tooLong(id json.RawMessage, limit int64) mcp.JSONRPCError {
	return rpcError(id, mcp.INVALID_REQUEST,
		fmt.Sprintf("the message is larger than %.4g MiB; send less, or split it", float64(limit)/(1<<20)),
		retry("invalid_argument", false))
}
