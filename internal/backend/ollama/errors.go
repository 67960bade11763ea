package ollama

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"ollama-mcp/internal/backend"
)

// explain reads the body of a refusal: an error in Ollama's form, or its text.
func explain(status int, body []byte) (class backend.Class, said string) {
	var refusal struct{ Error string }
	if json.Unmarshal(body, &refusal) != nil || refusal.Error == "" {
		refusal.Error = string(body)
	}
	return classify(status, refusal.Error), refusal.Error
}

// classify returns the class of a refusal by its status and, where Ollama's status
// misleads, by its message.
func classify(status int, said string) backend.Class {
	switch status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return backend.Overload
	case http.StatusUnauthorized, http.StatusForbidden:
		return backend.Unauthorized
	case http.StatusNotFound:
		if strings.HasPrefix(said, "model ") && strings.Contains(said, "not found") {
			return backend.ModelMissing
		}
		return backend.Server // not an Ollama server
	case http.StatusMethodNotAllowed, http.StatusRequestTimeout, 499: // 499: it gave up by itself
		return backend.Server
	}
	switch {
	case isTooLong(said):
		return backend.TooLong
	case startsWith(said, crash):
		return backend.Crashed
	case startsWith(said, noRoom):
		return backend.NoRoom
	case startsWith(said, hostsFault):
		return backend.Server
	case startsWith(said, requestsFault), status >= 400 && status < 500:
		return backend.Request
	}
	return backend.Server
}

// The beginnings of Ollama's messages that come with a misleading status.
var (
	crash = []string{
		"an error was encountered while running the model", // with 200, as a rule
		"model runner has unexpectedly stopped",
		"llama runner process no longer running",
		"do embedding request", // with 400, as the next: the connection to the process has ended
		"error reading embed response",
	}
	noRoom     = []string{"model requires more system memory"}
	hostsFault = []string{ // with 400: the runner is gone, or going
		"llama runner process",
		"unexpected server status",
	}
	requestsFault = []string{ // with 500
		"invalid format",
		"invalid JSON schema",
		"failed to load model vocabulary required for format", // the schema makes no grammar
		"Failed to create new sequence",                       // an image that cannot be read, or nothing at all
		"failed to create new sequence",
	}
)

func startsWith(s string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}

// isTooLong recognizes the messages of Ollama's server, its runners and its cloud about
// a prompt that does not fit: "the input length exceeds the context length",
// "prompt too long; exceeded max context length by 7 tokens",
// "request exceeds the available context size", "keep exceeds context".
func isTooLong(said string) bool {
	return strings.Contains(said, "exceed") &&
		(strings.Contains(said, "context length") || strings.Contains(said, "available context") ||
			strings.Contains(said, "exceeds context"))
}
