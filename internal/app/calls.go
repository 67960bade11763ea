package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"ollama-mcp/internal/calllog"
	"ollama-mcp/internal/config"
)

// callsOptions are the options of the command calls.
type callsOptions struct {
	json  bool
	top   int
	since time.Duration
}

func (o *callsOptions) flags(fs *config.FlagSet) {
	fs.BoolVar(&o.json, "json", false, "print JSON instead of tables")
	fs.IntVar(&o.top, "top", 10, "`number` of the slowest and of the last failed calls to list")
	fs.DurationVar(&o.since, "since", 0, "leave out calls that began longer ago than this (default all)")
}

// sumUpCalls prints what call logs say.
func sumUpCalls(args []string, std Stdio) int {
	var o callsOptions
	fs := config.NoFlags()
	o.flags(fs)
	switch err := fs.Parse(args); {
	case errors.Is(err, config.ErrHelp):
		helpFor(std.Out, "calls")
		return ok
	case err != nil:
		return complain(std, err)
	case fs.NArg() == 0:
		return complain(std, errors.New("usage: ollama-mcp calls FILE …, where FILE is a file of --call-log, or - for stdin"))
	case o.top < 0:
		return complain(std, errors.New("--top: must be 0 or more"))
	}
	var since time.Time
	if o.since > 0 {
		since = time.Now().Add(-o.since)
	}
	report := calllog.NewReport(o.top, since)
	for _, name := range fs.Args() {
		if err := readCalls(report, name, std); err != nil {
			return fail(std, err)
		}
	}
	report.Finish()
	if !o.json {
		report.Print(std.Out)
		return ok
	}
	encoder := json.NewEncoder(std.Out)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(report); err != nil {
		return fail(std, err)
	}
	return ok
}

func readCalls(into *calllog.Report, name string, std Stdio) error {
	from := std.In
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		from = file
	}
	if err := into.Read(from); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
