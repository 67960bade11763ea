package netserve

import (
	"context"
	"io"
	"os"
	"time"
)

// UntilRead returns when all that was written to out before the last behind bytes has been read, when
// ctx ends, or after a second. A socket does not tell how many bytes are unread, so there the last
// ones have to be read too. Writers that are not files deliver data in ways of their own, and are not
// waited for.
func UntilRead(ctx context.Context, out io.Writer, behind int64) {
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
		case int64(left) <= behind && !mayGoOn:
			return
		}
		time.Sleep(pause)
		if left == 0 { // and the reader has had time to return from that read
			return
		}
	}
}
