package app

import (
	"os"
	"path/filepath"
)

// ownDir is where the program keeps files of its own. It is created if need be.
func ownDir() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, "ollama-mcp")
	return dir, os.MkdirAll(dir, 0o700)
}

// stateDir returns the named part of the directory for what outlasts a restart, which it
// creates if need be; "" if nothing is to be kept, or if nothing can be, which it logs.
func (s *service) stateDir(name string) string {
	if s.config.StateDir == "" {
		return ""
	}
	dir := filepath.Join(s.config.StateDir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		s.log.Warn("the state directory cannot be used, so this is not kept over a restart; see --state-dir", "what", name, "error", err)
		return ""
	}
	return dir
}
