package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ollama-mcp/internal/e2e/clients"
)

// The protocol's own suite, as released and as it is to be, runs all of its scenarios
// for each revision. Many call tools that only a server written for the suite has:
// testdata/conformance.txt names the checks that do not pass, and why.
func TestConformanceSuiteFindsNoFaultThatHasNoReason(t *testing.T) {
	excused := readExcused(t)
	url := listen(t, "127.0.0.1:0").url()
	for _, suite := range []struct {
		program, revision string
		passes            int // checks that have been seen to pass
	}{
		{"conformance", "2025-06-18", 4},
		{"conformance", "2025-11-25", 7},
		{"conformance-next", "2025-06-18", 34},
		{"conformance-next", "2025-11-25", 41},
		{"conformance-next", "2026-07-28", 91},
	} {
		t.Run(suite.program+" "+suite.revision, func(t *testing.T) {
			passed := 0
			for _, c := range conformance(t, suite.program, suite.revision, url) {
				_, known := excused[c.name()]
				switch {
				case c.Status == "SUCCESS":
					passed++
				case c.Status == "INFO" || c.Status == "SKIPPED":
				case known:
					excused[c.name()] = true
				default:
					t.Errorf("%s: %s: %s: %s", c.name(), c.Status, c.Description, c.Error)
				}
			}
			if passed < suite.passes {
				t.Errorf("%d checks passed, want at least %d", passed, suite.passes)
			}
		})
	}
	for name, failed := range excused {
		if !failed {
			t.Errorf("%s passes now, or is gone: remove it from testdata/conformance.txt", name)
		}
	}
}

// check is one thing that the suite has looked at.
type check struct {
	scenario    string
	ID          string
	Description string
	Status      string // SUCCESS, FAILURE, WARNING, SKIPPED or INFO
	Error       string `json:"errorMessage"`
}

func (c check) name() string { return c.scenario + ":" + c.ID }

// result is the name that the suite gives to a folder with the checks of a scenario.
var result = regexp.MustCompile(`^server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z$`)

// conformance runs all scenarios that the suite has for a revision of the protocol.
func conformance(t *testing.T, suite, revision, url string) (all []check) {
	t.Helper()
	out := t.TempDir()
	run := clients.Node(t, suite+"/dist/index.js",
		"server", "--url", url+"/mcp", "--suite", "all", "--spec-version", revision, "--output-dir", out)
	folders, err := os.ReadDir(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		name := result.FindStringSubmatch(folder.Name())
		if name == nil {
			t.Fatalf("%q is no name for the result of a scenario", folder.Name())
		}
		raw, err := os.ReadFile(filepath.Join(out, folder.Name(), "checks.json"))
		if err != nil {
			t.Fatal(err)
		}
		var checks []check
		if err := json.Unmarshal(raw, &checks); err != nil {
			t.Fatal(err)
		}
		for _, c := range checks {
			c.scenario = name[1]
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		t.Fatalf("the suite ended with %d and no result:\n%s%s", run.Exit, run.Stdout, run.Stderr)
	}
	return all
}

// readExcused reads which checks may fail. Each of them stands below its reason.
func readExcused(t *testing.T) map[string]bool {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "conformance.txt"))
	if err != nil {
		t.Fatal(err)
	}
	excused := make(map[string]bool) // and whether it has failed
	reason := false
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
			reason = false
		case strings.HasPrefix(line, "#"):
			reason = true
		case !reason:
			t.Errorf("testdata/conformance.txt: there is no reason above %s", line)
		default:
			excused[line] = false
		}
	}
	return excused
}
