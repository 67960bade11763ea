package tools_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"regexp"
	"testing"

	"ollama-mcp/tools"
)

var update = flag.Bool("update", false, "rewrite the files in testdata")

// What clients see of the tools is read in review, since it is an interface.
func TestToolDescriptionsMatchTestdata(t *testing.T) {
	var got bytes.Buffer
	for _, tool := range tools.All(tools.Deps{}) {
		raw, err := json.MarshalIndent(tool.Tool, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		got.Write(append(raw, '\n'))
	}
	const file = "testdata/tools.json"
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s is out of date: run go test ./tools -update and read the difference", file)
	}
}

func TestToolDescriptionsWorkForEveryClient(t *testing.T) {
	kebab := regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	seen := map[string]bool{}
	size := 0
	for _, tool := range tools.All(tools.Deps{}) {
		name := tool.Tool.Name
		if seen[name] {
			t.Errorf("two tools are called %s", name)
		}
		seen[name] = true
		if !kebab.MatchString(name) || len(name) > 32 {
			t.Errorf("%s: not kebab-case of at most 32 characters", name)
		}
		raw, err := json.Marshal(tool.Tool)
		if err != nil {
			t.Fatal(err)
		}
		size += len(raw) - len(tool.Tool.RawOutputSchema) // no model is shown what hosts check results with
		var shown struct {
			Annotations map[string]any
			InputSchema map[string]any
		}
		if err := json.Unmarshal(raw, &shown); err != nil {
			t.Fatal(err)
		}
		for _, hint := range []string{"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"} {
			if _, ok := shown.Annotations[hint].(bool); !ok {
				t.Errorf("%s: %s is not stated", name, hint)
			}
		}
		for _, combinator := range []string{"anyOf", "oneOf", "allOf"} {
			if shown.InputSchema[combinator] != nil {
				t.Errorf("%s: %s at the top of the schema makes some providers refuse the whole list", name, combinator)
			}
		}
		if bytes.Contains(raw, []byte(`"type":[`)) {
			t.Errorf("%s: a list of types makes some clients drop the tool", name)
		}
	}
	const budget = 24_000 // a token is some four bytes
	t.Logf("the tools take %d bytes of every client's context, of %d", size, budget)
	if size > budget {
		t.Errorf("the tools take %d bytes of every client's context, more than %d: shorten a description", size, budget)
	}
}
