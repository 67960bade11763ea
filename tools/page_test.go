package tools_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/schema"
	"ollama-mcp/tools"
)

// exampleCalls are a call of each tool for the documentation. JOB stands for the handle of a job.
var exampleCalls = map[string]string{
	"generate":     `{"model":"llama3.2","prompt":"Why is the sky blue? In three words."}`,
	"chat":         `{"model":"llama3.2","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Why is the sky blue?"}]}`,
	"usage":        `{"days":1}`,
	"embed":        `{"model":"nomic-embed-text","input":["sky"],"dimensions":4}`,
	"map":          `{"model":"llama3.2","prompt":"Translate into English: {{input}}","inputs":["Himmel","Wolke"]}`,
	"job":          `{"id":"JOB"}`,
	"list-models":  `{"capability":"embedding"}`,
	"show-model":   `{"model":"llama3.2"}`,
	"list-running": `{}`,
	"load-model":   `{"model":"llama3.2","keep_alive":"1h"}`,
	"unload-model": `{"model":"nomic-embed-text"}`,
	"pull-model":   `{"model":"qwen3:8b"}`,
	"copy-model":   `{"source":"llama3.2","destination":"mine"}`,
	"delete-model": `{"model":"mine","confirm":true}`,
	"create-model": `{"model":"brief","from":"llama3.2","system":"Be brief.","parameters":{"temperature":0}}`,
	"status":       `{}`,
	"clear-cache":  `{"model":"llama3.2"}`,
	"rank":         `{"model":"nomic-embed-text","query":"weather","documents":["It rains.","Prices rise."]}`,
	"choose":       `{"model":"llama3.2","text":"The printer is on fire.","labels":["urgent","can wait"]}`,
}

// counts are numbers in an answer.
var counts = regexp.MustCompile(`: -?[0-9][0-9.e+-]*`)

// handles are what differs each time.
var handles = regexp.MustCompile(`[a-z0-9]{6}-[a-z0-9]{26}|ollama://maps/[a-z0-9]+`)

