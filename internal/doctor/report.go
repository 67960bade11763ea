package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/terminal"
)

// Level says how bad a finding is.
type Level string

// Levels of findings, the worst first.
const (
	Fail Level = "fail" // something that is configured cannot be used
	Warn Level = "warn" // it works, but not as well or not as intended
	OK   Level = "ok"
)

var levels = []Level{Fail, Warn, OK}

// Finding is one thing that was found out.
type Finding struct {
	Level   Level  `json:"level"`
	Subject string `json:"subject"`        // host, file or part of the configuration that it is about
	Text    string `json:"text"`           // what was found
	Next    string `json:"next,omitempty"` // what to do about it; never empty unless Level is OK
}

// Failed is a finding about what cannot be used.
func Failed(subject, text, next string) Finding { return Finding{Fail, subject, text, next} }

// Warned is a finding about what could be better.
func Warned(subject, text, next string) Finding { return Finding{Warn, subject, text, next} }

// Fine is a finding about what is as it should be.
func Fine(subject, text string) Finding { return Finding{OK, subject, text, ""} }

// report is all that was found, in the form of --json.
type report struct {
	Verdict  Level     `json:"verdict"` // the level of the worst finding
	Problems int       `json:"problems"`
	Warnings int       `json:"warnings"`
	Findings []Finding `json:"findings"` // the worst first
}

// newReport sorts findings, and joins those that differ in their subject alone.
func newReport(findings []Finding) report {
	r := report{Verdict: OK, Findings: []Finding{}}
	for _, level := range levels {
		for _, f := range findings {
			if f.Level != level {
				continue
			}
			same := slices.IndexFunc(r.Findings, func(o Finding) bool {
				return o.Level == f.Level && o.Text == f.Text && o.Next == f.Next
			})
			if same < 0 {
				r.Findings = append(r.Findings, f)
			} else if o := &r.Findings[same]; o.Subject != f.Subject {
				o.Subject += ", " + f.Subject
			}
		}
	}
	for _, f := range r.Findings {
		switch f.Level {
		case Fail:
			r.Problems++
		case Warn:
			r.Warnings++
		}
	}
	if len(r.Findings) > 0 {
		r.Verdict = r.Findings[0].Level
	}
	return r
}

func (r report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

func (r report) write(w io.Writer, style terminal.Style) {
	paint := map[Level]func(string) string{Fail: style.Red, Warn: style.Yellow, OK: style.Green}
	for _, f := range r.Findings {
		fmt.Fprintf(w, "%s  %s: %s\n", paint[f.Level](fmt.Sprintf("%-4s", f.Level)), terminal.Printable(f.Subject), terminal.Printable(f.Text))
		if f.Next != "" {
			fmt.Fprintf(w, "      -> %s\n", terminal.Printable(f.Next))
		}
	}
	switch r.Verdict {
	case Fail:
		fmt.Fprintf(w, "\n%s\n", style.Red("This does not work yet: "+fault.Count(r.Problems, "problem")+"."))
	case Warn:
		fmt.Fprintf(w, "\n%s\n", style.Yellow("This works, but could be better: "+fault.Count(r.Warnings, "warning")+"."))
	default:
		fmt.Fprintf(w, "\n%s\n", style.Green("All is well."))
	}
}
