package netserve

import "testing"

func TestConnectionsLeaveFilesForOtherThings(t *testing.T) {
	for files, want := range map[int]int{0: maxConns, 1: 1, 64: 48, 1024: 768, 20_000: 15_000, 1 << 20: maxConns} {
		if got := connsFor(files); got != want {
			t.Errorf("with %d files: %d connections, want %d", files, got, want)
		}
	}
	if conns, files := MaxConns(); conns != connsFor(files) || conns == 0 {
		t.Errorf("here: %d connections with %d files", conns, files)
	}
}
