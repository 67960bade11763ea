package app

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"ollama-mcp/internal/durable"
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

// minKey is how long a secret from a file must be, in bytes.
const minKey = 32

// sessionKey returns the secret that signs the ids of sessions: what the named file holds, or
// without a name, a random one that is kept in the user's configuration directory, so that
// the next server of the same user has it too. Where it cannot be kept, sessions end with the
// process.
func (s *service) sessionKey() ([]byte, error) {
	if file := s.config.SessionKeyFile; file != "" {
		key, err := readKey(file)
		if err != nil {
			return nil, fmt.Errorf("session-key-file: %w", err)
		}
		return key, nil
	}
	key, err := keptSessionKey()
	if err != nil {
		s.log.Warn("the key for session ids cannot be kept, so clients of older protocols lose their session with a restart; set --session-key-file", "error", err)
		return nil, nil
	}
	return key, nil
}

// readKey reads a key from a file. Blanks around it, such as the end of a line, are no
// part of it.
func readKey(file string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	key := bytes.TrimSpace(text)
	if len(key) < minKey {
		return nil, fmt.Errorf("%s has %d bytes, and must have at least %d, such as those of `openssl rand -hex 32`", file, len(key), minKey)
	}
	return key, nil
}

// keptSessionKey reads the key of the user, and makes one if there is none.
func keptSessionKey() ([]byte, error) {
	dir, err := ownDir()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "session.key")
	key, err := readKey(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := durable.Create(file, []byte(rand.Text()+rand.Text()+"\n")); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return readKey(file)
}
