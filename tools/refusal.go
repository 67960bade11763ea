package tools

import (
	"fmt"
	"strings"
)

// abilities are what models may lack: as Ollama ends its refusal, in words, and as
// list-models calls it.
var abilities = []struct{ refused, words, capability string }{
	{"does not support tools", "call tools", "tools"},
	{"does not support thinking", "think", "thinking"},
	{"does not support insert", "fill in before a suffix", "insert"},
	{"does not support vision", "see images", "vision"},
	{"does not support generate", "answer with text", "completion"},
	{"does not support chat", "answer with text", "completion"},
	{"does not support embeddings", "embed", "embedding"},
}

// explainRefusal says what to do about a request that a host has refused with those words.
func (e *Error) explainRefusal(said string) {
	for _, a := range abilities {
		if strings.HasSuffix(said, a.refused) {
			*e = *lacking(a.words, a.capability)
			return
		}
	}
	e.Hint = "it would fail again: change what the host objects to"
	if strings.Contains(said, "format") || strings.Contains(said, "schema") {
		e.Hint = `Ollama knows a part of JSON schema only: use a simpler one, refer to "#/..." alone, and begin patterns with ^ and end them with $`
	}
}

// lacking is the error of a model that cannot do what is asked of it.
func lacking(words, capability string) *Error {
	return &Error{
		Code: InvalidArgument, Message: "the model cannot " + words,
		Hint: fmt.Sprintf("list-models with capability %q names those that can", capability),
	}
}
