package server

import (
	"ollama-mcp/internal/jsonrpc"
)

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
