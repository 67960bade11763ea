package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	gitignore "github.com/sabhiram/go-gitignore"
)

// maxVisited is how many entries of directories are looked at for one call.
const maxVisited = 200_000

// find returns where the files are that a path names, or that a pattern has matched. A path of an
// existing file is no pattern, whatever characters it has. budget is how many entries of directories may
// still be looked at.
func (d *Dirs) find(ctx context.Context, name string, most int, budget *int) (all []place, matched bool, err error) {
	where, err := places(d.readable(), name, read)
	if err != nil {
		return nil, false, err
	}
	var problem error
	for _, p := range where {
		if info, err := p.stat(); err == nil {
			return []place{p}, false, isRegular(info)
		} else if problem == nil || errors.Is(problem, fs.ErrNotExist) && !errors.Is(err, fs.ErrNotExist) {
			problem = err
		}
	}
	if !strings.ContainsAny(name, "*?[{") {
		return nil, false, cause(problem)
	}
	for _, p := range where {
		matches, err := p.glob(ctx, most, budget)
		if err != nil {
			return nil, false, cause(err)
		}
		all = append(all, matches...)
	}
	if len(all) == 0 {
		return nil, false, errors.New("matches no file; files that a .gitignore names are left out")
	}
	return all, true, nil
}

func (p place) stat() (fs.FileInfo, error) {
	root, err := p.open()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.Stat(p.rel)
}

// glob returns the regular files that match a pattern, in the order of their paths. Links are
// not followed, and .git and what a .gitignore names are left out.
func (p place) glob(ctx context.Context, most int, budget *int) ([]place, error) {
	pattern := filepath.ToSlash(p.rel)
	if !doublestar.ValidatePattern(pattern) {
		return nil, errors.New("is not a valid pattern")
	}
	root, err := p.open()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	base, _ := doublestar.SplitPattern(pattern)
	w := &walk{ctx: ctx, root: root, pattern: pattern, most: most, budget: budget}
	w.depth = strings.Count(pattern, "/")
	if strings.ContainsAny(pattern, "{") || strings.Contains(pattern, "**") {
		w.depth = -1
	}
	if err := w.ignoredAbove(base); err != nil {
		return nil, err
	}
	if err := w.dir(base); err != nil && !(errors.Is(err, fs.ErrNotExist) && w.found == nil) {
		return nil, err
	}
	slices.Sort(w.found)
	all := make([]place, len(w.found))
	for i, rel := range w.found {
		all[i] = place{p.dir, filepath.FromSlash(rel)}
	}
	return all, nil
}

// walk is a search for files that match a pattern.
type walk struct {
	ctx     context.Context
	root    *os.Root
	pattern string // with slashes
	depth   int    // slashes in the path of a match; -1 for any number
	most    int
	budget  *int         // entries that may still be looked at
	ignored []ignoreFile // of the directories from the outermost to the present one
	found   []string     // with slashes
}

// ignoredAbove reads the .gitignore files of the directories above one.
func (w *walk) ignoredAbove(base string) error {
	if base == "." {
		return nil
	}
	for at := path.Dir(base); ; at = path.Dir(at) {
		w.ignored = append(w.ignoreFile(at), w.ignored...)
		if at == "." {
			break
		}
	}
	if slices.Contains(strings.Split(base, "/"), ".git") || w.isIgnored(base, true) {
		return errors.New("is in a directory that is left out, because of its .gitignore or its name: name each file instead")
	}
	return nil
}

// dir looks for matches in a directory and in those below it.
func (w *walk) dir(at string) error {
	f, err := w.root.Open(at)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.IsDir() {
		return err
	}
	known := len(w.ignored)
	defer func() { w.ignored = w.ignored[:known] }()
	w.ignored = append(w.ignored, w.ignoreFile(at)...)
	var below []string
	for {
		entries, err := f.ReadDir(256)
		for _, entry := range entries {
			if *w.budget--; *w.budget < 0 {
				return fmt.Errorf("needs more than %d files and folders to be looked at: begin the pattern with a longer path", maxVisited)
			}
			name := path.Join(at, entry.Name())
			isDir := entry.IsDir()
			switch {
			case entry.Name() == ".git" || w.isIgnored(name, isDir):
			case isDir && (w.depth < 0 || strings.Count(name, "/") < w.depth):
				below = append(below, name)
			case entry.Type().IsRegular():
				if doublestar.MatchUnvalidated(w.pattern, name) {
					if w.found = append(w.found, name); len(w.found) > w.most {
						return tooMany(w.most)
					}
				}
			}
		}
		if err == io.EOF {
			break
		}
		if err := errors.Join(err, w.ctx.Err()); err != nil {
			return err
		}
	}
	f.Close() // few are open at a time, however deep the directories are
	for _, name := range below {
		if err := w.dir(name); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	return nil
}

// ignoreFile is a .gitignore that has been read.
type ignoreFile struct {
	at    string // its directory, with slashes
	rules *gitignore.GitIgnore
}

// isIgnored reports whether a path is one that the .gitignore files leave out: the innermost
// one that has a rule for it decides.
func (w *walk) isIgnored(name string, isDir bool) bool {
	for _, f := range slices.Backward(w.ignored) {
		below := name
		if f.at != "." {
			below = strings.TrimPrefix(name, f.at+"/")
		}
		if isDir {
			below += "/" // some rules are for directories alone
		}
		if ignored, rule := f.rules.MatchesPathHow(below); rule != nil {
			return ignored
		}
	}
	return false
}

// ignoreFile reads the .gitignore of a directory, if there is one that can be read.
func (w *walk) ignoreFile(at string) []ignoreFile {
	const most = 1 << 20 // bytes of such a file
	name := path.Join(at, ".gitignore")
	info, err := w.root.Lstat(name)
	if err != nil || !info.Mode().IsRegular() || info.Size() > most {
		return nil
	}
	data, err := w.root.ReadFile(name)
	if err != nil {
		return nil
	}
	return []ignoreFile{{at, gitignore.CompileIgnoreLines(strings.Split(string(data), "\n")...)}}
}
