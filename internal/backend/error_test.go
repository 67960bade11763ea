package backend_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"ollama-mcp/internal/backend"
)

func TestErrorIsOneLineThatNamesTheHostFirst(t *testing.T) {
	for _, c := range []struct {
		err  backend.Error
		want string
	}{
		{backend.Error{Host: "a", Class: backend.Transport, Message: "connection refused"}, "a: unreachable: connection refused"},
		{backend.Error{Host: "a", Class: backend.Overload, Status: 503, Message: "server busy"}, "a: overloaded: server busy (HTTP 503)"},
		{backend.Error{Host: "a", Class: backend.Unauthorized, Status: 401, Message: "unauthorized"}, "a: unauthorized (HTTP 401)"},
		{backend.Error{Class: backend.Server}, "failed"},
		{backend.Error{Host: "a", Class: backend.Server, Message: "cut", Err: errors.New("read http://u:secret@h")}, "a: failed: cut"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestErrorIsItsClassAndItsCause(t *testing.T) {
	err := fmt.Errorf("chat: %w", &backend.Error{Host: "a", Class: backend.Server, Err: io.ErrUnexpectedEOF})
	if !errors.Is(err, backend.Server) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("it is not found to be its class, or not its cause")
	}
	if errors.Is(err, backend.Overload) {
		t.Error("it is found to be of another class")
	}
	if got := backend.ClassOf(err); got != backend.Server {
		t.Errorf("ClassOf = %q, want %q", got, backend.Server)
	}
	if got := backend.ClassOf(io.EOF); got != "" {
		t.Errorf("ClassOf a foreign error = %q, want none", got)
	}
}
