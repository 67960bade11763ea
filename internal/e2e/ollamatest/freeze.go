package ollamatest

import "syscall"

// Freeze stops a running server and its runners where they are: connections stay open,
// the kernel accepts new ones, and no answer comes. A frozen server can be killed.
func (s *Server) Freeze() error { return s.process.group.Signal(syscall.SIGSTOP) }

// Thaw lets a frozen server go on.
func (s *Server) Thaw() error { return s.process.group.Signal(syscall.SIGCONT) }
