package tools

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/inference"
)

type embedIn struct {
	Model      modelName `json:"model" jsonschema:"embedding model, by a name from list-models"`
	Input      texts     `json:"input" jsonschema:"text or texts; their vectors come in this order"`
	Dimensions count     `json:"dimensions,omitempty" jsonschema:"length of the vectors, for models that can shorten them"`
	Output     output    `json:"output,omitempty" jsonschema:"where the vectors go; auto (default) returns few inline and many as a resource"`
	modelArgs
}

// output is where vectors go: "inline", "resource" or "auto", which is "".
type output string

type embedOut struct {
	Model      string      `json:"model"`
	Count      int         `json:"count"`
	Dimensions int         `json:"dimensions"`
	Vectors    [][]float32 `json:"vectors,omitempty" jsonschema:"one per input; absent if they are in the resource"`
	Resource   string      `json:"resource,omitempty" jsonschema:"URI to read the vectors from as JSON"`
	ExpiresAt  string      `json:"expires_at,omitempty" jsonschema:"when the resource is gone"`
}

func embed(d Deps) mcpserver.ServerTool {
	return define(d, about{
		name: "embed", title: "Embed texts with a local model", hints: hints{readOnly: true, idempotent: true},
		text:   "Turn texts into vectors that can be compared for meaning.",
		output: reflect.TypeFor[embedOut](),
	}, func(ctx context.Context, in embedIn, c *call) (*result, error) {
		got, err := d.Engine.Embed(ctx, inference.EmbedRequest{
			Common: in.common(ctx, c, in.Model), Input: in.Input, Dimensions: int(in.Dimensions),
		})
		if err != nil {
			return nil, err
		}
		return d.vectors(in, got, caller.FromContext(ctx))
	})
}

// vectors returns vectors in the result, or keeps them for the client to read: large ones
// would overflow what a host passes on to its model.
func (d Deps) vectors(in embedIn, got *inference.Embeddings, who caller.Caller) (*result, error) {
	out := embedOut{Model: string(in.Model), Count: len(got.Vectors), Dimensions: len(got.Vectors[0]), Vectors: got.Vectors}
	r := &result{data: out, notes: got.Notes, served: &got.Served}
	if in.Output == "inline" {
		return r, nil
	}
	doc := mustMarshal(out)
	if in.Output != "resource" && len(doc) <= d.InlineBytes {
		return r, nil
	}
	uri, expires, err := d.Vectors.keep(who, doc)
	if err != nil {
		return nil, err
	}
	out.Vectors, out.Resource, out.ExpiresAt = nil, uri, expires.UTC().Format(time.RFC3339)
	link := mcp.NewResourceLink(uri, "embeddings", fmt.Sprintf("%d vectors of %d dimensions", out.Count, out.Dimensions), "application/json")
	link.Size = new(int64(len(doc)))
	r.data, r.link = out, &link
	return r, nil
}
