package openai

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"ollama-mcp/internal/backend"
)

// apiError is the error in a server's response.
type apiError struct {
	message string
	kind    string // of error, such as "invalid_request_error"; may be empty
	code    string // such as "context_length_exceeded", or the status again; may be empty
}

// explain reads the body of a refusal.
func explain(status int, body []byte) (class backend.Class, said string) {
	if c, ok := parse(body); ok {
		return c.class(status), c.message
	}
	return (&apiError{}).class(status), string(body)
}

// streamError is the error that a server sends in the place of an event. The HTTP status
// has been sent by then, but some servers send it as the code.
func streamError(data []byte) error {
	c, _ := parse(data)
	status, err := strconv.Atoi(c.code)
	if err != nil || status < 400 || status > 599 {
		status = http.StatusInternalServerError
	}
	return &backend.Error{Class: c.class(status), Message: cmp.Or(c.message, c.code, c.kind)}
}

// parse reads an error in any of the known forms: {"error": {"message": …}} of
// OpenAI and most others, in a list at Gemini's, {"error": "…"}, {"message": …} of
// older vLLM, {"detail": "…"} of servers written with FastAPI.
func parse(body []byte) (c apiError, ok bool) {
	var list []json.RawMessage
	if json.Unmarshal(body, &list) == nil && len(list) > 0 {
		body = list[0]
	}
	var whole struct{ Error, Detail json.RawMessage }
	if json.Unmarshal(body, &whole) != nil {
		return c, false
	}
	for _, text := range []json.RawMessage{whole.Error, whole.Detail} {
		if json.Unmarshal(text, &c.message) == nil && c.message != "" {
			return c, true
		}
	}
	if len(whole.Error) > 0 && whole.Error[0] == '{' {
		body = whole.Error
	}
	var inner struct {
		Message    string
		Type, Code any
	}
	if json.Unmarshal(body, &inner) != nil {
		return c, false
	}
	c = apiError{inner.Message, word(inner.Type), word(inner.Code)}
	return c, c.message != ""
}

// word is a JSON string or number as a word; "" for anything else.
func word(v any) string {
	switch v.(type) {
	case string, float64:
		return fmt.Sprint(v)
	}
	return ""
}

// class is found by the error's own code, then by the status, and where that says little
// by the message.
func (c *apiError) class(status int) backend.Class {
	switch {
	case c.code == "context_length_exceeded", c.kind == "exceed_context_size_error":
		return backend.TooLong
	case c.code == "model_not_found":
		return backend.ModelMissing
	case c.code == "insufficient_quota", c.kind == "insufficient_quota", status == http.StatusPaymentRequired:
		// OpenAI sends it with 429, but waiting does not help: somebody has to pay.
		return backend.Unauthorized
	}
	const overloaded = 529 // of Anthropic
	switch status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, overloaded:
		return backend.Overload
	case http.StatusUnauthorized, http.StatusForbidden:
		return backend.Unauthorized
	case http.StatusMethodNotAllowed, http.StatusRequestTimeout, 499: // 499: the server gave up by itself
		return backend.Server
	}
	if class := backend.Recognize(c.message); class != "" {
		return class
	}
	message := strings.ToLower(c.message)
	switch {
	case status < 500 && isMissing(message):
		return backend.ModelMissing
	case status == http.StatusNotFound: // no such path: the URL is wrong
		return backend.Server
	case status >= 400 && status < 500:
		return backend.Request
	}
	return backend.Server
}

func isMissing(said string) bool {
	return strings.Contains(said, "model") &&
		(strings.Contains(said, "not found") || strings.Contains(said, "does not exist"))
}
