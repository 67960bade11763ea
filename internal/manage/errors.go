package manage

import (
	"errors"
	"strings"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
)

// failures are what hosts say when work on models fails, wherever in their message it stands,
// and what their callers can do. The first that fits counts.
var failures = []struct {
	says      string
	code      fault.Code
	retryable bool
	hint      string
}{
	{"no space left", fault.Upstream, false, "free some space on the disk of that host; delete-model removes models"},
	{"not enough space", fault.Upstream, false, "free some space on the disk of that host; delete-model removes models"},
	{"max retries exceeded", fault.Upstream, true, "the registry keeps failing; what has been downloaded is kept, so try again"},
	{"digest mismatch", fault.Upstream, true, "the registry sent other bytes than it had announced, and nothing was installed; try again, or pull from another registry"},
	{"manifest: file does not exist", fault.ModelNotFound, false, "the registry has no such model or tag: look the name up at https://ollama.com/search"},
	{"pull model manifest: 401", fault.Unauthorized, false, "the registry wants to know who asks: sign in on that host with `ollama signin`"},
	{"requires a newer version of ollama", fault.Upstream, false, "update Ollama on that host"},
	{"insecure protocol http", fault.Forbidden, false, "have the operator allow the registry with http:// in --allow-registry"},
	{"invalid file magic", fault.InvalidArgument, false, "the file is no GGUF, or is damaged"},
	{"only gguf supported", fault.InvalidArgument, false, "the file is no GGUF, or is damaged"},
	{"unknown type", fault.InvalidArgument, false, "the file is no GGUF, or is damaged"},
	{"unexpected eof", fault.InvalidArgument, false, "the file is cut short: download it again"},
	{"quantiz", fault.InvalidArgument, false, "quantize takes names such as q4_K_M and q8_0, and a model in F16 or F32"},
	{"template", fault.InvalidArgument, false, "correct the template: it is one of Go's text/template"},
	{"unknown parameter", fault.InvalidArgument, false, "parameters are named as Ollama's options are"},
	{"connection refused", fault.Upstream, true, "that host cannot reach the registry; try again when it can"},
	{"no such host", fault.Upstream, true, "that host cannot find the registry; check its name, or try again"},
	{"connection reset", fault.Upstream, true, "the connection to the registry broke; what has been downloaded is kept, so try again"},
	{errSilent.Error(), fault.Upstream, true, "that host, or the registry that it asks, hangs; what has been downloaded is kept, so try again"},
	{"timeout", fault.Upstream, true, "the registry does not answer in time; what has been downloaded is kept, so try again"},
}

// explain makes an error of a host one that says what its caller can do; nil of nil.
func explain(err error) error {
	said, ok := errors.AsType[*backend.Error](err)
	if !ok || said.Class != backend.Server && said.Class != backend.Request && said.Class != backend.Unloadable {
		return err
	}
	text := strings.ToLower(said.Message)
	for _, f := range failures {
		if strings.Contains(text, f.says) {
			return &fault.Error{Code: f.code, Message: said.Host + ": " + said.Message, Hint: f.hint, Retryable: f.retryable}
		}
	}
	return err
}
