// Command map-folder has a local model answer one prompt for each file of a folder, and shows
// how far it has come:
//
//	go run . -server ~/bin/ollama-mcp -model qwen3:8b ~/notes "Summarise in one sentence: {{input}}"
//
// Each file's name and answer go to standard output, all else to standard error. The server
// reads the files itself, so their texts pass through no agent. The work goes on as a job when
// it takes long, and what is done stays done: Ctrl-C, and then the same command again, asks
// only what is missing.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func main() {
	server := flag.String("server", "ollama-mcp", "`path` of the ollama-mcp program")
	state := flag.String("state-dir", "", "`folder` in which the server keeps answers, so that a later run goes on; none if left out")
	model := flag.String("model", "llama3.2", "`name` of the model to ask")
	pattern := flag.String("files", "*", "`glob` of the files in the folder; ** is any number of folders")
	flag.Parse()
	if flag.NArg() != 2 {
		fmt.Fprintln(os.Stderr, `usage: map-folder [options] FOLDER "a prompt with {{input}}"`)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	m := mapping{folder: flag.Arg(0), files: *pattern, model: *model, prompt: flag.Arg(1), out: os.Stdout, log: os.Stderr}
	err := m.run(ctx, *server, *state)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "map-folder:", err)
		os.Exit(1)
	}
}

// mapping is what to do, and where to write.
type mapping struct {
	folder, files, model, prompt string
	out, log                     io.Writer
}

func (m mapping) run(ctx context.Context, server, state string) error {
	folder, err := filepath.Abs(m.folder)
	if err != nil {
		return err
	}
	args := []string{"--allow-dir", folder}
	if state != "" {
		args = append(args, "--state-dir", state)
	}
	command := exec.Command(server, args...)
	command.Stderr = m.log
	client := mcp.NewClient(&mcp.Implementation{Name: "map-folder", Version: "1"}, &mcp.ClientOptions{
		ProgressNotificationHandler: func(_ context.Context, req *mcp.ProgressNotificationClientRequest) {
			fmt.Fprintln(m.log, req.Params.Message)
		},
	})
	session, err := client.Connect(ctx, &mcp.CommandTransport{Command: command}, nil)
	if err != nil {
		return fmt.Errorf("starting %s: %w", server, err)
	}
	defer session.Close() // ends the server

	result, err := call(ctx, session, "map", map[string]any{
		"model": m.model, "prompt": m.prompt, "files": []string{filepath.Join(folder, m.files)}, "priority": "batch",
	})
	if err != nil {
		return err
	}
	return m.print(ctx, session, result)
}

// call calls a tool, and waits for its job if it goes on as one.
func call(ctx context.Context, session *mcp.ClientSession, tool string, args map[string]any) (*mcp.CallToolResult, error) {
	for {
		params := &mcp.CallToolParams{Name: tool, Arguments: args}
		params.SetProgressToken(tool)
		result, err := session.CallTool(ctx, params)
		if err != nil {
			return nil, err
		}
		if result.IsError {
			return nil, errors.New(text(result))
		}
		var going struct{ Job, State string }
		if err := convert(result.StructuredContent, &going); err != nil {
			return nil, err
		}
		if going.State != "queued" && going.State != "running" {
			return result, nil
		}
		tool, args = "job", map[string]any{"id": going.Job}
	}
}

// row is what an input has ended in.
type row struct {
	Name, Output string
	Error        *struct{ Message string }
}

// print writes a line for each file. The result has the first of them; if there are more, a
// resource has all of them, in pages.
func (m mapping) print(ctx context.Context, session *mcp.ClientSession, result *mcp.CallToolResult) error {
	var done struct {
		Inputs, Answered, Failed, Unasked, Reused, Pages int
		Results                                          []row
		URI                                              string
	}
	if err := convert(result.StructuredContent, &done); err != nil {
		return err
	}
	rows := done.Results
	if pages, ok := strings.CutSuffix(done.URI, "/1"); ok {
		rows = nil
		for page := range done.Pages {
			more, err := read(ctx, session, fmt.Sprintf("%s/%d", pages, page+1))
			if err != nil {
				return err
			}
			rows = append(rows, more...)
		}
	}
	for _, r := range rows {
		answer := r.Output
		if r.Error != nil {
			answer = "failed: " + r.Error.Message
		}
		fmt.Fprintf(m.out, "%s: %s\n", filepath.Base(r.Name), strings.TrimSpace(answer))
	}
	fmt.Fprintf(m.log, "%d files: %d answered, %d of them before, %d failed, %d not asked\n", done.Inputs, done.Answered, done.Reused, done.Failed, done.Unasked)
	return nil
}

// read reads a page of results, one in each line.
func read(ctx context.Context, session *mcp.ClientSession, uri string) (rows []row, err error) {
	page, err := session.ReadResource(ctx, &mcp.ReadResourceParams{URI: uri})
	if err != nil {
		return nil, err
	}
	for _, content := range page.Contents {
		for lines := json.NewDecoder(strings.NewReader(content.Text)); ; {
			var r row
			if err := lines.Decode(&r); err == io.EOF {
				break
			} else if err != nil {
				return nil, err
			}
			rows = append(rows, r)
		}
	}
	return rows, nil
}

func text(result *mcp.CallToolResult) string {
	for _, block := range result.Content {
		if t, ok := block.(*mcp.TextContent); ok {
			return t.Text
		}
	}
	return "the tool failed without a word"
}

// convert reads what the SDK leaves as maps into a type of ours.
func convert(from, to any) error {
	raw, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, to)
}
