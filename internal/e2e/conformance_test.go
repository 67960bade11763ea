package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"ollama-mcp/internal/e2e/clients"
)

// runs are the scenarios of the protocol's own conformance suite for each revision, in its
// released and its next version.
var runs = []struct{ suite, revision string }{
	{"conformance", "2025-06-18"},
	{"conformance", "2025-11-25"},
	{"conformance-next", "2025-06-18"},
	{"conformance-next", "2025-11-25"},
	{"conformance-next", "2026-07-28"},
}

// Many scenarios call tools that only a server written for the suite has, so the suite
// tests two: the program, and the same server with those tools.
func TestConformanceSuiteFindsNoFaultThatHasNoReason(t *testing.T) {
	for _, subject := range []struct {
		name    string
		start   func(*testing.T) *listening
		excused string // the file with the checks that do not pass, and why
		passes  []int  // checks that have been seen to pass, in each of the runs
	}{
		{"program", func(t *testing.T) *listening { return listen(t, "127.0.0.1:0") }, "conformance.txt", []int{4, 7, 33, 40, 91}},
		{"fixtures", serveFixtures, "fixtures.txt", []int{26, 43, 55, 79, 150}},
	} {
		t.Run(subject.name, func(t *testing.T) {
			excused := readExcused(t, subject.excused)
			url := subject.start(t).url()
			t.Cleanup(func() { excused.check(t) }) // when all runs have ended
			for i, run := range runs {
				t.Run(run.suite+" "+run.revision, func(t *testing.T) {
					t.Parallel()
					checks := conformance(t, run.suite, url, "--suite", "all", "--spec-version", run.revision)
					if passed := judge(t, checks, excused); passed < subject.passes[i] {
						t.Errorf("%d checks passed, want at least %d", passed, subject.passes[i])
					}
				})
			}
		})
	}
}

// taskScenarios are those of the protocol's extension for tasks, which are part of no revision,
// with the checks that have been seen to pass. They need tools of the suite's own.
var taskScenarios = map[string]int{
	"tasks-capability-negotiation": 5, "tasks-dispatch-and-envelope": 9, "tasks-lifecycle": 9, "tasks-mrtr-composition": 2,
	"tasks-mrtr-input": 4, "tasks-request-headers": 5, "tasks-request-state-removal": 3, "tasks-required-task-error": 3,
	"tasks-status-notifications": 0, "tasks-wire-fields": 4, // the suite skips the one with 0
}

func TestConformanceSuiteFindsNoFaultInTasks(t *testing.T) {
	url := serveFixtures(t).url()
	for scenario, passes := range taskScenarios {
		t.Run(scenario, func(t *testing.T) {
			t.Parallel()
			if passed := judge(t, conformance(t, "conformance-next", url, "--scenario", scenario), new(excuses)); passed < passes {
				t.Errorf("%d checks passed, want at least %d", passed, passes)
			}
		})
	}
}

// Notifications sent just before an answer could get lost now and then if they took another
// way than the answer, and the suite calls each of these tools only once.
func TestProgressAndLogsComeBeforeTheAnswerEachTime(t *testing.T) {
	url := serveFixtures(t).url()
	for tool, note := range map[string]string{"test_tool_with_progress": "notifications/progress", "test_tool_with_logging": "notifications/message"} {
		t.Run(tool, func(t *testing.T) {
			var calls sync.WaitGroup
			for range 100 {
				calls.Go(func() {
					answer, err := callModern(t.Context(), url, tool)
					if before, _, answered := strings.Cut(answer, `"result":`); err != nil || !answered || strings.Count(before, note) != 3 {
						t.Errorf("got %s, %v, want three of %s before the answer", answer, err, note)
					}
				})
			}
			calls.Wait()
		})
	}
}

// callModern calls a tool without arguments, asks for progress and log messages, and returns
// the body of the response.
func callModern(ctx context.Context, url, tool string) (string, error) {
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":{},"_meta":{"progressToken":1,`+
		`"io.modelcontextprotocol/protocolVersion":%q,"io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/logLevel":"info"}}}`, tool, modern)
	req, err := http.NewRequestWithContext(ctx, "POST", url+"/mcp", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	for name, value := range map[string]string{"Content-Type": "application/json", "MCP-Protocol-Version": modern, "Mcp-Method": "tools/call", "Mcp-Name": tool} {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	return string(all), err
}

// buildFixtures builds the program of the folder fixtures, once for all tests.
var buildFixtures = sync.OnceValues(func() (fixtures string, err error) {
	fixtures = filepath.Join(scratch, "fixtures")
	return fixtures, build(context.Background(), fixtures, "fixtures")
})

// serveFixtures starts that program, with enough time to start Node for many scenarios.
func serveFixtures(t *testing.T) *listening {
	t.Helper()
	fixtures, err := buildFixtures()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*testLimit)
	t.Cleanup(cancel)
	return serve(t, exec.CommandContext(ctx, fixtures, "127.0.0.1:0"))
}

// judge counts the checks that passed. A check that failed must be among the excused ones.
func judge(t *testing.T, checks []check, excused *excuses) (passed int) {
	t.Helper()
	for _, c := range checks {
		switch {
		case c.Status == "SUCCESS":
			passed++
		case c.Status == "INFO" || c.Status == "SKIPPED":
		case excused.cover(c.name()):
		default:
			t.Errorf("%s: %s: %s: %s", c.name(), c.Status, c.Description, c.Error)
		}
	}
	return passed
}

// check is the result of one check of the suite.
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

// conformance runs the scenarios that the arguments choose.
func conformance(t *testing.T, suite, url string, choice ...string) (all []check) {
	t.Helper()
	out := t.TempDir()
	run := clients.Node(t, suite+"/dist/index.js", append([]string{"server", "--url", url + "/mcp", "--output-dir", out}, choice...)...)
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

// excuses are the checks that may fail.
type excuses struct {
	file string

	mu     sync.Mutex      // guards what follows
	failed map[string]bool // the checks, and whether they have
}

// cover reports whether a check may fail, and records that it did.
func (e *excuses) cover(check string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, known := e.failed[check]
	if known {
		e.failed[check] = true
	}
	return known
}

// check fails if one of them was not needed.
func (e *excuses) check(t *testing.T) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, failed := range e.failed {
		if !failed {
			t.Errorf("%s passes now, or is gone: remove it from testdata/%s", name, e.file)
		}
	}
}

// readExcused reads the checks that may fail. Each is listed below its reason.
func readExcused(t *testing.T, name string) *excuses {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	excused := &excuses{file: name, failed: make(map[string]bool)}
	reason := false
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
			reason = false
		case strings.HasPrefix(line, "#"):
			reason = true
		case !reason:
			t.Errorf("testdata/%s: there is no reason above %s", name, line)
		default:
			excused.failed[line] = false
		}
	}
	return excused
}
