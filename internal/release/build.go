package main

import (
	"bytes"
	"context"
	_ "embed" // for the flags
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// program is the binary of one platform.
type program struct {
	os, arch string
	file     string
}

var platforms = []program{
	{os: "linux", arch: "amd64"},
	{os: "linux", arch: "arm64"},
	{os: "darwin", arch: "amd64"},
	{os: "darwin", arch: "arm64"},
	{os: "windows", arch: "amd64"},
	{os: "windows", arch: "arm64"},
}

// name is the program's name within archives.
func (p program) name() string {
	if p.os == "windows" {
		return "ollama-mcp.exe"
	}
	return "ollama-mcp"
}

// isOurs reports whether this machine can run the program.
func (p program) isOurs() bool { return p.os == runtime.GOOS && p.arch == runtime.GOARCH }

// maxSize is the size in bytes that the program may have.
const maxSize = 20_000_000

//go:embed goflags
var flagLines string

// buildFlags are the flags of "go build" that every build of the program has.
func buildFlags() (flags []string) {
	for line := range strings.Lines(flagLines) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") {
			flags = append(flags, line)
		}
	}
	return flags
}

// build compiles the program for the platforms.
func (r *release) build(ctx context.Context, programs ...program) ([]program, error) {
	programs = slices.Clone(programs)
	for i := range programs {
		p := &programs[i]
		p.file = filepath.Join(r.work, p.os+"-"+p.arch, p.name())
		stamp := fmt.Sprintf("-s -w -funcalign=8 -X 'ollama-mcp/internal/app.release=%s %s %s'", r.version, r.commit, r.date.Format(time.RFC3339))
		// What git says of the directory is left out: a file beside the sources would change it.
		args := append([]string{"build"}, buildFlags()...)
		cmd := exec.CommandContext(ctx, "go", append(args, "-buildvcs=false", "-ldflags", stamp, "-o", p.file, ".")...)
		cmd.Dir, cmd.Env = r.root, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOOS="+p.os, "GOARCH="+p.arch)
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		fmt.Printf("building for %s/%s\n", p.os, p.arch)
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("go build for %s/%s: %w\n%s", p.os, p.arch, err, said.String())
		}
		info, err := os.Stat(p.file)
		if err != nil {
			return nil, err
		}
		if info.Size() > maxSize {
			return nil, fmt.Errorf("the program for %s/%s has %d bytes, more than the %d that it may have", p.os, p.arch, info.Size(), maxSize)
		}
	}
	return programs, nil
}

// file is a file of an archive or a package.
type file struct {
	name string // with slashes
	data []byte
	exec bool
}

// extras are the files beside the program: papers, completions, and the manual.
func (r *release) extras(ctx context.Context, programs []program) (all []file, err error) {
	for _, name := range []string{"LICENSE", "README.md", "CHANGELOG.md"} {
		data, err := os.ReadFile(filepath.Join(r.root, name))
		if err != nil {
			return nil, err
		}
		all = append(all, file{name: name, data: data})
	}
	ours, err := runnable(programs)
	if err != nil {
		return nil, err
	}
	for name, args := range map[string][]string{
		"completions/ollama-mcp.bash": {"completion", "bash"}, "completions/_ollama-mcp": {"completion", "zsh"},
		"completions/ollama-mcp.fish": {"completion", "fish"}, "completions/ollama-mcp.ps1": {"completion", "powershell"},
		"man/ollama-mcp.1": {"manual"},
	} {
		data, err := exec.CommandContext(ctx, ours.file, args...).Output()
		if err != nil {
			return nil, fmt.Errorf("%v: %w", args, err)
		}
		all = append(all, file{name: name, data: data})
	}
	licences, err := r.thirdParty(programs)
	if err != nil {
		return nil, err
	}
	all = append(all, file{name: "THIRD-PARTY-LICENSES.txt", data: licences})
	sortFiles(all)
	return all, nil
}

// runnable is the program that this machine can run.
func runnable(programs []program) (program, error) {
	for _, p := range programs {
		if p.isOurs() {
			return p, nil
		}
	}
	return program{}, fmt.Errorf("a release can be made on the systems that it is for, and not on %s/%s", runtime.GOOS, runtime.GOARCH)
}
