package quota

import "ollama-mcp/internal/fault"

// Fault tells the caller when to come back.
func (e *Exceeded) Fault() *fault.Error {
	return &fault.Error{
		Code: fault.RateLimited, Message: e.Error(), Hint: fault.TryAgain(e.RetryAfter),
		Retryable: true, RetryAfter: e.RetryAfter,
	}
}
