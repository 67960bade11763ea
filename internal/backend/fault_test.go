package backend_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
)

func TestFailureOnAHostSaysWhatItsCallerCanDo(t *testing.T) {
	for _, tc := range []struct {
		err       backend.Error
		code      fault.Code
		retryable bool
		line      string // part of the message and the hint
	}{
		{backend.Error{Class: backend.Transport, Message: "connection refused"}, fault.NoHost, true, "gpu-1: unreachable: connection refused; start Ollama there (ollama serve), or set OLLAMA_HOST to where it runs; if an MCP host starts this server, "},
		{backend.Error{Class: backend.Overload, Status: 503}, fault.Overloaded, true, "(HTTP 503); try again in 1 s"},
		{backend.Error{Class: backend.NoRoom}, fault.Upstream, false, "ask for a smaller options.num_ctx"},
		{backend.Error{Class: backend.ModelMissing}, fault.ModelNotFound, false, "model not found; list-models names"},
		{backend.Error{Class: backend.TooLong}, fault.ContextTooLong, false, "send less, or raise options.num_ctx"},
		{backend.Error{Class: backend.TooLarge}, fault.Upstream, false, "gpu-1: answer too large; ask for a shorter answer"},
		{backend.Error{Class: backend.Unauthorized}, fault.Unauthorized, false, "set OLLAMA_API_KEY"},
		{backend.Error{Class: backend.Unauthorized, Status: 403}, fault.Unauthorized, false, "or run `ollama signin` there"},
		{backend.Error{Class: backend.Request, Status: 413, Message: "answered with HTML"}, fault.InvalidArgument, false, "send less text, or fewer or smaller images"},
		{backend.Error{Class: backend.Server}, fault.Upstream, true, "gpu-1: failed; try again"},
		{backend.Error{Class: backend.Server, Status: 308}, fault.Upstream, true, "the address that is configured for gpu-1 is wrong"},
		{backend.Error{Class: backend.Server, Status: 404}, fault.Upstream, true, "the address that is configured for gpu-1 is wrong"},
		{backend.Error{Class: backend.Crashed}, fault.Upstream, true, "gpu-1: the model crashed; try again"},
		{backend.Error{Class: backend.Request, Message: "what is this?"}, fault.InvalidArgument, false, "what is this?; it would fail again"},
		{backend.Error{Class: backend.Request, Message: "bad format"}, fault.InvalidArgument, false, "a part of JSON schema only"},
		{backend.Error{Class: backend.Request, Message: `"m" does not support chat`}, fault.InvalidArgument, false, `the model does not support chat; list-models with capability "completion"`},
		{backend.Error{Class: backend.Caller, Err: context.Canceled}, fault.Cancelled, false, "the call was cancelled"},
		{backend.Error{Class: backend.Caller, Err: context.DeadlineExceeded}, fault.Timeout, true, "allow more with timeout_seconds"},
		{backend.Error{Class: backend.Caller}, fault.Cancelled, false, "given up by the caller"},
	} {
		tc.err.Host = "gpu-1"
		f := fault.Of(fmt.Errorf("input[3]: %w", &tc.err))
		if f.Code != tc.code || f.Retryable != tc.retryable || !strings.Contains(f.Error(), tc.line) || !strings.HasPrefix(f.Message, "input[3]: ") {
			t.Errorf("%s: got %s, retryable %v: %q; want %s, %v, %q", tc.err.Class, f.Code, f.Retryable, f, tc.code, tc.retryable, tc.line)
		}
	}
}

func TestOverloadedHostIsLeftAloneForASecondAtLeast(t *testing.T) {
	for asked, want := range map[time.Duration]time.Duration{0: time.Second, time.Millisecond: time.Second, time.Minute: time.Minute} {
		if got := fault.Of(&backend.Error{Class: backend.Overload, RetryAfter: asked}).RetryAfter; got != want {
			t.Errorf("for %v: got %v, want %v", asked, got, want)
		}
	}
}
