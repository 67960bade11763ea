package netserve

import (
	"os"

	"golang.org/x/sys/unix"
)

// unread tells how much of what was written to a pipe or a socket of this machine is
// still to be read at its other end: 0 if nothing, else in no unit in particular.
func unread(file *os.File) (n int, known bool) {
	conn, err := file.SyscallConn()
	if err != nil {
		return 0, false
	}
	failed := conn.Control(func(fd uintptr) {
		n, err = unix.IoctlGetInt(int(fd), unix.TIOCOUTQ)
		if err != nil { // a pipe has one queue, and it is that of the reader
			n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		}
	})
	return n, failed == nil && err == nil
}
