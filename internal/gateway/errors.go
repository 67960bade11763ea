package gateway

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/schema"
)

// statuses are those of HTTP for the codes of errors.
var statuses = map[fault.Code]int{
	fault.InvalidArgument: http.StatusBadRequest,
	fault.ContextTooLong:  http.StatusBadRequest,
	fault.ModelNotFound:   http.StatusNotFound,
	fault.NotFound:        http.StatusNotFound,
	fault.Forbidden:       http.StatusForbidden,
	fault.Refused:         http.StatusForbidden,
	fault.RateLimited:     http.StatusTooManyRequests,
	fault.NoHost:          http.StatusServiceUnavailable,
	fault.Overloaded:      http.StatusServiceUnavailable,
	fault.QueueTimeout:    http.StatusServiceUnavailable,
	fault.Timeout:         http.StatusGatewayTimeout,
	fault.Cancelled:       statusClientClosed,
	fault.Unauthorized:    http.StatusBadGateway, // of ours, by a host
	fault.Upstream:        http.StatusBadGateway,
	fault.Internal:        http.StatusInternalServerError,
}

// statusClientClosed is what Ollama answers, if to nobody, when the client has left.
const statusClientClosed = 499

// errRevoked is the error of a request whose caller's credentials were revoked while it was under way.
var errRevoked = &fault.Error{Code: fault.Unauthorized, Message: "the key, token or certificate of this request is no longer valid"}

// isRevoked reports whether the caller may have no answer any more.
func (x *exchange) isRevoked() bool { return errors.Is(context.Cause(x.ctx), caller.ErrRevoked) }

// statusOf is the status for an error, which may be nil.
func statusOf(err error) int {
	switch {
	case err == nil:
		return http.StatusOK
	case errors.Is(err, errRevoked):
		return http.StatusUnauthorized
	}
	return cmp.Or(statuses[fault.Of(err).Code], http.StatusInternalServerError)
}

// fail writes an error, at the end of the stream if there is one.
func (x *exchange) fail(err error) {
	e := fault.Of(err)
	status := statusOf(err)
	text := spelling.Replace(e.Message)
	if e.Hint != "" {
		text += "; " + spelling.Replace(e.Hint)
	}
	if e.Code == fault.ModelNotFound && x.asked != "" { // whose words programs look for
		switch {
		case !backend.IsModelName(x.asked):
			status, text = http.StatusBadRequest, "invalid model name"
		case x.call.Tool == "embed":
			text = fmt.Sprintf("model %q not found, try pulling it first", x.asked)
		default:
			text = fmt.Sprintf("model '%s' not found", x.asked)
		}
	}
	if x.stream != nil {
		x.stream.fail(status, string(e.Code), text)
		return
	}
	header := x.w.Header()
	header.Set(headerTrace, x.call.Trace)
	header.Set(headerCode, string(e.Code))
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		header.Set("Retry-After", strconv.Itoa(int(max(1, math.Ceil(e.RetryAfter.Seconds())))))
	}
	x.write(x.w, status, string(e.Code), text)
}

// spelling puts what our errors advise in the words of these APIs.
var spelling = strings.NewReplacer(
	"allow more with timeout_seconds", "allow more with the header "+headerTimeout,
	`with cache "refresh"`, "with the header "+headerCache+": refresh",
	"list-models with capability", "use a model whose /api/show has the capability", " names those that have it", "",
	"timeout_seconds", headerTimeout, "local_only", headerLocalOnly,
	"fallback_models", "an alias", "list-models names", "/api/tags lists", "list-models", "/api/tags", "pull-model", "/api/pull", "show-model", "/api/show",
	"list-running", "/api/ps", "call load-model", "send an empty prompt", "argument \"", "\"",
)

// failOllama writes an error as Ollama does.
func failOllama(w http.ResponseWriter, status int, _, text string) {
	writeJSON(w, status, ollamaError{text})
}

type ollamaError struct {
	Error string `json:"error"`
}

// failOpenAI writes an error as OpenAI does.
func failOpenAI(w http.ResponseWriter, status int, code, text string) {
	writeJSON(w, status, openAIError(status, code, text))
}

type openAIFailure struct {
	Error struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    string  `json:"code"`
	} `json:"error"`
}

func openAIError(status int, code, text string) (f openAIFailure) {
	f.Error.Message, f.Error.Code, f.Error.Type = text, code, "api_error"
	switch status {
	case http.StatusBadRequest:
		f.Error.Type = "invalid_request_error"
	case http.StatusNotFound:
		f.Error.Type = "not_found_error"
	case http.StatusUnauthorized:
		f.Error.Type = "authentication_error"
	case http.StatusForbidden:
		f.Error.Type = "permission_error"
	case http.StatusTooManyRequests:
		f.Error.Type = "rate_limit_error"
	}
	return f
}

// writeJSON writes a whole response. If it cannot, nobody is left to be told.
func writeJSON(w http.ResponseWriter, status int, v any) {
	writeBody(w, status, schema.MustMarshal(v))
}

// writeBody is writeJSON for a value that is JSON already.
func writeBody(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// answer returns what writes a value as the whole response, unless there is no memory for it.
func (x *exchange) answer(v any) func() {
	return func() {
		if body := schema.MustMarshal(v); x.hold(len(body)) {
			writeBody(x.w, http.StatusOK, body)
		}
	}
}

// hold takes memory for an answer that waits to be read by the client, until the request ends. If there
// is none, a response that has not begun has been refused.
func (x *exchange) hold(size int) bool {
	h, ok := x.w.(interface{ Hold(size int) bool })
	return !ok || h.Hold(size)
}

// decode reads the body of a request.
func decode[T any](body []byte) (in T, err error) {
	if json.Unmarshal(body, &in) == nil {
		return in, nil
	}
	in = *new(T)
	return in, decodeFirst(body, &in)
}

// decodeFirst reads the body of a request that is not plain JSON, with the words of Ollama for what cannot be
// read. Like Ollama it leaves out whatever follows the first value.
func decodeFirst(body []byte, in any) error {
	if len(body) == 0 {
		return fault.Invalidf("missing request body")
	}
	err := json.NewDecoder(bytes.NewReader(body)).Decode(in)
	var explained fault.Explainer
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &explained):
		return explained
	case errors.As(err, &wrong):
		return wrongType(wrong)
	}
	return fault.Invalidf("%v", err)
}

// wrongType is the error of a request with a value of a wrong type. It is in the words of encoding/json,
// as Ollama's is, but without the names of types of this program.
func wrongType(e *json.UnmarshalTypeError) error {
	where := "a value"
	if e.Field != "" {
		names := strings.Split(e.Field, ".")
		for len(names) > 1 && slices.Contains(embedded, names[0]) {
			names = names[1:]
		}
		where = "member " + strings.Join(names, ".")
	}
	return fault.Invalidf("json: cannot unmarshal %s into %s of type %s", e.Value, where, jsonType(e.Type))
}

// embedded are the structs in requests whose members are members of the request. encoding/json names them
// in its errors.
var embedded = []string{"textIn", "seldom", "samplingIn", "named"}

// jsonType is what JSON has for a type of Go.
func jsonType(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "boolean"
	case reflect.String:
		return "string"
	case reflect.Slice, reflect.Array:
		return "array"
	case reflect.Struct, reflect.Map:
		return "object"
	}
	return "number"
}
