package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// tool is a tool as a bundle's manifest names it.
type tool struct {
	Name        string `json:"name"`
	Description string `json:"description"`
}

// toolsOf asks the program itself which tools it has.
func (r *release) toolsOf(ctx context.Context, programs []program) ([]tool, error) {
	p, err := runnable(programs)
	if err != nil {
		return nil, err
	}
	return listTools(ctx, p.file)
}

// listTools starts a server on stdio and lists its tools, with no Ollama to be reached.
func listTools(ctx context.Context, command string, args ...string) ([]tool, error) {
	cmd := exec.CommandContext(ctx, command, args...)
	cmd.Env = append(os.Environ(), "OLLAMA_HOST=127.0.0.1:1")
	cmd.Stdin = bytes.NewReader([]byte(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"release","version":"1"}}}
{"jsonrpc":"2.0","method":"notifications/initialized"}
{"jsonrpc":"2.0","id":2,"method":"tools/list"}
`))
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", command, err, errs.String())
	}
	for line := range bytes.Lines(out) {
		var answer struct {
			ID     int
			Result struct{ Tools []tool }
		}
		if err := json.Unmarshal(line, &answer); err == nil && answer.ID == 2 && len(answer.Result.Tools) > 0 {
			return answer.Result.Tools, nil
		}
	}
	return nil, errors.New(command + " lists no tools")
}

// bundle makes the bundle for Claude Desktop of one platform. Bundles cannot tell
// architectures apart, so there is one for each.
func (r *release) bundle(p program, tools []tool) error {
	data, err := os.ReadFile(p.file)
	if err != nil {
		return err
	}
	system := map[string]string{"windows": "win32"}[p.os]
	if system == "" {
		system = p.os
	}
	entry := "server/" + p.name()
	manifest, err := pretty(object{
		"manifest_version": "0.3", "name": r.Name, "display_name": r.Title, "version": r.number(), "description": r.Description,
		"author": object{"name": r.Owner, "url": r.url()}, "repository": object{"type": "git", "url": r.url()},
		"homepage": r.url(), "documentation": r.url() + "#readme", "support": r.url() + "/issues", "license": "MIT",
		"keywords": []string{"ollama", "local models", "llm"},
		"server": object{
			"type": "binary", "entry_point": entry,
			"mcp_config": object{
				"command": "${__dirname}/" + entry, "args": []string{},
				"env": object{"OLLAMA_HOST": "${user_config.ollama_host}"},
			},
		},
		"user_config": object{"ollama_host": object{
			"type": "string", "title": "Address of Ollama", "description": "Host and port of your Ollama server.",
			"default": "127.0.0.1:11434", "required": true,
		}},
		"tools": tools, "compatibility": object{"platforms": []string{system}},
	})
	if err != nil {
		return err
	}
	packed, err := zipped([]file{{name: "manifest.json", data: manifest}, {name: entry, data: data, exec: true}}, r.date)
	return r.write(r.stem(p)+".mcpb", packed, err)
}

// pretty is JSON for people to read.
func pretty(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.Bytes(), err
}
