//go:build unix

package netserve

import (
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// WatchHangup calls gone, once, when out is a file whose other end has been closed, as are the
// pipe or socket of a client that died. It does not write, and uses no processor time while it
// waits. The returned function ends the watch.
func WatchHangup(out io.Writer, gone func()) (stop func()) {
	file, ok := out.(*os.File)
	if !ok {
		return func() {}
	}
	conn, err := file.SyscallConn()
	if err != nil {
		return func() {}
	}
	wake, end, err := os.Pipe()
	if err != nil {
		return func() {}
	}
	var watch sync.WaitGroup
	watch.Go(func() {
		// Control, unlike file.Fd, leaves the file in the mode that it is in.
		_ = conn.Control(func(fd uintptr) {
			if hungUp(fd, wake.Fd()) {
				gone()
			}
		})
	})
	return func() {
		end.Close()
		watch.Wait()
		wake.Close()
	}
}

// hungUp waits until the other end of out is closed, which it reports, or that of wake. It
// treats files that cannot be polled as never closed.
func hungUp(out, wake uintptr) bool {
	// Hanging up is reported without being asked for, except on macOS.
	files := []unix.PollFd{
		{Fd: int32(out), Events: unix.POLLHUP},
		{Fd: int32(wake), Events: unix.POLLHUP},
	}
	for {
		_, err := unix.Poll(files, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return err == nil && files[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
	}
}
