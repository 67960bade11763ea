package ollamatest

import "syscall"

// Freeze halts a server that runs, and its runners, where they are: connections stay
// open, new ones are taken, and no answer comes. A frozen server can be killed.
func (s *Server) Freeze() error { return s.signal(syscall.SIGSTOP) }

// Thaw lets a frozen server go on.
func (s *Server) Thaw() error { return s.signal(syscall.SIGCONT) }

func (s *Server) signal(which syscall.Signal) error {
	return syscall.Kill(-s.process.cmd.Process.Pid, which)
}
