package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A process is a server that was started to be measured, and the client it serves.
type process struct {
	*client
	cmd    *exec.Cmd
	stdin  io.Closer
	stderr bytes.Buffer  // to be read once the process has ended
	heard  chan struct{} // closed when the process has closed its output
	ready  time.Duration // from starting it until it had listed its tools
}

// start runs a server for the host at url. Its environment is otherwise empty but for what env
// adds, so that no settings of the user take part.
func start(ctx context.Context, command []string, url string, env ...string) (*process, error) {
	p := &process{cmd: exec.Command(command[0], command[1:]...), heard: make(chan struct{})}
	p.cmd.Env = append([]string{"OLLAMA_HOST=" + url}, env...)
	p.cmd.Stderr = &p.stderr
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.client, p.stdin = newClient(stdin), stdin
	go func() {
		defer close(p.heard)
		p.listen(stdout)
	}()
	if err := p.greet(ctx); err != nil {
		p.close()
		return nil, fmt.Errorf("%s: %w\n%s", filepath.Base(command[0]), err, &p.stderr)
	}
	p.ready = time.Since(begun)
	return p, nil
}

// close closes the input and waits for the process to end, for at most five seconds.
func (p *process) close() {
	_ = p.stdin.Close()
	impatience := time.AfterFunc(5*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer impatience.Stop()
	<-p.heard
	_ = p.cmd.Wait() // its exit status is a matter for the server's tests
}

// used is the processor time that the process has used so far.
func (p *process) used() (time.Duration, error) { return usedBy(p.cmd.Process.Pid) }

// peak is the most memory that the process has held, in bytes.
func (p *process) peak() (int64, error) { return peakOf(p.cmd.Process.Pid) }

// usedBy is the processor time that a process has used so far. It is added up
// from its threads, which Linux counts in nanoseconds; the sum that Linux
// keeps itself is in hundredths of a second.
func usedBy(pid int) (time.Duration, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(threads) == 0 {
		return 0, errors.New("no processor times under /proc: the benchmark needs Linux")
	}
	var sum time.Duration
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		if err != nil {
			return 0, err
		}
		var running time.Duration
		if _, err := fmt.Sscan(string(text), &running); err != nil {
			return 0, fmt.Errorf("%s: %w", thread, err)
		}
		sum += running
	}
	return sum, nil
}

// peakOf is the most memory that a process has held, in bytes.
func peakOf(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, line, _ := strings.Cut(string(status), "VmHWM:")
	var kilobytes int64
	if _, err := fmt.Sscan(line, &kilobytes); err != nil {
		return 0, fmt.Errorf("VmHWM: %w", err)
	}
	return kilobytes << 10, nil
}
