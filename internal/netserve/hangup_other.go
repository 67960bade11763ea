//go:build !unix

package netserve

import "io"

// WatchHangup sees nothing here: that a client died shows when it is next written to.
func WatchHangup(io.Writer, func()) (stop func()) { return func() {} }
