package server

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/internal/jsonrpc"
)

func TestResultIsWrittenAsTheLibraryWouldWriteIt(t *testing.T) {
	link := mcp.NewResourceLink("x://y", "y", "a thing", "text/plain")
	for name, r := range map[string]*mcp.CallToolResult{
		"empty": {},
		"text":  mcp.NewToolResultText("quick <brown> fox"),
		"error": mcp.NewToolResultError("no"),
		"all": {
			Result: mcp.Result{
				Meta:       &mcp.Meta{AdditionalFields: map[string]any{"a/b": map[string]any{"n": 1.5}}},
				ResultType: mcp.ResultTypeComplete,
			},
			Content:           []mcp.Content{mcp.NewTextContent("t"), mcp.NewImageContent("aGk=", "image/png"), link},
			StructuredContent: map[string]any{"n": []int{1, 2}},
		},
		"raw": {RawStructuredContent: json.RawMessage(`{"n":1}`), StructuredContent: "not this"},
		"marked": {Content: []mcp.Content{
			mcp.TextContent{Type: "text", Text: "t", Annotated: mcp.Annotated{Annotations: &mcp.Annotations{Audience: []mcp.Role{mcp.RoleUser}}}},
			mcp.TextContent{Type: "text", Text: "t", Meta: &mcp.Meta{AdditionalFields: map[string]any{"a": 1}}},
		}},
		"more": {MultiRoundTripResult: mcp.MultiRoundTripResult{RequestState: "s"}},
	} {
		request := &request{incoming: incoming{Message: jsonrpc.Message{ID: json.RawMessage(`"a"`)}}}
		answer := mcp.JSONRPCResponse{JSONRPC: mcp.JSONRPC_VERSION, ID: mcp.NewRequestId(json.RawMessage(`"a"`)), Result: r}
		theirs, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		line, err := request.encode(answer)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := decoded(t, line), decoded(t, theirs); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %v\nwant %v", name, got, want)
		}
	}
}

func TestResultThatIsNoJSONIsAnError(t *testing.T) {
	for name, r := range map[string]*mcp.CallToolResult{
		"data":    {StructuredContent: func() {}},
		"content": {Content: []mcp.Content{mcp.TextContent{Type: "text", Meta: &mcp.Meta{AdditionalFields: map[string]any{"f": func() {}}}}}},
	} {
		if line, err := new(request).encode(mcp.JSONRPCResponse{Result: r}); err == nil {
			t.Errorf("%s: got %s, want an error", name, line)
		}
	}
}

func decoded(t *testing.T, raw []byte) (out any) {
	t.Helper()
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	return out
}
