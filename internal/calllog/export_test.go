package calllog

import (
	"io"
	"io/fs"
	"time"
)

// Handle is what Log needs of an open file.
type Handle interface {
	io.Writer
	io.ReaderAt
	io.Closer
	Stat() (fs.FileInfo, error)
}

// OpenFile opens a file as Log does.
func OpenFile(name string) (Handle, error) { return openFile(name) }

// Gathers has the log gather lines for some time before it writes them; 0 for no time.
func (l *Log) Gathers(d time.Duration) { l.gather = d }

// Opens has the log open its file by a function.
func (l *Log) Opens(open func(name string) (Handle, error)) {
	l.file.open = func(name string) (handle, error) { return open(name) }
}
