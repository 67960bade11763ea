package ollamatest

import (
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"ollama-mcp/internal/e2e/procgroup"
)

// A process is a program that has been started. It ends together with the processes
// that it has started itself, at the latest when this program ends.
type process struct {
	cmd   *exec.Cmd
	group *procgroup.Group
	ended chan struct{}
}

func startProcess(bin string, args, env []string, output *log) (*process, error) {
	cmd := exec.Command(bin, args...)
	cmd.Env = env
	cmd.Stdout = output
	cmd.Stderr = output
	group, err := procgroup.Start(cmd)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, group: group, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // how it ended is in its log
	}()
	return p, nil
}

// stop lets the program end its children and itself within limit, and then kills what
// is left.
func (p *process) stop(limit time.Duration) {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-p.ended:
	case <-time.After(limit):
	}
	p.kill()
}

// kill ends the whole group and returns when all its output has been read.
func (p *process) kill() {
	p.group.Kill()
	<-p.ended
}

// A log collects what processes write.
type log struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
