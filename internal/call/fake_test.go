package call_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"
)

// The test binary is also the server that is called.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 {
		switch os.Args[1] {
		case "fake-server":
			serveFake()
			return
		case "broken-server":
			fmt.Fprintln(os.Stderr, "broken: no such thing")
			os.Exit(4)
		}
	}
	// Built with the race detector, a server would take a second to end.
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	os.Exit(m.Run())
}

func serveFake() {
	f := &fake{out: os.Stdout}
	s := mcpserver.NewMCPServer("fake", "1")
	schema := json.RawMessage(`{"type": "object", "properties": {
		"text": {"type": "string"}, "count": {"type": "integer"}, "images": {"type": "array", "items": {"type": "string"}}}}`)
	for name, handle := range map[string]mcpserver.ToolHandlerFunc{
		"echo": echo, "answer": answer, "fail": fail, "refuse": refuse, "progress": f.progress, "slow": f.slow, "crash": crash,
	} {
		s.AddTool(mcp.NewToolWithRawSchema(name, "Does what "+name+" says. And more.", schema), handle)
	}
	if err := mcpserver.NewStdioServer(s).Listen(context.Background(), f, f); err != nil {
		fmt.Fprintln(os.Stderr, "fake:", err)
	}
}

// fake is a server on stdin and stdout that, like ours, lets calls end before
// it takes notice of the end of its input.
type fake struct {
	calls sync.WaitGroup
	mu    sync.Mutex // guards out
	out   io.Writer
}

func (f *fake) Read(p []byte) (int, error) {
	n, err := os.Stdin.Read(p)
	if err == nil {
		return n, nil
	}
	ended := make(chan struct{})
	go func() {
		f.calls.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(2 * time.Minute): // it was not cancelled: fail rather than hang
		fmt.Fprintln(os.Stderr, "fake: the input ended before the calls")
	}
	return n, err
}

func (f *fake) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.out.Write(p)
}

func echo(_ context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	raw, err := json.Marshal(req.GetArguments())
	return mcp.NewToolResultText(string(raw)), err
}

func answer(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	return &mcp.CallToolResult{
		Result: mcp.Result{Meta: &mcp.Meta{AdditionalFields: map[string]any{
			"ollama-mcp/served": map[string]any{
				"host": "gpu-1", "model": "llama3.2", "tokens_in": 5, "tokens_out": 42, "tokens_per_second": 21.06, "total_ms": 2100,
			},
		}}},
		Content: []mcp.Content{
			mcp.NewTextContent("The answer.\n"), mcp.NewTextContent("Note: it was cut."),
			mcp.NewResourceLink("ollama://embeddings/x", "embeddings", "2 vectors", "application/json"),
			mcp.NewImageContent("aGk=", "image/png"),
		},
		StructuredContent: map[string]any{"seed": 9007199254740993},
	}, nil
}

func fail(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	res := mcp.NewToolResultError("no host available; try again shortly")
	res.Content = append(res.Content, mcp.NewTextContent("Half an ans"))
	return res, nil
}

func refuse(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	return nil, fmt.Errorf("a bug")
}

// progress reports in a way that cannot be overtaken by the answer.
func (f *fake) progress(_ context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	if req.Params.Meta == nil || req.Params.Meta.ProgressToken == nil {
		return mcp.NewToolResultText("nobody wants to know"), nil
	}
	for i, message := range []string{"queued, 1st of 2", "7 tokens"} {
		fmt.Fprintf(f, `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%q,"progress":%d,"message":%q}}`+"\n",
			req.Params.Meta.ProgressToken, i, message)
	}
	return mcp.NewToolResultText("done"), nil
}

func (f *fake) slow(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	f.calls.Add(1)
	defer f.calls.Done()
	fmt.Fprintln(os.Stderr, "slow: began, process", os.Getpid())
	<-ctx.Done()
	fmt.Fprintln(os.Stderr, "slow: cancelled")
	return nil, ctx.Err()
}

func crash(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	os.Exit(7)
	panic("not reached")
}
