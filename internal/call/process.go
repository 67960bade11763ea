package call

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os/exec"
	"syscall"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
)

// process is a server that we have started, and speak to on its stdin and stdout.
type process struct {
	cmd      *exec.Cmd
	stdin    io.WriteCloser
	messages chan *message // closed at the end of its stdout
	closed   bool
	ended    error // how it has ended, once it is closed
}

// startProcess starts a server. Its stderr goes to stderr.
func startProcess(command []string, stderr io.Writer) (*process, error) {
	// The end of a context must not kill the server, which would leave Ollama working: the server
	// gets a cancellation, and then ends by itself.
	p := &process{cmd: exec.Command(command[0], command[1:]...), messages: make(chan *message)}
	p.cmd.Stderr = stderr
	setApart(p.cmd)
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.read(bufio.NewReader(stdout))
	return p, nil
}

// read reads messages until the end of stdout.
func (p *process) read(stdout *bufio.Reader) {
	defer close(p.messages)
	for {
		line, err := stdout.ReadBytes('\n')
		if err != nil {
			return
		}
		m := new(message)
		if json.Unmarshal(line, m) == nil { // what is no message is nothing that we wait for
			p.messages <- m
		}
	}
}

func (p *process) ask(ctx context.Context, r *request, told func(*message)) (*message, error) {
	if err := p.send(r); err != nil {
		return nil, errEnded
	}
	for {
		select {
		case m, ok := <-p.messages:
			switch {
			case !ok:
				return nil, errEnded
			case m.Method != "":
				told(m)
			case m.ID == r.ID:
				return m, nil
			}
		case <-ctx.Done():
			_ = p.send(map[string]any{ // if this fails, the server has ended
				"jsonrpc": mcp.JSONRPC_VERSION, "method": "notifications/cancelled",
				"params": map[string]any{"requestId": r.ID, "reason": "interrupted"},
			})
			return nil, ctx.Err()
		}
	}
}

func (p *process) send(message any) error {
	line, err := json.Marshal(message)
	if err != nil {
		return err
	}
	_, err = p.stdin.Write(append(line, '\n'))
	return err
}

// How long a server may take to end once its stdin is closed, before it gets a signal, and before
// it is killed.
const (
	endTime  = 2 * time.Second
	killTime = 5 * time.Second
)

func (p *process) close() error {
	if p.closed {
		return p.ended
	}
	p.closed = true
	_ = p.stdin.Close()
	defer time.AfterFunc(endTime, func() { _ = p.cmd.Process.Signal(syscall.SIGTERM) }).Stop()
	defer time.AfterFunc(killTime, func() { _ = p.cmd.Process.Kill() }).Stop()
	for range p.messages { // until the end of its stdout, or it could not write the rest
	}
	p.ended = p.cmd.Wait()
	return p.ended
}
