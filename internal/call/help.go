package call

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/internal/table"
)

// samples are values for examples, by the name of an argument.
var samples = map[string]string{
	"model":    "llama3.2",
	"prompt":   `"Why is the sky blue?"`,
	"input":    `"a text"`,
	"messages": `'[{"role": "user", "content": "Why is the sky blue?"}]'`,
	"text":     `"a text"`,
	"query":    `"a question"`,
}

// printHelp prints what a tool does, an example, and its arguments, the required ones first.
func (o *Options) printHelp(tool *mcp.Tool) error {
	s, err := schemaOf(tool)
	if err != nil {
		return failure{statusServer, err}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n\nExample:\n  %s\n", tool.Name, tool.Description, example(tool.Name, s))
	names := slices.SortedFunc(maps.Keys(s.Properties), func(x, y string) int {
		required := func(name string) int {
			if i := slices.Index(s.Required, name); i >= 0 {
				return i
			}
			return len(s.Required)
		}
		if d := required(x) - required(y); d != 0 {
			return d
		}
		return strings.Compare(x, y)
	})
	arguments := table.Table{Head: []string{"", "", "", ""}}
	for _, name := range names {
		p := s.property(name)
		need := ""
		if slices.Contains(s.Required, name) {
			need = "required"
		}
		arguments.Row("  "+name, strings.Join(unique(p.types()), " or "), need, describe(p))
	}
	if len(names) > 0 {
		b.WriteString("\nArguments:\n")
		arguments.Print(&b, true)
	} else {
		b.WriteString("\nIt takes no arguments.\n")
	}
	_, err = io.WriteString(o.Stdout, b.String())
	return err
}

// describe says what an argument means, with the values that it may have.
func describe(s *schema) string {
	text := s.Description
	if len(s.Enum) > 0 {
		text = strings.TrimSpace(text + " (" + strings.Trim(strings.Join(s.Enum, ", "), " ") + ")")
	}
	if len(s.Properties) > 0 {
		text = strings.TrimSpace(text + " (" + strings.Join(slices.Sorted(maps.Keys(s.Properties)), ", ") + ")")
	}
	return text
}

// example is a command line with all required arguments.
func example(tool string, s *schema) string {
	line := "ollama-mcp call " + tool
	for _, name := range s.Required {
		value, known := samples[name]
		if types := s.property(name).types(); !known && len(types) > 0 {
			value = map[string]string{"string": "TEXT", "integer": "1", "number": "1", "boolean": "true", "array": "'[]'", "object": "'{}'"}[types[0]]
		}
		if name == "model" && tool == "embed" {
			value = "nomic-embed-text"
		}
		line += " " + name + "=" + value
	}
	return line
}

func unique(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }
