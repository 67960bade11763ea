package tools

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

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
	vector   any    // []float32, []byte for base64, or nil for that of a text that failed
)

type embedOut struct {
	Model      string        `json:"model"`
	Count      int           `json:"count" jsonschema:"texts"`
	Dimensions int           `json:"dimensions" jsonschema:"of each vector"`
	Vectors    []vector      `json:"vectors,omitempty" jsonschema:"one per text, null for one that failed; absent if they are in the resource"`
	Errors     []failedInput `json:"errors,omitempty" jsonschema:"of the texts that failed"`
	URI        string        `json:"uri,omitempty" jsonschema:"resource to read the vectors and errors from as JSON"`
	ExpiresAt  string        `json:"expires_at,omitempty" jsonschema:"when the resource is gone"`
	noted
}

// failedInput is a text that cannot be embedded, though others of its call can.
type failedInput struct {
	Index   int        `json:"index" jsonschema:"of the text, from 0"`
	Name    string     `json:"name,omitempty" jsonschema:"of its file"`
	Code    fault.Code `json:"code" jsonschema:"of the error"`
	Message string     `json:"message" jsonschema:"what went wrong"`
	Hint    string     `json:"hint,omitempty" jsonschema:"what to do next"`
}

// mostErrors is how many errors are shown in a result whose vectors are in a resource.
const mostErrors = 20

// failedInputs are texts that failed, and a note that names them; "" if there are none.
func failedInputs(all int, failed []inference.FailedInput) (out []failedInput, note string) {
	if len(failed) == 0 {
		return nil, ""
	}
	places := make([]int, len(failed))
	for at, f := range failed {
		places[at] = f.Input
		out = append(out, failedInput{Index: f.Input, Code: f.Err.Code, Message: f.Err.Message, Hint: f.Err.Hint})
	}
	return out, fmt.Sprintf("%d of %s could not be embedded, for the reasons in errors: %s.", len(failed), fault.Count(all, "text"), inference.InputNames(places))
}

func embed(d Deps, a about) mcpserver.ServerTool {
	return define(d, a, func(ctx context.Context, in embedIn, c *call) (*result, error) {
		got, err := d.Engine.Embed(ctx, inference.EmbedRequest{
			Common: in.common(ctx, c, in.Model), Input: in.Input, Dimensions: int(in.Dimensions), Partial: true,
		})
		if err != nil {
			return nil, err
		}
		return d.vectors(ctx, in, got, caller.FromContext(ctx))
	})
}

// vectors returns vectors in the result, or keeps them for the client to read: large ones
// would overflow what a host passes on to its model.
func (d Deps) vectors(ctx context.Context, in embedIn, got *inference.Embeddings, who caller.Caller) (*result, error) {
	out := &embedOut{
		Model: string(in.Model), Count: len(got.Vectors), Dimensions: got.Dimensions(), Vectors: encoded(got.Vectors, in.Encoding),
	}
	r := &result{data: out, notes: got.Notes, served: &got.Served}
	if want := int(in.Dimensions); want > 0 && out.Dimensions > 0 && out.Dimensions != want {
		r.notes = append(r.notes, fmt.Sprintf("The vectors have %d numbers and not %d, since the model makes no others.", out.Dimensions, want))
	}
	var note string
	if out.Errors, note = failedInputs(len(got.Vectors), got.Failed); note != "" {
		r.notes = append(r.notes, note)
	}
	if in.Output == "inline" {
		return r, nil
	}
	doc := schema.MustMarshal(out)
	if in.Output != "resource" && len(doc) <= d.InlineBytes {
		return r, nil
	}
	kept := &document{kind: vectorsKind, data: doc}
	if !d.Documents.keep(ctx, who, kept) {
		return nil, fault.Invalidf("%d MB of vectors are too large to keep: embed fewer texts in a call", len(doc)>>20)
	}
	out.Vectors, out.URI, out.ExpiresAt = nil, kept.uri, timestamp(kept.expires)
	if len(out.Errors) > mostErrors {
		out.Errors = out.Errors[:mostErrors]
		r.notes = append(r.notes, fmt.Sprintf("Only the first %d errors are in this result; the resource has all.", mostErrors))
	}
	r.notes = append(r.notes, fmt.Sprintf("The vectors take %d bytes and are not in this result. A program can read them from the URI for %d minutes; or call again with output \"inline\".",
		len(doc), int(documentTTL.Minutes())))
	return r, nil
}

// encoded returns vectors as JSON values.
func encoded(vectors [][]float32, as encoding) []vector {
	all := make([]vector, len(vectors))
	for i, vector := range vectors {
		switch {
		case vector == nil:
		case as == "base64":
			raw := make([]byte, 0, 4*len(vector))
			for _, number := range vector {
				raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(number))
			}
			all[i] = raw // which encoding/json writes in base64
		default:
			all[i] = vector
		}
	}
	return all
}
