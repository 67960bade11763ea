package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"ollama-mcp/internal/config"
	"ollama-mcp/internal/table"
	"ollama-mcp/internal/usage"
)

// usageOptions are the options that only the command usage has.
type usageOptions struct {
	json bool
	days int
}

func (o *usageOptions) flags(fs *config.FlagSet) {
	fs.BoolVar(&o.json, "json", false, "print JSON instead of a table")
	fs.IntVar(&o.days, "days", 7, "`number` of days to show, today included; a day is one in UTC")
}

// showUsage prints what servers have counted in their state directory.
func showUsage(args []string, std Stdio) int {
	var c config.Config
	var o usageOptions
	fs := config.Flags(&c)
	o.flags(fs)
	if done, status := parse("usage", fs, &c, args, std); done {
		return status
	}
	switch {
	case fs.NArg() > 0:
		return complain(std, fmt.Errorf("unexpected argument %q", fs.Arg(0)))
	case o.days < 1:
		return complain(std, errors.New("--days: must be at least 1"))
	case c.StateDir == "":
		return complain(std, errors.New("usage is kept by servers with --state-dir: give the same directory, or ask a running server by `ollama-mcp call usage --url …`"))
	}
	counted, err := usage.Open(filepath.Join(c.StateDir, "usage"))
	if err != nil {
		return fail(std, fmt.Errorf("no usage is kept there: %w", err))
	}
	rows, err := counted.Rows(o.days, "", true)
	if o.json {
		encoder := json.NewEncoder(std.Out)
		encoder.SetIndent("", "  ")
		err = errors.Join(err, encoder.Encode(rows))
	} else {
		printUsage(rows, std)
	}
	if err != nil {
		return fail(std, err)
	}
	return ok
}

func printUsage(rows []usage.Row, std Stdio) {
	if len(rows) == 0 {
		fmt.Fprintln(std.Out, "no usage in these days")
		return
	}
	t := table.Table{Head: []string{"DAY", "CALLER", "MODEL", "SOURCE", ">CALLS", ">FAILED", ">TOKENS IN", ">TOKENS OUT", ">TIME", ">SAVED"}}
	var sum usage.Counts
	for _, r := range rows {
		sum.Add(r.Counts)
		t.Row(r.Day, r.Caller, r.Model, r.Source, r.Calls, table.Grouped(r.Failed), table.Grouped(r.TokensIn), table.Grouped(r.TokensOut), timeOf(r.Seconds), timeOf(r.Saved))
	}
	t.Row("all", "", "", "", sum.Calls, table.Grouped(sum.Failed), table.Grouped(sum.TokensIn), table.Grouped(sum.TokensOut), timeOf(sum.Seconds), timeOf(sum.Saved))
	t.Print(std.Out, true)
}

// timeOf is a number of seconds for people to read; "" for none.
func timeOf(seconds float64) string {
	switch {
	case seconds == 0:
		return ""
	case seconds < 1:
		return "< 1 s"
	}
	return table.Span(time.Duration(seconds * float64(time.Second)))
}
