package ollamatest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"ollama-mcp/internal/e2e"
	"ollama-mcp/internal/e2e/engine"
)

// install finds the program of a release. The newest gets a folder of its own with the
// programs that it wants for its models.
func (s *Server) install(ctx context.Context, r Release) (err error) {
	if s.bin, err = Binary(ctx, r); err != nil || r != Newest {
		return err
	}
	built := s.bin
	s.bin = filepath.Join(s.home, "bin", "ollama")
	s.engine = filepath.Join(s.home, "lib", "ollama")
	for _, dir := range []string{filepath.Dir(s.bin), s.engine} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	// Ollama looks for them beside itself, and follows symbolic links before it does.
	if err := linkOrCopy(built, s.bin); err != nil {
		return err
	}
	source, err := e2e.Path("engine", "llama-server")
	if err != nil {
		return err
	}
	server := filepath.Join(s.engine, "llama-server")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", server, ".")
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the engine: %w\n%s", err, out)
	}
	return os.Symlink(server, filepath.Join(s.engine, "llama-quantize"))
}

func linkOrCopy(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// Script tells the engine of a server of the newest release how to behave from now on. An
// engine that runs a model already does so too.
func (s *Server) Script(script engine.Script) error {
	if s.engine == "" {
		return errors.New("this Ollama has an engine of its own")
	}
	raw, err := json.Marshal(script)
	if err != nil {
		return err
	}
	path := filepath.Join(s.engine, engine.ScriptFile)
	// An engine may read it at this moment.
	if err := os.WriteFile(path+".new", raw, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
