//go:build !race

package systems_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// One architecture of each system is enough: no file of ours is for one architecture alone.
var systems = map[string]string{"darwin": "arm64", "windows": "amd64"}

func TestProgramCompilesForOtherSystems(t *testing.T) {
	for system, arch := range systems {
		t.Run(system, func(t *testing.T) {
			t.Parallel()
			if err := compiles(t, filepath.Join("..", ".."), system, arch); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFileThatDoesNotCompileForItsSystemIsFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":          "module broken\n\ngo 1.26\n",
		"main.go":         "package main\n\nfunc main() { println(status()) }\n",
		"main_other.go":   "//go:build !windows\n\npackage main\n\nfunc status() int { return 0 }\n",
		"main_windows.go": "package main\n\nimport \"syscall\"\n\nfunc status() int { return syscall.Umask(0) }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for system, arch := range systems {
		err := compiles(t, dir, system, arch)
		if found := err != nil && strings.Contains(err.Error(), "main_windows.go:5:36: undefined: syscall.Umask"); found != (system == "windows") {
			t.Errorf("%s: got %v", system, err)
		}
	}
}

// compiles type-checks the program in a directory, and all that it imports, with the files that
// are for a system.
func compiles(t *testing.T, dir, system, arch string) error {
	t.Helper()
	packages, err := list(dir, system, arch)
	if err != nil {
		t.Fatal(err)
	}
	files, sizes := token.NewFileSet(), types.SizesFor("gc", arch)
	checked := map[string]*types.Package{"unsafe": types.Unsafe}
	var all []error
	for _, p := range packages {
		if checked[p.ImportPath] != nil {
			continue
		}
		parsed, err := p.parse(files)
		if err != nil {
			all = append(all, err)
			continue
		}
		config := types.Config{
			Importer: importer(func(path string) (*types.Package, error) {
				if own, ok := p.ImportMap[path]; ok { // the standard library has copies of its own
					path = own
				}
				if found := checked[path]; found != nil {
					return found, nil
				}
				return nil, fmt.Errorf("%s is not listed", path)
			}),
			Sizes: sizes,
			// What others have written is for them to compile.
			IgnoreFuncBodies: !p.isOurs(), DisableUnusedImportCheck: !p.isOurs(),
			Error: func(err error) { all = append(all, err) },
		}
		if p.Module != nil {
			config.GoVersion = "go" + p.Module.GoVersion
		}
		checked[p.ImportPath], _ = config.Check(p.ImportPath, files, parsed, nil) // its errors are those of Error
	}
	return errors.Join(all...)
}

type importer func(path string) (*types.Package, error)

func (i importer) Import(path string) (*types.Package, error) { return i(path) }

// A listed package is what go list says of one.
type listed struct {
	ImportPath, Dir string
	GoFiles         []string
	ImportMap       map[string]string // of paths as they stand in the source
	Module          *struct {         // nil for the standard library
		GoVersion string
		Main      bool
	}
}

func (p listed) isOurs() bool { return p.Module != nil && p.Module.Main }

func (p listed) parse(files *token.FileSet) (parsed []*ast.File, err error) {
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, f)
	}
	return parsed, nil
}

// list lists the packages of a program, each after those that it imports.
func list(dir, system, arch string) (all []listed, err error) {
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Dir,GoFiles,ImportMap,Module", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH="+arch, "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	for packages := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := packages.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
}
