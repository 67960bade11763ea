// Package reload notices that the files of a configuration have changed.
//
// It looks at their contents from time to time, which is enough for every way in
// which a file comes to be another: written in place, replaced by an editor, or
// behind a symbolic link that Kubernetes points elsewhere. Reading the files, and
// what to do about it, is left to the caller.
package reload

import (
	"context"
	"crypto/sha256"
	"maps"
	"os"
	"time"
)

// Every is how often the files are looked at.
const Every = 2 * time.Second

// Files are the SHA-256 sums of files, by name; zero for one that cannot be read.
type Files = map[string][sha256.Size]byte

// Watch calls load when files are not what they were, and whenever a signal comes.
// load returns the files that it read, which are watched from then on: if it fails,
// it is called again when one of them has changed once more. A file that changes is
// left alone until it has been the same for two looks, for whoever writes it may not
// be done. Watch returns when ctx ends.
func Watch(ctx context.Context, files Files, signals <-chan os.Signal, load func() Files) {
	ticker := time.NewTicker(Every)
	defer ticker.Stop()
	last := files // as they were at the last look
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
			files = load()
			last = files
		case <-ticker.C:
			now := look(files)
			if maps.Equal(now, last) && !maps.Equal(now, files) {
				files = load()
				now = files
			}
			last = now
		}
	}
}

// look returns what files are now.
func look(files Files) Files {
	now := make(Files, len(files))
	for name := range files {
		now[name] = [sha256.Size]byte{}
		if data, err := os.ReadFile(name); err == nil {
			now[name] = sha256.Sum256(data)
		}
	}
	return now
}
