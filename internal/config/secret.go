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
)

// beside is the path of a file that the configuration file names.
func (r *reader) beside(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(r.c.File), name)
}

func (r *reader) path(p *string) value {
	return scalar(func(s string) error { *p = r.beside(s); return nil })
}

// secretInVariable is the name of an environment variable. Errors say it only if it
// looks like one: it may be the secret itself, put in the wrong place.
func (r *reader) secretInVariable(p *string) value {
	return scalar(func(name string) error {
		shown := "such"
		if variableName.MatchString(name) {
			shown = name
		}
		return one(p, r.getenv(name), "there is no environment variable "+shown+", or it is empty")
	})
}

// variableName is what the names of environment variables look like, and few keys do.
var variableName = regexp.MustCompile("^[A-Z][A-Z0-9_]{2,39}$")

// secretInFile is the name of a file. Errors do not say it either.
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

// one sets a secret, which must be there, once.
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

// contents reads a file and notes that it did. The error does not name the file.
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

// warnIfReadable warns of a file with secrets, or what lets callers in, that others
// than its owner may use. Windows has no such bits.
func (r *reader) warnIfReadable(name string) {
	info, err := os.Stat(name)
	if err == nil && info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		r.c.Warnings = append(r.c.Warnings, name+": other users of this machine have access; chmod 600 would end that")
	}
}
