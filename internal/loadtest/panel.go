package loadtest

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"ollama-mcp/internal/order"
)

// curve is a figure of the rows, and the class of its line.
type curve struct {
	class string
	value func(Row) float64
}

// panel draws curves over a grid.
func (p *plot) panel(top float64, title, unit string, curves []curve) {
	p.text("panel", "start", panelLeft, top-12, title)
	var most float64
	for _, c := range curves {
		most = max(most, p.most(c.value))
	}
	step := niceStep(most)
	steps := max(1, int(math.Ceil(most/step)))
	limit := step * float64(steps)
	height := func(value float64) float64 { return top + panelHeight*(1-value/limit) }
	for i := range steps + 1 {
		value := step * float64(i)
		y := height(value)
		p.printf(`<path class="grid" d="M%d %.1fh%d"/>`+"\n", panelLeft, y, panelWidth)
		p.text("tick", "end", panelLeft-8, y+4, fmt.Sprintf("%.6g", value))
	}
	p.callers(top + panelHeight + 18)
	for i, name := range p.contestants() {
		for _, c := range curves {
			p.curve(i%colours, name, unit, c, height)
		}
	}
}

// callers labels the axis of callers, where there is room.
func (p *plot) callers(y float64) {
	free := 0.0
	for _, n := range p.report.levels() {
		if x := p.x(n); x >= free {
			p.text("tick", "middle", x, y, fmt.Sprint(n))
			free = x + 12 + 8*float64(len(fmt.Sprint(n)))
		}
	}
}

// curve draws a line through the rows of a contestant that had answers, and a dot
// that says its value for each.
func (p *plot) curve(colour int, name, unit string, c curve, height func(float64) float64) {
	var path, dots strings.Builder
	rows := slices.Clone(p.report.Rows) // in the order in which callers were given
	order.Stable(rows, func(a, b Row) int { return cmp.Compare(a.Callers, b.Callers) })
	for _, row := range rows {
		if row.Contestant != name || row.Answered == 0 {
			continue
		}
		x, y := p.x(row.Callers), height(c.value(row))
		command := "L"
		if path.Len() == 0 {
			command = "M"
		}
		fmt.Fprintf(&path, "%s%.1f %.1f", command, x, y)
		fmt.Fprintf(&dots, `<circle class="f%d" cx="%.1f" cy="%.1f" r="3.5"><title>%s, callers: %d, %s</title></circle>`+"\n",
			colour, x, y, escaped(name), row.Callers, strings.TrimSpace(figure(c.value(row))+" "+unit))
	}
	if path.Len() > 0 {
		p.printf(`<path class="%s s%d" d="%s"/>`+"\n%s", c.class, colour, path.String(), dots.String())
	}
}

// x is where a number of callers is on their axis, which is logarithmic.
func (p *plot) x(callers int) float64 {
	levels := p.report.levels()
	least, most := math.Log(float64(levels[0])), math.Log(float64(levels[len(levels)-1]))
	if least == most {
		return panelLeft + panelWidth/2
	}
	const inset = 24 // so that no dot sits on the edge
	return panelLeft + inset + (panelWidth-2*inset)*(math.Log(float64(callers))-least)/(most-least)
}

// niceStep is a distance of ticks, 1, 2 or 5 times a power of ten, of which at
// most five make up the value.
func niceStep(value float64) float64 {
	if value <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(value/5)))
	for _, factor := range []float64{1, 2, 5} {
		if factor*power*5 >= value {
			return factor * power
		}
	}
	return 10 * power
}

// most is the largest value of all rows.
func (p *plot) most(value func(Row) float64) (most float64) {
	for _, row := range p.report.Rows {
		most = max(most, value(row))
	}
	return most
}
