package ollama

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strings"

	"ollama-mcp/internal/backend"
)

// explain reads the body of a refusal: an error in Ollama's form, or its text.
func explain(status int, body []byte) (class backend.Class, said string) {
	var refusal struct{ Error string }
	if json.Unmarshal(body, &refusal) != nil || refusal.Error == "" {
		refusal.Error = string(body)
	}
	return classify(status, refusal.Error), backend.Plain(refusal.Error)
}

// classify returns the class of a refusal by its status where Ollama means it, and else by
// its message.
func classify(status int, said string) backend.Class {
	switch status {
	case http.StatusTooManyRequests:
		return backend.Overload
	case http.StatusServiceUnavailable:
		return cmp.Or(backend.Recognize(said), backend.Overload)
	case http.StatusUnauthorized, http.StatusForbidden:
		return backend.Unauthorized
	case http.StatusPaymentRequired: // of its cloud
		return backend.NoCredit
	case http.StatusGone:
		return backend.ModelMissing
	case http.StatusNotFound:
		if strings.HasPrefix(said, "model ") && strings.Contains(said, "not found") {
			return backend.ModelMissing
		}
		return backend.Server // not an Ollama server
	case http.StatusMethodNotAllowed, http.StatusRequestTimeout, 499: // 499: it gave up by itself
		return backend.Server
	}
	if class := backend.Recognize(said); class != "" {
		return class
	}
	if status >= 400 && status < 500 {
		return backend.Request
	}
	return backend.Server
}
