package tracing

import "testing"

func TestSpansWithTextsThatWaitAreBounded(t *testing.T) {
	for bytes, want := range map[int64]int{0: 512, 64 << 20: 512, 24 << 20: 512, 6 << 20: 128, 2 << 20: 42, 1: 8} {
		waiting, atOnce := Options{TextBytes: bytes}.queue()
		if waiting != want || atOnce != want/8 {
			t.Errorf("with %d bytes %d spans may wait, and %d are sent at once; want %d, and an eighth of it", bytes, waiting, atOnce, want)
		}
		if least := 8; bytes > 0 && waiting > least && int64(waiting*3*maxText) > bytes {
			t.Errorf("the texts of %d spans may take more than %d bytes", waiting, bytes)
		}
	}
}
