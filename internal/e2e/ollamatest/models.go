package ollamatest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/ollama/ollama/api"

	"ollama-mcp/internal/e2e/tinymodels"
)

// create makes the models known to the server, through the same calls that
// "ollama create" uses.
func (s *Server) create(ctx context.Context, models []tinymodels.Model) error {
	for _, m := range models {
		if err := s.createModel(ctx, m); err != nil {
			return fmt.Errorf("creating %s: %w", m.Name, err)
		}
	}
	return nil
}

func (s *Server) createModel(ctx context.Context, m tinymodels.Model) error {
	path := filepath.Join(s.home, m.Name+".gguf")
	defer os.Remove(path)
	if err := m.WriteFile(path); err != nil {
		return err
	}
	digest, err := s.upload(ctx, path)
	if err != nil {
		return err
	}
	request := &api.CreateRequest{
		Model:      m.Name,
		Files:      map[string]string{filepath.Base(path): digest},
		Template:   m.Template,
		Parameters: m.Parameters,
	}
	var status string
	err = s.client.Create(ctx, request, func(p api.ProgressResponse) error {
		status = p.Status
		return nil
	})
	// The client takes a stream that was cut for one that ended well.
	if err == nil && status != "success" {
		err = fmt.Errorf("stopped at %q", status)
	}
	return err
}

// upload gives the server a file and returns the digest it is known by there.
func (s *Server) upload(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()

	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	digest := fmt.Sprintf("sha256:%x", hash.Sum(nil))
	return digest, s.client.CreateBlob(ctx, digest, f)
}
