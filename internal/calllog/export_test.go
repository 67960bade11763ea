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

// Encoded is a line as it is written.
func Encoded(l Line) []byte { return new(sheet).encode(&l) }

// Last is the line that was made last.
func (l *Log) Last() []byte { return l.sheet.text }