func TestPageOfToolsIsCurrent(t *testing.T) {
	storyWith(t, &client{resultMeta: "off"}, func(t *testing.T, c *client) {
		c.who = caller.Caller{Admin: true}
		answer := func(c backendtest.Call) backendtest.Reply {
			if strings.Contains(string(c.Body), "can wait") { // the labels of choose
				return backendtest.Reply{Text: "A", Logprobs: []backend.Logprob{token("A", 0.75, map[string]float64{"B": 0.2})}}
			}
			return backendtest.Reply{Text: "Rayleigh scattering wins."}
		}
		c.use(backendtest.New("gpu-1").Remove("tiny").AnswerWith(answer).TokenTime(time.Second).Install(
			backendtest.Model{Name: "llama3.2", Capabilities: []string{"completion", "tools"}},
			backendtest.Model{Name: "nomic-embed-text", Dimensions: 4, Capabilities: []string{"embedding"}}))
		var page bytes.Buffer
		page.WriteString(`# Tools

This page is written by ` + "`make docs`" + ` from the table of tools; the answers are those of the tools.

## Which tool when

The server gives this advice to every client that shows its model the instructions of servers:

`)
		for line := range strings.Lines(tools.Instructions(everything)) {
			if name, rest, isTool := strings.Cut(strings.TrimSpace(line), ": "); isTool && !strings.Contains(name, ".") && len(name) < 60 {
				fmt.Fprintf(&page, "- `%s`: %s\n", strings.ReplaceAll(name, ", ", "`, `"), rest)
			} else {
				fmt.Fprintf(&page, "\n%s\n\n", strings.TrimSpace(line))
			}
		}
		for _, tool := range tools.Describe(everything) {
			c.document(&page, tool)
		}
		text := regexp.MustCompile(`\n{3,}`).ReplaceAll(page.Bytes(), []byte("\n\n"))
		const file = "../docs/tools.md"
		if *update {
			if err := os.WriteFile(file, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if is, err := os.ReadFile(file); err != nil || !bytes.Equal(is, text) {
			t.Errorf("%s is out of date: run make docs; it lacks %q; %v", file, firstOther(string(text), string(is)), err)
		}
	})
}

// firstOther is the first line of a text that is another in an older one.
func firstOther(text, older string) string {
	lines := strings.Split(older, "\n")
	for i, line := range strings.Split(text, "\n") {
		if i >= len(lines) || lines[i] != line {
			return line
		}
	}
	return ""
}

// document writes the section on a tool.
func (c *client) document(page *bytes.Buffer, tool tools.Description) {
	fmt.Fprintf(page, "\n## %s\n\n%s\n\n", tool.Name, tool.Text)
	if tool.Admin {
		page.WriteString("For administrators only. ")
	}
	if tool.Slow {
		page.WriteString("A call that takes long becomes a job.")
	}
	page.WriteString("\n\n")
	members(page, "argument", tool.Arguments)
	if tool.Output != nil {
		members(page, "in the result", tool.Output)
	}
	args, ok := exampleCalls[tool.Name]
	if !ok {
		c.t.Errorf("%s has no example for the documentation: add one to exampleCalls", tool.Name)
		return
	}
	called := args
	if strings.Contains(args, "JOB") {
		id := c.succeeds("generate", `{"model":"llama3.2","prompt":"?","wait_seconds":0}`).StructuredContent["job"]
		called = strings.Replace(args, "JOB", fmt.Sprint(id), 1)
	}
	a := c.succeeds(tool.Name, called)
	answer := a.Content[0].Text
	if a.StructuredContent != nil {
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, []byte(answer), "", "  "); err != nil {
			c.t.Fatal(err)
		}
		answer = pretty.String()
		if tool.Name == "status" { // whose counts and rates depend on what ran beside what
			answer = counts.ReplaceAllString(answer, ": 0")
		}
	}
	fmt.Fprintf(page, "A call of `%s` with\n\n```json\n%s\n```\n\nis answered with\n\n```\n%s\n```\n", tool.Name, args, handles.ReplaceAllString(answer, "…"))
}

// members writes a table of the members of an object.
func members(page *bytes.Buffer, head string, doc *schema.Document) {
	if len(doc.PropertyOrder) == 0 {
		return
	}
	fmt.Fprintf(page, "| %s | kind | meaning |\n|---|---|---|\n", head)
	memberRows(page, "", doc)
	page.WriteString("\n")
}

func memberRows(page *bytes.Buffer, path string, doc *schema.Document) {
	for _, name := range doc.PropertyOrder {
		p := doc.Properties[name]
		text := strings.TrimPrefix(p.Description, schema.Unlisted)
		if p.Enum != nil {
			var values []string
			for _, value := range p.Enum {
				values = append(values, fmt.Sprint(value))
			}
			text = strings.TrimPrefix(text+"; one of "+strings.Join(values, ", "), "; ")
		}
		if slices.Contains(doc.Required, name) && path == "" && doc.AdditionalProperties != nil {
			text = strings.TrimSpace("required; " + text)
		}
		fmt.Fprintf(page, "| `%s` | %s | %s |\n", path+name, kindOf(p), strings.ReplaceAll(text, "|", "\\|"))
		inner, at := p, path+name+"."
		if p.Items != nil {
			inner, at = p.Items, path+name+"[]."
		}
		isTold := func(name string) bool { return inner.Properties[name].Description != "" }
		if !strings.HasPrefix(path+name, "options") || slices.ContainsFunc(inner.PropertyOrder, isTold) { // those of Ollama are in its own documentation
			memberRows(page, at, inner)
		}
	}
}

// kindOf is the type of a value in words.
func kindOf(doc *schema.Document) string {
	if len(doc.AnyOf) > 0 {
		var kinds []string
		for _, choice := range doc.AnyOf {
			kinds = append(kinds, kindOf(choice))
		}
		return strings.Join(kinds, " or ")
	}
	if doc.Type == "array" && doc.Items != nil && doc.Items.Type != "" {
		return "list of " + doc.Items.Type
	}
	if doc.Type == "" {
		return "any"
	}
	return doc.Type
}
