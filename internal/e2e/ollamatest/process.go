package ollamatest

import (
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A process is a program that runs as the head of a group, so that it can be
// ended together with the processes that it started.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

func startProcess(bin string, args, env []string, output *log) (*process, error) {
	cmd := exec.Command(bin, args...)
	cmd.Env = env
	cmd.Stdout = output
	cmd.Stderr = output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // how it ended is in its log
	}()
	return p, nil
}

// stop lets the program end its children and itself, for as long as limit, and
// then kills what is left.
func (p *process) stop(limit time.Duration) {
	_ = syscall.Kill(p.cmd.Process.Pid, syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(limit):
	}
	p.kill()
}

// kill ends the whole group and returns when all its output has been read. That
// there may be nobody left to kill is fine.
func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
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
