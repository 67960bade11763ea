package call

import (
	"io"
	"strings"
	"sync"

	"ollama-mcp/internal/table"
)

// columns is the maximum width of a progress line. A longer line would wrap on a terminal of
// common width, and a wrapped line cannot be overwritten.
const columns = 79

// progressLine writes lines of the server and of this program, and below them one progress line
// that is overwritten.
type progressLine struct {
	// mu guards shown, and is held while writing to w.
	mu    sync.Mutex
	w     io.Writer
	shown int // columns that the progress takes at present
}

// Write writes whole lines.
func (t *progressLine) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over("")
	return t.w.Write(p)
}

// show replaces the progress line.
func (t *progressLine) show(message string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over(message)
}

// erase removes the progress line.
func (t *progressLine) erase() { t.show("") }

// over overwrites the progress line. It uses blanks, which work on every terminal.
func (t *progressLine) over(message string) {
	line := []rune(strings.Map(table.Printable, message))
	line = line[:min(len(line), columns)]
	if t.shown > 0 {
		io.WriteString(t.w, "\r"+strings.Repeat(" ", t.shown)+"\r")
	}
	io.WriteString(t.w, string(line))
	t.shown = len(line)
}
