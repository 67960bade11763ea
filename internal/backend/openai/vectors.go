package openai

import "fmt"

// embeddings is the answer to an embed request.
type embeddings struct {
	Model string
	Data  []struct {
		Index     int
		Embedding []float32
	}
	Usage usage
}

// inOrder returns the vectors in the order of the inputs, or an error unless there is one
// for each.
func (e *embeddings) inOrder(input any) ([][]float32, error) {
	want := 1
	switch in := input.(type) {
	case []string:
		want = len(in)
	case []any:
		want = len(in)
	}
	if len(e.Data) != want {
		return nil, fmt.Errorf("%d vectors for %d inputs", len(e.Data), want)
	}
	vectors := make([][]float32, want)
	for _, d := range e.Data {
		if d.Index < 0 || d.Index >= want || vectors[d.Index] != nil || len(d.Embedding) == 0 {
			return nil, fmt.Errorf("the vectors are not those of %d inputs", want)
		}
		vectors[d.Index] = d.Embedding
	}
	return vectors, nil
}
