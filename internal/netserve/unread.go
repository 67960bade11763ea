package netserve

import (
	"context"
	"io"
	"os"
	"time"
)

// UntilRead returns when a client has read all that was written to it, ctx has ended,
// or that takes more than a second. Other writers than files hand over what they are
// given in ways of their own, which are not waited for.
func UntilRead(ctx context.Context, out io.Writer) {
	file, ok := out.(*os.File)
	if !ok {
		return
	}
	for pause := 100 * time.Microsecond; pause < time.Second && ctx.Err() == nil; pause *= 2 {
		left, known := unread(file)
		if !known {
			time.Sleep(5 * time.Millisecond) // for want of anything better
			return
		}
		time.Sleep(pause)
		if left == 0 { // and the read that took the last of it has ended too
			return
		}
	}
}
