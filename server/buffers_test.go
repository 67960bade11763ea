package server

import (
	"net/http/httptest"
	"testing"
)

func TestOnlyAnswersThatAreWrittenAtOnceShareBuffers(t *testing.T) {
	s, err := New(Options{Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	h, err := NewHTTP(s, HTTPOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for version, shares := range map[int]bool{1: true, 2: false} {
		req := httptest.NewRequest("POST", "/mcp", nil)
		req.ProtoMajor = version
		r, out, end, _ := h.newExchange(httptest.NewRecorder(), req).begin(newSession(), incoming{})
		if (r.buffer != nil) != shares {
			t.Errorf("HTTP/%d: has a buffer that others get: %v, want %v", version, r.buffer != nil, shares)
		}
		out.end()
		end()
	}
}
