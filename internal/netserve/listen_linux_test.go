package netserve

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSocketNeverHasWiderRights has the system tell of all that happens to the socket
// under its name: it appears with the rights that it ends with.
func TestSocketNeverHasWiderRights(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0)) // which takes no rights away
	dir := t.TempDir()
	events, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(events)
	if _, err := unix.InotifyAddWatch(events, dir, unix.IN_ALL_EVENTS); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "socket")
	l, err := listenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != os.ModeSocket|socketMode {
		t.Errorf("the socket has mode %v, %v", info.Mode(), err)
	}
	seen := make([]byte, 1<<16)
	n, err := unix.Read(events, seen)
	if err != nil {
		t.Fatal(err)
	}
	appeared := false
	for at := 0; at < n; {
		mask, size := uint32At(seen, at+4), uint32At(seen, at+12)
		name := string(bytes.TrimRight(seen[at+16:at+16+int(size)], "\x00"))
		at += 16 + int(size)
		switch {
		case name == "socket" && mask == unix.IN_CREATE:
			appeared = true
		case name == "socket" && mask&unix.IN_ATTRIB != 0:
			t.Error("the rights of the socket changed after it appeared")
		}
	}
	if !appeared {
		t.Error("the socket did not appear")
	}
	l.Close()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("when it is closed there are %v, %v", left, err)
	}
}

func TestSocketTakesNoOthersPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	first, err := listenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listenUnix(path); err == nil {
		t.Error("a second one listens in the place of the first")
	}
	if got := first.Addr().String(); got != path {
		t.Errorf("it listens at %s", got)
	}
	first.Close()
	first.Close()
	again, err := listenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the first, closed again, took the second away: %v", err)
	}
	again.Close()
}

func uint32At(b []byte, i int) uint32 {
	return uint32(b[i]) | uint32(b[i+1])<<8 | uint32(b[i+2])<<16 | uint32(b[i+3])<<24
}
