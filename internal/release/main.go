// Command release makes all that a release consists of, from one commit: binaries and archives
// for six platforms, packages for Debian and Fedora, a container image, bundles for Claude
// Desktop, packages for npm, a Homebrew formula, manifests, and for each of them checksums and
// a bill of materials.
//
// It promises the same bytes for the same commit and version: every time in them is that of the
// commit. It needs no network beyond the module proxy, no Docker and no root. Signing and
// publishing are left to the workflow. With the argument check it installs what it has made and
// this machine can run, and calls it; with changelog it dates the part of the changelog that is to
// be released.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// release is one release under way.
type release struct {
	home
	version string // such as v0.1.0
	commit  string
	date    time.Time // of the commit
	tagged  bool      // the commit has a tag of that version
	root    string    // of the repository
	out     string    // directory that everything goes to
	work    string    // directory for what is not released

	dirs map[string]string // see moduleDirs; nil until they are known
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	version := flag.String("version", "", "version of the release, such as v0.1.0; default: that of the commit")
	root := flag.String("root", "../..", "directory of the repository")
	out := flag.String("out", "../../dist/release", "directory to write to")
	flag.Parse()
	if err := run(ctx, flag.Arg(0), *version, *root, *out); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, what, version, root, out string) error {
	r, err := newRelease(ctx, version, root, out)
	if err != nil {
		return err
	}
	switch what {
	case "check":
		return r.check(ctx)
	case "changelog":
		return r.dateChangelog(time.Now().UTC())
	}
	if err := r.checkChangelog(); err != nil {
		return err
	}
	if err := os.RemoveAll(r.out); err != nil {
		return err
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	if r.work, err = os.MkdirTemp("", "release"); err != nil {
		return err
	}
	defer os.RemoveAll(r.work)
	programs, err := r.build(ctx, platforms...)
	if err != nil {
		return err
	}
	return r.pack(ctx, programs)
}

// newRelease finds out what is to be released.
func newRelease(ctx context.Context, version, root, out string) (*release, error) {
	r := &release{home: ourHome(), version: version}
	var err error
	if r.root, err = filepath.Abs(root); err != nil {
		return nil, err
	}
	if r.out, err = filepath.Abs(out); err != nil {
		return nil, err
	}
	git := func(args ...string) string {
		text, failed := exec.CommandContext(ctx, "git", append([]string{"-C", r.root}, args...)...).Output()
		if failed != nil && err == nil {
			err = fmt.Errorf("git %s: %w", strings.Join(args, " "), failed)
		}
		return strings.TrimSpace(string(text))
	}
	r.commit = git("rev-parse", "HEAD")
	date := git("log", "-1", "--format=%cI")
	if err != nil {
		return nil, err
	}
	if r.date, err = time.Parse(time.RFC3339, date); err != nil {
		return nil, err
	}
	r.date = r.date.UTC()
	tags := strings.Fields(git("tag", "--points-at", "HEAD", "--list", "v*", "--sort=-v:refname"))
	if r.version == "" && len(tags) > 0 {
		r.version = tags[0]
	}
	r.tagged = slices.Contains(tags, r.version)
	if r.version == "" {
		r.version = "v0.0.0-" + r.date.Format("20060102150405") + "-" + r.commit[:12]
	}
	return r, err
}

// number is the version without its v.
func (r *release) number() string { return strings.TrimPrefix(r.version, "v") }

// stem is how the names of the files for a platform begin.
func (r *release) stem(p program) string {
	return "ollama-mcp_" + r.number() + "_" + p.os + "_" + p.arch
}

// pack makes everything from the programs. It is the part that does not compile.
func (r *release) pack(ctx context.Context, programs []program) error {
	extras, err := r.extras(ctx, programs)
	if err != nil {
		return err
	}
	tools, err := r.toolsOf(ctx, programs)
	if err != nil {
		return err
	}
	if err := r.boms(programs); err != nil {
		return err
	}
	for _, p := range programs {
		if err := r.archive(p, extras); err != nil {
			return err
		}
		if err := r.bundle(p, tools); err != nil {
			return err
		}
		if p.os == "linux" {
			if err := r.linuxPackages(p, extras); err != nil {
				return err
			}
		}
	}
	if err := r.npmPackages(programs); err != nil {
		return err
	}
	if err := r.image(programs); err != nil {
		return err
	}
	if err := r.manifests(programs); err != nil {
		return err
	}
	return r.checksums()
}
