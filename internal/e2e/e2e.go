// Package e2e tests the whole program with a real Ollama and with clients written by
// others. It is a module of its own, so that its dependencies stay out of the program's
// go.mod.
//
// On a machine without Ollama, ollama.sh builds one. Run it once before the tests: they
// would wait for it, but a build takes minutes and go test has a time limit.
package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
)

// Path returns the path of a file of this module, given relative to the module's root.
func Path(elem ...string) (string, error) {
	gomod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("finding the e2e module: %w", err)
	}
	return filepath.Join(append([]string{filepath.Dir(string(gomod))}, elem...)...), nil
}
