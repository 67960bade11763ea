//go:build !linux

package netserve

import (
	"syscall"
	"time"
)

// giveUpAfter leaves it to the system when to give up.
func giveUpAfter(syscall.RawConn, time.Duration) error { return nil }
