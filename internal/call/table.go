package call

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
)

// view prints a structured result for people to read.
type view func(w io.Writer, structured []byte, now time.Time) error

// views print the structured results of some tools for people to read, by the tool's name.
// Results of all other tools are printed as they are.
var views = map[string]view{
	"list-models": viewOf(printModels),
	"status":      viewOf(printStatus),
}

func viewOf[T any](show func(w io.Writer, out *T, now time.Time)) view {
	return func(w io.Writer, structured []byte, now time.Time) error {
		out := new(T)
		if err := json.Unmarshal(structured, out); err != nil {
			return err
		}
		var text strings.Builder
		show(&text, out, now)
		_, err := io.WriteString(w, text.String())
		return err
	}
}

// table is rows of cells that stand below each other. A column without a cell that says
// anything is left out.
type table struct {
	head  []string // a name in capitals; one that begins with > is that of numbers, which end below each other
	cells [][]string
}

// row adds a row with a cell for each column. A server says what is in them, so whatever
// would control a terminal is left out.
func (t *table) row(cells ...any) {
	row := make([]string, len(cells))
	for i, cell := range cells {
		row[i] = strings.Map(printable, fmt.Sprint(cell))
	}
	t.cells = append(t.cells, row)
}

// print prints the table and an empty line before it if it is not the first; nothing if
// the table has no rows.
func (t *table) print(w io.Writer, first bool) {
	if len(t.cells) == 0 {
		return
	}
	if !first {
		fmt.Fprintln(w)
	}
	head := make([]string, len(t.head))
	width := make([]int, len(t.head))
	last := 0
	for i, name := range t.head {
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
			case strings.HasPrefix(t.head[i], ">"):
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

// size is a number of bytes in readable units, which are those of Ollama.
func size(bytes int64) string {
	value, units := float64(bytes), []string{"B", "kB", "MB", "GB", "TB"}
	for len(units) > 1 && value >= 999.5 {
		value, units = value/1000, units[1:]
	}
	if value < 9.95 && units[0] != "B" {
		return fmt.Sprintf("%.1f %s", value, units[0])
	}
	return fmt.Sprintf("%.0f %s", value, units[0])
}

// grouped is a number with its thousands separated; "" for 0, which means unknown.
func grouped(n int) string {
	if n == 0 {
		return ""
	}
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// span is a duration in its two largest units, such as 1 h 5 min.
func span(d time.Duration) string {
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
