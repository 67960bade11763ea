package ollamatest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Crash kills the processes that run the models, as a GPU that is out of memory does,
// and says how many there were. The server itself goes on.
func (s *Server) Crash() (runners int, err error) {
	server := s.process.cmd.Process.Pid
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	for _, file := range all {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended meanwhile
		}
		// After the name, which is in parentheses: state, parent, group.
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 3 || fields[2] != strconv.Itoa(server) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil || pid == server {
			continue
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return runners, fmt.Errorf("runner %d: %w", pid, err)
		}
		runners++
	}
	return runners, nil
}
