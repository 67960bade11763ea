package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ollama-mcp/internal/e2e"
	"ollama-mcp/internal/e2e/clients"
	"ollama-mcp/internal/e2e/tinymodels"
)

// block is a piece of code in a document, behind a line in bold that names what it is for.
var block = regexp.MustCompile("(?s)\\*\\*([^*\n]+)\\*\\*[^\n]*\n+```(go|ts|python)\n(.*?)```")

// goAround is what a piece of code in Go needs around it.
const goAround = `package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func main() {
	ctx := context.Background()
%s
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(result.Content[0].(*mcp.TextContent).Text)
	session.Close()
}
`

// The package for Python cannot be had everywhere, so its piece is not run.
func TestCodeForAgentsInTheDocumentsRuns(t *testing.T) {
	t.Parallel()
	clients.Install(t)
	// The code starts "ollama-mcp", as found on the path, and hands few variables on to it.
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\nOLLAMA_HOST=%s exec %s \"$@\"\n", shared.URL(), program)
	if err := os.WriteFile(filepath.Join(dir, "ollama-mcp"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	path, err := e2e.Path("..", "..", "docs", "agents.md")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{ // part of what comes of it
		"Go": tinymodels.Says.Answer, "TypeScript": tinymodels.Says.Answer, "AI SDK": tinymodels.Says.Answer,
		"LangChain": "list-models", "OpenAI Agents": "list_models", "Google Gen AI": "list-models", "Python": "",
	}
	fill := strings.NewReplacer("llama3.2", "tiny-says")
	for _, m := range block.FindAllStringSubmatch(string(raw), -1) {
		name, language, code := m[1], m[2], fill.Replace(m[3])
		part, known := want[name]
		delete(want, name)
		if !known {
			t.Errorf("%s: it is not known what comes of this", name)
		}
		if language == "python" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := deadline(t)
			var cmd *exec.Cmd
			if language == "go" {
				main := filepath.Join(t.TempDir(), "main.go")
				if err := os.WriteFile(main, fmt.Appendf(nil, goAround, code), 0o600); err != nil {
					t.Fatal(err)
				}
				cmd = exec.CommandContext(ctx, "go", "run", main)
			} else {
				var err error
				if cmd, err = clients.Command(ctx, "snippet.mjs", shared.URL()+"/v1", "tiny-says"); err != nil {
					t.Fatal(err)
				}
				cmd.Stdin = strings.NewReader(code)
			}
			cmd.Env = append(os.Environ(), "PATH="+dir+string(os.PathListSeparator)+os.Getenv("PATH"))
			stdout, stderr, status := output(t, cmd)
			if status != 0 || !strings.Contains(stdout, part) {
				t.Errorf("status %d, want %q\n%s\n%s%s", status, part, code, stdout, stderr)
			}
		})
	}
	for name := range want {
		t.Errorf("%s is missing", name)
	}
}
