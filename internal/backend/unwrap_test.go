package backend_test

import (
	"testing"

	"ollama-mcp/internal/backend"
)

// puller has a method that not every backend has.
type puller struct{ backend.Backend }

func (puller) Pull() string { return "pulled" }

type pulls interface{ Pull() string }

// counted wraps a backend.
type counted struct{ backend.Backend }

func (c counted) Unwrap() backend.Backend { return c.Backend }

// closed wraps a backend and does not tell which.
type closed struct{ backend.Backend }

func TestOptionalInterfaceIsFoundBehindWrappers(t *testing.T) {
	for name, c := range map[string]struct {
		of   backend.Backend
		want bool
	}{
		"the backend itself":    {puller{}, true},
		"behind one":            {counted{puller{}}, true},
		"behind two":            {counted{counted{puller{}}}, true},
		"no backend has it":     {counted{closed{}}, false},
		"behind one that hides": {counted{closed{puller{}}}, false},
		"no backend":            {nil, false},
	} {
		got, ok := backend.As[pulls](c.of)
		if ok != c.want || ok && got.Pull() != "pulled" {
			t.Errorf("%s: got %v, want %v", name, ok, c.want)
		}
	}
}
