package openai

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/remote"
)

// apiError is the error in a server's response.
type apiError struct {
	message string
	kind    string // of error, such as "invalid_request_error"; may be empty
	code    string // such as "context_length_exceeded", or the status again; may be empty
	param   string // the member of the request that is at fault; may be empty
	certain bool   // it is an error, and nothing else that has a message
}

// explain reads the body of a refusal.
func explain(status int, body []byte) (class backend.Class, said string) {
	c, ok := parse(body)
	if !ok {
		return c.class(status), string(body)
	}
	if class = c.class(status); class == backend.Request && c.param != "" && !strings.Contains(c.message, c.param) {
		return class, fmt.Sprintf("%s (%s)", c.message, c.param)
	}
	return class, c.message
}

// streamError is the error that a server sends in the place of an event, as JSON or as text.
// The HTTP status has been sent by then, but some servers send it as the code, and the words
// of others have one.
func streamError(data []byte) error {
	c, ok := parse(data)
	if !ok && !remote.BeginsJSON(data) {
		c.message = string(data)
	}
	status, err := strconv.Atoi(c.code)
	if err != nil || status < 400 || status > 599 {
		status = cmp.Or(statuses[word(c.code)], statuses[word(c.kind)], http.StatusInternalServerError)
	}
	e := &backend.Error{Class: c.class(status), Message: cmp.Or(c.message, c.code, c.kind, "the server sent an error that says nothing")}
	e.RetryAfter = backend.RestTime(e.Class, string(data))
	if status == http.StatusTooManyRequests { // which is about one model
		e.Status = status
	}
	return e
}

// statuses are what servers send as the code or the type of an error, in the words of
// OpenAI, Anthropic and Google, and the HTTP status that they mean.
var statuses = map[string]int{
	"ratelimit": 429, "ratelimiterror": 429, "ratelimitexceeded": 429, "toomanyrequests": 429, "resourceexhausted": 429,
	"overloaded": 529, "overloadederror": 529, "serveroverloaded": 529, "engineoverloaded": 529, "serverbusy": 503,
	"unavailable": 503, "unavailableerror": 503, "serviceunavailable": 503, "serviceunavailableerror": 503,
	"authenticationerror": 401, "invalidapikey": 401, "unauthenticated": 401, "unauthorized": 401,
	"permissionerror": 403, "permissiondenied": 403, "billingerror": 402,
	"invalidrequesterror": 400, "invalidargument": 400, "badrequest": 400, "badrequesterror": 400, "validationerror": 400,
	"notfound": 404, "notfounderror": 404, "timeouterror": 504, "deadlineexceeded": 504,
}

// word is a name without regard to case and punctuation.
func word(s string) string {
	return strings.NewReplacer("_", "", "-", "", " ", "", ".", "").Replace(strings.ToLower(s))
}

// parse reads an error in any of the known forms: {"error": {"message": …}} of OpenAI and
// most others, in a list at Gemini's, {"error": "…"}, {"object": "error", "message": …} of
// older vLLM, {"type": "error", …} of Anthropic, {"detail": …} of servers written with
// FastAPI, {"code": …, "msg": …}, and those in which one of them is the text of another.
func parse(body []byte) (c apiError, ok bool) {
	var v any
	if json.Unmarshal(body, &v) != nil {
		return c, false
	}
	if _, isText := v.(string); isText {
		return c, false
	}
	c.read(v, false)
	return c, c.message != ""
}

// read takes in what a value, and the values in it, say of an error. Inner ones say it better.
func (c *apiError) read(v any, isError bool) {
	switch v := v.(type) {
	case string:
		var inner any
		if strings.HasPrefix(v, "{") && json.Unmarshal([]byte(v), &inner) == nil {
			c.read(inner, isError)
		}
		if c.message == "" && isError {
			c.message = v
		}
	case []any:
		for _, one := range v {
			if c.message == "" {
				c.read(one, isError)
			}
		}
	case map[string]any:
		c.readObject(v, isError)
	}
}

func (c *apiError) readObject(v map[string]any, isError bool) {
	for _, name := range []string{"error", "errors", "err", "detail", "base_resp"} {
		c.certain = c.certain || name != "base_resp" && says(v[name])
		c.read(v[name], true)
	}
	for _, name := range []string{"message", "msg", "error_message", "error_msg", "errorMessage", "status_msg", "description", "reason"} {
		if text, isText := v[name].(string); isText && c.message == "" {
			c.read(text, true)
		}
	}
	kind := cmp.Or(scalar(v["type"]), scalar(v["error_type"]))
	c.certain = c.certain || remote.IsErrorName(kind) || remote.IsErrorName(scalar(v["object"]))
	c.kind = cmp.Or(c.kind, kind, scalar(v["status"]))
	for _, name := range []string{"code", "status_code", "statusCode", "error_code", "err_code", "status"} {
		code := scalar(v[name])
		if number, err := strconv.Atoi(code); code == "" || err == nil && number == 0 {
			continue
		} else if err == nil && number >= 400 || err != nil && statuses[word(code)] != 0 || name == "status_code" && number > 0 && number != 200 {
			c.certain = true
		}
		c.code = cmp.Or(c.code, code)
	}
	c.param = cmp.Or(c.param, scalar(v["param"]))
	if at, ok := v["loc"].([]any); ok && c.param == "" {
		var path []string
		for _, part := range at {
			path = append(path, scalar(part))
		}
		c.param = strings.Join(path, ".")
	}
}

// says reports whether a value says something.
func says(v any) bool {
	switch v := v.(type) {
	case string:
		return v != ""
	case bool:
		return v
	case float64:
		return v != 0
	case []any:
		return len(v) > 0
	case map[string]any:
		for _, inner := range v {
			if says(inner) {
				return true
			}
		}
	}
	return false
}

// scalar is a JSON string or number as text; "" for anything else.
func scalar(v any) string {
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
	case slices.Contains([]string{"modelnotfound", "modelnotavailable", "deploymentnotfound"}, word(c.code)):
		return backend.ModelMissing
	case status == http.StatusNotFound && strings.HasPrefix(strings.ToLower(c.message), "model"): // Anthropic sends its name and nothing else
		return backend.ModelMissing
	case c.code == "insufficient_quota", c.kind == "insufficient_quota", status == http.StatusPaymentRequired:
		return backend.NoCredit // OpenAI sends it with 429
	case backend.Recognize(c.message) == backend.NoCredit: // others send it with 400, 403 or 429
		return backend.NoCredit
	}
	const overloaded = 529 // of Anthropic
	switch status {
	case http.StatusServiceUnavailable: // KoboldCpp sends it with all errors
		return cmp.Or(backend.Recognize(c.message), backend.Overload)
	case http.StatusTooManyRequests, overloaded:
		return backend.Overload
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		return backend.Unauthorized
	case http.StatusMethodNotAllowed, http.StatusRequestTimeout, 499: // 499: the server gave up by itself
		return backend.Server
	case http.StatusGone:
		return backend.ModelMissing
	}
	if class := backend.Recognize(c.message); class != "" {
		return class
	}
	switch {
	case status == http.StatusNotFound: // no such path: the URL is wrong
		return backend.Server
	case status >= 400 && status < 500:
		return backend.Request
	}
	return backend.Server
}
