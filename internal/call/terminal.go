package call

import (
	"io"
	"strings"
	"sync"
	"unicode"
)

// columns is what progress may take of a line. More would wrap on a terminal of
// common width, and a wrapped line cannot be written over.
const columns = 79

// terminal is where people read along: lines of the server's and of ours, and
// below them one line of progress that is written over and over.
type terminal struct {
	// mu guards shown, and is held while writing to w.
	mu    sync.Mutex
	w     io.Writer
	shown int // columns that the progress takes at present
}

// Write writes whole lines.
func (t *terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over("")
	return t.w.Write(p)
}

// show puts a message in the place of the last one.
func (t *terminal) show(message string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over(message)
}

// erase removes the progress.
func (t *terminal) erase() { t.show("") }

// over writes over what is shown. It uses blanks, which every terminal knows.
func (t *terminal) over(message string) {
	line := []rune(strings.Map(printable, message))
	line = line[:min(len(line), columns)]
	if t.shown > 0 {
		io.WriteString(t.w, "\r"+strings.Repeat(" ", t.shown)+"\r")
	}
	io.WriteString(t.w, string(line))
	t.shown = len(line)
}

func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return -1
}
