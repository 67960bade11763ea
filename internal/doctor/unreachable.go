package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"

	"ollama-mcp/internal/backend"
)

// unreachable says why a host did not answer a question.
func (e *examination) unreachable(err error) {
	if errors.Is(err, context.DeadlineExceeded) {
		e.fail("it takes connections and is silent: restart Ollama there; its log may say more", "no answer within %v", e.Timeout)
		return
	}
	e.fail(remedy(err), "%s", strings.TrimPrefix(err.Error(), e.host.Name()+": "))
}

// remedy is what helps against an error of a host.
func remedy(err error) string {
	switch backend.ClassOf(err) {
	case backend.Transport:
		return remedyOfTransport(err)
	case backend.Unauthorized:
		return "set OLLAMA_API_KEY to a key that this host accepts"
	case backend.Overload:
		return "it has more to do than it can; try again later"
	case backend.Caller:
		return "run this again"
	}
	return notOllama
}

const notOllama = "what answers there is not Ollama, or a proxy in front of it fails; check --host or OLLAMA_HOST"

func remedyOfTransport(err error) string {
	said := err.Error()
	switch _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); {
	case untrusted:
		return "name the authority that signed its certificate with --ca-file"
	case strings.Contains(said, "refused"): // in these words on Windows too
		return "nothing listens there: start it with `ollama serve`, or say where it runs with --host or OLLAMA_HOST"
	case strings.Contains(said, "no such host"):
		return "there is no machine of that name; check --host or OLLAMA_HOST"
	case strings.Contains(said, "connection closed"):
		return notOllama
	}
	return "is the machine on, and does its firewall let this one in?"
}
