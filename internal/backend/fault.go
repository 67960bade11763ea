package backend

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"ollama-mcp/internal/fault"
)

// HintUnreachable says what to do about a host that cannot be reached.
const HintUnreachable = "start Ollama there (ollama serve), or set OLLAMA_HOST to where it runs; " +
	"if an MCP host starts this server, set it in the env of the server's entry, since MCP hosts do not pass on the variables of your shell; `ollama-mcp doctor` tells more"

// Fault says what the caller of a request can do about its failure on a host.
func (e *Error) Fault() *fault.Error {
	f := &fault.Error{Message: e.Error(), RetryAfter: e.RetryAfter}
	switch e.Class {
	case Transport:
		f.Code, f.Retryable, f.Hint = fault.NoHost, true, HintUnreachable
	case Overload:
		f.RetryAfter = max(f.RetryAfter, time.Second)
		f.Code, f.Retryable, f.Hint = fault.Overloaded, true, fault.TryAgain(f.RetryAfter)
	case NoRoom:
		f.Code, f.Hint = fault.Upstream, hintNoRoom
	case Crashed:
		f.Code, f.Retryable, f.Hint = fault.Upstream, true, "try again; if it happens again, Ollama's own log says why"
		if isOutOfMemory(e.Message) {
			f.Retryable, f.Hint = false, hintNoRoom
		}
	case Unloadable:
		f.Code, f.Hint = fault.Upstream, "use another model, or have this one pulled again and Ollama updated on that host"
	case BadOutput:
		f.Code, f.Hint = fault.Upstream, e.hintBadOutput()
	case ModelMissing:
		f.Code, f.Hint = fault.ModelNotFound, "list-models names those that are installed"
	case TooLong:
		f.Code, f.Hint = fault.ContextTooLong, "send less, or raise options.num_ctx"
	case TooLarge:
		f.Code, f.Hint = fault.Upstream, "ask for a shorter answer, such as with options.num_predict"
	case Unauthorized:
		f.Code, f.Hint = fault.Unauthorized, "set OLLAMA_API_KEY to a key that this host accepts, or run `ollama signin` there if the model is one of Ollama's cloud"
		if e.Cloud {
			f.Hint = fmt.Sprintf("run `ollama signin` on %s, or use a model that the host runs itself: Ollama's cloud runs this one", e.Host)
		}
	case NoCredit:
		f.Code, f.RetryAfter, f.Hint = fault.Unauthorized, 0, "the account there has to be topped up, or use another model"
	case Forbidden:
		f.Code, f.Hint = fault.Forbidden, "use a model that this server's own hosts run; list-models marks those that run in a cloud"
	case Unsupported:
		f.Code, f.Hint = fault.InvalidArgument, "use only options that Ollama's documentation lists, or update Ollama on that host"
	case Request:
		return e.refusal()
	case Caller:
		if e.Err != nil { // the end of the context
			return fault.Of(e.Err)
		}
		f.Code = fault.Cancelled
	default:
		f.Code, f.Retryable, f.Hint = fault.Upstream, true, "try again; if it happens again, Ollama's own log says why"
		if IsMisdirected(e) {
			f.Hint = "the address that is configured for " + cmp.Or(e.Host, "this host") + " is wrong, or a proxy in front of it is; `ollama-mcp doctor` tells more"
		}
	}
	return f
}

// hintNoRoom says what to do about a model that does not fit into memory.
const hintNoRoom = "ask for a smaller options.num_ctx, or for a smaller model or quantization"

// hintBadOutput says what to do about output of a model that cannot be used.
func (e *Error) hintBadOutput() string {
	if said := strings.ToLower(e.Message); strings.Contains(said, "call") || strings.Contains(said, "xml") {
		return "the model wrote a tool call that cannot be read: offer fewer or simpler tools, or use another model"
	}
	return "change the text, or use another model"
}

// refusal says what to do about a request that the host has refused, by the
// host's own words.
func (e *Error) refusal() *fault.Error {
	for _, c := range capabilities {
		lack := "does not support " + c.refused
		if strings.HasSuffix(e.Message, lack) {
			return LacksCapability("the model "+lack, c.listed)
		}
	}
	f := fault.Invalidf("%v", e)
	f.RetryAfter = e.RetryAfter
	f.Hint = "it would fail again: change what the host objects to"
	if IsTooLarge(e) {
		f.Hint = HintTooLarge
	} else if strings.Contains(e.Message, "format") || strings.Contains(e.Message, "schema") {
		f.Hint = `Ollama knows a part of JSON schema only: use a simpler one that has a "type", such as {"type":"object","properties":{…}}, refer to "#/..." alone, and begin patterns with ^ and end them with $`
	}
	return f
}

// HintTooLarge says what to do about a request that is larger than a server takes.
const HintTooLarge = "send less text, or fewer or smaller images: the server, or a proxy in front of it, takes no request of this size"

// IsTooLarge reports whether a server has refused a request for its size in bytes.
func IsTooLarge(err error) bool {
	refused, ok := errors.AsType[*Error](err)
	return ok && refused.Class == Request && refused.Status == http.StatusRequestEntityTooLarge
}

// IsLack reports whether a host has refused a request since its model lacks a capability.
func IsLack(err error) bool {
	refused, ok := errors.AsType[*Error](err)
	return ok && slices.ContainsFunc(capabilities, func(c struct{ refused, listed string }) bool {
		return strings.HasSuffix(refused.Message, "does not support "+c.refused)
	})
}

// capabilities are what models may lack: as Ollama calls it when it refuses a
// request, and as it lists it among a model's capabilities.
var capabilities = []struct{ refused, listed string }{
	{"tools", "tools"},
	{"thinking", "thinking"},
	{"insert", "insert"},
	{"vision", "vision"},
	{"generate", "completion"},
	{"chat", "completion"},
	{"embeddings", "embedding"},
}

// LacksCapability is the error of a model without a capability that the request needs.
// The capability is named as Ollama lists it.
func LacksCapability(message, capability string) *fault.Error {
	return &fault.Error{
		Code: fault.InvalidArgument, Message: message,
		Hint: fmt.Sprintf("list-models with capability %q names those that have it", capability),
	}
}
