package netserve

import (
	"os"

	"golang.org/x/sys/unix"
)

// unread returns how much of what was written to a pipe or a local socket has not been read at
// the other end: 0 if nothing, else a number without a defined unit.
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
