// Package table prints tables, numbers and spans of time for people to read in a terminal.
//
// It promises that nothing in a cell can control the terminal, wherever the text comes from.
package table

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
)

// Table is rows of cells that stand below each other. A column without a cell that says
// anything is left out.
type Table struct {
	Head  []string // a name in capitals; one that begins with > is that of numbers, which end below each other
	cells [][]string
}

// Row adds a row with a cell for each column. Others say what is in them, so whatever would
// control a terminal is left out.
func (t *Table) Row(cells ...any) {
	row := make([]string, len(cells))
	for i, cell := range cells {
		row[i] = strings.Map(Printable, fmt.Sprint(cell))
	}
	t.cells = append(t.cells, row)
}

// Print prints the table and an empty line before it if it is not the first; nothing if
// the table has no rows.
func (t *Table) Print(w io.Writer, first bool) {
	if len(t.cells) == 0 {
		return
	}
	if !first {
		fmt.Fprintln(w)
	}
	head := make([]string, len(t.Head))
	width := make([]int, len(t.Head))
	last := 0
	for i, name := range t.Head {
		head[i] = strings.TrimPrefix(name, ">")
		for _, row := range t.cells {
			width[i] = max(width[i], columnsOf(row[i]))
		}
		if width[i] > 0 {
			width[i] = max(width[i], len(head[i]))
			last = i
		}
	}
	rows := t.cells
	if strings.Join(head, "") != "" {
		rows = append([][]string{head}, rows...)
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row[:last+1] {
			pad := strings.Repeat(" ", max(0, width[i]-columnsOf(cell)))
			switch {
			case width[i] == 0:
				continue
			case strings.HasPrefix(t.Head[i], ">"):
				line.WriteString(pad + cell)
			default:
				line.WriteString(cell + pad)
			}
			if i < last {
				line.WriteString("  ")
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// columnsOf is how many columns of a terminal a text takes.
func columnsOf(text string) (n int) {
	for _, r := range text {
		switch {
		case unicode.Is(unicode.Mn, r): // is drawn over the letter before it
		case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul):
			n += 2
		default:
			n++
		}
	}
	return n
}

// Size is a number of bytes in readable units, which are those of Ollama.
func Size(bytes int64) string {
	value, units := float64(bytes), []string{"B", "kB", "MB", "GB", "TB"}
	for len(units) > 1 && value >= 999.5 {
		value, units = value/1000, units[1:]
	}
	if value < 9.95 && units[0] != "B" {
		return fmt.Sprintf("%.1f %s", value, units[0])
	}
	return fmt.Sprintf("%.0f %s", value, units[0])
}

// Grouped is a number with its thousands separated; "" for 0, which means unknown.
func Grouped(n int) string {
	if n == 0 {
		return ""
	}
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// Span is a duration in its two largest units, such as 1 h 5 min.
func Span(d time.Duration) string {
	d = d.Round(time.Second)
	switch h, m, s := d/time.Hour, d%time.Hour/time.Minute, d%time.Minute/time.Second; {
	case d < time.Second:
		return "0 s"
	case h >= 24:
		return fmt.Sprintf("%d d", h/24) + units(h%24, "h")
	case h > 0:
		return fmt.Sprintf("%d h", h) + units(m, "min")
	case m > 0:
		return fmt.Sprintf("%d min", m) + units(s, "s")
	default:
		return fmt.Sprintf("%d s", s)
	}
}

func units(n time.Duration, unit string) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" %d %s", n, unit)
}

// Printable is the rune if a terminal shows it, and -1 if not, for strings.Map.
func Printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return -1
}
