// Package reload notices that the files of a configuration have changed.
//
// It compares their contents every few seconds, which covers all the ways in which a file
// can change: written in place, replaced by an editor, or behind a symbolic link that
// Kubernetes moves. Reading the files and applying the changes is left to the caller.
package reload

import (
	"context"
	"crypto/sha256"
	"maps"
	"os"
	"time"
)

// Every is the interval between two comparisons.
const Every = 2 * time.Second

// Files are the SHA-256 sums of files by name; zero for a file that cannot be read.
type Files = map[string][sha256.Size]byte

// Watch calls load when files have changed, and for each signal. load returns the files that
// it read, which are watched from then on; if it fails, it is called again when one of them
// changes once more. After a change, Watch waits until two comparisons in a row find the same
// contents, since the file may still be being written. Watch returns when ctx ends.
func Watch(ctx context.Context, files Files, signals <-chan os.Signal, load func() Files) {
	ticker := time.NewTicker(Every)
	defer ticker.Stop()
	last := files // at the last comparison
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

// look returns the present state of files.
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
