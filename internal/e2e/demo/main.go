// Command demo shows ollama-mcp at work: each command as one would type it,
// then what it prints.
//
//	go run ./demo -bin PATH_OF_OLLAMA_MCP
//
// It uses the Ollama at OLLAMA_HOST, or at Ollama's usual address. If none answers there or
// it has no models, the demo runs one of its own with tiny models until it ends.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	bin := flag.String("bin", "ollama-mcp", "the ollama-mcp `program` to show")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, *bin)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run shows every command even where one fails, and then says which did.
func run(ctx context.Context, out io.Writer, bin string) error {
	host, err := findHost(ctx, out)
	if err != nil {
		return err
	}
	defer host.close()

	var failed []error
	for _, args := range commands(host.chat, host.embed) {
		if err := show(ctx, out, bin, host.env, args); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", args[0], err))
		}
	}
	return errors.Join(failed...)
}

func commands(chat, embed string) [][]string {
	return [][]string{
		{"list-models"},
		{"generate", "model=" + chat, "prompt=Why is the sky blue?"},
		{"chat", "model=" + chat, `messages=[{"role":"user","content":"Why is the sky blue?"}]`},
		{"embed", "model=" + embed, "input=Why is the sky blue?"},
	}
}

func show(ctx context.Context, out io.Writer, bin string, env, args []string) error {
	fmt.Fprintf(out, "\n$ ollama-mcp call %s\n", quoted(args))
	cmd := exec.CommandContext(ctx, bin, append([]string{"call"}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	shown, err := cmd.CombinedOutput()
	fmt.Fprintln(out, cropped(string(bytes.TrimSpace(shown))))
	return err
}

// cropped shortens what is too long for a demonstration: a table of many models, or a line that is
// a vector.
func cropped(text string) string {
	const mostLines, mostBytes = 20, 600
	lines := strings.Split(text, "\n")
	if more := len(lines) - mostLines; more > 0 {
		lines = append(lines[:mostLines], fmt.Sprintf("… (%d more lines)", more))
	}
	for i, line := range lines {
		if more := len(line) - mostBytes; more > 0 {
			lines[i] = fmt.Sprintf("%s… (%d more bytes)", strings.ToValidUTF8(line[:mostBytes], ""), more)
		}
	}
	return strings.Join(lines, "\n")
}

// quoted is a command line as one would have to type it.
func quoted(args []string) string {
	words := make([]string, len(args))
	for i, arg := range args {
		if strings.ContainsAny(arg, " \"?[{") {
			arg = "'" + arg + "'"
		}
		words[i] = arg
	}
	return strings.Join(words, " ")
}
