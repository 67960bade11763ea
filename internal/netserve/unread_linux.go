package netserve

import (
	"os"

	"golang.org/x/sys/unix"
)

// unread returns how much of what was written to a pipe or a local socket has not been read at
// the other end: bytes of a pipe, and of a socket 0 if nothing, else a number without a defined unit.
// mayGoOn says that it is a socket, where a read which is under way may still return what is written
// next.
func unread(file *os.File) (n int, mayGoOn, known bool) {
	conn, err := file.SyscallConn()
	if err != nil {
		return 0, false, false
	}
	failed := conn.Control(func(fd uintptr) {
		n, err = unix.IoctlGetInt(int(fd), unix.TIOCOUTQ)
		mayGoOn = err == nil
		if err != nil { // a pipe has one queue, which is the reader's, and is locked while it is read
			n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		}
	})
	return n, mayGoOn, failed == nil && err == nil
}
