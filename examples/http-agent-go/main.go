// Command http-agent-go is about the smallest agent that uses an ollama-mcp over HTTP:
// it lists the tools, asks a model, shows progress, and prints the answer.
//
//	go run . "Why is the sky blue?"
//	OLLAMA_MCP_KEY=… go run . -url https://models.example.com/mcp -model qwen3:8b "Why is the sky blue?"
//
// The answer goes to standard output, all else to standard error. Ctrl-C cancels the
// call, and with it the work of Ollama. A server that wants a key gets the one in
// OLLAMA_MCP_KEY.
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
	"net/http"
	"os"
	"os/signal"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func main() {
	url := flag.String("url", "http://127.0.0.1:8383/mcp", "`address` of the server")
	model := flag.String("model", "", "`name` of the model to ask; the first that can chat if left out")
	flag.Parse()
	question := strings.Join(flag.Args(), " ")
	if question == "" {
		question = "Say hello in one sentence."
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *url, os.Getenv("OLLAMA_MCP_KEY"), *model, question, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "http-agent-go:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, url, key, model, question string, out, log io.Writer) error {
	client := mcp.NewClient(&mcp.Implementation{Name: "http-agent-go", Version: "1"}, &mcp.ClientOptions{
		ProgressNotificationHandler: func(_ context.Context, req *mcp.ProgressNotificationClientRequest) {
			fmt.Fprintln(log, req.Params.Message)
		},
	})
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: url, HTTPClient: withKey(key)}, nil)
	if err != nil {
		return fmt.Errorf("connecting to %s: %w", url, err)
	}
	defer session.Close()

	for tool, err := range session.Tools(ctx, nil) {
		if err != nil {
			return err
		}
		fmt.Fprintf(log, "%s: %s\n", tool.Name, tool.Description)
	}
	if model == "" {
		if model, err = firstModel(ctx, session); err != nil {
			return err
		}
	}
	result, err := call(ctx, session, "chat", map[string]any{
		"model":    model,
		"messages": []map[string]any{{"role": "user", "content": question}},
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, text(result.Content[0]))
	for _, note := range result.Content[1:] {
		fmt.Fprintln(log, text(note))
	}
	return nil
}

// withKey makes a client whose requests carry the key, if there is one. It follows no
// redirects: the key is for nobody else.
func withKey(key string) *http.Client {
	return &http.Client{
		Transport: keyed(key),
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
}

type keyed string

func (key keyed) RoundTrip(req *http.Request) (*http.Response, error) {
	if key != "" {
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", "Bearer "+string(key))
	}
	return http.DefaultTransport.RoundTrip(req)
}

// firstModel is a model that can chat.
func firstModel(ctx context.Context, session *mcp.ClientSession) (string, error) {
	result, err := call(ctx, session, "list-models", map[string]any{"capability": "completion"})
	if err != nil {
		return "", err
	}
	raw, err := json.Marshal(result.StructuredContent)
	if err != nil {
		return "", err
	}
	var list struct{ Models []struct{ Name string } }
	if err := json.Unmarshal(raw, &list); err != nil {
		return "", err
	}
	if len(list.Models) == 0 {
		return "", errors.New("no model that can chat is installed; try `ollama pull llama3.2`")
	}
	return list.Models[0].Name, nil
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
