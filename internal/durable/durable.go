// Package durable keeps small files whole: over a crash, a power cut, a full disk, and beside
// other processes that read and write the same files.
//
// It promises that a reader finds the old contents or the new ones and never a part of them,
// and that Lock keeps out other processes as well as other goroutines. What the files hold,
// and what to do when they hold something else, is left to the caller.
package durable

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/gofrs/flock"
)

// Write gives the named file these contents in one step, and only its owner may read it. The
// contents are on the disk when it returns. If it fails, the file is as it was.
func Write(name string, data []byte) error {
	return write(name, data, 0o600, os.Rename, (*os.File).Sync)
}

// WriteMode is Write for a file that others may read too, or that had these permissions before.
func WriteMode(name string, data []byte, perm fs.FileMode) error {
	return write(name, data, perm, os.Rename, (*os.File).Sync)
}

// Create is Write for a file that must not exist yet: of several processes that create it at
// once, one succeeds, and the others get an error that is fs.ErrExist.
func Create(name string, data []byte) error {
	return write(name, data, 0o600, os.Link, (*os.File).Sync)
}

// write writes a file beside the one meant, and has publish give it that one's name. sync is
// (*os.File).Sync, except in tests.
func write(name string, data []byte, perm fs.FileMode, publish func(from, to string) error, sync func(*os.File) error) error {
	dir := filepath.Dir(name)
	next, err := os.CreateTemp(dir, "."+filepath.Base(name)+".*") // its mode is 0600
	if err != nil {
		return err
	}
	defer os.Remove(next.Name()) // fails if the file was renamed, as it should be
	_, err = next.Write(data)
	if err == nil && perm != 0o600 {
		err = next.Chmod(perm)
	}
	if err == nil {
		err = sync(next) // otherwise the name could reach the disk before the contents
	}
	if err = errors.Join(err, next.Close()); err != nil {
		return err
	}
	if err := publish(next.Name(), name); err != nil {
		return err
	}
	return syncDir(dir, sync)
}

// syncDir waits until the new name of a file is on the disk. Windows cannot do that for a
// directory.
func syncDir(dir string, sync func(*os.File) error) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(sync(d), d.Close())
}

// SetAside renames a file whose contents make no sense, so that a person can look at it and
// the program can start anew. It returns the new name, which is not in use.
func SetAside(name string) (aside string, err error) {
	stem := name + ".broken-" + time.Now().UTC().Format("20060102T150405Z")
	for n := 1; ; n++ {
		aside = stem
		if n > 1 {
			aside = fmt.Sprintf("%s-%d", stem, n)
		}
		if _, err := os.Lstat(aside); errors.Is(err, fs.ErrNotExist) {
			return aside, os.Rename(name, aside)
		} else if err != nil {
			return "", err
		}
	}
}

// ErrLocked is the error of TryLock while somebody else has the lock.
var ErrLocked = errors.New("in use by another process")

// retryLock is how often Lock tries anew: file locks tell nobody that they are free.
const retryLock = 5 * time.Millisecond

// Lock waits until it alone holds the lock that the named file stands for, among all processes
// and goroutines. The file is created and never removed: removing it would let two hold the
// lock. The lock ends with unlock, and with the process at the latest. The file must be beside
// the one that it protects, since that one is replaced by each Write.
func Lock(ctx context.Context, name string) (unlock func(), err error) {
	l := flock.New(name, flock.SetPermissions(0o600))
	if _, err := l.TryLockContext(ctx, retryLock); err != nil {
		return nil, fmt.Errorf("lock %s: %w", name, errors.Join(err, l.Close()))
	}
	return func() { _ = l.Close() }, nil
}

// TryLock is Lock without waiting: it fails with ErrLocked while the lock is held.
func TryLock(name string) (unlock func(), err error) {
	l := flock.New(name, flock.SetPermissions(0o600))
	locked, err := l.TryLock()
	if err == nil && !locked {
		err = ErrLocked
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", name, errors.Join(err, l.Close()))
	}
	return func() { _ = l.Close() }, nil
}
