package netserve

import (
	"context"
	"io"
	"os"
	"time"
)

// UntilRead returns when everything written to out has been read, when ctx ends, or after a
// second. It does not wait for writers that are not files, which deliver data in ways of their
// own.
func UntilRead(ctx context.Context, out io.Writer) {
	file, ok := out.(*os.File)
	if !ok {
		return
	}
	for pause := 100 * time.Microsecond; pause < time.Second && ctx.Err() == nil; pause *= 2 {
		left, mayGoOn, known := unread(file)
		switch {
		case !known:
			time.Sleep(5 * time.Millisecond) // the best that can be done here
			return
		case left == 0 && !mayGoOn:
			return
		}
		time.Sleep(pause)
		if left == 0 { // and the reader has had time to return from that read
			return
		}
	}
}
