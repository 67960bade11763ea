package netserve

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Room returns a function that reports whether a write of up to 4,096 bytes to out would not wait
// for its reader. It is false where that is not known: for all but pipes and sockets, and on
// systems other than Linux. It must not be called concurrently.
func Room(out io.Writer) func() bool {
	never := func() bool { return false }
	file, ok := out.(*os.File)
	if !ok {
		return never
	}
	about, err := file.Stat()
	if err != nil || about.Mode()&(os.ModeNamedPipe|os.ModeSocket) == 0 {
		return never
	}
	conn, err := file.SyscallConn()
	if err != nil {
		return never
	}
	room, files := false, []unix.PollFd{{Events: unix.POLLOUT}}
	ask := func(fd uintptr) { // made once, as a call would otherwise allocate
		// A pipe can be written to if a page of it is free, and a socket if a quarter of its buffer is.
		files[0].Fd, files[0].Revents = int32(fd), 0
		n, err := unix.Poll(files, 0)
		room = n == 1 && err == nil && files[0].Revents == unix.POLLOUT
	}
	return func() bool {
		room = false
		err := conn.Control(ask)
		return err == nil && room
	}
}
