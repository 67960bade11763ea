package openai

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/remote"
	"ollama-mcp/internal/fault"
)

// embeddings is the answer to an embed request. As in a chunk, what it does not name may be
// there in any form.
type embeddings struct {
	Model remote.Label
	Data  []embedding
	Usage usage
	// Embeddings are the vectors in the form of Ollama's own API.
	Embeddings []backend.Vector
	raw        json.RawMessage // nil if there are vectors
}

type embedding struct {
	Index     remote.Number
	Embedding backend.Vector
}

// UnmarshalJSON keeps an answer without vectors, which may be an error.
func (e *embeddings) UnmarshalJSON(raw []byte) error {
	type plain embeddings
	if err := remote.Decode(raw, (*plain)(e)); err != nil {
		return err
	}
	if len(e.Data) == 0 {
		for i, vector := range e.Embeddings {
			e.Data = append(e.Data, embedding{remote.Number(i), vector})
		}
	}
	if len(e.Data) == 0 {
		e.raw = append(e.raw, raw...)
	}
	return nil
}

// inOrder returns the vectors in the order of the inputs.
func (e *embeddings) inOrder(input any) ([][]float32, error) {
	want := 1
	switch in := input.(type) {
	case []string:
		want = len(in)
	case []any:
		want = len(in)
	}
	if c, ok := parse(e.raw); ok && c.certain {
		return nil, errors.New(c.message)
	}
	vectors := make([][]float32, len(e.Data))
	inTurn := e.haveOneIndex()
	for i, d := range e.Data {
		at := int(d.Index)
		if inTurn {
			at = i
		}
		if at >= len(vectors) || vectors[at] != nil {
			return nil, fmt.Errorf("the vectors are not those of %s", fault.Count(want, "input"))
		}
		vectors[at] = d.Embedding
	}
	return vectors, backend.CheckVectors(vectors, want)
}

// haveOneIndex reports whether all vectors have the same index, as from servers that send none,
// or 0 for each. They come in the order of the inputs.
func (e *embeddings) haveOneIndex() bool {
	return !slices.ContainsFunc(e.Data, func(d embedding) bool { return d.Index != e.Data[0].Index })
}
