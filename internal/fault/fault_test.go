package fault_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"
	"time"

	"ollama-mcp/internal/fault"
)

// full is an error of another package, with a cause that explains itself too.
type full struct{ cause error }

func (full) Error() string   { return "the queue is full" }
func (f full) Unwrap() error { return f.cause }
func (full) Fault() *fault.Error {
	return &fault.Error{Code: fault.Overloaded, Message: "the queue is full (7 waiting)", Hint: "try again later", Retryable: true}
}

func TestErrorIsExplainedByTheOutermostThatCan(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		code fault.Code
		line string
	}{
		"an error of ours":          {fault.Invalidf("no model %q", "m"), fault.InvalidArgument, `no model "m"`},
		"one that explains itself":  {full{}, fault.Overloaded, "the queue is full (7 waiting); try again later"},
		"wrapped":                   {fmt.Errorf("m: %w", full{}), fault.Overloaded, "m: the queue is full (7 waiting); try again later"},
		"wrapped in the middle":     {fmt.Errorf("m: %w, alas", full{}), fault.Overloaded, "the queue is full (7 waiting); try again later"},
		"one within another":        {full{fault.Invalidf("x")}, fault.Overloaded, "the queue is full (7 waiting); try again later"},
		"one after an ended wait":   {full{context.Canceled}, fault.Overloaded, "the queue is full (7 waiting); try again later"},
		"an error of ours, wrapped": {fmt.Errorf("m: %w", fault.Invalidf("no")), fault.InvalidArgument, "m: no"},
		"a deadline":                {fmt.Errorf("m: %w", context.DeadlineExceeded), fault.Timeout, "the time limit of this call was reached before there was an answer; allow more with timeout_seconds"},
		"a cancel":                  {context.Canceled, fault.Cancelled, "the call was cancelled"},
		"any other":                 {errors.New("odd"), fault.Internal, "odd"},
	} {
		if got := fault.Of(tc.err); got.Code != tc.code || got.Error() != tc.line {
			t.Errorf("%s: got %s %q, want %s %q", name, got.Code, got, tc.code, tc.line)
		}
	}
}

func TestErrorNamesNoFileOfTheServer(t *testing.T) {
	path := &fs.PathError{Op: "open", Path: "/srv/secret/keys.yaml", Err: fs.ErrPermission}
	link := &os.LinkError{Op: "rename", Old: "/srv/secret/a", New: "/srv/secret/b", Err: errors.New("no space left on device")}
	for want, err := range map[string]error{
		"permission denied":                           path,
		"cannot be counted: permission denied":        fmt.Errorf("cannot be counted: %w", path),
		"permission denied\nno space left on device":  errors.Join(path, link),
		"a: no space left on device, b":               fmt.Errorf("a: %w, b", link),
		"m: the queue is full (7 waiting)":            fmt.Errorf("m: %w", full{path}),
		"kept: permission denied (permission denied)": fmt.Errorf("kept: %w (%w)", path, path),
		"gpu-1: permission denied":                    fmt.Errorf("gpu-1: %w", explained{path}),
	} {
		if got := fault.Of(err); got.Message != want {
			t.Errorf("got %q, want %q", got.Message, want)
		}
	}
}

// explained is an error that explains itself with the text of its cause.
type explained struct{ error }

func (e explained) Unwrap() error { return e.error }
func (e explained) Fault() *fault.Error {
	return &fault.Error{Code: fault.Upstream, Message: e.Error()}
}

func TestExplanationMayBeChangedWithoutChangingTheError(t *testing.T) {
	shared := fault.Invalidf("no")
	fault.Of(shared).Message = "changed"
	if shared.Message != "no" {
		t.Errorf("the error now says %q", shared.Message)
	}
}

func TestJSONHasWholeSecondsAndNothingOfTheAnswer(t *testing.T) {
	for want, e := range map[string]fault.Error{
		`{"code":"refused","message":"no","retryable":false}`: {Code: fault.Refused, Message: "no", Partial: "secret", Thinking: "secret"},
		`{"code":"overloaded","message":"full","hint":"wait","retryable":true,"retry_after_seconds":3}`: {
			Code: fault.Overloaded, Message: "full", Hint: "wait", Retryable: true, RetryAfter: 2100 * time.Millisecond,
		},
	} {
		got, err := json.Marshal(&e)
		if err != nil || string(got) != want {
			t.Errorf("got  %s, error %v\nwant %s", got, err, want)
		}
	}
}

func TestCountIsSingularForOneAlone(t *testing.T) {
	for n, want := range map[int]string{0: "0 tokens", 1: "1 token", 2: "2 tokens", 1000: "1000 tokens"} {
		if got := fault.Count(n, "token"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestListNamesTheFirstAndCountsTheOthers(t *testing.T) {
	for _, row := range []struct {
		names []string
		want  string
	}{{nil, ""}, {[]string{"a"}, "a"}, {[]string{"a", "b"}, "a, b"}, {[]string{"a", "b", "c", "d"}, "a, b and 2 more"}} {
		if got := fault.List(row.names, 2); got != row.want {
			t.Errorf("%v: got %q, want %q", row.names, got, row.want)
		}
	}
}
