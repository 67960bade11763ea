package config

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"go.yaml.in/yaml/v3"
)

// beside returns the path of a file that the configuration file names, which is relative to
// the configuration file.
func (r *reader) beside(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(r.c.File), name)
}

func (r *reader) path(p *string) value {
	return scalar(func(s string) error { *p = r.beside(s); return nil })
}

// paths is a list of paths, which are relative to the configuration file like path.
func (r *reader) paths(p *[]string) value {
	return func(n *yaml.Node) error {
		*p = []string{}
		return oneOrList(scalar(func(s string) error { *p = append(*p, r.beside(s)); return nil }))(n)
	}
}

// secretInVariable is the name of an environment variable that holds a secret. Errors quote
// the name only if it looks like one: it may be the secret itself, in the wrong place.
func (r *reader) secretInVariable(p *string) value {
	return scalar(func(name string) error {
		shown := "of that name"
		if variableName.MatchString(name) {
			shown = name
		}
		return one(p, r.getenv(name), "there is no environment variable "+shown+", or it is empty")
	})
}

// variableName matches the usual names of environment variables, and few secrets.
var variableName = regexp.MustCompile("^[A-Z][A-Z0-9_]{2,39}$")

// secretInFile is the name of a file that holds a secret. Errors do not quote it.
func (r *reader) secretInFile(p *string) value {
	return scalar(func(name string) error {
		name = r.beside(name)
		data, err := r.contents(name)
		if err != nil {
			return err
		}
		r.warnIfReadable(name)
		return one(p, strings.TrimSpace(string(data)), "the file is empty")
	})
}

// one sets a secret, which must not be empty and must not be set already.
func one(p *string, secret, none string) error {
	switch {
	case secret == "":
		return errors.New(none)
	case *p != "":
		return errors.New("a key is given already")
	}
	*p = secret
	return nil
}

// contents reads a file and records it in Files. The error does not name the file.
func (r *reader) contents(name string) ([]byte, error) {
	r.c.Files[name] = [32]byte{}
	data, err := os.ReadFile(name)
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err
	}
	if err == nil {
		r.c.Files[name] = sha256.Sum256(data)
	}
	return data, err
}

// warnIfReadable warns if other users than its owner have access to a file with secrets.
func (r *reader) warnIfReadable(name string) {
	r.warnIfMode(name, 0o077, "have access; run chmod 600 on it")
}

// warnIfWritable warns if other users than its owner may change a file with the keys of callers.
// They may read it: it has only hashes, and a service often runs as another user than the one
// who makes keys.
func (r *reader) warnIfWritable(name string) {
	r.warnIfMode(name, 0o022, "can change it; run chmod go-w on it")
}

// warnIfMode warns if other users have any of some permissions. Windows has no such permissions.
func (r *reader) warnIfMode(name string, which fs.FileMode, warning string) {
	info, err := os.Stat(name)
	if err == nil && info.Mode().Perm()&which != 0 && runtime.GOOS != "windows" {
		r.c.Warnings = append(r.c.Warnings, name+": other users of this machine "+warning)
	}
}
