package netserve

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// giveUpAfter limits how long connections of a listener retransmit data that is not
// acknowledged.
func giveUpAfter(listener syscall.RawConn, limit time.Duration) error {
	var err error
	failed := listener.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(limit.Milliseconds()))
	})
	if failed != nil {
		return failed
	}
	return err
}
