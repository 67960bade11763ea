// Package prompts has the prompts that hosts offer in a menu: what a user asks of a model that
// has our tools.
//
// It promises texts that name only tools that are offered, and that quote what the user has
// filled in. How prompts are listed and filled in is left to package tools.
package prompts

import (
	"fmt"
	"strings"

	"ollama-mcp/internal/fault"
)

// Prompt is a prompt with blanks.
type Prompt struct {
	Name, Title, Text string // Text says what it does
	Tool              string // that the prompt cannot do without
	Arguments         []Argument

	// write makes the message. has reports whether a tool is offered.
	write func(arg map[string]string, has func(tool string) bool) string
}

// Argument is a blank.
type Argument struct {
	Name, Text string
	Required   bool
}

// The names of arguments that are names of models, one or several with commas between.
const (
	Model  = "model"
	Models = "models"
)

var model = Argument{Name: Model, Text: "local model; by default one that suits"}

// All are the prompts, in the order of menus.
var All = []Prompt{
	{
		Name: "delegate", Title: "Delegate a task to a local model", Tool: "generate",
		Text:      "Have a local model do a task, and check what it did.",
		Arguments: []Argument{{Name: "task", Text: "what is to be done", Required: true}, model},
		write: func(arg map[string]string, has func(string) bool) string {
			return "Have a local model do this task:\n\n" + quote(arg["task"]) + "\n\n" + choose(arg[Model], has) +
				"Call generate with a prompt that says all that the model needs to know: it sees nothing of this conversation. " +
				"Check the answer. If it is wrong, say in a second call what is wrong; if it is wrong again, do the task yourself. " +
				"Then give me the result, and say which model made it and what you changed."
		},
	},
	{
		Name: "summarize-files", Title: "Summarize files locally", Tool: "generate",
		Text:      "Have a local model summarize files, which you need not read.",
		Arguments: []Argument{{Name: "files", Text: "paths or globs such as docs/**/*.md, with commas between", Required: true}, {Name: "focus", Text: "what matters"}, model},
		write: func(arg map[string]string, has func(string) bool) string {
			text := "Summarize these files with a local model, without reading them yourself:\n\n" + quote(arg["files"]) + "\n\n" + choose(arg[Model], has)
			if has("map") {
				text += "If there are several, call map with the paths as files and a prompt such as \"Summarize in five sentences: {{input}}\", " +
					"and then generate to sum the summaries up. If it is one, call generate with it in files. "
			} else {
				text += "Call generate with the paths in files. "
			}
			if arg["focus"] != "" {
				text += "Have the model look at this above all: " + quote(arg["focus"]) + ". "
			}
			return text + "Then give me one summary, and a line on each file. Name files that could not be read."
		},
	},
	{
		Name: "compare-models", Title: "Compare models on a prompt", Tool: "generate",
		Text:      "Send one prompt to several local models and compare their answers.",
		Arguments: []Argument{{Name: "prompt", Text: "what the models are asked", Required: true}, {Name: Models, Text: "models, with commas between; by default three that suit"}},
		write: func(arg map[string]string, has func(string) bool) string {
			text := "Compare local models on this prompt:\n\n" + quote(arg["prompt"]) + "\n\n"
			switch {
			case arg[Models] != "":
				text += "Take these models: " + quote(arg[Models]) + ". "
			case has("list-models"):
				text += "Call list-models and take three models of different sizes that have the capability for it. "
			}
			return text + "Call generate once for each model, one after another, with the prompt as it is and with options {\"seed\": 1, \"temperature\": 0}. " +
				"Show the answers side by side, judge each for correctness, completeness and style, and say which you would take for such prompts."
		},
	},
	{
		Name: "review-diff", Title: "Review a diff locally", Tool: "generate",
		Text:      "Have a local model review a change, so that the code stays on this machine's models.",
		Arguments: []Argument{{Name: "diff", Text: "the diff, or a file that holds it; by default that of the uncommitted changes"}, model},
		write: func(arg map[string]string, has func(string) bool) string {
			text := "Review a change with a local model. "
			if arg["diff"] != "" {
				text += "The change, or the file that holds it:\n\n" + quote(arg["diff"]) + "\n\n"
			} else {
				text += "The change is what git diff HEAD shows here; write it to a file if you can, so that you need not repeat it. "
			}
			return text + choose(arg[Model], has) +
				"Call generate with the diff in the prompt, or its file in files, and with local_only: true. Have the model look for bugs, missing tests, " +
				"and what a reader would not understand, with file and line for each. Check each finding against the diff and drop those that are wrong. " +
				"Then list the rest, the gravest first, and say which model made them."
		},
	},
}

// Write fills in a prompt. has reports whether a tool is offered.
func (p Prompt) Write(arg map[string]string, has func(tool string) bool) (string, error) {
	filled := make(map[string]string)
	for _, a := range p.Arguments {
		filled[a.Name] = strings.TrimSpace(arg[a.Name])
		if a.Required && filled[a.Name] == "" {
			return "", fault.Invalidf("argument %q is missing: %s", a.Name, a.Text)
		}
	}
	for name := range arg {
		if _, known := filled[name]; !known {
			return "", fault.Invalidf("the prompt %s has no argument %q", p.Name, name)
		}
	}
	return p.write(filled, has), nil
}

// choose says which model to take.
func choose(model string, has func(string) bool) string {
	switch {
	case model != "":
		return "Use the model " + quote(model) + ". "
	case has("list-models"):
		return "Call list-models and choose the model: one with the capability that is needed, in memory if possible, and the smallest that will do. "
	}
	return ""
}

// quote sets what the user has filled in apart from the rest.
func quote(text string) string {
	if !strings.Contains(text, "\n") && len(text) < 200 {
		return fmt.Sprintf("%q", text)
	}
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fence + "\n" + text + "\n" + fence
}
