package app

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ollama-mcp/internal/config"
)

func TestStateDirectoryIsMadeWhenNeededAndItsTroubleIsLogged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "missing")
	for _, c := range []struct{ option, want, logged string }{
		{"", "", ""},
		{missing, filepath.Join(missing, "jobs"), ""},
		{file, "", "the state directory cannot be used"},
	} {
		var log bytes.Buffer
		s := &service{config: config.Config{StateDir: c.option}, log: slog.New(slog.NewTextHandler(&log, nil))}
		if got := s.stateDir("jobs"); got != c.want {
			t.Errorf("--state-dir %q: %q, want %q", c.option, got, c.want)
		}
		if c.want != "" {
			if info, err := os.Stat(c.want); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("--state-dir %q: %v, %v", c.option, info, err)
			}
		}
		if c.logged == "" && log.Len() > 0 || !strings.Contains(log.String(), c.logged) {
			t.Errorf("--state-dir %q logs %q, want %q", c.option, log.String(), c.logged)
		}
	}
}
