package tools

import (
	"fmt"
	"strings"
)

// abilities are what models may lack: as Ollama calls it when it refuses a request, and
// as list-models does.
var abilities = []struct{ refused, capability string }{
	{"tools", "tools"},
	{"thinking", "thinking"},
	{"insert", "insert"},
	{"vision", "vision"},
	{"generate", "completion"},
	{"chat", "completion"},
	{"embeddings", "embedding"},
}

// explainRefusal says what to do about a request that a host has refused with those words.
func (e *Error) explainRefusal(said string) {
	for _, a := range abilities {
		lack := "does not support " + a.refused
		if strings.HasSuffix(said, lack) {
			*e = *lacking("the model "+lack, a.capability)
			return
		}
	}
	e.Hint = "it would fail again: change what the host objects to"
	if strings.Contains(said, "format") || strings.Contains(said, "schema") {
		e.Hint = `Ollama knows a part of JSON schema only: use a simpler one, refer to "#/..." alone, and begin patterns with ^ and end them with $`
	}
}

// lacking is the error of a model that cannot do what is asked of it.
func lacking(what, capability string) *Error {
	return &Error{
		Code: InvalidArgument, Message: what,
		Hint: fmt.Sprintf("list-models with capability %q names those that have it", capability),
	}
}
