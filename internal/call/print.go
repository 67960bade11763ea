package call

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
)

// print prints the answer on Stdout, and notes about it on stderr. A result that is an error
// is returned as one: its first text says what went wrong, and the others are what had been
// answered by then. What has been streamed is not printed again.
func (o *Options) print(stderr io.Writer, tool string, result *mcp.CallToolResult, streamed *stream) error {
	texts := o.texts(stderr, result)
	first, rest := texts[0], texts[1:]
	answer, failed := []string{first}, error(nil)
	if result.IsError {
		answer, failed = rest, errors.New(first)
	} else {
		for _, note := range rest {
			fmt.Fprintln(stderr, strings.TrimSpace(note))
		}
	}
	if o.JSON {
		raw, err := json.MarshalIndent(result, "", "  ")
		if err != nil {
			return err
		}
		answer = []string{string(raw)}
	}
	if view := o.view(tool); view != nil && !o.JSON && !result.IsError {
		if raw, err := json.Marshal(result.StructuredContent); err == nil {
			printNotes(stderr, raw)
			return view(o.Stdout, raw, time.Now())
		}
	}
	if o.Verbose {
		o.printThoughts(stderr, result)
	}
	for i, text := range answer {
		if streamed != nil && streamed.begun && i == 0 {
			if err := streamed.finish(text); err != nil {
				return err
			}
			continue
		}
		if _, err := io.WriteString(o.Stdout, strings.TrimSuffix(text, "\n")+"\n"); err != nil {
			return err
		}
	}
	if o.Verbose {
		printServed(stderr, result)
	}
	return failed
}

// view returns what prints the results of a tool as a table; nil if nothing does.
func (o *Options) view(tool string) view {
	if tool == "embed" && o.Person {
		return viewOf(printVectors)
	}
	return views[tool]
}

// printThoughts prints what the model thought, if the caller asked for it.
func (o *Options) printThoughts(w io.Writer, result *mcp.CallToolResult) {
	if result.Meta == nil {
		return
	}
	if thoughts, ok := result.Meta.AdditionalFields["ollama-mcp/thinking"].(string); ok && thoughts != "" {
		fmt.Fprintf(w, "%s\n", o.Style.Dim(shown(strings.TrimSpace(thoughts))))
	}
}

// texts returns the text blocks of a result, at least one. It names the other blocks on
// stderr.
func (o *Options) texts(stderr io.Writer, result *mcp.CallToolResult) (texts []string) {
	for _, block := range result.Content {
		switch b := block.(type) {
		case mcp.TextContent:
			texts = append(texts, b.Text)
		case mcp.ResourceLink:
			fmt.Fprintf(stderr, "resource: %s (%s)\n", b.URI, b.Description)
		default:
			fmt.Fprintf(stderr, "not shown without --json: %T\n", b)
		}
	}
	if texts == nil {
		return []string{""}
	}
	return texts
}

// printNotes prints the notes in a structured result.
func printNotes(w io.Writer, structured []byte) {
	var out struct{ Notes []string }
	if err := json.Unmarshal(structured, &out); err == nil && len(out.Notes) > 0 {
		fmt.Fprintln(w, "Note:", strings.Join(out.Notes, " "))
	}
}

// printServed prints a line about the host and model that served the call, as far as known.
func printServed(w io.Writer, result *mcp.CallToolResult) {
	if result.Meta == nil {
		return
	}
	var served struct {
		Host            string
		Model           string
		TokensIn        int     `json:"tokens_in"`
		TokensOut       int     `json:"tokens_out"`
		TokensPerSecond float64 `json:"tokens_per_second"`
		Total           float64 `json:"total_ms"`
	}
	raw, err := json.Marshal(result.Meta.AdditionalFields["ollama-mcp/served"])
	if err != nil || json.Unmarshal(raw, &served) != nil || served.Host == "" {
		return
	}
	if served.Total == 0 {
		fmt.Fprintf(w, "%s on %s\n", served.Model, served.Host)
		return
	}
	took := fmt.Sprintf("%.1f s", served.Total/1000)
	if served.Total < 1000 {
		took = fmt.Sprintf("%.0f ms", served.Total)
	}
	out := ""
	if served.TokensOut > 0 { // embeddings have none
		out = fmt.Sprintf("%d out, %.1f/s, ", served.TokensOut, served.TokensPerSecond)
	}
	fmt.Fprintf(w, "%s on %s: %d tokens in, %s%s\n", served.Model, served.Host, served.TokensIn, out, took)
}
