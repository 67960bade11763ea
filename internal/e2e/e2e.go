// Package e2e tries the whole program against a real Ollama and against clients
// that others wrote. It is a module of its own, so that what it needs for that
// stays out of the program's go.mod.
//
// Where the machine has no Ollama, ollama.sh builds one. Run it once before the
// tests: they would wait for it, but a build takes minutes and go test has a
// time limit.
package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
)

// Path is where a file of this module lies, named relative to its root.
func Path(elem ...string) (string, error) {
	gomod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("finding the e2e module: %w", err)
	}
	return filepath.Join(append([]string{filepath.Dir(string(gomod))}, elem...)...), nil
}
