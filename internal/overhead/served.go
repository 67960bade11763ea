package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

// served is a server over HTTP that was started to be measured.
type served struct {
	cmd *exec.Cmd
	url string // without a path
}

// listening is the line of our log that says where we listen.
var listening = regexp.MustCompile(`msg=listening .*address=(\S+)`)

// serveGateway starts our server as a gateway before the host at url.
func serveGateway(ctx context.Context, command []string, url string) (*served, error) {
	args := append(append([]string{}, command[1:]...), "--listen=127.0.0.1:0", "--gateway")
	s := &served{cmd: exec.CommandContext(ctx, command[0], args...)}
	s.cmd.Env = []string{"OLLAMA_HOST=" + url}
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	log := bufio.NewReader(stderr)
	for {
		line, err := log.ReadString('\n')
		if found := listening.FindStringSubmatch(line); found != nil {
			s.url = "http://" + found[1]
			go func() { _, _ = io.Copy(io.Discard, log) }() // or the server would wait for its log to be read
			return s, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s does not say where it listens: %w", filepath.Base(command[0]), errors.Join(err, s.cmd.Wait()))
		}
	}
}

// close ends the server.
func (s *served) close() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	impatience := time.AfterFunc(5*time.Second, func() { _ = s.cmd.Process.Kill() })
	defer impatience.Stop()
	_ = s.cmd.Wait() // its exit status is a matter for the server's tests
}

func (s *served) used() (time.Duration, error) { return usedBy(s.cmd.Process.Pid) }

func (s *served) peak() (int64, error) { return peakOf(s.cmd.Process.Pid) }
