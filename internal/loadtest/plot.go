package loadtest

import (
	"fmt"
	"html"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The plot in pixels: two panels, one above the other, on one axis of callers.
const (
	plotWidth   = 760
	plotHeight  = 640
	panelLeft   = 72
	panelWidth  = plotWidth - panelLeft - 24
	panelHeight = 210
	ratesTop    = 108
	timesTop    = 378
)

// colours are how many contestants can be told apart; those in style.
const colours = 4

// style looks well on light and on dark pages, and its colours are far apart also
// for readers who are colour-blind. It uses only what older viewers know.
const style = `<style>
svg{font:12px system-ui,sans-serif}
.title{font-size:15px;font-weight:600}.panel{font-weight:600}
.line{fill:none;stroke-width:2}.upper{stroke-dasharray:5 4}
.back{fill:#fff}text{fill:#1f2328}.tick{fill:#59636e}.grid{stroke:#d8dee4}
.s0{stroke:#1f6fd0}.s1{stroke:#c4500c}.s2{stroke:#0b7f5b}.s3{stroke:#8a3ffc}
.f0{fill:#1f6fd0}.f1{fill:#c4500c}.f2{fill:#0b7f5b}.f3{fill:#8a3ffc}
@media(prefers-color-scheme:dark){
.back{fill:#0d1117}text{fill:#e6edf3}.tick{fill:#9198a1}.grid{stroke:#30363d}
.s0{stroke:#6cb0ff}.s1{stroke:#ff9d66}.s2{stroke:#4fd1a1}.s3{stroke:#c9a2ff}
.f0{fill:#6cb0ff}.f1{fill:#ff9d66}.f2{fill:#4fd1a1}.f3{fill:#c9a2ff}
}
</style>
`

// WriteSVG writes a plot of rate and latency against the number of callers.
func (r *Report) WriteSVG(w io.Writer) error {
	p := plot{report: r}
	p.printf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img">`+"\n",
		plotWidth, plotHeight)
	p.printf("<title>Rate and latency against the number of callers: %s; %s</title>\n%s", escaped(r.title()), escaped(r.extent()), style)
	p.printf(`<rect class="back" width="%d" height="%d"/>`+"\n", plotWidth, plotHeight)
	p.text("title", "start", panelLeft, 26, shortened(r.title(), 80))
	p.text("tick", "start", panelLeft, 46, shortened(r.extent(), 90))
	p.legend()
	p.panel(ratesTop, "answers a second", "", []curve{{"line", func(r Row) float64 { return r.Requests }}})

	unit, scale := "ms", 1.0
	if p.most(func(r Row) float64 { return r.Latency.P95 }) >= 2000 {
		unit, scale = "s", 1000
	}
	p.panel(timesTop, "latency in "+unit+": median (solid) and 95th percentile (dashed)", unit, []curve{
		{"line", func(r Row) float64 { return r.Latency.P50 / scale }},
		{"line upper", func(r Row) float64 { return r.Latency.P95 / scale }},
	})
	p.text("panel", "middle", panelLeft+panelWidth/2, plotHeight-12, "callers at once")
	p.printf("</svg>\n")
	_, err := io.WriteString(w, p.svg.String())
	return err
}

// plot is one on its way.
type plot struct {
	report *Report
	svg    strings.Builder
}

func (p *plot) printf(format string, args ...any) { fmt.Fprintf(&p.svg, format, args...) }

func (p *plot) text(class, anchor string, x, y float64, text string) {
	p.printf(`<text class="%s" text-anchor="%s" x="%.1f" y="%.1f">%s</text>`+"\n", class, anchor, x, y, escaped(text))
}

// legend names the contestants in their colours, side by side.
func (p *plot) legend() {
	names := p.contestants()
	width := float64(panelWidth) / float64(max(len(names), colours))
	for i, name := range names {
		x := panelLeft + width*float64(i)
		p.printf(`<rect class="f%d" x="%.1f" y="62" width="14" height="4"/>`+"\n", i%colours, x)
		p.text("tick", "start", x+20, 68, shortened(name, max(1, int(width-20)/7))) // 7 is a wide letter
	}
}

func (p *plot) contestants() (names []string) {
	known := make(map[string]bool)
	for _, row := range p.report.Rows {
		if !known[row.Contestant] {
			known[row.Contestant] = true
			names = append(names, row.Contestant)
		}
	}
	return names
}

func shortened(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

// escaped is text as it stands in XML, which has no form for control characters.
func escaped(text string) string {
	printable := strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, text)
	return html.EscapeString(printable)
}
