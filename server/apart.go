package server

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"time"
)

// The SDKs for TypeScript forget a call as soon as they come to its answer, and only
// then handle the notifications that they have read together with it. So an answer
// that follows a notification is to be read apart from it. No pause is sure to do
// that: on a busy machine a client may be late by any time.

// recent is how long ago a notification was written that may not have been read yet.
const recent = time.Second

// readAtOnce is the most that Node.js reads from a socket at once.
const readAtOnce = 64 << 10

// padding are comments of a stream of events, too many to be read together with what
// comes before and after them.
var padding = append(bytes.Repeat([]byte(": "+strings.Repeat(" ", 1021)+"\n"), readAtOnce>>10), '\n')

// untilRead returns when a client has read all that was written to it, ctx has ended,
// or that takes more than a second. Other writers than files hand over what they are
// given in ways of their own, which are not waited for.
func untilRead(ctx context.Context, out io.Writer) {
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
