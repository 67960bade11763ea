package calllog_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"ollama-mcp/internal/calllog"
)

var update = flag.Bool("update", false, "rewrite the files in testdata")

// sample is a log of 100 calls of a model, of which each took 10 ms longer than the one
// before, with some others.
func sample() string {
	var b strings.Builder
	call := func(at int, model, host, source string, ms, first int, speed float64, code string) {
		l := calllog.Line{
			Time: time.Date(2026, 11, 29, 9, 0, at, 0, time.UTC), Trace: fmt.Sprint("t", at), Tool: "chat", Caller: "ci",
			Request:     &calllog.Request{Model: model},
			Performance: &calllog.Performance{Latency: int64(ms), FirstToken: int64(first), TokensPerSecond: speed},
		}
		switch {
		case code != "":
			l.Performance.Lost = 60_000
		case source == "cloud":
			l.Performance.Lost = 100
		}
		if source != "" {
			l.Response = &calllog.Response{OutputTokens: 10, Source: source, Model: model, Host: host}
		}
		if code != "" {
			l.Error = &calllog.Error{Code: code, Message: "why it failed"}
		}
		raw, _ := json.Marshal(l)
		b.Write(append(raw, '\n'))
	}
	for i := range 100 {
		call(i, "small", []string{"gpu-1", "gpu-2"}[i%2], "local", 10*(i+1), i+1, float64(i+1), "")
	}
	for i := range 5 {
		call(200+i, "small", "gpu-1", "cache", 1, 0, 0, "")
		call(300+i, "big", "", "", 70_000+i, 0, 0, "timeout")
	}
	call(400, "openai/gpt", "openai", "cloud", 2500, 400, 33.3, "")
	b.WriteString(`{"timestamp":"2026-11-29T09:00:01Z","dropped":{"buffer_full":3,"disk":4}}` + "\n")
	b.WriteString("not a line\n\n{\"half\":\n")
	return b.String()
}

func TestReportIsAsInTestdata(t *testing.T) {
	local := time.Local
	time.Local = time.UTC
	defer func() { time.Local = local }()
	report := calllog.NewReport(3, time.Time{})
	if err := report.Read(strings.NewReader(sample())); err != nil {
		t.Fatal(err)
	}
	report.Finish()
	var got bytes.Buffer
	report.Print(&got)
	const file = "testdata/report.txt"
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || got.String() != string(want) {
		t.Errorf("%v; got\n%s", err, got.String())
	}
}

func TestReportLeavesOutWhatIsTooOld(t *testing.T) {
	report := calllog.NewReport(3, time.Date(2026, 11, 29, 9, 5, 0, 0, time.UTC))
	if err := report.Read(strings.NewReader(sample())); err != nil || report.Calls != 6 || report.Dropped != 0 {
		t.Errorf("%v, %d calls, %d dropped", err, report.Calls, report.Dropped)
	}
}

// Whatever is in a file, each line counts once.
func FuzzReport(f *testing.F) {
	f.Add(sample())
	f.Add(`{"timestamp":"2026-11-29T09:00:01Z","tool":"x","performance":{},"content":{"messages":3}}`)
	f.Add(`{"timestamp":"2026-11-29T09:00:01Z","tool":"x","performance":null,"error":{}}`)
	f.Fuzz(func(t *testing.T, text string) {
		lines, notices := 0, 0
		for _, line := range strings.Split(text, "\n") {
			if strings.TrimSpace(line) != "" {
				lines++
			}
			var l struct {
				Dropped json.RawMessage
			}
			if json.Unmarshal([]byte(line), &l) == nil && len(l.Dropped) > 0 && string(l.Dropped) != "null" {
				notices++ // at most
			}
		}
		report := calllog.NewReport(5, time.Time{})
		if err := report.Read(strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		report.Finish()
		if counted := report.Calls + report.Unreadable; counted > lines || counted < lines-notices {
			t.Errorf("%d lines, %d of them notices, and %d counted", lines, notices, counted)
		}
		inGroups := 0
		for _, g := range report.Models {
			inGroups += g.Calls
			if g.P50 > g.P90 || g.P90 > g.P99 || g.P99 > g.Max {
				t.Errorf("percentiles fall: %+v", g)
			}
		}
		if inGroups > report.Calls || len(report.Failures) > report.Failed || len(report.Slowest) > 5 {
			t.Errorf("%+v", report)
		}
		var shown bytes.Buffer
		report.Print(&shown)
		if strings.ContainsRune(shown.String(), '\x1b') {
			t.Errorf("%q", shown.String())
		}
	})
}
