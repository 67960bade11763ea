// Package e2e tests the whole program with a real Ollama and with clients written by
// others. It is a module of its own, so that its dependencies stay out of the program's
// go.mod.
//
// On a machine without Ollama, ollama.sh builds one. Run it once before the tests: they
// would wait for it, but a build takes minutes and go test has a time limit.
package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"sync"
)

// Path returns the path of a file of this module, given relative to the module's root.
func Path(elem ...string) (string, error) {
	root, err := root()
	if err != nil {
		return "", fmt.Errorf("finding the e2e module: %w", err)
	}
	return filepath.Join(append([]string{root}, elem...)...), nil
}

// root is the root of this module. It stays the same while this process runs.
var root = sync.OnceValues(func() (string, error) {
	gomod, err := exec.Command("go", "env", "GOMOD").Output()
	return filepath.Dir(string(gomod)), err
})

// FreeAddress is an address of this machine at which nothing listens, such as "127.20.3.7:40123".
// A server that is started there, or started there again, finds its port free: where the loopback
// network has more than one host, as on Linux, this one is the caller's own, and programs that
// are given any free port get one of 127.0.0.1.
func FreeAddress() (string, error) {
	own := fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
	l, err := net.Listen("tcp", own)
	if err != nil {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
