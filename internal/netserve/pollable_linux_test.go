package netserve_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ollama-mcp/internal/netserve"
)

// inherited is a file as a program has its standard input: reading it blocks a thread.
func inherited(t *testing.T, fd int) *os.File {
	t.Helper()
	f := os.NewFile(uintptr(fd), "stdin")
	t.Cleanup(func() { f.Close() })
	return f
}

// blocks reports whether those who share the file block when they read it.
func blocks(t *testing.T, f *os.File) (is bool) {
	t.Helper()
	conn, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Control(func(fd uintptr) {
		flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
		if err != nil {
			t.Error(err)
		}
		is = flags&unix.O_NONBLOCK == 0
	})
	return is
}

func TestReadOfAPollablePipeAndSocketCanBeWokenAndTheyBlockAgainLater(t *testing.T) {
	var pipe [2]int
	if err := syscall.Pipe2(pipe[:], syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	sockets, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, fds := range map[string][2]int{"pipe": pipe, "socket": sockets} {
		in, theirs := inherited(t, fds[0]), inherited(t, fds[1])
		file, restore := netserve.Pollable(in, os.Stdout, os.Stderr)
		if _, err := theirs.WriteString("hi"); err != nil {
			t.Fatal(err)
		}
		text := make([]byte, 10)
		if n, err := file.Read(text); err != nil || string(text[:n]) != "hi" {
			t.Errorf("%s: read %q, %v", name, text[:n], err)
		}
		if err := file.SetReadDeadline(time.Now()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := file.Read(text); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: a read was not woken: %v", name, err)
		}
		restore()
		if !blocks(t, in) {
			t.Errorf("%s: it still does not block", name)
		}
	}
}

func TestFilesThatOthersUseStayAsTheyAre(t *testing.T) {
	sockets, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	socket, _ := inherited(t, sockets[0]), inherited(t, sockets[1])
	also, err := syscall.Dup(sockets[0])
	if err != nil {
		t.Fatal(err)
	}
	disk, err := os.Create(filepath.Join(t.TempDir(), "in"))
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	pollable, toPollable, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pollable.Close()
	defer toPollable.Close()
	for name, f := range map[string]*os.File{"the socket of stdout": socket, "a file": disk, "the null device": null, "what can be polled already": pollable} {
		before := blocks(t, f)
		file, restore := netserve.Pollable(f, os.Stderr, inherited(t, also))
		if file != f || blocks(t, f) != before {
			t.Errorf("%s was changed", name)
		}
		restore()
	}
}
