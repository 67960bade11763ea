package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// event is a line of "go test -json"; see "go doc test2json". Of a build that fails there
// are events too, which have an import path in place of a package.
type event struct {
	Action      string
	Package     string
	ImportPath  string
	Test        string
	Output      string
	FailedBuild string // import path of what could not be built for the package
}

// failure is a test that failed in one run, or a package in which none can be blamed:
// one that could not be built, or whose program ended early.
type failure struct {
	name   string // such as "ollama-mcp/pool TestX/case"
	output string
}

// readEvents returns the failures of one run. A test that failed because one of its
// subtests did is left out.
func readEvents(r io.Reader) ([]failure, error) {
	output := make(map[string]*strings.Builder)
	write := func(name, text string) {
		if output[name] == nil {
			output[name] = new(strings.Builder)
		}
		output[name].WriteString(text)
	}
	var failed []event
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				return nil, fmt.Errorf("not an event of go test -json: %.200q", line)
			}
			switch e.Action {
			case "output":
				write(e.name(), e.Output)
			case "build-output":
				write(e.ImportPath, e.Output)
			case "fail":
				failed = append(failed, e)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	var failures []failure
	for i, e := range failed {
		name := e.name()
		blamed := func(other event) bool {
			return other.Package == e.Package && (e.Test == "" || strings.HasPrefix(other.Test, e.Test+"/"))
		}
		// Subtests are reported before their parents, and tests before their package.
		if slices.ContainsFunc(failed[:i], blamed) {
			continue
		}
		text := output[name]
		if e.FailedBuild != "" {
			text = output[e.FailedBuild]
		}
		f := failure{name: name}
		if text != nil {
			f.output = text.String()
		}
		failures = append(failures, f)
	}
	return failures, nil
}

func (e event) name() string { return strings.TrimSpace(e.Package + " " + e.Test) }

// tally counts in how many runs something failed, by its name.
type tally map[string]int

// add counts the failures of a run, and prints the output of those that are new.
func (t tally) add(out io.Writer, failures []failure) {
	for _, f := range failures {
		if t[f.name] == 0 {
			fmt.Fprintf(out, "\n--- %s\n%s\n", f.name, f.output)
		}
		t[f.name]++
	}
}

// print prints a line for each failure, the most frequent first.
func (t tally) print(out io.Writer, runs int) {
	names := slices.SortedFunc(maps.Keys(t), func(a, b string) int {
		return cmp.Or(t[b]-t[a], strings.Compare(a, b))
	})
	fmt.Fprintln(out)
	for _, name := range names {
		fmt.Fprintf(out, "failed in %d of %d runs: %s\n", t[name], runs, name)
	}
}
