package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// embeddings is the answer to an embed request. As in a chunk, what it does not name may be
// there in any form.
type embeddings struct {
	Model label
	Data  []embedding
	Usage usage
	raw   json.RawMessage // nil if there are vectors
}

type embedding struct {
	Index     number
	Embedding vector
}

// UnmarshalJSON keeps an answer without vectors, which may be an error.
func (e *embeddings) UnmarshalJSON(raw []byte) error {
	type plain embeddings
	if err := decode(raw, (*plain)(e)); err != nil {
		return err
	}
	if len(e.Data) == 0 {
		e.raw = append(e.raw, raw...)
	}
	return nil
}

// vector is a list of numbers; nil for anything else, such as one of which some are null.
type vector []float32

func (v *vector) UnmarshalJSON(raw []byte) error {
	var numbers []float32
	*v = nil
	if !bytes.Contains(raw, []byte("null")) && json.Unmarshal(raw, &numbers) == nil {
		*v = numbers
	}
	return nil
}

// inOrder returns the vectors in the order of the inputs, or an error unless there is one
// for each, and all are of one length.
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
	if len(e.Data) != want {
		return nil, fmt.Errorf("%d vectors for %d inputs", len(e.Data), want)
	}
	vectors := make([][]float32, want)
	for _, d := range e.Data {
		at := int(d.Index)
		if at >= want || vectors[at] != nil || len(d.Embedding) == 0 || len(d.Embedding) != len(e.Data[0].Embedding) {
			return nil, fmt.Errorf("the vectors are not those of %d inputs", want)
		}
		vectors[at] = d.Embedding
	}
	return vectors, nil
}
