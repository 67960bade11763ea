package server

import (
	"encoding/json"
	"fmt"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/internal/jsonrpc"
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
// is only to be trusted if the message is JSON, which nobody can tell of one that is
// nested too deep: that is answered all the same, as one that is too long is.
func malformed(m incoming) mcp.JSONRPCError {
	switch {
	case m.IsDeep:
		return rpcError(m.ID, mcp.INVALID_REQUEST,
			fmt.Sprintf("the message is nested more than %d deep, the most that this server takes", jsonrpc.MaxDepth),
			retry("invalid_argument", false))
	case !json.Valid(m.Line):
		return rpcError(nil, mcp.PARSE_ERROR, "the message is not JSON", nil)
	case m.Line[0] == '[':
		return rpcError(nil, mcp.INVALID_REQUEST, "batches are not supported: send one message at a time", nil)
	}
	return rpcError(m.ID, mcp.INVALID_REQUEST, fmt.Sprintf(`not a JSON-RPC request: it needs "jsonrpc": "2.0", a method, `+
		"and an id that is a string or a number of at most %d bytes", jsonrpc.MaxToken), nil)
}

// idInUse refuses a request whose id is that of one in flight. Its caller is
// waiting under that id, and would else be given the answer to the other one.
func idInUse(id json.RawMessage) mcp.JSONRPCError {
	return rpcError(id, mcp.INVALID_REQUEST, "a request with this id is still in flight", retry("invalid_argument", false))
}

// tooLong refuses a message that is larger than the most that, in words, whose limit
// allows.
func tooLong(id json.RawMessage, limit int64, whose string) mcp.JSONRPCError {
	return rpcError(id, mcp.INVALID_REQUEST,
		fmt.Sprintf("the message is larger than %s, the most that %s; send less, or split it", mebibytes(limit), whose),
		retry("invalid_argument", false))
}

func mebibytes(n int64) string { return fmt.Sprintf("%.4g MiB", float64(n)/(1<<20)) }

// stopping refuses a request that came when the server had begun to stop.
func stopping(id json.RawMessage) mcp.JSONRPCError {
	return rpcError(id, codeOverloaded, errStopping.Error(), retry("overloaded", true))
}
