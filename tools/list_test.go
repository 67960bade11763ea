package tools_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/tools"
)

var update = flag.Bool("update", false, "rewrite the files in testdata")

// What clients see of the tools is read in review, since it is an interface.
func TestToolDescriptionsMatchTestdata(t *testing.T) {
	var got bytes.Buffer
	for _, tool := range tools.All(tools.Deps{Offer: everything}) {
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

// everything offers all tools that there are.
var everything = tools.Offer{Manage: true}

// decoded is a schema as JSON has it.
func decoded(t *testing.T, doc any) (s map[string]any) {
	t.Helper()
	raw, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// maxToolList is how many bytes tools/list may have with everything on. Hosts pay for it on each
// request of their model.
const maxToolList = 16_000

func TestListOfAllToolsIsSmall(t *testing.T) {
	list := mcp.ListToolsResult{}
	for _, tool := range tools.All(tools.Deps{Offer: everything}) {
		raw, err := json.Marshal(tool.Tool)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%-14s %5d bytes, of them %4d for arguments and %4d for results", tool.Tool.Name, len(raw), len(tool.Tool.RawInputSchema), len(tool.Tool.RawOutputSchema))
		list.Tools = append(list.Tools, tool.Tool)
	}
	raw, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("tools/list has %d bytes with everything on, of %d", len(raw), maxToolList)
	if len(raw) >= maxToolList {
		t.Errorf("tools/list has %d bytes with everything on, and should stay below %d: shorten a description, or describe fewer arguments", len(raw), maxToolList)
	}
}

func TestToolDescriptionsWorkForEveryHost(t *testing.T) {
	kebab := regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	seen := map[string]bool{}
	for _, tool := range tools.All(tools.Deps{Offer: everything}) {
		name := tool.Tool.Name
		if seen[name] {
			t.Errorf("two tools are called %s", name)
		}
		seen[name] = true
		if !kebab.MatchString(name) || len(name) > 32 {
			t.Errorf("%s: not kebab-case of at most 32 characters", name)
		}
		for _, fault := range lint(decoded(t, tool.Tool)) {
			t.Errorf("%s: %s", name, fault)
		}
	}
	for _, tool := range tools.All(tools.Deps{Offer: tools.Offer{Manage: true, Snake: true}}) {
		for _, fault := range lint(decoded(t, tool.Tool)) {
			t.Errorf("%s: %s", tool.Tool.Name, fault)
		}
		if strings.Contains(tool.Tool.Name, "-") {
			t.Errorf("%s has a hyphen", tool.Tool.Name)
		}
	}
}

var (
	nameOfTool     = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	nameOfProperty = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)
)

// lint says what of a tool makes some host drop it, the whole list, or a result.
func lint(tool map[string]any) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if name, _ := tool["name"].(string); !nameOfTool.MatchString(name) {
		fault("its name is not one to 64 letters, digits, _ and -")
	}
	if text, _ := tool["description"].(string); text == "" || len(text) > 1024 {
		fault("its description has %d bytes, not 1 to 1024", len(text))
	}
	annotations, _ := tool["annotations"].(map[string]any)
	for _, hint := range []string{"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"} {
		if _, ok := annotations[hint].(bool); !ok {
			fault("%s is not stated, and hosts assume the worst", hint)
		}
	}
	for _, which := range []string{"inputSchema", "outputSchema"} {
		schema, given := tool[which].(map[string]any)
		if !given && which == "outputSchema" {
			continue
		}
		if schema["type"] != "object" {
			fault("%s is not of type object", which)
		}
		lintSchema(which, schema, fault)
		lintDescriptions(which, schema, fault)
	}
	input, _ := tool["inputSchema"].(map[string]any)
	if input["properties"] == nil {
		fault("inputSchema has no properties, for which OpenAI refuses it")
	}
	return faults
}

func lintSchema(path string, schema map[string]any, fault func(string, ...any)) {
	for _, keyword := range []string{"anyOf", "oneOf", "allOf", "not", "$ref", "$defs", "definitions"} {
		if schema[keyword] != nil {
			fault("%s has %s, for which some providers refuse the whole list", path, keyword)
		}
	}
	if schema["type"] == nil && path != "outputSchema" {
		fault("%s has no type", path)
	}
	if _, several := schema["type"].([]any); several {
		fault("%s has a list of types, for which some clients drop the tool", path)
	}
	properties, _ := schema["properties"].(map[string]any)
	for name, p := range properties {
		if !nameOfProperty.MatchString(name) {
			fault("%s.%s: not a name that all hosts take", path, name)
		}
		lintSchema(path+"."+name, p.(map[string]any), fault)
	}
	if items, ok := schema["items"].(map[string]any); ok {
		lintSchema(path+"[]", items, fault)
	} else if schema["type"] == "array" && strings.HasPrefix(path, "inputSchema") {
		fault("%s is a list of nothing that is named, which Gemini refuses", path)
	}
}

func lintDescriptions(path string, schema map[string]any, fault func(string, ...any)) {
	properties, _ := schema["properties"].(map[string]any)
	for name, p := range properties {
		p := p.(map[string]any)
		if p["description"] == nil {
			fault("%s.%s is not described", path, name)
		}
		lintDescriptions(path+"."+name, p, fault)
		if items, ok := p["items"].(map[string]any); ok {
			lintDescriptions(path+"."+name+"[]", items, fault)
		}
	}
}

func TestLintFindsWhatHostsRefuse(t *testing.T) {
	good := `{"name":"a-b","description":"d","annotations":{"readOnlyHint":true,"destructiveHint":false,"idempotentHint":true,"openWorldHint":false},
		"inputSchema":{"type":"object","properties":{"x":{"type":"array","items":{"type":"string"},"description":"d"}}},"outputSchema":{"type":"object"}}`
	if found := lint(decoded(t, json.RawMessage(good))); found != nil {
		t.Errorf("a good tool has the faults %q", found)
	}
	for replace, by := range map[string]string{
		`"a-b"`:                                      `"a.b"`,
		`"description":"d","annotations"`:            `"annotations"`,
		`"openWorldHint":false`:                      `"extra":false`,
		`"outputSchema":{"type":"object"}`:           `"outputSchema":{"type":"array"}`,
		`"outputSchema":{"type":"object"`:            `"outputSchema":{"type":"object","properties":{"y":{"type":"string"}}`,
		`"inputSchema":{"type":"object",`:            `"inputSchema":{"type":"object","anyOf":[{}],`,
		`{"type":"string"},"desc`:                    `{"$ref":"#/x"},"desc`,
		`{"type":"array","items":{"type":"string"},`: `{"type":"array",`,
		`"type":"array","items"`:                     `"type":["array","null"],"items"`,
		`,"description":"d"}`:                        `}`,
		`"x":`:                                       `"x y":`,
		`"properties":`:                              `"extra":`,
	} {
		if bad := strings.Replace(good, replace, by, 1); bad == good || lint(decoded(t, json.RawMessage(bad))) == nil {
			t.Errorf("no fault is found in %s", bad)
		}
	}
}

func TestCallsMayHaveWhatClientsAreShown(t *testing.T) {
	full := make(map[string]map[string]any)
	for _, tool := range tools.Describe(everything) {
		full[tool.Name], _ = decoded(t, tool.Arguments)["properties"].(map[string]any)
	}
	for _, tool := range tools.All(tools.Deps{Offer: everything}) {
		shown := decoded(t, json.RawMessage(tool.Tool.RawInputSchema))
		properties, _ := shown["properties"].(map[string]any)
		for name, p := range properties {
			enforced, ok := full[tool.Tool.Name][name].(map[string]any)
			if !ok {
				t.Errorf("%s: calls may not have the argument %s", tool.Tool.Name, name)
				continue
			}
			kinds := fmt.Sprint(enforced["type"])
			if choices, ok := enforced["anyOf"].([]any); ok {
				kinds = fmt.Sprint(choices)
			}
			if kind := p.(map[string]any)["type"].(string); !strings.Contains(kinds, kind) {
				t.Errorf("%s: %s is shown as %s, and calls may have %s", tool.Tool.Name, name, kind, kinds)
			}
		}
	}
}

func TestInstructionsAreShort(t *testing.T) {
	const most = 2000 // hosts cut the rest
	if text := tools.Instructions(everything); utf8.RuneCountInString(text) > most {
		t.Errorf("the instructions have %d characters, more than %d", utf8.RuneCountInString(text), most)
	}
}

func TestInstructionsExplainTheToolsThatDoWorkAndNoneThatIsNotOffered(t *testing.T) {
	for name, offer := range map[string]tools.Offer{
		"all": everything, "by default": {}, "with _": {Manage: true, Snake: true}, "that only read": {ReadOnly: true},
		"without one": {Manage: true, Without: []string{"pull-model", "rank"}}, "one": {Only: []string{"generate"}},
	} {
		lines := strings.Split(tools.Instructions(offer), "\n")
		var explained []string
		for _, line := range lines[1 : len(lines)-1] { // between what holds for all
			names, _, _ := strings.Cut(line, ": ")
			explained = append(explained, strings.Split(names, ", ")...)
		}
		offered := make(map[string]bool)
		for _, tool := range tools.All(tools.Deps{Offer: offer}) {
			offered[tool.Tool.Name] = true
		}
		for _, tool := range explained {
			if !offered[tool] {
				t.Errorf("tools %s: %s is explained, and not offered", name, tool)
			}
		}
		for tool := range tools.Slow(offer) {
			if !slices.Contains(explained, tool) {
				t.Errorf("tools %s: it is not said when to call %s", name, tool)
			}
		}
	}
}
