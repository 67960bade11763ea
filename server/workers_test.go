package server

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

// TestWorkersHaveEndedWhenStdioReturns looks for them in what the runtime says of all
// goroutines: they end of themselves soon after, which a later look would not tell apart.
func TestWorkersHaveEndedWhenStdioReturns(t *testing.T) {
	s, err := New(Options{Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	var requests strings.Builder
	for i := range spareWorkersStdio {
		fmt.Fprintf(&requests, `{"jsonrpc":"2.0","id":%d,"method":"tools/list"}`+"\n", i)
	}
	stacks := make([]byte, 1<<20)
	for range 20 {
		if err := s.ServeStdio(t.Context(), strings.NewReader(requests.String()), io.Discard); err != nil {
			t.Fatal(err)
		}
		all := stacks[:runtime.Stack(stacks, true)]
		if n := bytes.Count(all, []byte("(*Group).run(")); n > 0 {
			t.Fatalf("%d workers are left", n)
		}
	}
}
