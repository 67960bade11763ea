// Command go-agent is about the smallest agent that uses ollama-mcp: it starts the
// server as a subprocess, finds a model, asks it, and says what served the answer.
//
//	go run . "Why is the sky blue?"
//	go run . -server ~/bin/ollama-mcp -model qwen3:8b "Why is the sky blue?"
//
// The answer goes to standard output, all else to standard error. What the server
// reads from the environment, such as OLLAMA_HOST, can be given to the agent.
// Ctrl-C cancels the call, and with it the work of Ollama.
//
// The client is the official Go SDK for MCP; any other would do.
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
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func main() {
	server := flag.String("server", "ollama-mcp", "`path` of the ollama-mcp program")
	model := flag.String("model", "", "`name` of the model to ask; the first that can chat if left out")
	flag.Parse()
	question := strings.Join(flag.Args(), " ")
	if question == "" {
		question = "Say hello in one sentence."
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *server, *model, question, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "go-agent:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, server, model, question string, out, log io.Writer) error {
	client := mcp.NewClient(&mcp.Implementation{Name: "go-agent", Version: "1"}, &mcp.ClientOptions{
		ProgressNotificationHandler: func(_ context.Context, req *mcp.ProgressNotificationClientRequest) {
			fmt.Fprintln(log, req.Params.Message)
		},
	})
	command := exec.Command(server, "--result-meta=full") // with the number of tokens and the time
	command.Stderr = log
	session, err := client.Connect(ctx, &mcp.CommandTransport{Command: command}, nil)
	if err != nil {
		return fmt.Errorf("starting %s: %w", server, err)
	}
	defer session.Close() // ends the server

	if model == "" {
		if model, err = firstModel(ctx, session); err != nil {
			return err
		}
	}
	return ask(ctx, session, model, question, out, log)
}

// firstModel is a model that can chat.
func firstModel(ctx context.Context, session *mcp.ClientSession) (string, error) {
	result, err := call(ctx, session, "list-models", map[string]any{"capability": "completion"})
	if err != nil {
		return "", err
	}
	var list struct{ Models []struct{ Name string } }
	if err := convert(result.StructuredContent, &list); err != nil {
		return "", err
	}
	if len(list.Models) == 0 {
		return "", errors.New("no model that can chat is installed; try `ollama pull llama3.2`")
	}
	return list.Models[0].Name, nil
}

// ask prints the answer, anything there is to know about it, and what served it.
func ask(ctx context.Context, session *mcp.ClientSession, model, question string, out, log io.Writer) error {
	result, err := call(ctx, session, "chat", map[string]any{
		"model":    model,
		"messages": []map[string]any{{"role": "user", "content": question}},
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, text(result.Content[0]))
	for _, note := range result.Content[1:] {
		fmt.Fprintln(log, strings.TrimSpace(text(note)))
	}
	var served struct {
		Model, Host string
		TokensOut   int     `json:"tokens_out"`
		Rate        float64 `json:"tokens_per_second"`
		Total       float64 `json:"total_ms"`
	}
	if err := convert(result.Meta["ollama-mcp/served"], &served); err != nil {
		return err
	}
	fmt.Fprintf(log, "served by %s on %s: %d tokens, %.0f/s, %.1f s in all\n",
		served.Model, served.Host, served.TokensOut, served.Rate, served.Total/1000)
	return nil
}

// call calls a tool, and asks for progress. That the tool failed is an error, in
// words that say what to do about it.
func call(ctx context.Context, session *mcp.ClientSession, tool string, args map[string]any) (*mcp.CallToolResult, error) {
	params := &mcp.CallToolParams{Name: tool, Arguments: args}
	params.SetProgressToken(tool)
	result, err := session.CallTool(ctx, params)
	if err != nil {
		return nil, err
	}
	switch {
	case len(result.Content) == 0:
		return nil, fmt.Errorf("%s answered nothing", tool)
	case result.IsError:
		return nil, errors.New(text(result.Content[0]))
	}
	return result, nil
}

func text(block mcp.Content) string {
	t, ok := block.(*mcp.TextContent)
	if !ok {
		return fmt.Sprintf("(%T)", block)
	}
	return t.Text
}

// convert reads what the SDK leaves as maps into a type of ours.
func convert(from, to any) error {
	raw, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, to)
}
