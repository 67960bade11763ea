//go:build !race

package app

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"ollama-mcp/internal/backend/backendtest"
)

// listed are the names of the tools that the program lists when it is started so.
func listed(t *testing.T, args ...string) (names []string) {
	t.Helper()
	const session = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}
{"jsonrpc":"2.0","id":2,"method":"tools/list"}
`
	out, errs, status := program(t, session, nil, args...)
	for line := range strings.Lines(out) {
		var answer struct {
			ID     int
			Result struct{ Tools []struct{ Name string } }
		}
		if json.Unmarshal([]byte(line), &answer) == nil && answer.ID == 2 {
			for _, tool := range answer.Result.Tools {
				names = append(names, tool.Name)
			}
		}
	}
	if len(names) == 0 {
		t.Fatalf("%v: status %d, %s", args, status, errs)
	}
	return names
}

// refuses checks that the program does not do what it is told by args, which have blanks between them, and says why.
func refuses(t *testing.T, args, want string) {
	t.Helper()
	if _, errs, status := program(t, "", nil, strings.Fields(args)...); status != 2 || !strings.Contains(errs, want) {
		t.Errorf("%s: status %d, %s; want 2 and %s", args, status, errs, want)
	}
}

func TestOnlyTheToolsThatAreWantedAreOffered(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--tools=generate,list_*":                 "generate job list-models list-running",
		"--tools=* --no-tools=clear-cache,status": "chat choose embed generate job list-models list-running load-model map rank show-model unload-model usage",
		"--tools=chat --no-tools=job":             "chat",
		"--read-only":                             "chat choose embed generate job list-models list-running map rank show-model status usage",
		"--tools=clear_cache":                     "clear-cache",
		"--allow-manage --tools=pull-model,delete-model,copy-model,create-model": "copy-model create-model delete-model job pull-model",
		"--allow-manage --read-only --tools=show-model,pull-*":                   "show-model",
	} {
		got := strings.Join(slices.Sorted(slices.Values(listed(t, strings.Fields(args)...))), " ")
		if got != want {
			t.Errorf("%s: got %s, want %s", args, got, want)
		}
	}
	for args, want := range map[string]string{
		"--tools=genrate":                    `there is no tool "genrate": did you mean "generate"?`,
		"--no-tools=xyz*":                    "there are: generate, chat",
		"--read-only --tools=clear-cache":    "--read-only",
		"--tools=pull-model":                 "--allow-manage",
		"--allow-registry=hf.co/x":           "allow-registry",
		"--tools=generate --no-tools=gener*": "no tool is left",
	} {
		refuses(t, args, want)
	}
}

func TestToolThatAnOptionKeepsFromBeingOfferedIsRefusedWithTheOption(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"pull-model":                                "need --allow-manage; there are: chat",
		"pull_model --allow-manage --read-only":     "started with --read-only; there are: chat",
		"status --no-tools=stat*":                   "--no-tools leaves it out",
		"list-models --tools=generate":              "--tools or --no-tools leaves it out; there are: generate, job",
		"list-modals --tools=generate,list-running": "there is no tool \"list-modals\"; there are: generate, job, list-running",
		"list-modals":                               "did you mean list-models? There are: chat",
	} {
		refuses(t, "call "+args, want)
	}
}

func TestNamesOfToolsAreListedAsTheHostTakesThem(t *testing.T) {
	t.Parallel()
	names := listed(t, "--tool-names=snake")
	if !slices.Contains(names, "list_models") || strings.Contains(strings.Join(names, " "), "-") {
		t.Errorf("got %v, want names without hyphens", names)
	}
	// Both spellings are called, whichever is listed, and texts name the tools as they are listed.
	host := "--host=" + backendtest.New("gpu-1").Listen(t)
	for _, spelling := range []string{"kebab", "snake"} {
		for _, tool := range []string{"list-models", "list_models"} {
			const session = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}
{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"TOOL","arguments":{}}}
{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"generate","arguments":{"model":" x","prompt":"?"}}}
`
			out, _, _ := program(t, strings.Replace(session, "TOOL", tool, 1), nil, "--tool-names="+spelling, host)
			wanted, other := "list-models", "list_models"
			if spelling == "snake" {
				wanted, other = other, wanted
			}
			if !strings.Contains(out, `"models":[{"name":"tiny`) || !strings.Contains(out, "take a name from "+wanted) || strings.Contains(out, other) {
				t.Errorf("%s with names in %s: got %s", tool, spelling, out)
			}
		}
		for _, tool := range []string{"list-models", "list_models"} {
			if out, errs, status := program(t, "", nil, "call", tool, "--tool-names="+spelling, host); status != 0 || !strings.Contains(out, "tiny") {
				t.Errorf("call %s with names in %s: status %d, %s%s", tool, spelling, status, out, errs)
			}
		}
	}
}
