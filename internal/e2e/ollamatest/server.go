// Package ollamatest runs a real Ollama server for a test or a demonstration:
// one of its own, on a free port of the loopback address, with a home that is
// gone afterwards. It leaves alone whatever Ollama the machine already has.
package ollamatest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ollama/ollama/api"

	"ollama-mcp/internal/e2e"
	"ollama-mcp/internal/e2e/tinymodels"
)

// Options say how to run a server. The zero value is a server with no models.
type Options struct {
	// Release is the version to run. ollama.sh finds or builds it, which takes minutes
	// the first time on a machine.
	Release Release

	// Bin is the program to run in place of that of the release.
	Bin string

	// Models are created before Launch returns.
	Models []tinymodels.Model

	// Env adds to the server's environment, such as "OLLAMA_MAX_LOADED_MODELS=1",
	// and wins over what is set by default: OLLAMA_NUM_PARALLEL=4, since with one
	// caller at a time little can be tested, and OLLAMA_DEBUG=1, so that a
	// cancelled call can be seen in the log. OLLAMA_ variables in the environment of
	// the tests have no effect.
	Env []string
}

// A Server is a running Ollama. One goroutine at a time may start and end it;
// URL, Client and Log are for all.
type Server struct {
	bin     string
	home    string
	engine  string // folder of the engine that stands in; empty if the server has its own
	addr    string
	env     []string
	client  *api.Client
	log     log
	process *process // nil while killed
}

const (
	startLimit = 2 * time.Minute // until a server answers for the first time; only catches one that never would
	stopLimit  = 3 * time.Second // until a server that was asked to end is killed
)

// Launch starts a server and waits until it answers and has its models. The caller
// must Close it. If the program ends without doing so, in whatever way, the server and
// its runners are killed, and only its home is left behind.
func Launch(ctx context.Context, opts Options) (*Server, error) {
	addr, err := e2e.FreeAddress()
	if err != nil {
		return nil, err
	}
	home, err := os.MkdirTemp("", "ollamatest-")
	if err != nil {
		return nil, err
	}

	s := &Server{bin: opts.Bin, home: home, addr: addr, env: environment(home, addr, opts.Env)}
	s.client = api.NewClient(&url.URL{Scheme: "http", Host: addr}, &http.Client{})
	if s.bin == "" {
		if err := s.install(ctx, opts.Release); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	if err := s.begin(ctx, opts.Models); err != nil {
		return nil, errors.Join(fmt.Errorf("%w; the end of its log:\n%s", err, s.LogTail()), s.Close())
	}
	return s, nil
}

func (s *Server) begin(ctx context.Context, models []tinymodels.Model) error {
	if err := s.Restart(ctx); err != nil {
		return err
	}
	return s.create(ctx, models)
}

// URL is the server's address, such as "http://127.20.3.7:40123".
func (s *Server) URL() string { return "http://" + s.addr }

// Models is the folder with the server's models: manifests, and blobs by their digest.
func (s *Server) Models() string { return filepath.Join(s.home, "models") }

// Client is Ollama's own client for this server.
func (s *Server) Client() *api.Client { return s.client }

// Log is what the server and its runners have written so far, over all restarts.
func (s *Server) Log() string { return s.log.String() }

// LogTail is the end of the log, short enough to show with a failure.
func (s *Server) LogTail() string {
	lines := strings.SplitAfter(s.Log(), "\n")
	return strings.Join(lines[max(0, len(lines)-60):], "")
}

// Restart starts the server again, on the same address and with the same
// models, after killing it if it still runs.
func (s *Server) Restart(ctx context.Context) error {
	s.Kill()
	p, err := startProcess(s.bin, []string{"serve"}, s.env, &s.log)
	if err != nil {
		return fmt.Errorf("starting Ollama: %w", err)
	}
	s.process = p
	return s.awaitAnswer(ctx)
}

// Kill ends the server and its runners at once, in the middle of their work, as a
// crash would.
func (s *Server) Kill() {
	if s.process != nil {
		s.process.kill()
		s.process = nil
	}
}

// Close asks the server to end, kills it if it does not, and removes its home.
func (s *Server) Close() error {
	if s.process != nil {
		s.process.stop(stopLimit)
		s.process = nil
	}
	return os.RemoveAll(s.home)
}

func (s *Server) awaitAnswer(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("no answer from Ollama in %s", startLimit))
	defer cancel()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for s.client.Heartbeat(ctx) != nil {
		select {
		case <-s.process.ended:
			return errors.New("the Ollama server ended by itself")
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-poll.C:
		}
	}
	return nil
}

// environment is the caller's without its settings for Ollama, and with ours.
func environment(home, addr string, extra []string) []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "OLLAMA_") {
			env = append(env, kv)
		}
	}
	env = append(env,
		"HOME="+home,
		"OLLAMA_MODELS="+filepath.Join(home, "models"),
		"OLLAMA_HOST="+addr,
		"OLLAMA_DEBUG=1",
		"OLLAMA_NUM_PARALLEL=4",
	)
	return append(env, extra...)
}
