package server

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"
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
		"raw":  {RawStructuredContent: json.RawMessage(`{"n":1}`), StructuredContent: "not this"},
		"more": {MultiRoundTripResult: mcp.MultiRoundTripResult{RequestState: "s"}},
	} {
		if got, want := decoded(t, wireResult(r)), decoded(t, r); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %v\nwant %v", name, got, want)
		}
	}
}

func decoded(t *testing.T, v any) (out any) {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}
