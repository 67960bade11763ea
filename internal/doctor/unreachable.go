package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"

	"ollama-mcp/internal/backend"
)

// unreachable says why a host did not answer a request.
func (e *examination) unreachable(err error) {
	if errors.Is(err, context.DeadlineExceeded) {
		e.fail("it accepts connections but does not answer: restart Ollama there; its log may say more", "no answer within %v", e.timeout)
		return
	}
	e.fail(remedy(err), "%s", strings.TrimPrefix(err.Error(), e.host.Name()+": "))
}

// remedy suggests a solution for an error of a host.
func remedy(err error) string {
	switch backend.ClassOf(err) {
	case backend.Transport:
		return remedyOfTransport(err)
	case backend.Unauthorized:
		return "set OLLAMA_API_KEY to a key that this host accepts"
	case backend.Overload:
		return "it is overloaded; try again later"
	case backend.Caller:
		return "run this again"
	}
	return notOllama
}

const notOllama = "the server at that address is not Ollama, or a proxy in front of Ollama fails; check --host or OLLAMA_HOST"

func remedyOfTransport(err error) string {
	said := err.Error()
	switch _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); {
	case untrusted:
		return "name the authority that signed its certificate with --ca-file"
	case strings.Contains(said, "refused"): // Windows uses this word too
		return "nothing listens there: start it with `ollama serve`, or say where it runs with --host or OLLAMA_HOST"
	case strings.Contains(said, "no such host"):
		return "there is no machine with that name; check --host or OLLAMA_HOST"
	case strings.Contains(said, "connection closed"):
		return notOllama
	}
	return "check that the machine is on, and that its firewall allows connections from this one"
}
