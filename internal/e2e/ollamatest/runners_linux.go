package ollamatest

import (
	"fmt"
	"slices"
	"syscall"

	"ollama-mcp/internal/e2e/procgroup"
)

// Crash kills the processes that run the models, as a GPU that is out of memory does,
// and returns how many there were. The server itself goes on.
func (s *Server) Crash() (runners int, err error) { return s.signalRunners(syscall.SIGKILL) }

// Hang stops the processes that run the models where they are, and returns how many
// there were. The server itself goes on: it lists its models, says which are loaded,
// accepts requests for them, and never answers these.
func (s *Server) Hang() (runners int, err error) { return s.signalRunners(syscall.SIGSTOP) }

// Resume lets runners that hang go on.
func (s *Server) Resume() (runners int, err error) { return s.signalRunners(syscall.SIGCONT) }

func (s *Server) signalRunners(which syscall.Signal) (runners int, err error) {
	server := s.process.group.ID()
	pids, err := procgroup.Members(server)
	if err != nil {
		return 0, err
	}
	pids = slices.DeleteFunc(pids, func(pid int) bool { return pid == server })
	for _, pid := range pids {
		if err := syscall.Kill(pid, which); err != nil {
			return runners, fmt.Errorf("runner %d: %w", pid, err)
		}
		runners++
	}
	return runners, nil
}
