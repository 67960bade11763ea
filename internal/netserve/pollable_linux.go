package netserve

import (
	"os"

	"golang.org/x/sys/unix"
)

// Pollable returns a file that reads what in reads, and waits for it in Go's poller. A Read of standard
// input keeps a thread waiting instead, which costs more with each message. It returns in itself where
// that does not help, as for a file on a disk, or where others would notice, as with a terminal, and with
// a socket that is also one of shared: their reads and writes would not block either. restore has to be
// called when nothing is read any more.
func Pollable(in *os.File, shared ...*os.File) (file *os.File, restore func()) {
	nothing := func() {}
	about, err := in.Stat()
	if err != nil || about.Mode()&(os.ModeNamedPipe|os.ModeSocket) == 0 {
		return in, nothing
	}
	for _, other := range shared {
		if is, err := other.Stat(); err != nil || os.SameFile(about, is) {
			return in, nothing
		}
	}
	conn, err := in.SyscallConn()
	if err != nil {
		return in, nothing
	}
	_ = conn.Control(func(fd uintptr) { // unlike in.Fd, it leaves the mode as it is
		flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
		if err != nil || flags&unix.O_NONBLOCK != 0 {
			return
		}
		copied, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return
		}
		if unix.SetNonblock(copied, true) == nil { // of all that share it with us too
			file = os.NewFile(uintptr(copied), in.Name())
		} else {
			unix.Close(copied)
		}
	})
	if file == nil {
		return in, nothing
	}
	return file, func() {
		_ = conn.Control(func(fd uintptr) { _ = unix.SetNonblock(int(fd), false) })
		file.Close()
	}
}
