package app

import (
	"bytes"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// logWriter passes log lines on to a writer that may block, and never blocks itself: many MCP
// hosts start a server and never read its stderr, and a call must not wait for a pipe that is
// full. Lines that find too many others waiting are lost, and a line says how many.
type logWriter struct {
	to io.Writer

	mu      sync.Mutex // guards what follows; not held while writing
	waiting bytes.Buffer
	lost    int
	written chan struct{} // closed when nothing waits any more; nil if nothing does
}

// maxWaiting is how many bytes of lines may wait.
const maxWaiting = 256 << 10

// Write implements io.Writer for whole lines. It cannot fail.
func (l *logWriter) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting.Len()+len(line) > maxWaiting {
		l.lost++
		return len(line), nil
	}
	l.waiting.Write(line)
	if l.written == nil {
		l.written = make(chan struct{})
		go l.drain()
	}
	return len(line), nil
}

// drain writes until nothing waits. Where the writer blocks for ever, it ends with the
// process.
func (l *logWriter) drain() {
	for {
		lines := l.take()
		if lines == nil {
			return
		}
		_, _ = l.to.Write(lines) // there is nowhere to report that the log cannot be written
	}
}

// take returns the lines that wait, and nil if there are none.
func (l *logWriter) take() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting.Len() == 0 {
		close(l.written)
		l.written = nil
		return nil
	}
	if l.lost > 0 {
		fmt.Fprintf(&l.waiting, "time=%s level=WARN msg=\"log lines lost, since stderr was not read\" lines=%d\n",
			time.Now().Format(time.RFC3339), l.lost)
		l.lost = 0
	}
	lines := bytes.Clone(l.waiting.Bytes())
	l.waiting.Reset()
	return lines
}

// flush waits until all lines are written, but for no more than a second.
func (l *logWriter) flush() {
	l.mu.Lock()
	written := l.written
	l.mu.Unlock()
	if written == nil {
		return
	}
	select {
	case <-written:
	case <-time.After(time.Second):
	}
}

// libraryLog takes what libraries write to Go's standard logger. By themselves they would write to
// standard error, and wait there for somebody who reads it.
type libraryLog struct{ log *slog.Logger }

// takeLibraryLog has libraries write to the log until restore is called.
func takeLibraryLog(log *slog.Logger) (restore func()) {
	flags := stdlog.Flags()
	stdlog.SetFlags(0)
	stdlog.SetOutput(libraryLog{log})
	return func() {
		stdlog.SetOutput(os.Stderr)
		stdlog.SetFlags(flags)
	}
}

// Write implements io.Writer for whole lines. It leaves out the beginning of an answer, which
// net/http reports if a host sends one that belongs to no request.
func (l libraryLog) Write(line []byte) (int, error) {
	said, _, _ := strings.Cut(strings.TrimSpace(string(line)), " starting with ")
	l.log.Debug("a library reports something", "message", said)
	return len(line), nil
}
