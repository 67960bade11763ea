package tools

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/schema"
)

type embedIn struct {
	Model      modelName `json:"model" jsonschema:"embedding model"`
	Input      texts     `json:"input" jsonschema:"texts"`
	Dimensions count     `json:"dimensions,omitempty" jsonschema:"length of the vectors"`
	Output     output    `json:"output,omitempty" jsonschema:"auto: many become a resource, for programs"`
	Encoding   encoding  `json:"encoding,omitempty" jsonschema:"base64: little-endian float32"`
	modelArgs
}

type (
	output   string // where vectors go: "inline", "resource" or "auto", which is ""
	encoding string // of a vector: "base64" or "float", which is ""
	vector   any    // []float32, or []byte for base64
)

type embedOut struct {
	Model      string   `json:"model"`
	Count      int      `json:"count"`
	Dimensions int      `json:"dimensions"`
	Vectors    []vector `json:"vectors,omitempty" jsonschema:"one per input; absent if they are in the resource"`
	URI        string   `json:"uri,omitempty" jsonschema:"resource to read the vectors from as JSON"`
	ExpiresAt  string   `json:"expires_at,omitempty" jsonschema:"when the resource is gone"`
	noted
}

func embed(d Deps, a about) mcpserver.ServerTool {
	return define(d, a, func(ctx context.Context, in embedIn, c *call) (*result, error) {
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
	out := &embedOut{
		Model: string(in.Model), Count: len(got.Vectors), Dimensions: len(got.Vectors[0]), Vectors: encoded(got.Vectors, in.Encoding),
	}
	r := &result{data: out, notes: got.Notes, served: &got.Served}
	if in.Output == "inline" {
		return r, nil
	}
	doc := schema.MustMarshal(out)
	if in.Output != "resource" && len(doc) <= d.InlineBytes {
		return r, nil
	}
	kept := &document{kind: vectorsKind, data: doc}
	if !d.Documents.keep(who, kept) {
		return nil, fault.Invalidf("%d MB of vectors are too large to keep: embed fewer texts in a call", len(doc)>>20)
	}
	out.Vectors, out.URI, out.ExpiresAt = nil, kept.uri, kept.expires.UTC().Format(time.RFC3339)
	r.notes = append(r.notes, fmt.Sprintf("The vectors take %d bytes and are not in this result. A program can read them from the URI for %d minutes; or call again with output \"inline\".",
		len(doc), int(documentTTL.Minutes())))
	return r, nil
}

// encoded returns vectors as JSON values.
func encoded(vectors [][]float32, as encoding) []vector {
	all := make([]vector, len(vectors))
	for i, vector := range vectors {
		all[i] = vector
		if as == "base64" {
			raw := make([]byte, 0, 4*len(vector))
			for _, number := range vector {
				raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(number))
			}
			all[i] = raw // which encoding/json writes in base64
		}
	}
	return all
}
