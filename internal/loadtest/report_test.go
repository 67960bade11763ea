package loadtest_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ollama-mcp/internal/loadtest"
)

// example is a report with all that one can hold.
func example() *loadtest.Report {
	row := func(who string, callers int, rate, p50, p95 float64) loadtest.Row {
		return loadtest.Row{
			Contestant: who, Callers: callers, Calls: 1000, Answered: 1000, Seconds: 1000 / rate,
			Requests: rate, Tokens: rate * 64, Opened: new(callers), FirstToken: p50 / 4,
			Latency: loadtest.Times{Mean: p50, P50: p50, P95: p95, P99: p95 * 1.2},
		}
	}
	one := row("one connection", 8, 12.5, 640, 660)
	one.Calls, one.Answered, one.FirstToken, one.Opened = 20, 20, 0, nil
	failing := row("pool", 8, 81.2, 98.4, 101)
	failing.Answered, failing.Failed = 997, 3
	failing.Errors = map[string]*loadtest.Failure{
		"upstream":   {Count: 1, Example: "gpu-1: failed: the runner has died"},
		"overloaded": {Count: 2, Example: "the queue is full (256 waiting)"},
	}
	return &loadtest.Report{
		Kind: loadtest.Generate, Models: []string{"llama3.2", "a<b&c"}, PromptTokens: []int{64, 512}, OutputTokens: 64,
		Calls: 1000, Stopped: true,
		Rows: []loadtest.Row{
			row("one connection", 1, 12.3, 81, 84), row("one connection", 2, 12.4, 161, 166), row("one connection", 4, 12.4, 322, 330), one,
			row("pool", 1, 12.2, 82, 85), row("pool", 2, 24.1, 82.5, 86), row("pool", 4, 47.9, 83, 88), failing,
		},
	}
}

func TestTableShowsAllThatWasMeasured(t *testing.T) {
	var out bytes.Buffer
	if err := example().WriteTable(&out); err != nil {
		t.Fatal(err)
	}
	golden(t, "table.txt", out.Bytes())
}

func TestConnectionsThatNobodyCountsAreNoColumn(t *testing.T) {
	report := example()
	for i := range report.Rows {
		report.Rows[i].Opened = nil
	}
	var out bytes.Buffer
	if err := report.WriteTable(&out); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "connections") {
		t.Errorf("there is a column for connections:\n%s", &out)
	}
}

func TestJSONReadsBackAsTheReport(t *testing.T) {
	var out bytes.Buffer
	if err := example().WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.json", out.Bytes())
	var got loadtest.Report
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&got, example()) {
		t.Errorf("got %+v", got)
	}
}

func TestPlotIsAsItWasReviewed(t *testing.T) {
	var out bytes.Buffer
	if err := example().WriteSVG(&out); err != nil {
		t.Fatal(err)
	}
	golden(t, "plot.svg", out.Bytes())
	words := checkSVG(t, out.Bytes())
	for _, want := range []string{
		"callers at once", "about 64, 512 tokens in, at most 64 out; 1000 calls for each number of callers", "answers a second", "latency in ms: median (solid) and 95th percentile (dashed)",
		"pool", "one connection", "generate with llama3.2, a<b&c", "pool, callers: 8, 98.4 ms",
	} {
		if !strings.Contains(words, want+"\n") {
			t.Errorf("the plot does not say %q", want)
		}
	}
}

func TestLineOfAPlotGoesFromFewCallersToMany(t *testing.T) {
	var given, sorted bytes.Buffer
	for _, out := range []*bytes.Buffer{&given, &sorted} {
		report := example()
		if out == &given {
			slices.Reverse(report.Rows[:4])
		}
		if err := report.WriteSVG(out); err != nil {
			t.Fatal(err)
		}
	}
	if given.String() != sorted.String() {
		t.Errorf("rows in another order make another plot:\n%s", &given)
	}
}

func TestLongLatenciesAreInSecondsAndOneLevelIsADot(t *testing.T) {
	report := &loadtest.Report{Kind: loadtest.Embed, Models: []string{"m"}, Rows: []loadtest.Row{
		{Contestant: "pool", Callers: 500, Answered: 1, Requests: 319, Latency: loadtest.Times{P50: 1600, P95: 25000}},
	}}
	var out bytes.Buffer
	if err := report.WriteSVG(&out); err != nil {
		t.Fatal(err)
	}
	words := checkSVG(t, out.Bytes())
	for _, want := range []string{"latency in s: median", "pool, callers: 500, 1.60 s\n", "pool, callers: 500, 25.0 s\n", "\n500\n"} {
		if !strings.Contains(words, want) {
			t.Errorf("the plot does not say %q:\n%s", want, words)
		}
	}
}

func TestPlotOfAnyReportIsWellFormedAndWithinItsFrame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ms := rapid.Float64Range(0, 1e9)
		row := rapid.Custom(func(t *rapid.T) loadtest.Row {
			return loadtest.Row{
				Contestant: rapid.StringN(0, 12, -1).Draw(t, "contestant"),
				Callers:    rapid.IntRange(1, 1e6).Draw(t, "callers"),
				Answered:   rapid.IntRange(0, 1).Draw(t, "answered"),
				Requests:   ms.Draw(t, "requests"),
				Latency:    loadtest.Times{P50: ms.Draw(t, "p50"), P95: ms.Draw(t, "p95")},
			}
		})
		report := &loadtest.Report{
			Kind: loadtest.Embed, Models: rapid.SliceOfN(rapid.String(), 1, 3).Draw(t, "models"),
			Rows: rapid.SliceOfN(row, 0, 8).Draw(t, "rows"),
		}
		var out bytes.Buffer
		if err := report.WriteSVG(&out); err != nil {
			t.Fatal(err)
		}
		checkSVG(t, out.Bytes())
	})
}

// checkSVG reads a plot as XML and returns its texts, a line each.
func checkSVG(t rapid.TB, svg []byte) (words string) {
	t.Helper()
	limits := map[string]float64{"x": 760, "cx": 760, "y": 640, "cy": 640}
	dec := xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return words
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		switch token := token.(type) {
		case xml.CharData:
			words += string(token) + "\n"
		case xml.StartElement:
			for _, a := range token.Attr {
				limit, ok := limits[a.Name.Local]
				if !ok {
					continue
				}
				if n, err := strconv.ParseFloat(a.Value, 64); err != nil || n < 0 || n > limit {
					t.Fatalf("%s at %s=%q, outside the frame", token.Name.Local, a.Name.Local, a.Value)
				}
			}
		}
	}
}
