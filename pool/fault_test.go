package pool

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
)

func TestPoolErrorsSayWhatTheirCallersCanDo(t *testing.T) {
	crash := &backend.Error{Host: "gpu-1", Class: backend.Crashed}
	for _, tc := range []struct {
		err       error
		code      fault.Code
		retryable bool
		after     time.Duration
		line      string
	}{
		{&FullError{Waiting: 7, RetryAfter: 3 * time.Second}, fault.Overloaded, true, 3 * time.Second, "the queue is full (7 waiting); try again in 3 s"},
		{&QueueTimeoutError{}, fault.QueueTimeout, true, 0, "no slot came free in time; all slots are busy: try again later, or allow more with timeout_seconds"},
		{
			&QueueTimeoutError{RetryAfter: 2500 * time.Millisecond}, fault.QueueTimeout, true, 2500 * time.Millisecond,
			"no slot came free in time: the wait is about 3s; all slots are busy: try again in 3 s, or allow more than 3 s with timeout_seconds",
		},
		{&NoHostError{}, fault.NoHost, true, 0, "no host available: there are none; " + backend.HintUnreachable},
		{&NoHostError{Hosts: []Failure{{Host: "gpu-1", Err: crash}}}, fault.NoHost, true, 0, "no host available (gpu-1: gpu-1: the model crashed); " + backend.HintUnreachable},
		{
			&crashError{crash}, fault.Upstream, false, 0,
			"this request crashes the model: gpu-1: the model crashed; change the request (a simpler format, fewer options or less text), or use another model",
		},
	} {
		f := fault.Of(fmt.Errorf("m: %w", tc.err))
		if f.Code != tc.code || f.Retryable != tc.retryable || f.RetryAfter != tc.after || f.Error() != "m: "+tc.line {
			t.Errorf("%T: got %+v", tc.err, f)
		}
	}
	if err := error(&crashError{crash}); !errors.Is(err, ErrCrashes) || backend.ClassOf(err) != backend.Crashed {
		t.Errorf("%v is not ErrCrashes and a crash", err)
	}
}
